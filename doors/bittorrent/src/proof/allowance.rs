//! How many hashes a peer may ask for.

use std::time::{Duration, Instant};

use super::Question;

/// Hashes that a peer may have in one [`PERIOD`]: 16 MiB of them, the layers of some terabytes.
const HASHES: u64 = 1 << 19;
/// Pieces that are read and hashed for a peer in one [`PERIOD`]. A request of 49 bytes makes us read megabytes, and only
/// those who fetched a bad piece have a reason to ask.
const PIECES_READ: u64 = 32;
/// The time after which a peer's allowance is fresh.
const PERIOD: Duration = Duration::from_secs(60);

/// What one peer was given of our hashes. One for each connection.
#[derive(Debug)]
pub struct Allowance {
    since: Instant,
    hashes: u64,
    pieces_read: u64,
}

impl Allowance {
    /// A peer that has asked for nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, hashes: 0, pieces_read: 0 }
    }

    /// Whether to answer; if so, it is charged, together with `upkeep`: hashes that have to be made ready first. Otherwise reject.
    pub fn grant(&mut self, now: Instant, question: &Question, upkeep: u64) -> bool {
        if now.saturating_duration_since(self.since) >= PERIOD {
            *self = Self::new(now);
        }
        let hashes = self.hashes.saturating_add(upkeep).saturating_add(question.cost().into());
        let pieces_read = self.pieces_read + question.needs_leaves().map_or(0, |pieces| pieces.len() as u64);
        let granted = hashes <= HASHES && pieces_read <= PIECES_READ;
        if granted {
            (self.hashes, self.pieces_read) = (hashes, pieces_read);
        }
        granted
    }
}
