//! What a torrent says: `.torrent` files and the `info` dictionaries inside them (BEP 3, 12, 19, 27, 47, 52).
//!
//! [`Metainfo::parse`] reads a whole file, [`Info::parse`] the dictionary alone as peers hand it over (BEP 9), [`author`]
//! makes new ones. An [`Info`] carries the names of the content, the map of its files
//! ([`peerage_content::Layout`]) and what is needed to verify it ([`Info::truth`]). Nothing here touches a file.
//!
//! v1 and hybrid torrents become a stream of files and pads, v2-only torrents a layout in which every file begins a
//! piece. Hashes are of the original bytes.
//!
//! # What is refused
//!
//! Anything that would make two readers see two torrents, or that could leave the output folder; the error says where
//! and why. Among it: repeated keys, a path component that is `..` or has a slash or NUL in it, the same path twice, a
//! path that leads through a file or link, a v2 tree whose keys are unsorted or in which a node is both file and folder,
//! piece counts that do not match the lengths, hybrids whose two file lists differ, piece layers that do not add up to their root.
//!
//! # What is cleaned
//!
//! - `name.utf-8` and `path.utf-8` win over `name` and `path`. Names that are not UTF-8 keep their bytes.
//! - Components that are empty or `.` name nothing and are dropped from v1 paths and link targets, so an absolute
//!   path lands inside the folder. Where nothing remains, and in v2 trees, they are refused.
//! - A component longer than 255 bytes is shortened: its beginning, `~`, eight hexadecimal digits of its SHA-256, its extension.
//! - A link has no bytes, whatever length it claims. The path of a pad is not read: pads are never stored.
//! - In a hybrid the attributes of the v1 list count. A pad behind its last file may be there or not.
//! - Trackers, web seeds and nodes beyond [`ADDRESSES_MAX`] of each kind, those that are not text, and
//!   advisory fields of a wrong type (`comment`, `creation date`, ...) are passed over. So are piece layers of unknown roots.
//!
//! # What is kept on purpose
//!
//! - Unsorted keys outside a v2 tree: such torrents are in use.
//! - Names that other systems reserve (`aux.c`, `a:b`, a trailing dot) and paths that differ only in case: source trees
//!   have both, and on Linux they are plain names. [`Info::case_collision`] finds the latter, for a warning.
//! - Control characters in names: whoever shows a name neutralises them.
//! - Missing piece layers: peers have them (BEP 52 hash requests).

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
