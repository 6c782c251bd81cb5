//! What is asked of a tracker and what it answers, whatever the protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::hash::SwarmHash;
use crate::ports::Ports;

/// Peers taken from one answer; what a tracker sends beyond that is skipped. Trackers send 50 to 200.
pub const PEERS_MAX: usize = 2_000;

/// Bytes kept of a text that a tracker sent for people (failure, warning).
pub const TEXT_MAX: usize = 512;

/// Why an announce is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Event {
    /// The interval is over, or peers are needed.
    #[default]
    Regular,
    /// The first announce of this run.
    Started,
    /// The download is complete; never sent by those who began complete.
    Completed,
    /// The transfer ends.
    Stopped,
}

/// An announce (BEP 3, BEP 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// Which swarm.
    pub swarm: SwarmHash,
    /// Who we are in this swarm.
    pub peer_id: [u8; 20],
    /// The TCP ports we listen on; told is that of the family that is announced over.
    pub ports: Ports,
    /// Block bytes sent since `Started`.
    pub uploaded: u64,
    /// Block bytes received since `Started`.
    pub downloaded: u64,
    /// Bytes missing; anything but 0 when that is not known yet (a magnet link).
    pub left: u64,
    /// Why.
    pub event: Event,
    /// Peers wanted.
    pub numwant: u32,
    /// Proves to the tracker that we are the same client when our address changes.
    pub key: u32,
    /// Our IPv4 address, told when announcing over IPv6 (BEP 7).
    pub ipv4: Option<Ipv4Addr>,
    /// Our IPv6 address, told when announcing over IPv4 (BEP 7).
    pub ipv6: Option<Ipv6Addr>,
    /// What the tracker called itself last time (`trackerid`).
    pub tracker_id: Option<Vec<u8>>,
}

/// A tracker's answer to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceResponse {
    /// When the tracker wants to hear from us again.
    pub interval: Duration,
    /// How early it tolerates to.
    pub interval_min: Option<Duration>,
    /// Peers that have everything.
    pub seeders: Option<u32>,
    /// Peers that do not.
    pub leechers: Option<u32>,
    /// At most [`PEERS_MAX`], as sent: not yet judged by [`crate::address`].
    pub peers: Vec<SocketAddr>,
    /// Words for the user, although the announce worked.
    pub warning: Option<String>,
    /// To be sent back with the next announce.
    pub tracker_id: Option<Vec<u8>>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// The size of a swarm (BEP 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrape {
    /// Peers that have everything.
    pub seeders: u32,
    /// Times it was downloaded to the end.
    pub completed: u32,
    /// Peers that are downloading.
    pub leechers: u32,
}

/// Why asking a tracker failed. The message does not name the tracker; whoever reports it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// The tracker refused, in its own words.
    #[error("the tracker refused: {0}")]
    Refused(String),
    /// The name does not resolve.
    #[error("cannot look up the tracker's name: {0}")]
    Lookup(String),
    /// No connection, or it broke.
    #[error("cannot reach the tracker: {0}")]
    Unreachable(String),
    /// Silence.
    #[error("the tracker did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// An HTTP status that is not success.
    #[error("the tracker answered with HTTP status {0}")]
    Status(u16),
    /// More redirects than anybody needs, or to a place that must not be asked.
    #[error("the tracker redirects {0}")]
    Redirect(&'static str),
    /// A URL on this machine that does not look like a tracker's: a torrent must not push buttons on local services.
    #[error("a service of this machine that is not a tracker is not asked")]
    NotATracker,
    /// A body longer than any honest answer.
    #[error("the tracker's answer is longer than {0} bytes")]
    TooLong(usize),
    /// Not an answer at all.
    #[error("the tracker's answer makes no sense: {0}")]
    Malformed(String),
    /// The tracker cannot do this (no scrape).
    #[error("the tracker does not support {0}")]
    Unsupported(&'static str),
}

impl From<crate::lookup::LookupError> for TrackerError {
    fn from(error: crate::lookup::LookupError) -> Self {
        Self::Lookup(error.to_string())
    }
}

impl TrackerError {
    /// Whether the failure says something about the host, and not only about this swarm.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::Lookup(_) | Self::Unreachable(_) | Self::TimedOut(_))
    }
}

/// Text a tracker sent, made fit to keep: bounded, and with foreign bytes replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..TEXT_MAX).unwrap_or(bytes)).into_owned()
}
