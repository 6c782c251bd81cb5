//! What to answer those who ask.

use std::time::{Duration, Instant};

use crate::wire::extended::{METADATA_PIECE_LENGTH, MetadataMessage};

/// How often a peer may fetch the whole metadata in one [`PERIOD`]. Once is enough; twice allows for a lost connection.
const WHOLES: u64 = 2;
/// Pieces that a peer may fetch in any case in one [`PERIOD`], however small the metadata is.
const PIECES_LEAST: u64 = 16;
/// The time after which a peer's allowance is fresh.
const PERIOD: Duration = Duration::from_secs(60);

/// What one peer was given of our metadata. One for each connection.
#[derive(Debug)]
pub struct Serve {
    since: Instant,
    pieces: u64,
}

impl Serve {
    /// A peer that has asked for nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, pieces: 0 }
    }

    /// The answer to a request for a piece of `info`: the data, or a reject when there is no such piece or the peer has
    /// had more than any honest one needs.
    pub fn answer<'a>(&mut self, now: Instant, info: &'a [u8], piece: u32) -> MetadataMessage<'a> {
        if now.saturating_duration_since(self.since) >= PERIOD {
            *self = Self::new(now);
        }
        let allowance = (info.len().div_ceil(METADATA_PIECE_LENGTH) as u64 * WHOLES).max(PIECES_LEAST);
        let data = info.chunks(METADATA_PIECE_LENGTH).nth(piece as usize);
        match (data, u32::try_from(info.len())) {
            (Some(data), Ok(total_size)) if self.pieces < allowance => {
                self.pieces += 1;
                MetadataMessage::Data { piece, total_size, data }
            }
            _ => MetadataMessage::Reject { piece },
        }
    }
}
