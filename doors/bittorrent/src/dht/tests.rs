//! A network of nodes in memory, in simulated time.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::id::NodeId;
use super::krpc::{self, Body, Message, Query, Want};
use super::node::{Event, Node, NodeConfig};
use crate::hash::SwarmHash;
use crate::ports::Ports;

const SWARM: SwarmHash = SwarmHash([0x5a; 20]);
const LATENCY: Duration = Duration::from_millis(20);

struct Network {
    now: Instant,
    /// By address; a node with two families has two.
    addresses: BTreeMap<SocketAddr, usize>,
    nodes: Vec<Node>,
    own: Vec<Vec<SocketAddr>>,
    dead: HashSet<usize>,
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    events: Vec<(usize, Event)>,
}

impl Network {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            addresses: BTreeMap::new(),
            nodes: Vec::new(),
            own: Vec::new(),
            dead: HashSet::new(),
            wire: BTreeMap::new(),
            sent: 0,
            events: Vec::new(),
        }
    }

    /// Adds a node with these addresses that begins with `routers`.
    fn add(&mut self, own: &[SocketAddr], routers: &[SocketAddr]) -> usize {
        self.add_with(own, routers, false)
    }

    fn add_with(&mut self, own: &[SocketAddr], routers: &[SocketAddr], read_only: bool) -> usize {
        let number = self.nodes.len();
        let config = NodeConfig {
            v4: own.iter().any(SocketAddr::is_ipv4),
            v6: own.iter().any(SocketAddr::is_ipv6),
            read_only,
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        let mut node = Node::new(&config, seed, self.now);
        node.add_routers(self.now, routers);
        self.nodes.push(node);
        self.own.push(own.to_vec());
        for address in own {
            self.addresses.insert(*address, number);
        }
        number
    }

    /// `count` nodes, all of which begin with the first.
    fn of(count: u16) -> Self {
        let mut network = Self::new();
        for number in 0..count {
            let routers = [v4(0)];
            network.add(&[v4(number)], if number == 0 { &[] } else { &routers });
        }
        network.run(Duration::from_secs(20));
        network
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.collect();
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let living = self.nodes.iter().enumerate().filter(|(number, _)| !self.dead.contains(number));
            let timeout = living.map(|(_, node)| node.poll_timeout()).min();
            let next = arrival.into_iter().chain(timeout).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (from, to, datagram) = entry.remove();
                if let Some(number) = self.addresses.get(&to).filter(|number| !self.dead.contains(number)) {
                    self.nodes[*number].handle_datagram(self.now, from, &datagram);
                }
            }
            for (number, node) in self.nodes.iter_mut().enumerate() {
                if !self.dead.contains(&number) && node.poll_timeout() <= self.now {
                    node.handle_timeout(self.now);
                }
            }
        }
    }

    fn collect(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            while let Some((to, datagram)) = node.poll_transmit() {
                self.sent += 1;
                let own = self.own[number].iter().find(|own| own.is_ipv4() == to.is_ipv4());
                if let Some(from) = own {
                    self.wire.insert((self.now + LATENCY, self.sent), (*from, to, datagram));
                }
            }
            while let Some(event) = node.poll_event() {
                self.events.push((number, event));
            }
        }
    }

    /// Looks up the swarm from a node; the peers found, nodes that answered, nodes that stored.
    fn look_up(&mut self, number: usize, ports: Ports) -> (HashSet<SocketAddr>, usize, usize) {
        self.events.clear();
        self.nodes[number].look_up(self.now, SWARM, ports);
        self.run(Duration::from_secs(30));
        let mut found = HashSet::new();
        let mut done = None;
        for (from, event) in self.events.drain(..).filter(|(from, _)| *from == number) {
            assert_eq!(from, number);
            match event {
                Event::Peers { peers, .. } => found.extend(peers),
                Event::Done { answered, stored, .. } => assert_eq!(done.replace((answered, stored)), None),
            }
        }
        let (answered, stored) = done.expect("a lookup ends");
        (found, answered, stored)
    }

    /// A query of a stranger, and the answer to it.
    fn ask(&mut self, to: SocketAddr, query: Query) -> Option<Body> {
        let body = Body::Query { id: NodeId([9; 20]), read_only: true, query };
        let message = Message { transaction: b"x1".to_vec(), body };
        self.ask_raw(to, &krpc::print(&message, to))
    }

    fn ask_raw(&mut self, to: SocketAddr, datagram: &[u8]) -> Option<Body> {
        let stranger = v4(60_000);
        let number = self.addresses[&to];
        self.nodes[number].handle_datagram(self.now, stranger, datagram);
        let sent =
            std::iter::from_fn(|| self.nodes[number].poll_transmit()).filter(|(to, _)| *to == stranger);
        let mut messages = sent.filter_map(|(_, datagram)| krpc::parse(&datagram));
        let answer = messages.find(|message| !matches!(message.body, Body::Query { .. }))?;
        assert_eq!(answer.transaction, b"x1", "transactions come back as they were sent");
        Some(answer.body)
    }
}

/// Distinct public hosts.
fn v4(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([45, high, low, 7], 6881))
}

fn v6(number: u16) -> SocketAddr {
    SocketAddr::from(([0x2a00, number, 0, 0, 0, 0, 0, 1], 6881))
}

fn peer(number: u16, port: u16) -> SocketAddr {
    SocketAddr::new(v4(number).ip(), port)
}

#[test]
fn a_network_forms_and_peers_find_each_other() {
    let mut network = Network::of(200);
    let (found, answered, stored) = network.look_up(17, 7000.into());
    assert_eq!(found, HashSet::new());
    assert!(answered >= 8 && stored == 8, "{answered} answered, {stored} stored");
    for asker in [3, 99, 180] {
        assert_eq!(network.look_up(asker, Ports::default()).0, HashSet::from([peer(17, 7000)]));
    }
    let known: usize = network.nodes.iter().map(Node::len).min().unwrap();
    assert!(known >= 20, "everybody knows many, one only {known}");
}

#[test]
fn announces_survive_the_loss_of_half_the_network() {
    let mut network = Network::of(200);
    network.look_up(17, 7000.into());
    network.dead.extend(20..120);
    assert_eq!(network.look_up(150, Ports::default()).0, HashSet::from([peer(17, 7000)]));
}

#[test]
fn ids_come_to_fit_the_address() {
    let mut network = Network::of(60);
    network.run(Duration::from_secs(600));
    let fitting = (1..60).filter(|number| {
        let Some(Body::Reply { reply, .. }) = network.ask(v4(*number), Query::Ping) else {
            panic!("no answer")
        };
        reply.id.fits(v4(*number).ip())
    });
    assert!(fitting.count() >= 50);
    assert_eq!(network.nodes[7].public_address(), Some(v4(7)));
}

#[test]
fn nobody_is_there() {
    let mut network = Network::new();
    let lonely = network.add(&[v4(0)], &[v4(1)]);
    assert_eq!(network.look_up(lonely, 1.into()), (HashSet::new(), 0, 0));
    network.sent = 0;
    network.run(Duration::from_secs(3_600));
    assert!(network.sent < 40, "{} datagrams in an hour to somebody who is not there", network.sent);
    network.add(&[v4(1)], &[]);
    network.run(Duration::from_secs(301));
    assert_eq!(network.nodes[lonely].len(), 1, "found when it comes back");
}

/// Nodes of an earlier run that are gone must not keep those of the settings out.
#[test]
fn stale_nodes_of_an_earlier_run_do_not_block_the_way() {
    let mut network = Network::of(30);
    let newcomer = network.add(&[v4(100)], &[]);
    let stale: Vec<SocketAddr> = (1_000..1_100).map(v4).collect();
    network.nodes[newcomer].add_saved(network.now, &stale);
    assert!(network.nodes[newcomer].knows_somebody());
    network.run(Duration::from_secs(5));
    network.nodes[newcomer].add_routers(network.now, &[v4(0)]);
    network.run(Duration::from_secs(120));
    assert!(network.nodes[newcomer].len() >= 8, "{} nodes", network.nodes[newcomer].len());
    network.sent = 0;
    network.look_up(newcomer, Ports::default());
    assert!(network.sent < 150, "{} datagrams: the stale ones are asked no longer", network.sent);
}

#[test]
fn nodes_of_an_earlier_run_are_forgotten_when_they_do_not_answer() {
    let mut network = Network::new();
    let lonely = network.add(&[v4(0)], &[]);
    network.nodes[lonely].add_saved(network.now, &[v4(1), v4(2)]);
    network.run(Duration::from_secs(120));
    assert!(!network.nodes[lonely].knows_somebody());
}

#[test]
fn a_lookup_that_is_given_up_announces_nothing() {
    let mut network = Network::of(30);
    network.nodes[3].look_up(network.now, SWARM, 7000.into());
    network.run(LATENCY * 3);
    network.nodes[3].abandon(SWARM);
    network.events.clear();
    network.run(Duration::from_secs(30));
    assert!(network.events.is_empty(), "it is not finished either: {:?}", network.events);
    assert_eq!(network.look_up(9, Ports::default()).0, HashSet::new());
}

#[test]
fn a_node_told_by_a_peer_is_enough() {
    let mut network = Network::of(30);
    let newcomer = network.add(&[v4(100)], &[]);
    network.nodes[newcomer].add_node(network.now, v4(5));
    network.look_up(3, 7000.into());
    assert_eq!(network.look_up(newcomer, Ports::default()).0, HashSet::from([peer(3, 7000)]));
}

#[test]
fn one_family_finds_its_network_through_the_other() {
    let mut network = Network::new();
    // Two know each other over IPv6; all others begin over IPv4 only.
    network.add(&[v4(0), v6(0)], &[]);
    network.add(&[v4(1), v6(1)], &[v4(0), v6(0)]);
    for number in 2..40 {
        network.add(&[v4(number), v6(number)], &[v4(0)]);
    }
    network.run(Duration::from_secs(900));
    let only_v6 = network.add(&[v6(100)], &[v6(3)]);
    network.run(Duration::from_secs(10));
    network.look_up(only_v6, 7000.into());
    let found = network.look_up(20, Ports::default()).0;
    assert_eq!(found, HashSet::from([SocketAddr::new(v6(100).ip(), 7000)]));
}

/// A node that listens at another port in each family, or in one family only.
#[test]
fn each_family_is_told_its_own_port() {
    let mut network = Network::new();
    network.add(&[v4(0), v6(0)], &[]);
    for number in 1..20 {
        network.add(&[v4(number), v6(number)], &[v4(0), v6(0)]);
    }
    network.run(Duration::from_secs(60));
    let both = Ports::of(&["0.0.0.0:7001".parse().unwrap(), "[::]:7002".parse().unwrap()]);
    let at = |ip: SocketAddr, port| SocketAddr::new(ip.ip(), port);
    network.look_up(3, both);
    let found = network.look_up(9, Ports::default()).0;
    assert_eq!(found, HashSet::from([at(v4(3), 7001), at(v6(3), 7002)]));

    network.look_up(4, Ports::of(&["[::]:7003".parse().unwrap()]));
    let found = network.look_up(9, Ports::default()).0;
    assert_eq!(found, HashSet::from([at(v4(3), 7001), at(v6(3), 7002), at(v6(4), 7003)]));
}

/// BEP 43: a read-only node asks, does not answer, and is in nobody's table.
#[test]
fn read_only_nodes_ask_and_do_not_answer() {
    let mut network = Network::of(30);
    let shy = network.add_with(&[v4(100)], &[v4(0)], true);
    network.run(Duration::from_secs(60));
    assert!(network.nodes[shy].len() >= 8);
    assert_eq!(network.ask(v4(100), Query::Ping), None);
    network.look_up(shy, 7000.into());
    assert_eq!(network.look_up(5, Ports::default()).0, HashSet::from([peer(100, 7000)]));
    let target = NodeId([0; 20]);
    for number in 0..30 {
        let named = network.ask(v4(number), Query::FindNode { target, want: Want::default() });
        let Some(Body::Reply { reply, .. }) = named else { panic!("no answer") };
        assert!(reply.nodes.iter().all(|(_, address)| *address != v4(100)));
    }
}

/// BEP 5: "the queried node must verify that the token was previously sent to the same IP address".
#[test]
fn an_announce_needs_a_token() {
    let mut network = Network::of(2);
    let announce = |token: &[u8], port| Query::Announce {
        swarm: SWARM,
        port,
        implied_port: false,
        token: token.to_vec(),
    };
    assert_eq!(network.ask(v4(1), announce(b"12345678", 1)), Some(Body::Error(203, "")));
    let Some(Body::Reply { reply, .. }) =
        network.ask(v4(1), Query::GetPeers { swarm: SWARM, want: Want::default() })
    else {
        panic!("no answer")
    };
    let token = reply.token.unwrap();
    assert_eq!(network.ask(v4(1), announce(&token, 0)), Some(Body::Error(203, "")));
    assert!(matches!(network.ask(v4(1), announce(&token, 7)), Some(Body::Reply { .. })));
    let implied = Query::Announce { swarm: SWARM, port: 1, implied_port: true, token };
    assert!(matches!(network.ask(v4(1), implied), Some(Body::Reply { .. })));
    assert_eq!(network.look_up(0, Ports::default()).0, HashSet::from([peer(60_000, 7), v4(60_000)]));
}

/// BEP 5: error 204 for a method that is not known. Transactions of any length come back as they were sent.
#[test]
fn queries_of_other_specifications_are_refused() {
    let mut network = Network::of(2);
    let sample = b"d1:ad2:id20:abcdefghij0123456789e1:q17:sample_infohashes1:t2:x11:y1:qe";
    assert_eq!(network.ask_raw(v4(1), sample), Some(Body::Error(204, "")));
    assert_eq!(network.ask_raw(v4(1), b"rubbish"), None);
}

#[test]
fn floods_are_answered_only_so_far() {
    let mut network = Network::of(2);
    let answered = (0..10_000).filter(|_| network.ask(v4(1), Query::Ping).is_some()).count();
    assert!(answered <= 400, "{answered} answers in a moment");
    network.run(Duration::from_secs(2));
    assert!(network.ask(v4(1), Query::Ping).is_some());
}

#[test]
fn those_outside_learn_nothing_of_the_inside() {
    let mut network = Network::new();
    let inside: SocketAddr = "192.168.1.5:6881".parse().unwrap();
    network.add(&[v4(0)], &[]);
    network.add(&[inside], &[v4(0)]);
    network.run(Duration::from_secs(60));
    assert_eq!(network.nodes[0].len(), 1, "it knows the inside");
    let target = NodeId([0; 20]);
    let named = network.ask(v4(0), Query::FindNode { target, want: Want::default() });
    assert!(matches!(named, Some(Body::Reply { reply, .. }) if reply.nodes.is_empty()));
}

/// Half a quiet hour of a node with a full table, in datagrams: upkeep must not grow into noise.
#[test]
fn an_idle_node_is_quiet() {
    let mut network = Network::of(50);
    network.run(Duration::from_secs(600));
    network.sent = 0;
    network.run(Duration::from_secs(1_800));
    let each = network.sent / 50;
    assert!((10..1_500).contains(&each), "{each} datagrams in half an hour and node");
}
