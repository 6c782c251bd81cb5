//! The nodes, what happens to them, and the translation between their engines' outputs and events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{Block, Layout, PieceIndex, PieceSet};
use peerage_swarm::core::{
    Availability, Found, Input, Output, PeerCaps, PeerKey, PeerStats, ReaderId, Shown, Swarm,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

use super::node::{Behaviour, Node, NodeId, NodeSpec, Parting, Summary, address, node_at};
use super::queue::Queue;
use super::transfer::{End, Message, Transfer};

mod blocks;

/// Addresses that the tracker gives.
const TRACKER_ADDRESSES: usize = 50;
/// Time that the tracker takes to answer.
const TRACKER_TAKES: Duration = Duration::from_secs(1);
/// Time between two announces.
const ANNOUNCE: Duration = Duration::from_secs(300);
/// The same for a node with few peers.
const ANNOUNCE_FEW: Duration = Duration::from_secs(30);
/// Fewer peers than this are few.
const FEW: usize = 20;
/// Requests that a node queues for another.
const REQUESTS_MAX: usize = 500;
/// How long a dial to a host that does not answer takes to fail.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Event {
    Join(NodeId),
    Leave(NodeId),
    Announce(NodeId),
    Wake(NodeId),
    Dial {
        from: NodeId,
        to: SocketAddr,
    },
    /// A message reaches an end of a connection.
    Arrive {
        transfer: usize,
        end: End,
        message: Box<Message>,
    },
    /// A piece is announced to all peers of a node. One event for all: they are most of the messages.
    Tell {
        node: NodeId,
        piece: PieceIndex,
    },
    /// The uplink has sent the block it was busy with, or may try again.
    Sent {
        node: NodeId,
        transfer: usize,
        end: End,
        bytes: u32,
    },
    Retry(NodeId),
    Data {
        transfer: usize,
        end: End,
        block: Block,
        bad: bool,
    },
    Play(NodeId),
}

/// A simulated network of peers that share one content.
#[derive(Debug)]
pub struct Network {
    layout: Arc<Layout>,
    nodes: Vec<Node>,
    transfers: Vec<Transfer>,
    queue: Queue<Event>,
    /// What the virtual clock's zero is called in the engines' terms.
    epoch: Instant,
    rng: Xoshiro256PlusPlus,
    /// Nodes that the tracker knows.
    registered: Vec<NodeId>,
    /// Pieces that a node other than the first has.
    out: PieceSet,
    /// When all of them were.
    copy_out: Option<Duration>,
    unfinished: usize,
    trace: u64,
    events: u64,
}

impl Network {
    /// A network without nodes, for content of this layout.
    pub fn new(layout: Layout, seed: u64) -> Self {
        let out = PieceSet::empty(layout.piece_count());
        Self {
            layout: Arc::new(layout),
            nodes: Vec::new(),
            transfers: Vec::new(),
            queue: Queue::new(),
            epoch: Instant::now(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            registered: Vec::new(),
            out,
            copy_out: None,
            unfinished: 0,
            trace: 0,
            events: 0,
        }
    }

    /// Adds a node that will join when its spec says.
    pub fn add(&mut self, spec: NodeSpec) -> NodeId {
        let node = self.nodes.len();
        self.queue.plan(spec.joins, Event::Join(node));
        self.unfinished += usize::from(!spec.seed);
        self.nodes.push(Node::new(spec));
        node
    }

    /// Lets things happen until every node that stays has everything, or time is up; says whether all have it.
    pub fn run(&mut self, end: Duration) -> bool {
        while self.unfinished > 0
            && let Some(event) = self.queue.next(end)
        {
            self.happen(event);
        }
        self.unfinished == 0
    }

    /// Lets things happen for a time, whoever has finished.
    pub fn pass(&mut self, time: Duration) {
        let end = self.queue.now() + time;
        while let Some(event) = self.queue.next(end) {
            self.happen(event);
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Duration {
        self.queue.now()
    }

    /// A hash over all events so far, their times and order.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// How many events happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// When all pieces together were at nodes that did not bring them.
    pub fn copy_out(&self) -> Option<Duration> {
        self.copy_out
    }

    /// How a node fared so far.
    pub fn summary(&self, node: NodeId) -> Summary {
        let node = &self.nodes[node];
        let mut summary = node.summary.clone();
        if let Some(swarm) = &node.swarm {
            summary.stats = swarm.stats(self.instant());
        }
        summary
    }

    /// How all nodes fared so far.
    pub fn summaries(&self) -> Vec<Summary> {
        (0..self.nodes.len()).map(|node| self.summary(node)).collect()
    }

    /// What a node's engine says about its peers, and which nodes they are.
    pub fn peers(&self, node: NodeId) -> Vec<(NodeId, PeerStats)> {
        let Some(swarm) = &self.nodes[node].swarm else { return Vec::new() };
        let peers = swarm.peers(self.instant()).into_iter();
        peers.filter_map(|peer| Some((node_at(peer.address)?, peer))).collect()
    }

    /// What a node has.
    pub fn have(&self, node: NodeId) -> Option<&PieceSet> {
        self.nodes[node].swarm.as_ref().map(|swarm| swarm.have())
    }

    /// What a node is made of.
    pub fn spec(&self, node: NodeId) -> &NodeSpec {
        &self.nodes[node].spec
    }

    fn instant(&self) -> Instant {
        self.epoch + self.queue.now()
    }

    fn happen(&mut self, event: Event) {
        self.events += 1;
        self.note(&event);
        match event {
            Event::Join(node) => self.join(node),
            Event::Leave(node) => self.leave(node),
            Event::Announce(node) => self.announce(node),
            Event::Wake(node) => {
                if self.nodes[node].wake == Some(self.now()) {
                    self.nodes[node].wake = None;
                    self.tell_engine(node, Input::Tick);
                }
            }
            Event::Dial { from, to } => self.dial(from, to),
            Event::Arrive { transfer, end, message } => self.arrive(transfer, end, *message),
            Event::Tell { node, piece } => self.tell_have(node, piece),
            Event::Sent { node, transfer, end, bytes } => {
                self.nodes[node].uplink.busy = false;
                if self.transfers[transfer].open[end] {
                    self.tell_engine(
                        node,
                        Input::Sent { peer: PeerKey(transfer as u64), bytes: bytes.into(), padding: 0 },
                    );
                }
                self.send_next(node);
            }
            Event::Retry(node) => {
                self.nodes[node].uplink.busy = false;
                self.send_next(node);
            }
            Event::Data { transfer, end, block, bad } => self.data(transfer, end, block, bad),
            Event::Play(node) => self.play(node),
        }
    }

    /// Mixes an event into the trace.
    fn note(&mut self, event: &Event) {
        let (kind, a, b): (u64, u64, u64) = match *event {
            Event::Join(node) => (1, node as u64, 0),
            Event::Leave(node) => (2, node as u64, 0),
            Event::Announce(node) => (3, node as u64, 0),
            Event::Wake(node) => (4, node as u64, 0),
            Event::Dial { from, to } => (5, from as u64, u64::from(to.port())),
            Event::Arrive { transfer, end, .. } => (6, transfer as u64, end as u64),
            Event::Tell { node, piece } => (7, node as u64, piece.into()),
            Event::Sent { node, transfer, .. } => (8, node as u64, transfer as u64),
            Event::Retry(node) => (9, node as u64, 0),
            Event::Data { transfer, block, .. } => {
                (10, transfer as u64, u64::from(block.piece) << 32 | u64::from(block.begin))
            }
            Event::Play(node) => (11, node as u64, 0),
        };
        for word in [self.queue.now().as_nanos() as u64, kind, a, b] {
            self.trace = (self.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }

    fn join(&mut self, id: NodeId) {
        let now = self.instant();
        let pieces = self.layout.piece_count();
        let seed = self.rng.next_u64();
        let node = &mut self.nodes[id];
        let have = if node.spec.seed { PieceSet::full(pieces) } else { PieceSet::empty(pieces) };
        node.swarm =
            Some(Box::new(Swarm::new(node.spec.config.clone(), self.layout.clone(), have, seed, now)));
        if let Some(reader) = node.spec.reader {
            let first = self.queue.now() + reader.patience;
            self.queue.plan(first, Event::Play(id));
            self.set_deadlines(id, first);
        }
        if let Parting::After(stay) = self.nodes[id].spec.parting {
            self.queue.plan(self.queue.now() + stay, Event::Leave(id));
        }
        self.registered.push(id);
        self.queue.plan(self.queue.now() + TRACKER_TAKES, Event::Announce(id));
    }

    /// The tracker's answer arrives.
    fn announce(&mut self, id: NodeId) {
        let Some(swarm) = &self.nodes[id].swarm else { return };
        let connected = swarm.stats(self.instant()).peers_connected;
        let mut addresses = Vec::with_capacity(TRACKER_ADDRESSES);
        // Drawn with replacement, as if from a large table: a few duplicates do not matter.
        for _ in 0..TRACKER_ADDRESSES.min(self.registered.len()) {
            addresses.push(address(self.registered[self.rng.random_range(0..self.registered.len())]));
        }
        addresses.retain(|other| *other != address(id));
        self.tell_engine(id, Input::Known { addresses: &addresses, found: Found::TRACKER });
        let pause = if connected < FEW { ANNOUNCE_FEW } else { ANNOUNCE };
        self.queue.plan(self.queue.now() + pause, Event::Announce(id));
    }

    fn leave(&mut self, id: NodeId) {
        let summary = self.summary(id);
        let node = &mut self.nodes[id];
        if node.swarm.take().is_none() {
            return;
        }
        // Who leaves without is not waited for.
        self.unfinished -= usize::from(!node.spec.seed && summary.finished.is_none());
        node.summary = summary;
        self.registered.retain(|registered| *registered != id);
        for transfer in std::mem::take(&mut self.nodes[id].transfers) {
            let end = self.end_of(transfer, id);
            self.close(transfer, end);
        }
    }

    fn end_of(&self, transfer: usize, node: NodeId) -> End {
        usize::from(self.transfers[transfer].nodes[0] != node)
    }

    /// An end of a connection is closed; the other hears of it.
    fn close(&mut self, transfer: usize, end: End) {
        if std::mem::take(&mut self.transfers[transfer].open[end]) {
            self.transfers[transfer].queues[end].clear();
            self.say(transfer, end, Message::Close);
        }
    }

    fn latency(&self, one: NodeId, other: NodeId) -> Duration {
        self.nodes[one].spec.link.latency + self.nodes[other].spec.link.latency
    }

    /// Sends a message from an end to the other.
    fn say(&mut self, transfer: usize, end: End, message: Message) {
        let [one, other] = self.transfers[transfer].nodes;
        let at = self.queue.now() + self.latency(one, other);
        self.queue.plan(at, Event::Arrive { transfer, end: 1 - end, message: Box::new(message) });
    }

    fn dial(&mut self, from: NodeId, to: SocketAddr) {
        if self.nodes[from].swarm.is_none() {
            return;
        }
        let target = node_at(to).filter(|&node| {
            self.nodes.get(node).is_some_and(|node| node.swarm.is_some() && !node.spec.nat) && node != from
        });
        let Some(target) = target else {
            self.tell_engine(from, Input::DialFailed { address: to });
            return;
        };
        let transfer = self.transfers.len();
        self.transfers.push(Transfer::new([from, target]));
        let port = 10_000 + (transfer % 50_000) as u16;
        let ends = [
            (from, address(target), None, true),
            (target, SocketAddr::new(address(from).ip(), port), Some(address(from)), false),
        ];
        for (node, address, listen_address, outgoing) in ends {
            self.nodes[node].transfers.push(transfer);
            let caps = PeerCaps {
                address,
                listen_address,
                outgoing,
                fast: self.nodes[from].spec.fast && self.nodes[target].spec.fast,
                requests_max: REQUESTS_MAX,
                serves_only: false,
            };
            self.tell_engine(node, Input::Joined { peer: PeerKey(transfer as u64), caps });
        }
    }

    /// Gives an input to a node's engine and does what it says.
    fn tell_engine(&mut self, id: NodeId, input: Input<'_>) {
        let now = self.instant();
        let Some(swarm) = &mut self.nodes[id].swarm else { return };
        swarm.handle(now, input);
        self.obey(id);
    }

    /// Does what a node's engine says, and plans its next tick.
    fn obey(&mut self, id: NodeId) {
        while let Some(output) = self.nodes[id].swarm.as_mut().and_then(|swarm| swarm.poll_output()) {
            self.act(id, output);
        }
        let node = &mut self.nodes[id];
        let Some(at) = node.swarm.as_ref().and_then(|swarm| swarm.poll_timeout()) else { return };
        let at = at.saturating_duration_since(self.epoch).max(self.queue.now());
        if node.wake.is_none_or(|planned| at < planned) {
            node.wake = Some(at);
            self.queue.plan(at, Event::Wake(id));
        }
    }

    fn act(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Request { peer, blocks } => self.say_as(id, peer, Message::Request(blocks)),
            Output::Cancel { peer, blocks } => self.say_as(id, peer, Message::Cancel(blocks)),
            Output::Interest { peer, interested } => self.say_as(id, peer, Message::Interest(interested)),
            Output::Choke { peer, choked } => self.choke(id, peer, choked),
            Output::Introduce { peer, availability } => {
                let availability = match availability {
                    Shown::All => Availability::All,
                    Shown::Nothing => Availability::None,
                    Shown::Verified(set) => Availability::Some(set),
                };
                self.say_as(id, peer, Message::Has(availability));
            }
            Output::Announce { peer: Some(peer), piece } => self.say_as(id, peer, Message::Have(piece)),
            Output::Announce { peer: None, piece } => {
                let at = self.queue.now() + 2 * self.nodes[id].spec.link.latency;
                self.queue.plan(at, Event::Tell { node: id, piece });
            }
            Output::Discard { piece } => {
                self.nodes[id].gathered.remove(&piece);
            }
            Output::Dismiss { peer, .. } => {
                let transfer = peer.0 as usize;
                let end = self.end_of(transfer, id);
                self.nodes[id].transfers.retain(|open| *open != transfer);
                self.close(transfer, end);
            }
            Output::Ban { address } => self.nodes[id].summary.banned.extend(node_at(address)),
            Output::Dial { address } => {
                let target = node_at(address).and_then(|node| self.nodes.get(node));
                let reachable = target.filter(|node| node.swarm.is_some() && !node.spec.nat);
                let takes = reachable.map_or(DIAL_TIMEOUT, |node| {
                    2 * (node.spec.link.latency + self.nodes[id].spec.link.latency)
                });
                self.queue.plan(self.queue.now() + takes, Event::Dial { from: id, to: address });
            }
            Output::Finished => self.finished(id),
            // Nothing is ever lost here, and new kinds of output would be noticed by what does not happen.
            _ => {}
        }
    }

    fn say_as(&mut self, id: NodeId, peer: PeerKey, message: Message) {
        let transfer = peer.0 as usize;
        let end = self.end_of(transfer, id);
        self.say(transfer, end, message);
    }

    fn choke(&mut self, id: NodeId, peer: PeerKey, choked: bool) {
        if self.nodes[id].spec.behaviour == Behaviour::FreeRider && !choked {
            return;
        }
        let transfer = peer.0 as usize;
        let end = self.end_of(transfer, id);
        self.transfers[transfer].choking[end] = choked;
        self.say(transfer, end, Message::Choke(choked));
        if choked {
            let dropped: Vec<Block> = self.transfers[transfer].queues[end].drain(..).collect();
            self.reject(transfer, end, dropped);
        }
    }

    fn reject(&mut self, transfer: usize, end: End, blocks: Vec<Block>) {
        let fast = self.transfers[transfer].nodes.iter().all(|&node| self.nodes[node].spec.fast);
        if fast && !blocks.is_empty() {
            self.say(transfer, end, Message::Reject(blocks));
        }
    }

    fn finished(&mut self, id: NodeId) {
        let now = self.queue.now();
        let node = &mut self.nodes[id];
        if node.summary.finished.replace(now).is_none() {
            self.unfinished -= 1;
        }
        if let Parting::AfterFinish(pause) = node.spec.parting {
            self.queue.plan(now + pause, Event::Leave(id));
        }
    }

    fn arrive(&mut self, transfer: usize, end: End, message: Message) {
        if !self.transfers[transfer].open[end] {
            return;
        }
        let id = self.transfers[transfer].nodes[end];
        let peer = PeerKey(transfer as u64);
        match message {
            Message::Has(availability) => self.tell_engine(id, Input::Has { peer, availability }),
            Message::Have(piece) => self.tell_engine(id, Input::Have { peer, piece }),
            Message::Choke(choked) => self.tell_engine(id, Input::Choked { peer, choked }),
            Message::Interest(interested) => self.tell_engine(id, Input::Interest { peer, interested }),
            Message::Reject(blocks) => self.tell_engine(id, Input::Rejected { peer, blocks: &blocks }),
            Message::Request(blocks) => self.requested(id, transfer, end, blocks),
            Message::Cancel(blocks) => {
                let queue = &mut self.transfers[transfer].queues[end];
                queue.retain(|block| !blocks.contains(block));
            }
            Message::Close => {
                self.transfers[transfer].open[end] = false;
                self.transfers[transfer].queues[end].clear();
                self.nodes[id].transfers.retain(|open| *open != transfer);
                self.tell_engine(id, Input::Left { peer });
            }
        }
    }

    /// A piece is at somebody who did not bring it. When all are, those who waited for it leave.
    fn got_out(&mut self, piece: PieceIndex) {
        if !self.out.insert(piece) || !self.out.is_full() {
            return;
        }
        self.copy_out = Some(self.queue.now());
        for id in 0..self.nodes.len() {
            if self.nodes[id].spec.parting == Parting::WhenACopyIsOut {
                self.queue.plan(self.queue.now(), Event::Leave(id));
            }
        }
    }

    fn tell_have(&mut self, id: NodeId, piece: PieceIndex) {
        let transfers = self.nodes[id].transfers.clone();
        for transfer in transfers {
            let end = 1 - self.end_of(transfer, id);
            if self.transfers[transfer].open[end] {
                let other = self.transfers[transfer].nodes[end];
                self.tell_engine(other, Input::Have { peer: PeerKey(transfer as u64), piece });
            }
        }
    }

    /// The player wants its next piece.
    fn play(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let (Some(reader), Some(swarm)) = (node.spec.reader, &node.swarm) else { return };
        if node.playing >= self.layout.piece_count() {
            return;
        }
        let piece_time =
            Duration::from_secs_f64(f64::from(self.layout.piece_size(node.playing)) / reader.rate as f64);
        let next = if swarm.have().contains(node.playing) {
            node.playing += 1;
            piece_time
        } else {
            let look_again = Duration::from_millis(100);
            node.summary.stalled += look_again;
            look_again
        };
        let at = self.queue.now() + next;
        self.queue.plan(at, Event::Play(id));
        self.set_deadlines(id, at);
    }

    /// Tells the engine when the player will need the pieces ahead, the next of them at `first`.
    fn set_deadlines(&mut self, id: NodeId, first: Duration) {
        let node = &self.nodes[id];
        let Some(reader) = node.spec.reader else { return };
        let piece_time = f64::from(self.layout.piece_length()) / reader.rate as f64;
        let playing = node.playing;
        for ahead in 0..reader.window.min(self.layout.piece_count().saturating_sub(playing)) {
            let at = self.epoch + first + Duration::from_secs_f64(piece_time * f64::from(ahead));
            self.tell_engine(id, Input::Deadline { reader: ReaderId(0), piece: playing + ahead, at });
        }
    }
}
