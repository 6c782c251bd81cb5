//! Finding peers on the local network (BEP 14).

use tokio_util::sync::CancellationToken;

use crate::address::DialRules;
use crate::discovery::PeerSink;
use crate::hash::SwarmHash;

/// Settings of local discovery.
#[derive(Clone, Debug)]
pub struct LanConfig {
    /// The TCP port that neighbours are told to dial.
    pub port: u16,
    /// Take part on loopback too, for several clients on one machine.
    pub loopback: bool,
}

/// Local discovery, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanStatus {
    /// Names of the interfaces it takes part on.
    pub interfaces: Vec<String>,
    /// Swarms announced.
    pub swarms: usize,
    /// Announces of others heard.
    pub heard: u64,
}

/// A cheap handle to local discovery.
#[derive(Clone, Debug)]
pub struct Lan {
    _private: (),
}

impl Lan {
    /// Starts listening and announcing on the current runtime; ends with `cancel`.
    ///
    /// # Errors
    /// When no socket can be opened at all.
    pub fn start(
        config: LanConfig,
        rules: DialRules,
        peers: PeerSink,
        cancel: CancellationToken,
    ) -> std::io::Result<Self> {
        let _ = (config, rules, peers, cancel);
        todo!()
    }

    /// Announces a swarm from now on, at once for the first time. Private torrents never come here.
    pub async fn add(&self, swarm: SwarmHash) {
        let _ = swarm;
        std::future::pending().await
    }

    /// Announces a swarm no longer.
    pub async fn remove(&self, swarm: SwarmHash) {
        let _ = swarm;
        std::future::pending().await
    }

    /// Neighbours are told to dial this port from now on.
    pub async fn set_port(&self, port: u16) {
        let _ = port;
        std::future::pending().await
    }

    /// How it goes.
    pub async fn status(&self) -> LanStatus {
        std::future::pending().await
    }
}
