//! What the user wants of the content: priorities, deadlines, and which pieces can be verified at all.
//!
//! A transfer without wishes costs nothing: everything is wanted alike and every hash is known.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

use peerage_content::{PieceIndex, PieceSet};

use super::{Priority, ReaderId};

#[derive(Debug)]
pub(super) struct Wishes {
    pieces: u32,
    /// By piece; `None` while all are [`Priority::Normal`].
    priorities: Option<Box<[Priority]>>,
    /// Pieces whose hash is not known yet; `None` while all are known.
    unknown: Option<PieceSet>,
    /// Pieces that readers wait for.
    due: BTreeMap<(PieceIndex, ReaderId), Instant>,
    by_time: BTreeSet<(Instant, PieceIndex)>,
}

impl Wishes {
    pub(super) fn new(pieces: u32) -> Self {
        Self { pieces, priorities: None, unknown: None, due: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    pub(super) fn priority(&self, piece: PieceIndex) -> Priority {
        match &self.priorities {
            None => Priority::Normal,
            Some(priorities) => priorities.get(piece as usize).copied().unwrap_or(Priority::Skip),
        }
    }

    /// Whether the user, or a reader, wants the piece.
    pub(super) fn is_wanted(&self, piece: PieceIndex) -> bool {
        piece < self.pieces && (self.priority(piece) != Priority::Skip || self.deadline(piece).is_some())
    }

    /// Whether every piece is wanted.
    pub(super) fn are_plain(&self) -> bool {
        self.priorities.is_none()
    }

    /// The priority by which a piece is listed: one that only a reader wants comes before all others.
    pub(super) fn rank(&self, piece: PieceIndex) -> Priority {
        match self.priority(piece) {
            Priority::Skip if self.deadline(piece).is_some() => Priority::High,
            priority => priority,
        }
    }

    /// Whether the piece is wanted and could be verified.
    pub(super) fn is_fetchable(&self, piece: PieceIndex) -> bool {
        self.is_wanted(piece) && !self.unknown.as_ref().is_some_and(|unknown| unknown.contains(piece))
    }

    pub(super) fn set_priority(&mut self, piece: PieceIndex, priority: Priority) {
        if self.priorities.is_none() && priority != Priority::Normal {
            self.priorities = Some(vec![Priority::Normal; self.pieces as usize].into());
        }
        if let Some(slot) = self.priorities.as_mut().and_then(|all| all.get_mut(piece as usize)) {
            *slot = priority;
        }
    }

    pub(super) fn set_known(&mut self, piece: PieceIndex, known: bool) {
        if !known {
            self.unknown.get_or_insert_with(|| PieceSet::empty(self.pieces)).insert(piece);
        } else if let Some(unknown) = &mut self.unknown {
            unknown.remove(piece);
        }
    }

    /// Gives back memory when the wishes are plain again.
    pub(super) fn tidy(&mut self) {
        self.unknown.take_if(|unknown| unknown.is_empty());
        self.priorities.take_if(|all| all.iter().all(|priority| *priority == Priority::Normal));
    }

    /// The part of a range that exists.
    pub(super) fn clamp(&self, pieces: Range<PieceIndex>) -> Range<PieceIndex> {
        pieces.start.min(self.pieces)..pieces.end.min(self.pieces)
    }

    /// A reader wants a piece by that time; earlier wishes of its for the piece are void.
    pub(super) fn set_deadline(&mut self, reader: ReaderId, piece: PieceIndex, at: Instant) {
        self.retime(piece, |due| {
            due.insert((piece, reader), at);
        });
    }

    /// Nobody waits for the piece any more.
    pub(super) fn clear_deadline(&mut self, piece: PieceIndex) {
        if !self.due.is_empty() {
            self.retime(piece, |due| due.retain(|(due, _), _| *due != piece));
        }
    }

    /// The pieces that a reader waits for.
    pub(super) fn awaited_by(&self, reader: ReaderId) -> Vec<PieceIndex> {
        self.due.keys().filter(|(_, who)| *who == reader).map(|(piece, _)| *piece).collect()
    }

    /// A reader waits for a piece no longer.
    pub(super) fn forget_deadline(&mut self, reader: ReaderId, piece: PieceIndex) {
        self.retime(piece, |due| {
            due.remove(&(piece, reader));
        });
    }

    /// When the most impatient reader wants a piece.
    pub(super) fn deadline(&self, piece: PieceIndex) -> Option<Instant> {
        if self.due.is_empty() {
            return None;
        }
        let of_piece = (piece, ReaderId(0))..=(piece, ReaderId(u64::MAX));
        self.due.range(of_piece).map(|(_, at)| *at).min()
    }

    /// Changes what readers want of a piece, and lets the order by time follow.
    fn retime(
        &mut self,
        piece: PieceIndex,
        change: impl FnOnce(&mut BTreeMap<(PieceIndex, ReaderId), Instant>),
    ) {
        let before = self.deadline(piece);
        change(&mut self.due);
        let after = self.deadline(piece);
        if before != after {
            before.map(|at| self.by_time.remove(&(at, piece)));
            after.map(|at| self.by_time.insert((at, piece)));
        }
    }

    /// Pieces that a reader waits for, the most urgent first.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Instant, PieceIndex)> + '_ {
        self.by_time.iter().copied()
    }

    pub(super) fn has_deadlines(&self) -> bool {
        !self.by_time.is_empty()
    }
}
