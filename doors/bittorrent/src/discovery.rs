//! What every way of finding peers hands over: addresses of a swarm, and who named them.
//!
//! Trackers, the DHT and the local network all deliver into one bounded channel. Addresses in it have
//! passed [`DialRules`](crate::address::DialRules), so whoever drains it may dial them.

use std::net::SocketAddr;
use std::sync::Arc;

use peerage_swarm::core::Found;
use tokio::sync::mpsc;

use crate::hash::SwarmHash;

/// Addresses that may have a swarm's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The swarm they were named for.
    pub swarm: SwarmHash,
    /// Addresses of listeners; distinct, bounded, dialable.
    pub addresses: Vec<SocketAddr>,
    /// The kind of source.
    pub found: Found,
    /// The source for people: the tracker's host, "the DHT", the LAN address that announced.
    pub from: Arc<str>,
}

/// Where discoveries go. Bounded by whoever made the channel. Trackers and the DHT wait when it is full, and so ask
/// less; the local network drops, since everybody there repeats itself.
pub type PeerSink = mpsc::Sender<Discovery>;
