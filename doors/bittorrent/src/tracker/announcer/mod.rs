//! Announces all transfers of the process to their trackers.
//!
//! One task owns a queue of deadlines for all transfers; announces under way are bounded, in all and for
//! each server. A transfer costs its trackers' state and nothing else: its numbers are asked for when an
//! announce is written. Peers go to the sink as soon as a tracker answers.

mod ask;
mod queue;
mod task;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::ask::Asker;
use self::task::{Command, Task};
use super::http::HttpTrackers;
use super::tiers::Breadth;
use super::udp::UdpTrackers;
use super::{Scrape, TrackerError, TrackerUrl};
use crate::address::DialRules;
use crate::discovery::PeerSink;
use crate::hash::SwarmHash;
use crate::ports::Ports;

/// Numbers of a transfer at the moment of an announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Block bytes sent in this run.
    pub uploaded: u64,
    /// Block bytes received in this run.
    pub downloaded: u64,
    /// Bytes missing; anything but 0 while that is unknown.
    pub left: u64,
    /// Whether peers are asked for. (When they are needed soon, [`Announcer::hurry`].)
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
    /// The TCP ports that peers are told to dial. Trackers are asked only over families that have one.
    pub ports: Ports,
    /// Local addresses to announce from, at most one a family; empty: whatever the system picks, over both families.
    pub bind: Vec<IpAddr>,
    /// Which trackers are asked at a time; by default one of every tier.
    pub breadth: Breadth,
    /// Peers asked for.
    pub numwant: u32,
    /// Announces under way at a time, in all.
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
    /// No HTTP client.
    #[error("set up the HTTP client for trackers")]
    Http(#[source] reqwest::Error),
}

impl Default for AnnouncerConfig {
    fn default() -> Self {
        Self {
            ports: 6881.into(),
            bind: Vec::new(),
            breadth: Breadth { all_tiers: true, all_trackers: false },
            numwant: 100,
            concurrency: 64,
            concurrency_per_host: 8,
            user_agent: concat!("Peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Commands that wait to be taken up; whoever gives more waits.
const INBOX: usize = 64;

/// A cheap handle to the task that announces; commands wait when it is busy, and are dropped when it has ended.
#[derive(Clone, Debug)]
pub struct Announcer {
    commands: mpsc::Sender<Command>,
    asker: Arc<Asker>,
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
        let udp = UdpTrackers::start(&config.bind, cancel.clone())
            .map_err(|(address, source)| AnnouncerError::Socket { address, source })?;
        let http = HttpTrackers::new(&config.bind, &config.user_agent).map_err(AnnouncerError::Http)?;
        let external_ip = watch::Sender::new(None);
        let halves = Arc::new(Semaphore::new(ask::HALVES_MAX));
        let asker = Arc::new(Asker { http, udp, rules, peers, external_ip, halves, cancel: cancel.clone() });
        let (commands, inbox) = mpsc::channel(INBOX);
        let task = Task::new(config, Arc::clone(&asker));
        tokio::spawn(async move { cancel.run_until_cancelled(task.run(inbox)).await });
        Ok(Self { commands, asker })
    }

    /// Announces a transfer from now on. A second registration of a swarm replaces the first, and keeps what is known of common trackers.
    pub async fn add(&self, registration: Registration) {
        self.send(Command::Add(registration)).await;
    }

    /// Ends announcing a transfer; trackers that saw it started are told, as far as they answer soon.
    pub async fn remove(&self, swarm: SwarmHash) {
        self.send(Command::Remove(swarm)).await;
    }

    /// The download is complete: trackers are told. Not for transfers that began complete.
    pub async fn completed(&self, swarm: SwarmHash) {
        self.send(Command::Completed(swarm)).await;
    }

    /// Asks again as soon as the trackers tolerate it, because peers are needed or the user wants it.
    pub async fn hurry(&self, swarm: SwarmHash) {
        self.send(Command::Hurry(swarm)).await;
    }

    /// Somebody looks at a transfer: its trackers are asked for the size of the swarm, as far as they have not told it of late (BEP 48).
    /// What they say shows in [`Announcer::status`].
    pub async fn refresh(&self, swarm: SwarmHash) {
        self.send(Command::Scrape(swarm)).await;
    }

    /// The trackers of a transfer; empty when it is not registered.
    pub async fn status(&self, swarm: SwarmHash) -> Vec<TrackerStatus> {
        let (reply, status) = oneshot::channel();
        self.send(Command::Status(swarm, reply)).await;
        status.await.unwrap_or_default()
    }

    /// Our public address as a tracker saw it last, as it changes (BEP 24). It is only what somebody said.
    pub fn external_ip(&self) -> watch::Receiver<Option<IpAddr>> {
        self.asker.external_ip.subscribe()
    }

    /// Asks one tracker for the sizes of swarms, at once and past the queue; those that it does not know are missing.
    ///
    /// # Errors
    /// [`TrackerError`].
    pub async fn scrape(
        &self,
        tracker: &TrackerUrl,
        swarms: &[SwarmHash],
    ) -> Result<Vec<(SwarmHash, Scrape)>, TrackerError> {
        self.asker.scrape(tracker, swarms).await
    }

    /// Says goodbye to all trackers for all transfers, for at most `patience`, and ends.
    pub async fn stop(&self, patience: Duration) {
        let (reply, stopped) = oneshot::channel();
        self.send(Command::Stop(patience, reply)).await;
        // An error: it had ended before.
        let _ = stopped.await;
    }

    async fn send(&self, command: Command) {
        // An error: the task has ended, and with it all announcing.
        let _ = self.commands.send(command).await;
    }
}
