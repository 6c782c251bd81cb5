//! The Mainline DHT (BEP 5, 32, 42, 43): finding peers without a tracker.
//!
//! `krpc` is the datagrams, `table`, `lookup` and `store` are what a node knows, asks and keeps for others, `node` puts them
//! together, and `schedule` decides which swarm is looked up when. None of these does IO. The task behind a [`Dht`] runs them for
//! all transfers of the process, on one socket a family. Nodes survive a restart through a small text file; what is kept for others does not.
//!
//! Why not a crate: `mainline` 8.0 answers only transaction ids of exactly four bytes, while libtorrent sends two, and it knows neither IPv6
//! nor nodes told by peers; `librqbit-dht` 9.1 lacks BEP 42. Arbitrary data (BEP 44), and with it mutable torrents, would be
//! a neighbour of `store`.

mod beginnings;
mod id;
mod krpc;
mod lookup;
mod node;
mod nodes;
mod schedule;
#[cfg(feature = "fuzzing")]
mod session;
mod store;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod votes;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "fuzzing")]
pub(crate) use self::session::Session;
use self::task::{Command, Task};
use crate::address::DialRules;
use crate::discovery::PeerSink;
use crate::hash::SwarmHash;
use crate::ports::Ports;
use crate::sockets::Sockets;

/// Settings of the DHT node.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// UDP addresses to listen on, at most one a family. Port 0: any.
    pub bind: Vec<SocketAddr>,
    /// Nodes to begin with, `host:port`; `None`: the public ones. Empty: the first node of a new network.
    pub bootstrap: Option<Vec<String>>,
    /// Where nodes are remembered between runs.
    pub nodes_file: Option<PathBuf>,
    /// Ask, and answer nobody (BEP 43): for nodes that cannot be reached, and short runs.
    pub read_only: bool,
    /// Lookups under way at a time.
    pub concurrency: usize,
}

impl Default for DhtConfig {
    fn default() -> Self {
        let bind = vec![(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()];
        Self { bind, bootstrap: None, nodes_file: None, read_only: false, concurrency: 16 }
    }
}

/// The DHT node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DhtError {
    /// No UDP socket.
    #[error("start the DHT node on {address}: {source}")]
    Socket {
        /// The local address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// The DHT node, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtStatus {
    /// Nodes in its routing table.
    pub nodes: usize,
    /// Whether it has found the network.
    pub bootstrapped: bool,
    /// Our public address, as many nodes see it.
    pub public_address: Option<SocketAddr>,
    /// Swarms that are looked up.
    pub swarms: usize,
}

/// The public nodes that everybody begins with.
pub const BOOTSTRAP: [&str; 4] = [
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
];

/// Commands that wait to be taken up; whoever gives more waits.
const INBOX: usize = 64;

/// A cheap handle to the DHT node; commands are dropped when it has ended.
#[derive(Clone, Debug)]
pub struct Dht {
    commands: mpsc::Sender<Command>,
    addresses: Vec<SocketAddr>,
}

impl Dht {
    /// Starts the node on the current runtime. It ends with `cancel`; its nodes are saved by [`Dht::stop`] and now and then.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn start(
        config: DhtConfig,
        rules: DialRules,
        peers: PeerSink,
        cancel: CancellationToken,
    ) -> Result<Self, DhtError> {
        let sockets =
            Sockets::bind(&config.bind).map_err(|(address, source)| DhtError::Socket { address, source })?;
        let addresses = [false, true].into_iter().filter_map(|ipv6| sockets.address(ipv6)).collect();
        let task = Task::new(config, rules, peers, sockets).await;
        let (commands, inbox) = mpsc::channel(INBOX);
        tokio::spawn(async move { cancel.run_until_cancelled(task.run(inbox)).await });
        Ok(Self { commands, addresses })
    }

    /// Where the node listens, at most one address a family, IPv4 first.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What peers are told with a PORT message.
    pub fn ports(&self) -> Ports {
        Ports::of(&self.addresses)
    }

    /// Looks for peers of a swarm from now on, and announces in each family the port that there is; a second time: changes the ports.
    /// Private torrents never come here.
    pub async fn add(&self, swarm: SwarmHash, ports: Ports) {
        self.send(Command::Add(swarm, ports)).await;
    }

    /// Leaves a swarm alone.
    pub async fn remove(&self, swarm: SwarmHash) {
        self.send(Command::Remove(swarm)).await;
    }

    /// Looks again soon, because peers are needed.
    pub async fn hurry(&self, swarm: SwarmHash) {
        self.send(Command::Hurry(swarm)).await;
    }

    /// The same as [`Dht::add_node`], unless the node is busy: peers name more than are needed.
    pub fn hear_of_node(&self, address: SocketAddr) {
        let _ = self.commands.try_send(Command::AddNode(address));
    }

    /// Tells of another node (a peer's PORT message, a torrent's `nodes`). It is added if it answers.
    pub async fn add_node(&self, address: SocketAddr) {
        self.send(Command::AddNode(address)).await;
    }

    /// How it goes; `None` when it has ended.
    pub async fn status(&self) -> Option<DhtStatus> {
        let (reply, status) = oneshot::channel();
        self.send(Command::Status(reply)).await;
        status.await.ok()
    }

    /// Saves the nodes and ends.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        self.send(Command::Stop(reply)).await;
        // An error: it had ended before.
        let _ = stopped.await;
    }

    async fn send(&self, command: Command) {
        // An error: the task has ended.
        let _ = self.commands.send(command).await;
    }
}

/// Reads a datagram and writes it again, as to `to`.
#[cfg(feature = "fuzzing")]
pub(crate) fn reprint(datagram: &[u8], to: SocketAddr) -> Option<Vec<u8>> {
    krpc::parse(datagram).map(|message| krpc::print(&message, to))
}
