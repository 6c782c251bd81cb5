//! What every way of finding peers hands over: addresses of a swarm, and who named them.
//!
//! Trackers, the DHT and the local network all deliver into one bounded channel. Addresses in it have
//! passed [`DialRules`](crate::address::DialRules), so whoever drains it may dial them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;
use tokio::sync::mpsc;

use crate::hash::SwarmHash;

/// How long nobody may be there before sources are pressed for peers.
const HASTE_FIRST: Duration = Duration::from_secs(20);
/// Between two such attempts, at most.
const HASTE_MAX: Duration = Duration::from_secs(20 * 60);

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

/// When to press for peers, because there are none: soon at first, and ever more rarely while nobody is there.
#[derive(Debug)]
pub struct Haste {
    at: Instant,
    pause: Duration,
}

impl Haste {
    /// Nobody has been there since `now`.
    pub fn new(now: Instant) -> Self {
        Self { at: now + HASTE_FIRST, pause: HASTE_FIRST }
    }

    /// Whether it is time to press; `alone`: nobody is there at present.
    pub fn is_due(&mut self, now: Instant, alone: bool) -> bool {
        if !alone {
            *self = Self::new(now);
            return false;
        }
        if self.at > now {
            return false;
        }
        self.pause = (self.pause * 2).min(HASTE_MAX);
        self.at = now + self.pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haste_wears_off_until_somebody_was_there() {
        let now = Instant::now();
        let mut haste = Haste::new(now);
        let mut pressed = Vec::new();
        for second in 1..400 {
            if haste.is_due(now + Duration::from_secs(second), second != 200) {
                pressed.push(second);
            }
        }
        assert_eq!(pressed, [20, 60, 140, 220, 260, 340]);
    }
}
