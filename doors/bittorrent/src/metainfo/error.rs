//! Why a torrent was refused, and where in it.

use peerage_content::{LayerError, LayoutError};

use super::{ENTRIES_MAX, METAINFO_LENGTH_MAX, PATH_LENGTH_MAX, PIECES_MAX};
use crate::bencode::{DecodeError, Kind};

/// A refused torrent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// More bytes than are read.
    #[error("torrent has {0} bytes, more than the {METAINFO_LENGTH_MAX} that are read")]
    TooLarge(usize),
    /// Not bencode.
    #[error("not a torrent")]
    Bencode(#[from] DecodeError),
    /// Something in it cannot be.
    #[error("{at}: {reason}")]
    Refused {
        /// Where: `info.files[3].path[1]`.
        at: String,
        /// What is wrong there.
        reason: Reason,
    },
}

/// What is wrong with a part of a torrent. Reads as a sentence behind the name of the part.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A part that must be there is not.
    #[error("is missing")]
    Missing,
    /// One type of value where another must be.
    #[error("is {found}, not {expected}")]
    WrongKind {
        /// What must be there.
        expected: Kind,
        /// What is there.
        found: Kind,
    },
    /// A size below zero.
    #[error("is negative: {0}")]
    Negative(i64),
    /// v2 pieces are subtrees, so their length is a power of two of at least a leaf.
    #[error("is {0}, not a power of two of at least 16 KiB")]
    PieceLengthV2(u64),
    /// The sizes do not fit a layout.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// More than [`PIECES_MAX`].
    #[error("content has {0} pieces, more than {PIECES_MAX}")]
    TooManyPieces(u32),
    /// A string of hashes that is cut off inside one.
    #[error("has {found} bytes, which is no multiple of {hash}")]
    CutHashes {
        /// Bytes there are.
        found: usize,
        /// Bytes of one hash.
        hash: usize,
    },
    /// Not as many hashes as pieces.
    #[error("has {found} hashes for {expected} pieces")]
    PieceCount {
        /// Hashes there are.
        found: usize,
        /// Pieces that the lengths make.
        expected: u32,
    },
    /// Another version of BEP 52, or none of the two.
    #[error("is {0}, only 2 is known")]
    MetaVersion(i64),
    /// Neither `pieces` nor `file tree`.
    #[error("has neither v1 pieces nor a v2 file tree")]
    NoHashes,
    /// An empty list or tree of files.
    #[error("has no files")]
    NoFiles,
    /// Both forms of a v1 file list.
    #[error("has both a length and a list of files")]
    LengthAndFiles,
    /// More than [`ENTRIES_MAX`].
    #[error("has more than {ENTRIES_MAX} files")]
    TooManyFiles,
    /// Not a plain name; the predicate says why.
    #[error("{0}")]
    Name(&'static str),
    /// Nothing remains of a path.
    #[error("names nothing")]
    EmptyPath,
    /// Longer than [`PATH_LENGTH_MAX`].
    #[error("has {0} bytes, more than the {PATH_LENGTH_MAX} of the longest path")]
    PathTooLong(usize),
    /// Paths of a v2 tree that would not fit a torrent if they were written out as in v1.
    #[error("paths up to here have more than {METAINFO_LENGTH_MAX} bytes together")]
    PathsTooLong,
    /// A path that another entry has.
    #[error("is the same path as that of {0}")]
    SamePath(String),
    /// A path below another entry that is no folder.
    #[error("leads through {0}, which is not a folder")]
    ThroughFile(String),
    /// A v2 node with a file and names below it.
    #[error("is both a file and a folder")]
    FileAndFolder,
    /// Keys of a v2 tree that are not in order: the order is that of the pieces.
    #[error("is out of order")]
    Unsorted,
    /// v2 trees need no padding.
    #[error("is padding, which a v2 tree cannot have")]
    PadInTree,
    /// A single file that is a pad or a link.
    #[error("a torrent of one file cannot be a link or padding")]
    NotAFile,
    /// A hash of the wrong size.
    #[error("has {found} bytes, not the {expected} of a hash")]
    HashLength {
        /// Bytes there are.
        found: usize,
        /// Bytes of the hash.
        expected: usize,
    },
    /// A piece layer that does not belong to its file.
    #[error("{0}")]
    Layer(LayerError),
    /// The v1 and v2 sides of a hybrid name another torrent each.
    #[error("differs from the v2 file tree: {0}")]
    Hybrid(&'static str),
    /// A file of a hybrid that does not begin where its v2 pieces do.
    #[error("starts at byte {found}, but its v2 pieces start at {expected}")]
    Misaligned {
        /// Bytes in front of it in the v1 list.
        found: u64,
        /// Bytes in front of it when every file begins a piece.
        expected: u64,
    },
}

impl MetainfoError {
    /// Refuses the part `at`.
    pub(super) fn new(at: impl Into<String>, reason: impl Into<Reason>) -> Self {
        Self::Refused { at: at.into(), reason: reason.into() }
    }

    /// The same, seen from the part around it; a part without a name is that part itself.
    pub(super) fn inside(self, outer: impl std::fmt::Display) -> Self {
        match self {
            Self::Refused { at, reason } if at.is_empty() => Self::Refused { at: outer.to_string(), reason },
            Self::Refused { at, reason } => Self::Refused { at: format!("{outer}.{at}"), reason },
            other => other,
        }
    }
}
