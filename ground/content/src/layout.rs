//! Which bytes lie in which file: the map from pieces to files.
//!
//! Content is one line of bytes cut into pieces of equal length. Files lie on that line one after the
//! other. With [`Alignment::Stream`] (BitTorrent v1 and hybrids) padding between files is an entry of
//! its own ([`EntryKind::Pad`]); with [`Alignment::PerFile`] (v2-only, BEP 52) every file starts on a
//! piece boundary and the gap belongs to nobody: the last piece of a file is simply shorter.

use crate::{Block, PieceIndex, RelPath};

/// How files are laid on the line of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// End to end; a piece may span files (BEP 3).
    Stream,
    /// Every file starts a new piece; the last piece of a file is short (BEP 52).
    PerFile,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Set the executable bits (BEP 47 attribute `x`).
        executable: bool,
    },
    /// Zeros that are never stored nor requested as whole blocks (BEP 47 attribute `p`).
    Pad,
    /// A symbolic link inside the content (BEP 47 attribute `l`); it has no bytes.
    Symlink {
        /// Where it points, relative to the content's folder.
        target: RelPath,
    },
}

/// One file, pad or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path below the content's folder; for a single file, its name.
    pub path: RelPath,
    /// Bytes.
    pub length: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes from the start of the line; filled in by [`Layout::new`].
    pub offset: u64,
}

/// A piece of a block that lies in one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index into [`Layout::entries`].
    pub entry: usize,
    /// Bytes from the start of that entry.
    pub offset: u64,
    /// Bytes; never 0.
    pub length: u32,
}

/// Why a layout was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// Zero, or above 512 MiB.
    #[error("piece length {0} is out of bounds")]
    PieceLength(u64),
    /// More than `u32::MAX` pieces, or a sum that overflows.
    #[error("content of {0} bytes has too many pieces")]
    TooManyPieces(u64),
}

/// The map of one content. Immutable and shared behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Layout {
    entries: Vec<Entry>,
    piece_length: u32,
    alignment: Alignment,
}

impl Layout {
    /// Lays `entries` (offsets are ignored and filled in) on the line.
    ///
    /// # Errors
    /// [`LayoutError`] if the sizes do not fit.
    pub fn new(entries: Vec<Entry>, piece_length: u32, alignment: Alignment) -> Result<Self, LayoutError> {
        let _ = (&entries, piece_length, alignment);
        todo!()
    }

    /// A layout of one nameless file, for tests and simulations.
    pub fn of_length(length: u64, piece_length: u32) -> Self {
        let _ = (length, piece_length);
        todo!()
    }

    /// All entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of a full piece.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// How files are aligned.
    pub fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// How many pieces there are.
    pub fn piece_count(&self) -> u32 {
        todo!()
    }

    /// Bytes of the files, pads and gaps not counted.
    pub fn content_length(&self) -> u64 {
        todo!()
    }

    /// Bytes of piece `piece`, pads included; 0 when there is no such piece.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let _ = piece;
        todo!()
    }

    /// How many blocks piece `piece` has.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        let _ = piece;
        todo!()
    }

    /// Block number `index` of a piece: 16 KiB but for the last.
    pub fn block(&self, piece: PieceIndex, index: u32) -> Block {
        let _ = (piece, index);
        todo!()
    }

    /// Whether the block exists: inside its piece, non-empty.
    pub fn contains(&self, block: Block) -> bool {
        let _ = block;
        todo!()
    }

    /// Whether the block is nothing but padding, so that it is never requested: its bytes are zeros.
    pub fn is_padding(&self, block: Block) -> bool {
        let _ = block;
        todo!()
    }

    /// Where a block lies, entry by entry, in order (pads included). Zero-length entries never appear.
    pub fn spans(&self, block: Block) -> impl Iterator<Item = Span> + '_ {
        let _ = block;
        std::iter::empty()
    }

    /// The pieces that hold bytes of an entry; empty for an empty file.
    pub fn pieces_of(&self, entry: usize) -> std::ops::Range<PieceIndex> {
        let _ = entry;
        todo!()
    }

    /// The piece and the offset in it of a byte of an entry.
    pub fn locate(&self, entry: usize, offset: u64) -> (PieceIndex, u32) {
        let _ = (entry, offset);
        todo!()
    }
}
