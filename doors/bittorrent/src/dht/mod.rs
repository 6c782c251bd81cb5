//! The Mainline DHT (BEP 5, 42, 43): finding peers without a tracker.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

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

/// A cheap handle to the DHT node.
#[derive(Clone, Debug)]
pub struct Dht {
    _private: (),
}

impl Dht {
    /// Starts the node. It ends with `cancel`; its nodes are saved by [`Dht::stop`] and now and then.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn start(
        config: DhtConfig,
        rules: DialRules,
        peers: PeerSink,
        cancel: CancellationToken,
    ) -> Result<Self, DhtError> {
        let _ = (config, rules, peers, cancel);
        std::future::pending().await
    }

    /// Looks for peers of a swarm from now on, and announces `port` there if it is given. Private torrents never come here.
    pub async fn add(&self, swarm: SwarmHash, port: Option<u16>) {
        let _ = (swarm, port);
        std::future::pending().await
    }

    /// Leaves a swarm alone.
    pub async fn remove(&self, swarm: SwarmHash) {
        let _ = swarm;
        std::future::pending().await
    }

    /// Looks again soon, because peers are needed.
    pub async fn hurry(&self, swarm: SwarmHash) {
        let _ = swarm;
        std::future::pending().await
    }

    /// Tells the node of another one (a peer's PORT message, a torrent's `nodes`).
    pub async fn add_node(&self, address: SocketAddr) {
        let _ = address;
        std::future::pending().await
    }

    /// How it goes.
    pub async fn status(&self) -> DhtStatus {
        std::future::pending().await
    }

    /// Saves the nodes and ends.
    pub async fn stop(&self) {
        std::future::pending().await
    }
}
