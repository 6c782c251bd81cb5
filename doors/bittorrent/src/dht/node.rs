//! The node: whom to ask and what to answer, without socket and clock.
//!
//! Contract of [`Node`]: after every call with a time, drain [`Node::poll_transmit`] and [`Node::poll_event`], and come back with
//! [`Node::handle_timeout`] at [`Node::poll_timeout`]. Time never goes back.
//!
//! Each family has a routing table and an id of its own (BEP 32, 42), but they are one node: what is asked over one
//! may name nodes of the other. Lookups run over every family there is, side by side. Everything is bounded: nodes by
//! the tables, lookups by their length and by the caller, what is kept for others by the store, answers by a rate.
//! A query is matched to its answer by transaction and address.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::address::{Reach, canonical, reach};
use crate::hash::SwarmHash;
use crate::ports::Ports;

use super::beginnings::Beginnings;
use super::id::NodeId;
use super::krpc::{self, Body, Contact, Message, Query, Reply, Want};
use super::lookup::Lookup;
use super::store::Store;
use super::table::{K, Table};
use super::votes::Votes;

/// How long a query waits for its answer.
const QUERY_TIMEOUT: Duration = Duration::from_secs(4);

/// Between the small works that keep the tables fresh.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Between lookups that refresh the stalest bucket.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);

/// Between attempts to find the network while too few are known; doubles up to [`BEGIN_MAX`].
const BEGIN_FIRST: Duration = Duration::from_secs(4);

/// Between attempts to find the network, at most.
const BEGIN_MAX: Duration = Duration::from_secs(5 * 60);

/// Queries answered within a second, in all: what comes above that is dropped.
const ANSWERS_A_SECOND: u32 = 200;

/// Pings of strangers under way at a time, to see whether they can be added.
const PINGS_MAX: usize = 32;

/// Error codes of BEP 5.
const PROTOCOL_ERROR: i64 = 203;
const METHOD_UNKNOWN: i64 = 204;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A node named peers of a swarm that is being looked up.
    Peers { swarm: SwarmHash, peers: Vec<SocketAddr>, from: SocketAddr },
    /// A lookup of a swarm has ended, over all families: so many nodes answered, so many took the announce.
    Done { swarm: SwarmHash, answered: usize, stored: usize },
}

/// What the node is told at the start.
#[derive(Clone, Debug)]
pub(super) struct NodeConfig {
    /// Take part over IPv4.
    pub(super) v4: bool,
    /// Take part over IPv6.
    pub(super) v6: bool,
    /// Ask, and answer nobody (BEP 43).
    pub(super) read_only: bool,
}

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To see whether a node lives.
    Ping,
    /// A step of a lookup.
    Step(u64),
    /// The announce at the end of a lookup.
    Announce(u64),
}

#[derive(Debug)]
struct Asked {
    to: SocketAddr,
    purpose: Purpose,
    until: Instant,
}

/// A lookup over one family.
#[derive(Debug)]
struct Running {
    lookup: Lookup,
    ipv6: bool,
    /// `None`: for the table's sake.
    swarm: Option<SwarmHash>,
    target: NodeId,
    announce: Option<u16>,
    /// Announces under way, once the lookup itself is done.
    announcing: Option<usize>,
    stored: usize,
}

/// How far the lookups of a swarm are, over all families.
#[derive(Debug, Default)]
struct Tally {
    running: usize,
    answered: usize,
    stored: usize,
}

#[derive(Debug)]
struct Family {
    table: Table,
    votes: Votes,
    /// When to look for the network again if too few are known.
    begin_at: Instant,
    begin_wait: Duration,
    refresh_at: Instant,
}

/// The state of the node.
#[derive(Debug)]
pub(super) struct Node {
    read_only: bool,
    random: StdRng,
    v4: Option<Family>,
    v6: Option<Family>,
    beginnings: Beginnings,
    asked: HashMap<u16, Asked>,
    timeouts: BTreeSet<(Instant, u16)>,
    lookups: HashMap<u64, Running>,
    lookups_begun: u64,
    tallies: HashMap<SwarmHash, Tally>,
    store: Store,
    upkeep_at: Instant,
    /// Answers left in this second.
    answers: (Instant, u32),
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Node {
    /// `seed` must not be guessable: tokens and transaction ids come of it.
    pub(super) fn new(config: &NodeConfig, seed: [u8; 32], now: Instant) -> Self {
        let mut random = StdRng::from_seed(seed);
        let mut family = |wanted: bool| {
            wanted.then(|| Family {
                table: Table::new(NodeId::random(&mut random)),
                votes: Votes::default(),
                begin_at: now,
                begin_wait: BEGIN_FIRST,
                refresh_at: now + REFRESH_EVERY,
            })
        };
        let (v4, v6) = (family(config.v4), family(config.v6));
        Self {
            read_only: config.read_only,
            store: Store::new(now, &mut random),
            random,
            v4,
            v6,
            beginnings: Beginnings::default(),
            asked: HashMap::new(),
            timeouts: BTreeSet::new(),
            lookups: HashMap::new(),
            lookups_begun: 0,
            tallies: HashMap::new(),
            upkeep_at: now,
            answers: (now, ANSWERS_A_SECOND),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Addresses to begin with, whenever too few nodes are known. They stay, whether they answer or not.
    pub(super) fn add_routers(&mut self, now: Instant, addresses: &[SocketAddr]) {
        for address in addresses.iter().map(|address| canonical(*address)) {
            if self.beginnings.add_router(address) {
                self.begin_soon(now, address.is_ipv6());
            }
        }
    }

    /// Nodes of an earlier run, to begin with as long as they answer.
    pub(super) fn add_saved(&mut self, now: Instant, addresses: &[SocketAddr]) {
        for address in addresses.iter().map(|address| canonical(*address)) {
            if self.beginnings.add_saved(address) {
                self.begin_soon(now, address.is_ipv6());
            }
        }
    }

    fn begin_soon(&mut self, now: Instant, ipv6: bool) {
        if let Some(family) = self.family_mut(ipv6).filter(|family| family.table.len() == 0) {
            family.begin_at = now;
            self.upkeep_at = now;
        }
    }

    /// Whether there is anybody to ask.
    pub(super) fn knows_somebody(&self) -> bool {
        self.len() > 0 || [false, true].into_iter().any(|ipv6| self.beginnings(ipv6).next().is_some())
    }

    /// Addresses to begin with, over one family if we have it.
    fn beginnings(&self, ipv6: bool) -> impl Iterator<Item = SocketAddr> + '_ {
        self.beginnings.of(ipv6).filter(move |_| self.family(ipv6).is_some())
    }

    /// Somebody says that there is a node: it is asked, and added if it answers.
    pub(super) fn add_node(&mut self, now: Instant, address: SocketAddr) {
        let pings = self.asked.values().filter(|asked| asked.purpose == Purpose::Ping).count();
        if pings < PINGS_MAX && address.port() != 0 {
            self.ask(now, canonical(address), Purpose::Ping, Query::Ping);
        }
    }

    /// Looks up the peers of a swarm over every family, and announces the port that there is in it to the closest nodes. Ends with
    /// [`Event::Done`].
    pub(super) fn look_up(&mut self, now: Instant, swarm: SwarmHash, ports: Ports) {
        self.tallies.entry(swarm).or_default().running += 1;
        for ipv6 in [false, true] {
            if self.family(ipv6).is_some() {
                self.tallies.entry(swarm).or_default().running += 1;
                self.begin_lookup(now, ipv6, NodeId(swarm.0), Some(swarm), ports.over(ipv6));
            }
        }
        self.end_of_part(swarm, 0, 0);
    }

    /// Gives up the lookup of a swarm: nothing more is announced, and no [`Event::Done`] comes.
    pub(super) fn abandon(&mut self, swarm: SwarmHash) {
        self.tallies.remove(&swarm);
        self.lookups.retain(|_, running| running.swarm != Some(swarm));
    }

    /// Nodes in the tables.
    pub(super) fn len(&self) -> usize {
        [&self.v4, &self.v6].into_iter().flatten().map(|family| family.table.len()).sum()
    }

    /// The freshest nodes, for the next run.
    pub(super) fn freshest(&self, count: usize) -> Vec<SocketAddr> {
        [&self.v4, &self.v6].into_iter().flatten().flat_map(|family| family.table.freshest(count)).collect()
    }

    /// Our public address as the nodes see it, IPv4 before IPv6.
    pub(super) fn public_address(&self) -> Option<SocketAddr> {
        [&self.v4, &self.v6].into_iter().flatten().find_map(|family| family.votes.winner())
    }

    /// The next datagram to send, until `None`.
    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next thing that happened, until `None`.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Node::handle_timeout`] if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.timeouts.first().map_or(self.upkeep_at, |(at, _)| self.upkeep_at.min(*at))
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, transaction)) = self.timeouts.first().copied()
            && at <= now
        {
            self.timeouts.pop_first();
            if let Some(asked) = self.asked.remove(&transaction) {
                if let Some(family) = self.family_mut(asked.to.is_ipv6()) {
                    family.table.failed(asked.to);
                }
                self.beginnings.judge(asked.to, false);
                self.end_of_query(now, asked, None);
            }
        }
        if self.upkeep_at <= now {
            self.upkeep_at = now + UPKEEP_EVERY;
            self.store.expire(now);
            for ipv6 in [false, true] {
                self.keep_fresh(now, ipv6);
            }
        }
    }

    /// A datagram has arrived.
    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let from = canonical(from);
        let Some(Message { transaction, body }) = krpc::parse(datagram) else { return };
        match body {
            Body::Query { id, read_only, query } => {
                if !self.read_only && self.may_answer(now) {
                    self.answer(now, from, transaction, query);
                    if !read_only {
                        self.meet(now, (id, from));
                    }
                }
            }
            Body::Reply { reply, seen_as } => {
                let Some(asked) = self.take_asked(from, &transaction) else { return };
                self.handle_reply(now, asked, reply, seen_as);
            }
            Body::Error(..) => {
                if let Some(asked) = self.take_asked(from, &transaction) {
                    self.end_of_query(now, asked, None);
                }
            }
        }
    }

    fn take_asked(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Asked> {
        let transaction = u16::from_be_bytes(transaction.try_into().ok()?);
        if self.asked.get(&transaction)?.to != from {
            return None;
        }
        let asked = self.asked.remove(&transaction)?;
        self.timeouts.remove(&(asked.until, transaction));
        Some(asked)
    }

    fn handle_reply(&mut self, now: Instant, asked: Asked, reply: Reply, seen_as: Option<SocketAddr>) {
        let contact = (reply.id, asked.to);
        self.beginnings.judge(asked.to, true);
        let Some(family) = self.family_mut(asked.to.is_ipv6()) else { return };
        // A node with our own id is ourselves, or somebody who plays us.
        let ourselves = family.table.id() == reply.id;
        let challenged = if ourselves { None } else { family.table.heard(now, contact) };
        if let Some(seen_as) = seen_as.filter(|address| address.is_ipv6() == asked.to.is_ipv6()) {
            self.count_vote(now, asked.to.ip(), seen_as);
        }
        if let Some(challenged) = challenged {
            self.add_node(now, challenged);
        }
        self.end_of_query(now, asked, Some(reply));
    }

    /// Goes on with what a query was for, now that it was answered or not.
    fn end_of_query(&mut self, now: Instant, asked: Asked, reply: Option<Reply>) {
        match asked.purpose {
            Purpose::Ping => {}
            Purpose::Step(key) => self.step(now, key, asked.to, reply),
            Purpose::Announce(key) => {
                let Some(running) = self.lookups.get_mut(&key) else { return };
                running.stored += usize::from(reply.is_some());
                let left = running.announcing.map_or(0, |left| left.saturating_sub(1));
                running.announcing = Some(left);
                if left == 0 {
                    self.end_lookup(key);
                }
            }
        }
    }

    fn step(&mut self, now: Instant, key: u64, from: SocketAddr, reply: Option<Reply>) {
        let Some(running) = self.lookups.get_mut(&key) else { return };
        let Some(reply) = reply else {
            running.lookup.failed(from);
            return self.go_on(now, key);
        };
        let ipv6 = running.ipv6;
        running.lookup.answered((reply.id, from), reply.token);
        let nearest = reach(from.ip());
        // Nodes inside this network are only believed of nodes inside it.
        let is_askable = |(_, address): &Contact| {
            let ip = address.ip();
            address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && reach(ip) >= nearest
        };
        let (own, others): (Vec<Contact>, Vec<Contact>) =
            reply.nodes.into_iter().filter(is_askable).partition(|(_, address)| address.is_ipv6() == ipv6);
        own.into_iter().for_each(|contact| running.lookup.add(contact));
        if let Some(swarm) = running.swarm.filter(|_| !reply.values.is_empty()) {
            self.events.push_back(Event::Peers { swarm, peers: reply.values, from });
        }
        self.go_on(now, key);
        // This is how one family finds the network through the other.
        if self.family(!ipv6).is_some_and(|family| family.table.len() < K) {
            others.into_iter().for_each(|(_, address)| self.add_node(now, address));
        }
    }

    fn begin_lookup(
        &mut self,
        now: Instant,
        ipv6: bool,
        target: NodeId,
        swarm: Option<SwarmHash>,
        announce: Option<u16>,
    ) {
        let Some(family) = self.family(ipv6) else { return };
        let mut lookup = Lookup::new(target);
        let closest = family.table.closest(&target, K * 2);
        if closest.len() < K {
            self.beginnings(ipv6).for_each(|address| lookup.begin_with(address));
        }
        closest.into_iter().for_each(|contact| lookup.add(contact));
        self.lookups_begun += 1;
        let key = self.lookups_begun;
        let running = Running { lookup, ipv6, swarm, target, announce, announcing: None, stored: 0 };
        self.lookups.insert(key, running);
        self.go_on(now, key);
    }

    /// Asks whoever is next, or ends the lookup.
    fn go_on(&mut self, now: Instant, key: u64) {
        let wants_both = self.v4.is_some() && self.v6.is_some();
        let Some(running) = self.lookups.get_mut(&key) else { return };
        let want = Want { v4: wants_both || !running.ipv6, v6: wants_both || running.ipv6 };
        let (swarm, target) = (running.swarm, running.target);
        let next: Vec<SocketAddr> = std::iter::from_fn(|| running.lookup.next()).collect();
        for address in next {
            let query = match swarm {
                Some(swarm) => Query::GetPeers { swarm, want },
                None => Query::FindNode { target, want },
            };
            self.ask(now, address, Purpose::Step(key), query);
        }
        let Some(running) = self.lookups.get_mut(&key).filter(|running| running.announcing.is_none()) else {
            return;
        };
        if !running.lookup.is_done() {
            return;
        }
        let (Some(swarm), Some(port)) = (running.swarm, running.announce) else {
            return self.end_lookup(key);
        };
        let tokens = running.lookup.tokens();
        running.announcing = Some(tokens.len());
        if tokens.is_empty() {
            return self.end_lookup(key);
        }
        for (address, token) in tokens {
            let query = Query::Announce { swarm, port, implied_port: false, token };
            self.ask(now, address, Purpose::Announce(key), query);
        }
    }

    fn end_lookup(&mut self, key: u64) {
        let Some(running) = self.lookups.remove(&key) else { return };
        if let Some(swarm) = running.swarm {
            self.end_of_part(swarm, running.lookup.answers(), running.stored);
        }
    }

    fn end_of_part(&mut self, swarm: SwarmHash, answered: usize, stored: usize) {
        let Some(tally) = self.tallies.get_mut(&swarm) else { return };
        tally.running = tally.running.saturating_sub(1);
        tally.answered += answered;
        tally.stored += stored;
        if tally.running == 0 {
            let (answered, stored) = (tally.answered, tally.stored);
            self.tallies.remove(&swarm);
            self.events.push_back(Event::Done { swarm, answered, stored });
        }
    }

    fn ask(&mut self, now: Instant, to: SocketAddr, purpose: Purpose, query: Query) {
        let Some(id) = self.family(to.is_ipv6()).map(|family| family.table.id()) else { return };
        let transaction = loop {
            let transaction: u16 = self.random.random();
            if !self.asked.contains_key(&transaction) {
                break transaction;
            }
        };
        let until = now + QUERY_TIMEOUT;
        self.asked.insert(transaction, Asked { to, purpose, until });
        self.timeouts.insert((until, transaction));
        let body = Body::Query { id, read_only: self.read_only, query };
        let message = Message { transaction: transaction.to_be_bytes().to_vec(), body };
        self.transmits.push_back((to, krpc::print(&message, to)));
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        if now - self.answers.0 >= Duration::from_secs(1) {
            self.answers = (now, ANSWERS_A_SECOND);
        }
        let left = self.answers.1;
        self.answers.1 = left.saturating_sub(1);
        left > 0
    }

    fn answer(&mut self, now: Instant, from: SocketAddr, transaction: Vec<u8>, query: Query) {
        let ipv6 = from.is_ipv6();
        let Some(id) = self.family(ipv6).map(|family| family.table.id()) else { return };
        let mut reply = Reply::of(id);
        let refusal = match query {
            Query::Ping => None,
            Query::FindNode { target, want } => {
                reply.nodes = self.closest(&target, want, from);
                None
            }
            Query::GetPeers { swarm, want } => {
                reply.nodes = self.closest(&NodeId(swarm.0), want, from);
                reply.values = self.store.peers(now, swarm, ipv6, &mut self.random);
                reply.values.retain(|peer| reach(peer.ip()) >= reach(from.ip()));
                reply.token = Some(self.store.token(now, from.ip(), &mut self.random));
                None
            }
            Query::Announce { swarm, port, implied_port, token } => {
                let port = if implied_port { from.port() } else { port };
                if !self.store.accepts(from.ip(), &token) {
                    Some((PROTOCOL_ERROR, "bad token"))
                } else if port == 0 {
                    Some((PROTOCOL_ERROR, "no port"))
                } else {
                    self.store.announce(now, swarm, SocketAddr::new(from.ip(), port));
                    None
                }
            }
            Query::Unknown => Some((METHOD_UNKNOWN, "method unknown")),
        };
        let body = match refusal {
            Some((code, text)) => Body::Error(code, text),
            None => Body::Reply { reply, seen_as: None },
        };
        self.transmits.push_back((from, krpc::print(&Message { transaction, body }, from)));
    }

    /// Nodes to name: of the families wanted, or else of the one asked over. Whoever is outside is told nothing of what is inside.
    fn closest(&self, target: &NodeId, want: Want, asker: SocketAddr) -> Vec<Contact> {
        let unsaid = Want { v4: asker.is_ipv4(), v6: asker.is_ipv6() };
        let want = if want == Want::default() { unsaid } else { want };
        let mut nodes = Vec::new();
        for (wanted, family) in [(want.v4, &self.v4), (want.v6, &self.v6)] {
            if let Some(family) = family.as_ref().filter(|_| wanted) {
                nodes.extend(family.table.closest(target, K));
            }
        }
        nodes.retain(|(_, address)| reach(address.ip()) >= reach(asker.ip()));
        nodes
    }

    /// A node that asked us is asked back, if it would have a place: only who answers is added.
    fn meet(&mut self, now: Instant, (id, address): Contact) {
        let Some(family) = self.family(address.is_ipv6()) else { return };
        let is_asked = self.asked.values().any(|asked| asked.to == address);
        if !is_asked && family.table.would_take((id, address)) {
            self.add_node(now, address);
        }
    }

    /// The small works for one table: find the network if too few are known, see whether the oldest node lives, refresh.
    fn keep_fresh(&mut self, now: Instant, ipv6: bool) {
        let has_beginnings = self.beginnings(ipv6).next().is_some();
        let is_looking = self.lookups.values().any(|running| running.swarm.is_none() && running.ipv6 == ipv6);
        let Some(family) = (if ipv6 { &mut self.v6 } else { &mut self.v4 }) else { return };
        let own = family.table.id();
        let questionable = family.table.questionable(now);
        if family.table.len() < K {
            let knows_somebody = has_beginnings || family.table.len() > 0;
            if knows_somebody && !is_looking && family.begin_at <= now {
                family.begin_at = now + family.begin_wait;
                family.begin_wait = (family.begin_wait * 2).min(BEGIN_MAX);
                self.begin_lookup(now, ipv6, own, None, None);
            }
        } else if family.refresh_at <= now && !is_looking {
            family.begin_wait = BEGIN_FIRST;
            family.refresh_at = now + REFRESH_EVERY;
            let target = family.table.refresh(now, &mut self.random);
            self.begin_lookup(now, ipv6, target, None, None);
        }
        if let Some(address) = questionable {
            self.add_node(now, address);
        }
    }

    /// A node tells under which address it sees us. When many agree, our id must fit that address (BEP 42).
    fn count_vote(&mut self, now: Instant, voter: IpAddr, seen_as: SocketAddr) {
        let Some(family) = (if seen_as.is_ipv6() { &mut self.v6 } else { &mut self.v4 }) else { return };
        family.votes.cast(voter, seen_as);
        if let Some(address) = family.votes.winner()
            && reach(address.ip()) == Reach::Public
            && !family.table.id().fits(address.ip())
        {
            let id = NodeId::for_ip(address.ip(), &mut self.random);
            family.table.move_to(id);
            // The neighbours are others now.
            self.begin_lookup(now, seen_as.is_ipv6(), id, None, None);
        }
    }

    fn family(&self, ipv6: bool) -> Option<&Family> {
        if ipv6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }

    fn family_mut(&mut self, ipv6: bool) -> Option<&mut Family> {
        if ipv6 { self.v6.as_mut() } else { self.v4.as_mut() }
    }
}
