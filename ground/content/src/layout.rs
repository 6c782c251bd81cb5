//! Which bytes lie in which file: the map from pieces to files.
//!
//! Content is one line of bytes cut into pieces of equal length. Files lie on that line one after the
//! other. With [`Alignment::Stream`] (BitTorrent v1 and hybrids) padding between files is an entry of
//! its own ([`EntryKind::Pad`]); with [`Alignment::PerFile`] (v2-only, BEP 52) every file starts on a
//! piece boundary and the gap belongs to nobody: the last piece of a file is simply shorter.

use std::ops::Range;

use crate::{BLOCK_LENGTH, Block, PieceIndex, RelPath};

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

/// The longest piece taken, bytes. Real content stays far below; it bounds what one piece may cost in memory and in lost work.
const PIECE_LENGTH_MAX: u32 = 512 << 20;

/// The map of one content. Immutable and shared behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Layout {
    entries: Vec<Entry>,
    piece_length: u32,
    alignment: Alignment,
    piece_count: u32,
    /// Bytes of the line: where the last entry ends.
    end: u64,
    content_length: u64,
}

impl Layout {
    /// Lays `entries` (offsets are ignored and filled in) on the line. Links count as empty, whatever length they claim.
    ///
    /// # Errors
    /// [`LayoutError`] if the sizes do not fit.
    pub fn new(
        mut entries: Vec<Entry>,
        piece_length: u32,
        alignment: Alignment,
    ) -> Result<Self, LayoutError> {
        if piece_length == 0 || piece_length > PIECE_LENGTH_MAX {
            return Err(LayoutError::PieceLength(piece_length.into()));
        }
        let mut end = 0_u64;
        let mut content_length = 0_u64;
        for entry in &mut entries {
            if matches!(entry.kind, EntryKind::Symlink { .. }) {
                entry.length = 0;
            }
            if alignment == Alignment::PerFile {
                end = end
                    .checked_next_multiple_of(piece_length.into())
                    .ok_or(LayoutError::TooManyPieces(end))?;
            }
            entry.offset = end;
            end = end.checked_add(entry.length).ok_or(LayoutError::TooManyPieces(u64::MAX))?;
            if entry.kind != EntryKind::Pad {
                content_length += entry.length;
            }
        }
        let piece_count = u32::try_from(end.div_ceil(piece_length.into()))
            .map_err(|_| LayoutError::TooManyPieces(content_length))?;
        Ok(Self { entries, piece_length, alignment, piece_count, end, content_length })
    }

    /// A layout of one nameless file, for tests and simulations.
    ///
    /// # Panics
    /// When the piece length is out of bounds or the pieces are too many.
    pub fn of_length(length: u64, piece_length: u32) -> Self {
        let path = RelPath::from_components(["content"]).expect("a plain name");
        let entry = Entry { path, length, kind: EntryKind::File { executable: false }, offset: 0 };
        Self::new(vec![entry], piece_length, Alignment::Stream).expect("sizes of a test fit")
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
        self.piece_count
    }

    /// Bytes of the files, pads and gaps not counted.
    pub fn content_length(&self) -> u64 {
        self.content_length
    }

    /// Bytes of a block that are not padding.
    pub fn content_of(&self, block: Block) -> u32 {
        if self.content_length == self.end {
            return block.length;
        }
        let is_content =
            |span: &Span| self.entries.get(span.entry).is_none_or(|entry| entry.kind != EntryKind::Pad);
        self.spans(block).filter(is_content).map(|span| span.length).sum()
    }

    /// Bytes of piece `piece`, pads included; 0 when there is no such piece.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        if piece >= self.piece_count {
            return 0;
        }
        let start = self.start_of(piece);
        let end = match self.alignment {
            Alignment::Stream => self.end,
            Alignment::PerFile => {
                self.entries.get(self.entry_at(start)).map_or(start, |entry| entry.offset + entry.length)
            }
        };
        // The smaller of the two is at most a piece length, so it fits.
        end.saturating_sub(start).min(self.piece_length.into()) as u32
    }

    /// How many blocks piece `piece` has.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK_LENGTH)
    }

    /// Block number `index` of a piece: 16 KiB but for the last. Of length 0 when there is no such block.
    pub fn block(&self, piece: PieceIndex, index: u32) -> Block {
        let begin = index.saturating_mul(BLOCK_LENGTH);
        let length = self.piece_size(piece).saturating_sub(begin).min(BLOCK_LENGTH);
        Block { piece, begin, length }
    }

    /// Whether the block exists: inside its piece, non-empty.
    pub fn contains(&self, block: Block) -> bool {
        let end = block.begin.checked_add(block.length);
        block.length > 0 && end.is_some_and(|end| end <= self.piece_size(block.piece))
    }

    /// Whether a peer may ask for the block: it exists, or it reaches over the end of a v2 file's last piece, where peers that
    /// think of the gap as padding (libtorrent does) expect zeros.
    pub fn serves(&self, block: Block) -> bool {
        let end = block.begin.checked_add(block.length);
        let into_gap = self.alignment == Alignment::PerFile
            && block.begin < self.piece_size(block.piece)
            && end.is_some_and(|end| end <= self.piece_length);
        self.contains(block) || (into_gap && block.length > 0)
    }

    /// Whether the block is nothing but padding, so that it is never requested: its bytes are zeros.
    pub fn is_padding(&self, block: Block) -> bool {
        let mut spans = self.spans(block).peekable();
        spans.peek().is_some() && spans.all(|span| self.is_pad(span.entry))
    }

    /// Whether an entry is a pad.
    pub(crate) fn is_pad(&self, entry: usize) -> bool {
        self.entries.get(entry).is_some_and(|entry| entry.kind == EntryKind::Pad)
    }

    /// Where a block lies, entry by entry, in order (pads included). Zero-length entries never appear, nor does what lies
    /// past the end of the piece.
    pub fn spans(&self, block: Block) -> impl Iterator<Item = Span> + '_ {
        let limit = self.piece_size(block.piece);
        let begin = block.begin.min(limit);
        let end = block.begin.saturating_add(block.length).min(limit);
        let start = self.start_of(block.piece);
        self.spans_of_line(start + u64::from(begin)..start + u64::from(end))
    }

    /// The spans of a whole piece.
    pub(crate) fn piece_spans(&self, piece: PieceIndex) -> impl Iterator<Item = Span> + '_ {
        self.spans(Block { piece, begin: 0, length: self.piece_length })
    }

    /// Bytes of a piece that belong to files, not to pads.
    pub(crate) fn piece_file_bytes(&self, piece: PieceIndex) -> u64 {
        self.piece_spans(piece)
            .filter(|span| !self.is_pad(span.entry))
            .map(|span| u64::from(span.length))
            .sum()
    }

    /// Where bytes of the line lie. The range is at most a piece long, so a span's length fits.
    fn spans_of_line(&self, range: Range<u64>) -> impl Iterator<Item = Span> + '_ {
        let first = if range.is_empty() { self.entries.len() } else { self.entry_at(range.start) };
        let mut at = range.start;
        (first..self.entries.len())
            .zip(&self.entries[first..])
            .filter(|(_, entry)| entry.length > 0)
            .map_while(move |(index, entry)| {
                at = at.max(entry.offset);
                let length = range
                    .end
                    .min(entry.offset + entry.length)
                    .checked_sub(at)
                    .filter(|&length| length > 0)?;
                let span = Span { entry: index, offset: at - entry.offset, length: length as u32 };
                at += length;
                Some(span)
            })
    }

    /// The pieces that hold bytes of an entry; empty for an empty file.
    pub fn pieces_of(&self, entry: usize) -> Range<PieceIndex> {
        let Some(entry) = self.entries.get(entry).filter(|entry| entry.length > 0) else { return 0..0 };
        let piece_length = u64::from(self.piece_length);
        let first = entry.offset / piece_length;
        let end = (entry.offset + entry.length).div_ceil(piece_length);
        // Both are at most the piece count.
        first as PieceIndex..end as PieceIndex
    }

    /// The piece and the offset in it of a byte of an entry. Past the content's last byte the piece does not exist.
    pub fn locate(&self, entry: usize, offset: u64) -> (PieceIndex, u32) {
        let start = self.entries.get(entry).map_or(self.end, |entry| entry.offset);
        let at = start.saturating_add(offset);
        let piece_length = u64::from(self.piece_length);
        (PieceIndex::try_from(at / piece_length).unwrap_or(PieceIndex::MAX), (at % piece_length) as u32)
    }

    /// Where a piece starts on the line.
    fn start_of(&self, piece: PieceIndex) -> u64 {
        u64::from(piece) * u64::from(self.piece_length)
    }

    /// The first entry that ends after `at`: the one that holds it, if any does.
    fn entry_at(&self, at: u64) -> usize {
        self.entries.partition_point(|entry| entry.offset + entry.length <= at)
    }
}

#[cfg(test)]
mod tests;
