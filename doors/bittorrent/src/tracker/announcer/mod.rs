//! Announces all transfers of the process to their trackers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Scrape, TrackerUrl};
use crate::address::DialRules;
use crate::discovery::PeerSink;
use crate::hash::SwarmHash;

/// Numbers of a transfer at the moment of an announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Block bytes sent in this run.
    pub uploaded: u64,
    /// Block bytes received in this run.
    pub downloaded: u64,
    /// Bytes missing; anything but 0 while that is unknown.
    pub left: u64,
    /// Whether more peers would help: announces then come as early as the tracker tolerates, and ask for peers.
    pub wants_peers: bool,
}

/// Where an [`Announcer`] reads a transfer's numbers, at announce time only. Called on the announcer's task: it must not block.
pub trait Counters: Send + Sync + 'static {
    /// The numbers now.
    fn progress(&self) -> Progress;
}

impl<F: Fn() -> Progress + Send + Sync + 'static> Counters for F {
    fn progress(&self) -> Progress {
        self()
    }
}

/// A transfer to announce. A hybrid registers once for each of its swarms.
#[derive(Clone)]
pub struct Registration {
    /// The swarm.
    pub swarm: SwarmHash,
    /// Who we are in it.
    pub peer_id: [u8; 20],
    /// Trackers, tier by tier (BEP 12).
    pub tiers: Vec<Vec<TrackerUrl>>,
    /// Its numbers.
    pub counters: Arc<dyn Counters>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("swarm", &self.swarm)
            .field("tiers", &self.tiers)
            .finish_non_exhaustive()
    }
}

/// Settings of an [`Announcer`].
#[derive(Clone, Debug)]
pub struct AnnouncerConfig {
    /// The TCP port that peers are told to dial.
    pub port: u16,
    /// Local addresses to announce from, at most one a family; empty: whatever the system picks, over both families.
    pub bind: Vec<IpAddr>,
    /// Announce to every tier at a time instead of to the first that works. Default: true.
    pub all_tiers: bool,
    /// Announce to every tracker of a tier instead of to the first that works. Default: false.
    pub all_trackers: bool,
    /// Peers asked for.
    pub numwant: u32,
    /// HTTP announces under way at a time, in all.
    pub concurrency: usize,
    /// Announces under way at a time to one server.
    pub concurrency_per_host: usize,
    /// The `User-Agent` of HTTP announces.
    pub user_agent: String,
}

/// What became of the last announce to a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerState {
    /// Not asked yet.
    Idle,
    /// An announce is under way.
    Asking,
    /// The last announce worked.
    Working,
    /// The last announce failed.
    Failing,
}

/// One tracker of one transfer, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackerStatus {
    /// Its URL.
    pub url: TrackerUrl,
    /// Its tier, from 0.
    pub tier: usize,
    /// How it goes.
    pub state: TrackerState,
    /// When it will be asked next, if that is planned.
    pub next: Option<Instant>,
    /// Size of the swarm as last told.
    pub swarm: Option<Scrape>,
    /// Peers in its last answer.
    pub peers: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last announce failed, or what the tracker warned of.
    pub message: Option<String>,
}

/// The announcer could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncerError {
    /// No UDP socket.
    #[error("open a UDP socket for trackers on {address}: {source}")]
    Socket {
        /// The local address.
        address: IpAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// No HTTP client (most likely no certificates).
    #[error("set up the HTTP client for trackers")]
    Http(#[source] reqwest::Error),
}

/// A cheap handle to the task that announces; commands wait when it is busy.
#[derive(Clone, Debug)]
pub struct Announcer {
    _private: (),
}

impl Announcer {
    /// Starts the announcer on the current runtime. It ends with `cancel`, at once; call [`Announcer::stop`] first to say goodbye.
    ///
    /// # Errors
    /// [`AnnouncerError`].
    pub fn start(
        config: AnnouncerConfig,
        rules: DialRules,
        peers: PeerSink,
        cancel: CancellationToken,
    ) -> Result<Self, AnnouncerError> {
        let _ = (config, rules, peers, cancel);
        todo!()
    }

    /// Announces a transfer from now on. A second registration of a swarm replaces the first, and keeps what is known of common trackers.
    pub async fn add(&self, registration: Registration) {
        let _ = registration;
        todo!()
    }

    /// Ends announcing a transfer; trackers that saw it started are told, as far as they answer soon.
    pub async fn remove(&self, swarm: SwarmHash) {
        let _ = swarm;
        todo!()
    }

    /// The download is complete: trackers are told.
    pub async fn completed(&self, swarm: SwarmHash) {
        let _ = swarm;
        todo!()
    }

    /// Asks again as soon as the trackers tolerate it, because peers are needed or the user wants it.
    pub async fn hurry(&self, swarm: SwarmHash) {
        let _ = swarm;
        todo!()
    }

    /// Peers are told to dial this port from now on.
    pub async fn set_port(&self, port: u16) {
        let _ = port;
        todo!()
    }

    /// The trackers of a transfer; empty when it is not registered.
    pub async fn status(&self, swarm: SwarmHash) -> Vec<TrackerStatus> {
        let _ = swarm;
        todo!()
    }

    /// Says goodbye to all trackers for all transfers, for at most `patience`, and ends.
    pub async fn stop(&self, patience: Duration) {
        let _ = patience;
        todo!()
    }
}
