//! Finding peers on the local network (BEP 14): multicasts that say which swarms a machine is in.
//!
//! `message` is the datagram, `schedule` decides when to send one, both without IO; the task behind a [`Lan`]
//! runs them on one shared port. Interfaces that come and go are followed.
//!
//! Beyond BEP 14: a neighbour that is new to a swarm of ours is answered, so that both know each other even where multicast works one
//! way only. Announces say to everybody around what is being transferred: private torrents never come here, which
//! is the caller's duty. A datagram counts only when it comes from a network that this machine is on.

mod message;
mod schedule;
mod socket;
mod task;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::task::{Command, Task};
use crate::address::DialRules;
use crate::discovery::PeerSink;
use crate::hash::SwarmHash;
use crate::ports::Ports;

/// Where announces go over IPv4.
pub const GROUP_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), 6771);

/// Where announces go over IPv6.
pub const GROUP_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)), 6771);

/// Settings of local discovery.
#[derive(Clone, Debug)]
pub struct LanConfig {
    /// The TCP ports that neighbours are told to dial. Where there is none, nothing is announced, and neighbours are heard all the same.
    pub ports: Ports,
    /// Names of the interfaces to take part on. `None`: all that are up; loopback only if there is nothing else, since clients on
    /// one machine hear each other on every interface.
    pub interfaces: Option<Vec<String>>,
}

/// Local discovery, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanStatus {
    /// Names of the interfaces it takes part on.
    pub interfaces: Vec<String>,
    /// Swarms announced.
    pub swarms: usize,
    /// Announces heard of swarms that are ours, too.
    pub heard: u64,
}

/// Commands that wait to be taken up; whoever gives more waits.
const INBOX: usize = 64;

/// A cheap handle to local discovery; commands are dropped when it has ended.
#[derive(Clone, Debug)]
pub struct Lan {
    commands: mpsc::Sender<Command>,
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
        let task = Task::new(config, rules, peers)?;
        let (commands, inbox) = mpsc::channel(INBOX);
        tokio::spawn(async move { cancel.run_until_cancelled(task.run(inbox)).await });
        Ok(Self { commands })
    }

    /// Announces a swarm from now on, at once for the first time. Private torrents never come here.
    pub async fn add(&self, swarm: SwarmHash) {
        self.send(Command::Add(swarm)).await;
    }

    /// Announces a swarm no longer.
    pub async fn remove(&self, swarm: SwarmHash) {
        self.send(Command::Remove(swarm)).await;
    }

    /// How it goes.
    pub async fn status(&self) -> LanStatus {
        let (reply, status) = oneshot::channel();
        self.send(Command::Status(reply)).await;
        status.await.unwrap_or_default()
    }

    async fn send(&self, command: Command) {
        // An error: the task has ended.
        let _ = self.commands.send(command).await;
    }
}

/// Reads an announcement: its port, and how many swarms it names.
#[cfg(feature = "fuzzing")]
pub(crate) fn read(datagram: &[u8]) -> Option<(u16, usize)> {
    message::parse(datagram).map(|announcement| (announcement.port, announcement.swarms.len()))
}
