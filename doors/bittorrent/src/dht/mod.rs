//! The Mainline DHT (BEP 5, 42, 43): finding peers without a tracker.
//!
//! The node is the crate `mainline` (IPv4, on a socket and a thread of its own); [`schedule`] decides which swarm is looked up when, without IO;
//! one task runs the lookups of all transfers. Nodes survive a restart of the program through a small text file.
//!
//! It answers only requests with transaction ids of four bytes (a limit of the crate), which is not what every program
//! sends: others are best introduced to each other by other nodes than this.

mod node;
mod nodes;
mod schedule;
mod task;

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::task::{Command, Task};
use crate::address::DialRules;
use crate::discovery::PeerSink;
use crate::hash::SwarmHash;

/// Settings of the DHT node.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// UDP address to listen on. Port 0: any.
    pub bind: SocketAddrV4,
    /// Nodes to begin with, `host:port`; `None`: the public ones. Empty: the first node of a new network.
    pub bootstrap: Option<Vec<String>>,
    /// Where nodes are remembered between runs.
    pub nodes_file: Option<PathBuf>,
    /// Answer others from the start, reachable or not.
    pub server: bool,
    /// Lookups under way at a time.
    pub concurrency: usize,
}

impl Default for DhtConfig {
    fn default() -> Self {
        let bind = SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        Self { bind, bootstrap: None, nodes_file: None, server: false, concurrency: 16 }
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
        address: SocketAddrV4,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// The DHT node, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// Nodes in its routing table.
    pub nodes: usize,
    /// Whether it has found the network.
    pub bootstrapped: bool,
    /// Our address as others see it.
    pub public_address: Option<SocketAddr>,
}

/// The public nodes that everybody begins with.
pub const BOOTSTRAP: [&str; 4] = mainline::DEFAULT_BOOTSTRAP_NODES;

/// Commands that wait to be taken up; whoever gives more waits.
const INBOX: usize = 64;

/// A cheap handle to the DHT node; commands are dropped when it has ended.
#[derive(Clone, Debug)]
pub struct Dht {
    commands: mpsc::Sender<Command>,
    address: SocketAddrV4,
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
        let address = config.bind;
        let task =
            Task::start(config, rules, peers).await.map_err(|source| DhtError::Socket { address, source })?;
        let (commands, inbox) = mpsc::channel(INBOX);
        let address = task.address();
        tokio::spawn(async move { cancel.run_until_cancelled(task.run(inbox)).await });
        Ok(Self { commands, address })
    }

    /// The UDP address of the node: what peers are told with a PORT message.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Looks for peers of a swarm from now on, and announces `port` there if it is given; a second time: changes the port. Private
    /// torrents never come here.
    pub async fn add(&self, swarm: SwarmHash, port: Option<u16>) {
        self.send(Command::Add(swarm, port)).await;
    }

    /// Leaves a swarm alone.
    pub async fn remove(&self, swarm: SwarmHash) {
        self.send(Command::Remove(swarm)).await;
    }

    /// Looks again soon, because peers are needed.
    pub async fn hurry(&self, swarm: SwarmHash) {
        self.send(Command::Hurry(swarm)).await;
    }

    /// Tells of another node (a peer's PORT message, a torrent's `nodes`). Used when the node knows nobody.
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
