//! The task behind a [`Dht`](super::Dht): one node, two sockets, the lookups of all transfers.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::node::{Event, Node, NodeConfig};
use super::schedule::{Outcome, Schedule};
use super::{BOOTSTRAP, DhtConfig, DhtStatus, nodes};
use crate::address::{DialRules, Origin};
use crate::discovery::{Discovery, PeerSink};
use crate::hash::SwarmHash;
use crate::ports::Ports;
use crate::sockets::Sockets;

/// Peers taken from one lookup; more come from the peers themselves.
const PEERS_MAX: usize = 1_000;

/// Bytes of a datagram: what is longer does not come over the internet in one piece.
const DATAGRAM_MAX: usize = 2_048;

/// How often names are looked up while nobody is known.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// For the system's resolver.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often nodes are written down.
const SAVE_EVERY: Duration = Duration::from_secs(10 * 60);

/// What handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Add(SwarmHash, Ports),
    Remove(SwarmHash),
    Hurry(SwarmHash),
    AddNode(SocketAddr),
    Status(oneshot::Sender<DhtStatus>),
    Stop(oneshot::Sender<()>),
}

pub(super) struct Task {
    config: DhtConfig,
    rules: DialRules,
    peers: PeerSink,
    sockets: Sockets,
    node: Node,
    schedule: Schedule,
    /// Peers that may still be taken from each lookup under way, of [`PEERS_MAX`].
    lookups: HashMap<SwarmHash, usize>,
    /// There were nodes in the table when it was looked at last.
    joined: bool,
    /// What the sink had no room for; while there is any, no lookup begins.
    waiting: VecDeque<Discovery>,
    resolving: JoinSet<Vec<SocketAddr>>,
}

impl Task {
    /// A task whose node begins with those of the last run.
    pub(super) async fn new(config: DhtConfig, rules: DialRules, peers: PeerSink, sockets: Sockets) -> Self {
        let families =
            NodeConfig { v4: sockets.has(false), v6: sockets.has(true), read_only: config.read_only };
        let now = Instant::now();
        let mut node = Node::new(&families, rand::random(), now);
        if let Some(path) = config.nodes_file.clone() {
            let loaded = tokio::task::spawn_blocking(move || nodes::load(&path)).await;
            node.add_saved(now, &loaded.unwrap_or_default());
        }
        Self {
            node,
            schedule: Schedule::new(config.concurrency),
            config,
            rules,
            peers,
            sockets,
            lookups: HashMap::new(),
            joined: false,
            waiting: VecDeque::new(),
            resolving: JoinSet::new(),
        }
    }

    /// Runs until told to stop, or until the last handle is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let sink = self.peers.clone();
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut resolve = tokio::time::interval(RESOLVE_EVERY);
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.reset();
        loop {
            self.begin_lookups();
            self.flush().await;
            let timeout = self.next_timeout();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Stop(stopped)) => {
                        self.save().await;
                        // Whoever waited may have left.
                        let _ = stopped.send(());
                        return;
                    }
                    Some(command) => self.handle_command(command),
                    None => return self.save().await,
                },
                received = self.sockets.receive(&mut buffer) => match received {
                    Ok((from, length)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.node.handle_datagram(Instant::now(), from, datagram);
                    }
                    Err(error) => tracing::debug!(%error, "cannot receive from the DHT"),
                },
                () = tokio::time::sleep_until(timeout.into()) => self.node.handle_timeout(Instant::now()),
                Ok(room) = sink.reserve(), if !self.waiting.is_empty() => {
                    if let Some(discovery) = self.waiting.pop_front() {
                        room.send(discovery);
                    }
                }
                Some(Ok(found)) = self.resolving.join_next() => self.node.add_routers(Instant::now(), &found),
                _ = resolve.tick() => self.resolve(),
                _ = save.tick() => self.save().await,
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Add(swarm, ports) => self.schedule.add(now, swarm, ports),
            Command::Remove(swarm) => {
                self.schedule.remove(swarm);
                self.node.abandon(swarm);
                self.lookups.remove(&swarm);
                self.waiting.retain(|discovery| discovery.swarm != swarm);
            }
            Command::Hurry(swarm) => self.schedule.hurry(now, swarm),
            Command::AddNode(address) => self.node.add_node(now, address),
            Command::Status(reply) => {
                let nodes = self.node.len();
                let public_address = self.node.public_address();
                // Whoever asked may have left.
                let _ = reply.send(DhtStatus {
                    nodes,
                    bootstrapped: nodes > 0,
                    public_address,
                    swarms: self.schedule.len(),
                });
            }
            Command::Stop(_) => {}
        }
    }

    /// Begins lookups that are due. While nobody is known whom one could ask, they wait: they would end at once, and be
    /// repeated only after a pause.
    fn begin_lookups(&mut self) {
        let now = Instant::now();
        let joined = self.node.len() > 0;
        if joined && !self.joined {
            self.schedule.retry_lost(now);
        }
        self.joined = joined;
        while self.may_look_up()
            && let Some((swarm, ports)) = self.schedule.poll(now)
        {
            self.lookups.insert(swarm, PEERS_MAX);
            self.node.look_up(now, swarm, ports);
        }
    }

    fn may_look_up(&self) -> bool {
        self.waiting.is_empty() && self.node.knows_somebody()
    }

    fn next_timeout(&self) -> Instant {
        let node = self.node.poll_timeout();
        match self.schedule.poll_timeout().filter(|_| self.may_look_up()) {
            Some(at) => node.min(at),
            None => node,
        }
    }

    /// Carries out what the node decided.
    async fn flush(&mut self) {
        while let Some((to, datagram)) = self.node.poll_transmit() {
            if let Err(error) = self.sockets.send(&datagram, to).await {
                // As good as a lost datagram: the query times out.
                tracing::trace!(%to, %error, "cannot send to a DHT node");
            }
        }
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Peers { swarm, peers, from } => self.deliver(swarm, peers, from),
                Event::Done { swarm, answered, stored } => {
                    tracing::debug!(%swarm, answered, stored, "looked up in the DHT");
                    let found = self.lookups.remove(&swarm).is_some_and(|left| left < PEERS_MAX);
                    let outcome = match (answered, found) {
                        (_, true) => Outcome::Found,
                        (0, false) => Outcome::Lost,
                        (_, false) => Outcome::Empty,
                    };
                    self.schedule.finish(Instant::now(), swarm, outcome, rand::random());
                }
            }
        }
    }

    fn deliver(&mut self, swarm: SwarmHash, peers: Vec<SocketAddr>, from: SocketAddr) {
        let Some(left) = self.lookups.get_mut(&swarm) else { return };
        let addresses = self.rules.keep(peers, Origin::Host(from.ip()), *left);
        *left -= addresses.len();
        if !addresses.is_empty() {
            let from = Arc::from("the DHT");
            self.waiting.push_back(Discovery { swarm, addresses, found: Found::DHT, from });
        }
    }

    /// Looks up the names to begin with, as long as nobody is known: the network may only just have come up.
    fn resolve(&mut self) {
        if self.node.len() > 0 || !self.resolving.is_empty() {
            return;
        }
        let public = || BOOTSTRAP.iter().map(|name| (*name).to_owned()).collect();
        let names: Vec<String> = self.config.bootstrap.clone().unwrap_or_else(public);
        for name in names.into_iter().take(nodes::NODES_MAX) {
            self.resolving.spawn(async move {
                match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(&name)).await {
                    Ok(Ok(addresses)) => addresses.take(4).collect(),
                    Ok(Err(error)) => {
                        tracing::debug!(name, %error, "cannot look up a DHT node");
                        Vec::new()
                    }
                    Err(_) => Vec::new(),
                }
            });
        }
    }

    async fn save(&self) {
        let Some(path) = self.config.nodes_file.clone() else { return };
        let freshest = self.node.freshest(nodes::NODES_MAX / 2);
        let saving = path.clone();
        let saved = tokio::task::spawn_blocking(move || nodes::save(&saving, &freshest)).await;
        if let Err(error) = saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(?path, %error, "cannot save the DHT's nodes");
        }
    }
}
