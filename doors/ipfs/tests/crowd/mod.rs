//! A simulated network of nodes that fetch and serve with the real cores. The same seed gives the same events.
//!
//! What is modelled: links with a rate up and down, latency, connections that break (with everything that is on its way) and come
//! again, disks that take a moment, and liars. What is not: the bytes of messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use cid::Cid;
use cid::multihash::Multihash;
use peerage_ipfs::bitswap::PeerKey;
use peerage_ipfs::bitswap::fetch::{self, Fetch, Received, SessionKey, Stats};
use peerage_ipfs::bitswap::message::{Block, Entry, Message, Presence, Protocol, Want, Wantlist};
use peerage_ipfs::bitswap::server::{self, Server};
use peerage_ipfs::bitswap::verify::Prefix;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Time to look a block up, and to read one.
const DISK: Duration = Duration::from_micros(500);
/// Time until a connection that broke is there again.
const RECONNECT: Duration = Duration::from_secs(2);
/// Time between two signs of life of a message that is on its way.
const HEARD: Duration = Duration::from_millis(500);
/// The only session of every node.
const SESSION: SessionKey = SessionKey(1);

/// What a node does to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    Honest,
    /// Sends other bytes than it was asked for.
    Corrupts,
    /// Says that it has everything, and sends nothing.
    Promises,
    /// Says nothing at all.
    Silent,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Bytes a second.
    pub up: f64,
    pub down: f64,
    pub latency: Duration,
}

pub(crate) type NodeId = usize;

pub(crate) struct Node {
    pub server: Server,
    pub fetch: Fetch,
    pub manners: Manners,
    pub blocks: BTreeSet<u32>,
    pub wanted: BTreeSet<u32>,
    pub dismissed: BTreeSet<NodeId>,
    /// When everything that it wants was there.
    pub done: Option<Duration>,
    link: Link,
    up_free: Duration,
    down_free: Duration,
    /// Connections by key.
    peers: BTreeMap<PeerKey, NodeId>,
    tick: Option<Duration>,
}

enum Event {
    Connect(NodeId, NodeId),
    Break(NodeId, NodeId),
    Heard { node: NodeId, peer: PeerKey },
    Reach { to: NodeId, from: PeerKey, message: Message, bytes: f64 },
    Arrive { to: NodeId, from: PeerKey, message: Message },
    Sent { node: NodeId, peer: PeerKey, blocks: bool },
    Looked { node: NodeId, cid: Cid },
    Read { node: NodeId, cid: Cid },
    Tick(NodeId),
    Want(NodeId),
}

pub(crate) struct Network {
    pub nodes: Vec<Node>,
    pub block: usize,
    /// The chance that a message breaks its connection.
    pub loss: f64,
    /// Who provides, as far as a search can find it.
    pub providers: HashMap<u32, Vec<NodeId>>,
    queue: BinaryHeap<(Reverse<Duration>, Reverse<u64>)>,
    events: HashMap<u64, Event>,
    planned: u64,
    connections: u64,
    now: Duration,
    start: Instant,
    rng: Xoshiro256PlusPlus,
}

/// A block's number is the codec of its CID, so that it comes along with the block: here nothing is hashed.
pub(crate) fn cid(number: u32) -> Cid {
    Cid::new_v1(number.into(), Multihash::wrap(0x12, &[0; 32]).unwrap())
}

fn number(cid: &Cid) -> u32 {
    u32::try_from(cid.codec()).unwrap()
}

impl Network {
    pub(crate) fn new(seed: u64, block: usize) -> Self {
        Self {
            nodes: Vec::new(),
            block,
            loss: 0.0,
            providers: HashMap::new(),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            planned: 0,
            connections: 0,
            now: Duration::ZERO,
            start: Instant::now(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    pub(crate) fn rng(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.rng
    }

    pub(crate) fn add(
        &mut self,
        link: Link,
        manners: Manners,
        blocks: impl IntoIterator<Item = u32>,
    ) -> NodeId {
        let mut fetch = Fetch::new(self.start);
        fetch.handle(self.start, fetch::Input::Opened { session: SESSION });
        self.nodes.push(Node {
            server: Server::new(server::Config::default()),
            fetch,
            manners,
            blocks: blocks.into_iter().collect(),
            wanted: BTreeSet::new(),
            dismissed: BTreeSet::new(),
            done: None,
            link,
            up_free: Duration::ZERO,
            down_free: Duration::ZERO,
            peers: BTreeMap::new(),
            tick: None,
        });
        self.nodes.len() - 1
    }

    pub(crate) fn connect(&mut self, a: NodeId, b: NodeId) {
        self.plan(self.now, Event::Connect(a, b));
    }

    pub(crate) fn connect_at(&mut self, at: Duration, a: NodeId, b: NodeId) {
        self.plan(at, Event::Connect(a, b));
    }

    pub(crate) fn break_at(&mut self, at: Duration, a: NodeId, b: NodeId) {
        self.plan(at, Event::Break(a, b));
    }

    pub(crate) fn want(&mut self, node: NodeId, numbers: impl IntoIterator<Item = u32>) {
        self.nodes[node].wanted.extend(numbers);
        self.plan(self.now, Event::Want(node));
    }

    pub(crate) fn stats(&self, node: NodeId) -> Stats {
        self.nodes[node].fetch.stats()
    }

    /// Runs until every node has what it wants, or time is up.
    pub(crate) fn run(&mut self, limit: Duration) {
        self.run_while(limit, |network| network.nodes.iter().any(|node| !node.wanted.is_empty()));
    }

    /// Runs on for a while, to let everything settle.
    pub(crate) fn settle(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_while(end, |_| true);
    }

    fn run_while(&mut self, limit: Duration, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self)
            && let Some(&(Reverse(at), Reverse(id))) = self.queue.peek()
            && at <= limit
        {
            self.queue.pop();
            self.now = at;
            if let Some(event) = self.events.remove(&id) {
                self.happen(event);
            }
        }
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.queue.push((Reverse(at.max(self.now)), Reverse(self.planned)));
        self.events.insert(self.planned, event);
    }

    fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn happen(&mut self, event: Event) {
        let now = self.instant();
        match event {
            Event::Connect(a, b) => self.join(a, b),
            Event::Break(a, b) => self.part(a, b),
            Event::Heard { node, peer } => {
                self.nodes[node].fetch.handle(now, fetch::Input::Heard { peer });
                self.drive(node);
            }
            Event::Reach { to, from, message, bytes } => self.reach(to, from, message, bytes),
            Event::Arrive { to, from, message } => self.arrive(to, from, message),
            Event::Sent { node, peer, blocks: true } => {
                self.nodes[node].server.handle(now, server::Input::Sent { peer });
                self.drive(node);
            }
            Event::Sent { node, peer, blocks: false } => {
                self.nodes[node].fetch.handle(now, fetch::Input::Sent { peer });
                self.drive(node);
            }
            Event::Looked { node, cid } => {
                let size = self.nodes[node].blocks.contains(&number(&cid)).then_some(self.block);
                self.nodes[node].server.handle(now, server::Input::Looked { cid, size });
                self.drive(node);
            }
            Event::Read { node, cid } => {
                let has = self.nodes[node].blocks.contains(&number(&cid));
                let data = has.then(|| bytes::Bytes::from(vec![0; self.block]));
                self.nodes[node].server.handle(now, server::Input::Read { cid, data });
                self.drive(node);
            }
            Event::Tick(node) => {
                self.nodes[node].tick = None;
                self.nodes[node].fetch.handle(now, fetch::Input::Tick);
                self.drive(node);
            }
            Event::Want(node) => {
                let cids = self.nodes[node].wanted.iter().map(|&number| cid(number)).collect();
                self.nodes[node]
                    .fetch
                    .handle(now, fetch::Input::Want { session: SESSION, cids, priority: 1 });
                self.drive(node);
            }
        }
    }

    fn key(&self, node: NodeId, peer: NodeId) -> Option<PeerKey> {
        self.nodes[node].peers.iter().find(|(_, id)| **id == peer).map(|(&key, _)| key)
    }

    fn join(&mut self, a: NodeId, b: NodeId) {
        let barred = self.nodes[a].dismissed.contains(&b) || self.nodes[b].dismissed.contains(&a);
        if a == b || barred || self.key(a, b).is_some() {
            return;
        }
        let now = self.instant();
        self.connections += 2;
        for (node, peer, key) in [(a, b, self.connections), (b, a, self.connections + 1)] {
            let key = PeerKey(key);
            let node = &mut self.nodes[node];
            node.peers.insert(key, peer);
            node.server.handle(now, server::Input::Joined { peer: key });
            node.fetch.handle(now, fetch::Input::Joined { peer: key, protocol: Protocol::V1_2 });
        }
        self.drive(a);
        self.drive(b);
    }

    fn part(&mut self, a: NodeId, b: NodeId) {
        let now = self.instant();
        for (node, peer) in [(a, b), (b, a)] {
            let Some(key) = self.key(node, peer) else { continue };
            let node = &mut self.nodes[node];
            node.peers.remove(&key);
            node.server.handle(now, server::Input::Left { peer: key });
            node.fetch.handle(now, fetch::Input::Left { peer: key });
        }
        self.drive(a);
        self.drive(b);
    }

    /// Carries out what the cores of a node say.
    fn drive(&mut self, id: NodeId) {
        while let Some(output) = self.nodes[id].server.poll_output() {
            match output {
                server::Output::Look(cid) => self.plan(self.now + DISK, Event::Looked { node: id, cid }),
                server::Output::Read(cid) => self.plan(self.now + DISK, Event::Read { node: id, cid }),
                server::Output::Send { peer, message } => self.send(id, peer, message, true),
                server::Output::Dismiss { peer } => self.dismiss(id, peer),
            }
        }
        while let Some(output) = self.nodes[id].fetch.poll_output() {
            match output {
                fetch::Output::Send { peer, entries } => {
                    let wantlist = Wantlist { entries, full: false };
                    self.send(id, peer, Message { wantlist, ..Message::default() }, false);
                }
                fetch::Output::Seek { session, cid } => self.seek(id, session, &cid),
                fetch::Output::Dismiss { peer } => self.dismiss(id, peer),
            }
        }
        let due = self.nodes[id].fetch.poll_timeout().map(|at| at.saturating_duration_since(self.start));
        if let Some(due) = due
            && self.nodes[id].tick.is_none_or(|tick| due < tick)
        {
            self.nodes[id].tick = Some(due);
            self.plan(due, Event::Tick(id));
        }
    }

    fn dismiss(&mut self, id: NodeId, peer: PeerKey) {
        if let Some(&other) = self.nodes[id].peers.get(&peer) {
            self.nodes[id].dismissed.insert(other);
            self.plan(self.now, Event::Break(id, other));
        }
    }

    fn seek(&mut self, id: NodeId, session: SessionKey, cid: &Cid) {
        let now = self.instant();
        for provider in self.providers.get(&number(cid)).cloned().unwrap_or_default() {
            self.join(id, provider);
            if let Some(peer) = self.key(id, provider) {
                self.nodes[id].fetch.handle(now, fetch::Input::Provider { session, peer });
            }
        }
    }

    fn send(&mut self, from: NodeId, peer: PeerKey, message: Message, blocks: bool) {
        let Some(&to) = self.nodes[from].peers.get(&peer) else { return };
        if self.loss > 0.0 && self.rng.random_bool(self.loss) {
            self.plan(self.now, Event::Break(from, to));
            self.plan(self.now + RECONNECT, Event::Connect(from, to));
            return;
        }
        let bytes: usize = message.blocks.iter().map(|block| block.data.len() + 20).sum();
        let bytes = (bytes + 50 * (message.wantlist.entries.len() + message.presences.len())) as f64;
        let now = self.now;
        let sender = &mut self.nodes[from];
        let begins = sender.up_free.max(now);
        sender.up_free = begins + Duration::from_secs_f64(bytes / sender.link.up);
        let written = sender.up_free;
        let latency = sender.link.latency + self.nodes[to].link.latency;
        let mut heard = begins + latency + HEARD;
        // The other end of the connection has the other key of the pair.
        let key = PeerKey(peer.0 ^ 1);
        while heard < written + latency {
            self.plan(heard, Event::Heard { node: to, peer: key });
            heard += HEARD;
        }
        self.plan(written, Event::Sent { node: from, peer, blocks });
        self.plan(written + latency, Event::Reach { to, from: key, message, bytes });
    }

    /// A message has come to its receiver's link, which is a queue.
    fn reach(&mut self, to: NodeId, from: PeerKey, message: Message, bytes: f64) {
        let receiver = &mut self.nodes[to];
        receiver.down_free =
            receiver.down_free.max(self.now) + Duration::from_secs_f64(bytes / receiver.link.down);
        let arrives = receiver.down_free;
        self.plan(arrives, Event::Arrive { to, from, message });
    }

    fn arrive(&mut self, to: NodeId, from: PeerKey, message: Message) {
        if !self.nodes[to].peers.contains_key(&from) {
            return;
        }
        let now = self.instant();
        for block in &message.blocks {
            self.block_arrives(to, from, block);
        }
        let node = &mut self.nodes[to];
        if !message.presences.is_empty() {
            node.fetch.handle(now, fetch::Input::Presences { peer: from, presences: message.presences });
        }
        if !message.wantlist.entries.is_empty() {
            self.take_wants(to, from, message.wantlist);
        }
        self.drive(to);
    }

    fn block_arrives(&mut self, to: NodeId, from: PeerKey, block: &Block) {
        let now = self.instant();
        let name = cid(u32::try_from(block.prefix.codec).unwrap());
        let size = block.data.len();
        let node = &mut self.nodes[to];
        if let Received::Wanted(_) = node.fetch.receive(now, from, &name, size) {
            node.server.handle(now, server::Input::Received { peer: from, bytes: size });
            node.server.handle(now, server::Input::Arrived { cid: name, size });
            node.blocks.insert(number(&name));
            node.wanted.remove(&number(&name));
            if node.wanted.is_empty() {
                node.done = Some(self.now);
            }
        }
    }

    fn take_wants(&mut self, to: NodeId, from: PeerKey, wantlist: Wantlist) {
        let now = self.instant();
        let wanted = |entry: &&Entry| entry.want != Want::Cancel;
        let cids = wantlist.entries.iter().filter(wanted).map(|entry| (entry.cid, entry.want));
        match self.nodes[to].manners {
            Manners::Honest => {
                let input = server::Input::Wants { peer: from, wantlist, left_out: 0 };
                self.nodes[to].server.handle(now, input);
            }
            Manners::Silent => {}
            Manners::Promises => {
                let presences = cids.map(|(cid, _)| (cid, Presence::Have)).collect();
                self.send(to, from, Message { presences, ..Message::default() }, true);
            }
            Manners::Corrupts => {
                let mut message = Message::default();
                for (cid, want) in cids {
                    match want {
                        Want::Have => message.presences.push((cid, Presence::Have)),
                        _ => message.blocks.push(junk(self.block)),
                    }
                }
                self.send(to, from, message, true);
            }
        }
    }
}

fn junk(size: usize) -> Block {
    let prefix = Prefix { codec: u32::MAX.into(), ..Prefix::V0 };
    Block { prefix, data: vec![1; size].into() }
}
