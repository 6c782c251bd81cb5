//! Metadata from peers (BEP 9): how a magnet link becomes a torrent.
//!
//! [`Fetch`] decides which peer to ask for which part, and proves the whole by its info hash; [`Serve`] answers those who
//! ask us. Neither reads a clock or sends anything. Parsing what was fetched is [`crate::metainfo`]'s business.
//!
//! Nobody is believed: a peer's claim of a size costs nothing until it has delivered. Peers that claim the same size
//! fill one assembly together. When its hash is wrong nobody knows whose fault it was; from then on each of them has to
//! deliver the whole alone, so that one honest peer suffices and every liar is found.

mod assembly;
mod fetch;
mod serve;
#[cfg(test)]
mod tests;

pub use fetch::{Fetch, Received};
pub use serve::Serve;

/// Bytes of metadata that are fetched at most. A torrent of 100,000 files or a million pieces has some 20 MiB.
pub const METADATA_SIZE_MAX: u32 = 64 << 20;
