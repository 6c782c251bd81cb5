//! How a node runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Limits, SeedGoal};

/// Settings of a node, complete: defaults and the configuration file are applied by [`crate::config`].
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// Where journals, the DHT table and other state lie; created when it is missing.
    pub data_dir: PathBuf,
    /// Where to listen; port 0: any.
    pub listen: Vec<SocketAddr>,
    /// When a port of `listen` is taken, take any other instead of failing: the user did not ask for this one.
    pub listen_elsewhere: bool,
    /// The DHT; `None`: off.
    pub dht: Option<Dht>,
    /// Look for peers on the local network (BEP 14).
    pub lan: bool,
    /// Message-stream encryption.
    pub encryption: Encryption,
    /// Limits of the whole node.
    pub limits: Limits,
    /// Limits of each peer.
    pub peer_limits: Limits,
    /// Connections of the whole node.
    pub connections_max: usize,
    /// Connections of one transfer.
    pub transfer_connections_max: usize,
    /// Peers served at a time by one transfer; 0: as many as the upload rate suggests.
    pub upload_slots: usize,
    /// Share by super-seeding (BEP 16) unless a request says otherwise.
    pub super_seeding: bool,
    /// Bytes that downloads may take on disk together. `None` and 0: no bound.
    pub disk_quota: Option<u64>,
    /// Transfers that fetch at a time; others are queued. 0: no bound.
    pub active_downloads_max: usize,
    /// The goal of transfers that name none.
    pub goal: SeedGoal,
    /// Take up the transfers of the former run, and keep those that are added for the next: the daemon. Without it, each added transfer
    /// still resumes from its journal.
    pub restore: bool,
}

/// The DHT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dht {
    /// `host:port` of nodes to begin with; empty: the well-known ones.
    pub bootstrap: Vec<String>,
}

/// Whether peers are spoken to with message-stream encryption (MSE/PE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Plain first, encrypted with peers that want it.
    #[default]
    Prefer,
    /// Encrypted only.
    Require,
    /// Plain only.
    Off,
}
