//! The task behind a [`Dht`](super::Dht).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use super::node::Node;
use super::schedule::Schedule;
use super::{BOOTSTRAP, DhtConfig, DhtStatus, nodes};
use crate::address::{DialRules, Origin, Reach, canonical, reach};
use crate::discovery::{Discovery, PeerSink};
use crate::hash::SwarmHash;

/// Peers taken from one lookup; more come from the peers themselves.
const PEERS_MAX: usize = 1_000;

/// Addresses of nodes that peers told us, kept until somebody is needed to begin with.
const HINTS_MAX: usize = 8;

/// How often it is checked that the node has found the network.
const CARE_EVERY: Duration = Duration::from_secs(10);

/// For the system's resolver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often nodes are written down.
const SAVE_EVERY: Duration = Duration::from_secs(10 * 60);

/// What handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Add(SwarmHash, Option<u16>),
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
    node: Node,
    /// Whom the node was started with.
    began_with: Vec<SocketAddrV4>,
    /// Where the node listens, for good: a restart must not change it.
    address: SocketAddrV4,
    hints: Vec<SocketAddrV4>,
    schedule: Schedule,
    lookups: JoinSet<bool>,
    /// Which swarm a lookup is for, should it break off.
    looked_up: HashMap<Id, SwarmHash>,
}

impl Task {
    pub(super) async fn start(mut config: DhtConfig, rules: DialRules, peers: PeerSink) -> io::Result<Self> {
        let began_with = bootstrap(&config).await;
        let node = Node::start(config.bind, config.server, began_with.clone()).await?;
        let address = node.address().await.unwrap_or(config.bind);
        config.bind.set_port(address.port());
        Ok(Self {
            schedule: Schedule::new(config.concurrency),
            config,
            rules,
            peers,
            node,
            began_with,
            address,
            hints: Vec::new(),
            lookups: JoinSet::new(),
            looked_up: HashMap::new(),
        })
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Runs until told to stop, or until the last handle is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut care = tokio::time::interval(CARE_EVERY);
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.reset();
        loop {
            while let Some((swarm, port)) = self.schedule.poll(Instant::now()) {
                self.look_up(swarm, port);
            }
            let timeout = self.schedule.poll_timeout();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Stop(stopped)) => {
                        self.save().await;
                        // Whoever waited may have left.
                        let _ = stopped.send(());
                        return;
                    }
                    Some(command) => self.handle_command(command).await,
                    None => return self.save().await,
                },
                Some(ended) = self.lookups.join_next_with_id() => self.handle_ended(ended),
                _ = care.tick() => self.care().await,
                _ = save.tick() => self.save().await,
                () = until(timeout) => {}
            }
        }
    }

    async fn handle_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Add(swarm, port) => self.schedule.add(now, swarm, port),
            Command::Remove(swarm) => self.schedule.remove(swarm),
            Command::Hurry(swarm) => self.schedule.hurry(now, swarm),
            Command::AddNode(address) => {
                if let SocketAddr::V4(node) = canonical(address)
                    && node.port() != 0
                    && self.hints.len() < HINTS_MAX
                    && !self.hints.contains(&node)
                {
                    self.hints.push(node);
                }
            }
            Command::Status(reply) => {
                let nodes = self.node.nodes().await.len();
                let public_address = self.node.public_address().await.map(SocketAddr::V4);
                // Whoever asked may have left.
                let _ = reply.send(DhtStatus {
                    address: self.address.into(),
                    nodes,
                    bootstrapped: nodes > 0,
                    public_address,
                });
            }
            Command::Stop(_) => {}
        }
    }

    fn look_up(&mut self, swarm: SwarmHash, port: Option<u16>) {
        let lookup =
            look_up(self.node.clone(), swarm, port, self.rules.clone(), self.origin(), self.peers.clone());
        let lookup = self.lookups.spawn(lookup);
        self.looked_up.insert(lookup.id(), swarm);
    }

    fn handle_ended(&mut self, ended: Result<(Id, bool), JoinError>) {
        let (id, reached) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), false),
        };
        if let Some(swarm) = self.looked_up.remove(&id) {
            self.schedule.finish(Instant::now(), swarm, reached, rand::random());
        }
    }

    /// A network that the user made of machines of their own may name such machines; the public one may not.
    fn origin(&self) -> Origin {
        let widest = self.began_with.iter().map(|node| IpAddr::from(*node.ip())).max_by_key(|ip| reach(*ip));
        let widest = widest.unwrap_or(IpAddr::from(*self.address.ip()));
        if reach(widest) == Reach::Public { Origin::Strangers } else { Origin::Host(widest) }
    }

    /// A node that knows nobody is started anew once there is somebody to begin with: names resolve at last, or a peer
    /// told us of its node.
    async fn care(&mut self) {
        if !self.node.nodes().await.is_empty() {
            return;
        }
        let mut begin_with = bootstrap(&self.config).await;
        begin_with.extend(&self.hints);
        if begin_with.iter().all(|node| self.began_with.contains(node)) {
            return;
        }
        tracing::debug!(nodes = begin_with.len(), "the DHT node begins anew");
        self.lookups.abort_all();
        if let Err(error) = self.node.restart(self.config.bind, self.config.server, begin_with.clone()).await
        {
            tracing::warn!(%error, "the DHT node cannot begin anew");
        }
        self.began_with = begin_with;
    }

    async fn save(&self) {
        let Some(path) = self.config.nodes_file.clone() else { return };
        let nodes = self.node.nodes().await;
        let saving = path.clone();
        let saved = tokio::task::spawn_blocking(move || nodes::save(&saving, &nodes)).await;
        if let Err(error) = saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(?path, %error, "cannot save the DHT's nodes");
        }
    }
}

/// Looks up a swarm, hands over the peers that each node names, and announces; false when no node took part.
async fn look_up(
    node: Node,
    swarm: SwarmHash,
    port: Option<u16>,
    rules: DialRules,
    origin: Origin,
    peers: PeerSink,
) -> bool {
    let Some(mut lookup) = node.look_up(swarm) else { return false };
    let from: Arc<str> = "the DHT".into();
    let mut left = PEERS_MAX;
    while let Some(named) = lookup.next().await {
        let addresses = rules.keep(named, origin, left);
        left -= addresses.len();
        if !addresses.is_empty() {
            let discovery = Discovery { swarm, addresses, found: Found::DHT, from: Arc::clone(&from) };
            // An error: nobody listens any more, the program ends.
            let _ = peers.send(discovery).await;
        }
    }
    match port {
        Some(port) => node.announce(swarm, port).await,
        None => !node.nodes().await.is_empty(),
    }
}

/// Addresses to begin with: the nodes of the last run, and what the configured names resolve to now.
async fn bootstrap(config: &DhtConfig) -> Vec<SocketAddrV4> {
    let remembered = match config.nodes_file.clone() {
        Some(path) => tokio::task::spawn_blocking(move || nodes::load(&path)).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let public = || BOOTSTRAP.iter().map(|name| (*name).to_owned()).collect();
    let mut found = Vec::new();
    for name in config.bootstrap.clone().unwrap_or_else(public).iter().take(nodes::NODES_MAX) {
        match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(name)).await {
            Ok(Ok(addresses)) => found.extend(addresses.filter_map(|address| match address {
                SocketAddr::V4(node) => Some(node),
                SocketAddr::V6(_) => None,
            })),
            Ok(Err(error)) => tracing::debug!(name, %error, "cannot look up a DHT node"),
            Err(_) => tracing::debug!(name, "looking up a DHT node takes too long"),
        }
    }
    found.truncate(nodes::NODES_MAX);
    found.extend(remembered);
    found
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
