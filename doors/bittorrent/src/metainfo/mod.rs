//! What a torrent says: `.torrent` files and the `info` dictionaries inside them (BEP 3, 12, 19, 27, 47, 52).
//!
//! [`Metainfo::parse`] reads a whole file, [`Info::parse`] the dictionary alone as peers hand it over (BEP 9), [`author`]
//! makes new ones. An [`Info`] carries the names of the content, the map of its files
//! ([`peerage_content::Layout`]) and what is needed to verify it ([`Info::truth`]). Nothing here touches a file.
//!
//! v1 and hybrid torrents become a stream of files and pads, v2-only torrents a layout in which every file begins a
//! piece. Hashes are of the original bytes.
//!
//! What is refused, what is cleaned and what is kept on purpose is written down in `docs/torrents.md`, for users too;
//! [`Info::case_collision`] finds the names that a warning is about.

pub mod author;
mod error;
mod fields;
mod hybrid;
mod info;
mod names;
#[cfg(test)]
mod tests;
mod torrent;
mod v1;
mod v2;

pub use error::{MetainfoError, Reason};
pub use info::{Info, PieceLayers};
pub use torrent::{Metainfo, Node};

/// Bytes in the largest torrent that is read: room for three million v1 pieces.
pub const METAINFO_LENGTH_MAX: usize = 64 << 20;

/// Files, links and pads in one torrent. A million of them take some 150 MiB of memory; the largest torrents in use
/// have a tenth of that.
pub const ENTRIES_MAX: usize = 1_000_000;

/// Pieces in one torrent. A v1 torrent that fits [`METAINFO_LENGTH_MAX`] has fewer anyway; but a v2 torrent states no more than
/// a length, and every piece costs every peer a bit.
pub const PIECES_MAX: u32 = 1 << 22;

/// Bytes in the longest path that is accepted: what Linux opens (`PATH_MAX`).
pub const PATH_LENGTH_MAX: usize = 4096;

/// Trackers, web seeds and nodes that are read, of each kind.
pub const ADDRESSES_MAX: usize = 256;

/// The smallest piece of a v2 torrent: one leaf of a hash tree (BEP 52).
pub const PIECE_LENGTH_V2_MIN: u32 = peerage_content::BLOCK_LENGTH;
