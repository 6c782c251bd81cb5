//! New torrents, from files that were hashed.
//!
//! Three steps, so that the bytes are read once and by whoever owns the disk: [`layout()`] puts the entries of a walked
//! folder in order, `peerage_content::hash` hashes by that layout, and [`create`] writes the torrent down. Equal files,
//! name and options make an equal info hash: nothing in `info` depends on the clock, the machine or the order of a listing.
//!
//! What comes out is read back by the parser before it is handed out, so a torrent that others would refuse is never made.

mod build;
mod layout;
mod piece_length;
#[cfg(test)]
mod tests;

use peerage_content::LayoutError;

pub use build::create;
pub use layout::layout;
pub use piece_length::{PIECE_LENGTH_MAX, PIECE_LENGTH_MIN, piece_length};

use super::{MetainfoError, Node};

/// Which kinds of hashes a torrent has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// SHA-1 of pieces (BEP 3): for programs that know nothing else, and smaller than a hybrid.
    V1,
    /// A SHA-256 tree for every file (BEP 52).
    V2,
    /// Both: one swarm for old and new programs.
    #[default]
    Hybrid,
}

impl Format {
    /// Whether it has SHA-1 piece hashes.
    pub fn has_v1(self) -> bool {
        self != Self::V2
    }

    /// Whether it has SHA-256 trees, and so begins every file on a piece.
    pub fn has_v2(self) -> bool {
        self != Self::V1
    }
}

/// What goes into a torrent beside its files. Only `format`, `private` and `source` change its info hash.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The hashes.
    pub format: Format,
    /// Peers only from the trackers (BEP 27).
    pub private: bool,
    /// The site it is for: tells apart torrents of the same files for several sites.
    pub source: Option<String>,
    /// Tracker URLs by tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Where the files lie on the web (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes to begin with (BEP 5).
    pub nodes: Vec<Node>,
    /// A word about it.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When, in seconds since 1970.
    pub creation_date: Option<i64>,
}

/// Why a torrent cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// A piece length that other programs refuse.
    #[error("piece length {0} is not a power of two between {PIECE_LENGTH_MIN} and {PIECE_LENGTH_MAX}")]
    PieceLength(u32),
    /// An empty folder.
    #[error("there are no files to make a torrent of")]
    NoFiles,
    /// A single-file torrent of something else than one file.
    #[error("a single-file torrent needs exactly one file")]
    NotSingle,
    /// The sizes do not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The layout or the hashes are of another format than the torrent.
    #[error("hashes do not belong to the torrent: {0}")]
    Hashes(&'static str),
    /// The parser refuses what was made: too many files, a path too deep for a tree.
    #[error("the torrent would be refused")]
    Refused(#[from] MetainfoError),
}
