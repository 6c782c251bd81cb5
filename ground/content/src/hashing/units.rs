//! What one thread of a pass takes on at a time.

use std::ops::Range;

use super::leaves::LeafPlan;
use crate::{EntryKind, Hash20, Hash32, Layout, PieceIndex};

/// Bytes that a thread takes on at a time, if pieces are shorter than that.
const UNIT: u32 = 1 << 20;

/// Runs of pieces not taken on yet, with the places for their hashes.
pub(super) struct Units<'slots> {
    cut: Cut<'slots>,
    next: PieceIndex,
    v1: &'slots mut [Hash20],
    v2: &'slots mut [Hash32],
    leaves: &'slots mut [Hash32],
}

/// A run of pieces and the places for their hashes; the places are empty for hashes that are not asked for.
pub(super) struct Unit<'slots> {
    pub(super) pieces: Range<PieceIndex>,
    pub(super) v1: &'slots mut [Hash20],
    pub(super) v2: &'slots mut [Hash32],
    pub(super) leaves: &'slots mut [Hash32],
}

/// Where units end: where a piece does and, if leaves are hashed, where a leaf does.
#[derive(Clone, Copy)]
pub(super) struct Cut<'a> {
    layout: &'a Layout,
    leaves: Option<LeafPlan<'a>>,
    /// Pieces that make up a unit.
    pieces: PieceIndex,
}

impl<'a> Cut<'a> {
    pub(super) fn new(layout: &'a Layout, leaves: Option<LeafPlan<'a>>) -> Self {
        Self { layout, leaves, pieces: (UNIT / layout.piece_length()).max(1) }
    }

    /// Units there are, at most.
    pub(super) fn count(&self) -> usize {
        self.layout.piece_count().div_ceil(self.pieces) as usize
    }

    /// The piece with which the unit that begins with piece `start` ends, and how many leaves are in it.
    fn end_of(&self, start: PieceIndex) -> (PieceIndex, usize) {
        let Some(plan) = self.leaves else {
            return (start.saturating_add(self.pieces).min(self.layout.piece_count()), 0);
        };
        let (mut end, mut leaves) = (start, 0);
        while let Some((pieces, length)) = self.file_of(end) {
            let rest = pieces.end - end;
            if end > start && end - start + rest > self.pieces {
                break;
            }
            let taken = plan.stride(self.layout, self.pieces).map_or(rest, |stride| stride.min(rest));
            let before = u64::from(end - pieces.start) * u64::from(self.layout.piece_length());
            let bytes = u64::from(taken) * u64::from(self.layout.piece_length());
            leaves += plan.count(bytes.min(length - before));
            end += taken;
            if taken < rest {
                break;
            }
        }
        (end, leaves)
    }

    /// The pieces and bytes of the file that piece `piece` begins in; files are aligned to pieces.
    fn file_of(&self, piece: PieceIndex) -> Option<(Range<PieceIndex>, u64)> {
        let span = self.layout.piece_spans(piece).next()?;
        let entry = self.layout.entries().get(span.entry)?;
        Some((self.layout.pieces_of(span.entry), entry.length))
    }
}

impl<'slots> Units<'slots> {
    pub(super) fn new(
        cut: Cut<'slots>,
        v1: &'slots mut [Hash20],
        v2: &'slots mut [Hash32],
        leaves: &'slots mut [Hash32],
    ) -> Self {
        Self { cut, next: 0, v1, v2, leaves }
    }

    /// The next unit; `None` after the last.
    pub(super) fn take(&mut self) -> Option<Unit<'slots>> {
        let start = self.next;
        let (end, leaves) = self.cut.end_of(start);
        self.next = end;
        let pieces = (end - start) as usize;
        let (v1, v2) = (front(&mut self.v1, pieces), front(&mut self.v2, pieces));
        let leaves = front(&mut self.leaves, leaves);
        (start < end).then_some(Unit { pieces: start..end, v1, v2, leaves })
    }
}

/// How many leaves each entry has.
pub(super) fn leaf_counts(layout: &Layout, plan: LeafPlan<'_>) -> Vec<usize> {
    let count = |entry: &crate::Entry| match entry.kind {
        EntryKind::File { .. } => plan.count(entry.length),
        EntryKind::Pad | EntryKind::Symlink { .. } => 0,
    };
    layout.entries().iter().map(count).collect()
}

/// Takes the first `count` places, or all there are.
fn front<'slots, T>(places: &mut &'slots mut [T], count: usize) -> &'slots mut [T] {
    let count = count.min(places.len());
    places.split_off_mut(..count).unwrap_or_default()
}
