//! Files that are others than those on record. What they hold may be their owner's work.
//!
//! A journal says which pieces are true in files as they are stamped. When a file is not as stamped, the record is left as it is and
//! nothing of it is believed before it is hashed. What then does not match was written by somebody else, and is left alone: a crash does
//! not come to this, because a file has a stamp on record only when it was complete, our own writes take the stamp off the record first, and
//! of what a power loss may have eaten nothing is doubted here, but fetched again. The dispute ends when the bytes are true after all,
//! when the file of a download is gone, or when its user asks for a check of every byte.

use super::{EntryState, Store};
use crate::{FileStamp, PieceIndex, PieceSet, Rechecked};

/// The file is another than the one on record. Nothing is written to it, and the record stays as it is.
#[derive(Debug)]
pub(super) struct Dispute {
    /// The stamp on record.
    pub(super) recorded: FileStamp,
    /// Pieces that stood in the file on record, ascending, until they are hashed.
    pub(super) doubted: Vec<PieceIndex>,
}

/// What became of disputes by itself.
#[derive(Debug)]
pub struct Yielded {
    /// Pieces of downloaded files that are gone by now: nothing is in the way of fetching them again.
    pub gone: PieceSet,
    /// Pieces of files that are as recorded again: they may be true again, and are to be hashed.
    pub back: PieceSet,
}

impl EntryState {
    /// Takes in what was hashed of the file; `is_all`: all of it.
    pub(super) fn settle_dispute(&mut self, found: &Rechecked, is_all: bool) {
        let Some(dispute) = &mut self.dispute else {
            self.changed &= !is_all;
            return;
        };
        let is_in_doubt = !dispute.doubted.is_empty();
        if dispute.doubted.iter().any(|piece| found.refuted.contains(*piece)) {
            dispute.doubted = Vec::new();
            self.changed = true;
            return;
        }
        dispute.doubted.retain(|piece| !found.proven.contains(*piece));
        if is_all || (is_in_doubt && dispute.doubted.is_empty()) {
            self.changed = false;
            self.dispute = None;
        }
    }
}

impl Store {
    /// Whether a piece lies in a file that is another than the one on record: it is neither written nor taken off the record.
    pub fn is_disputed(&self, piece: PieceIndex) -> bool {
        let entries = self.lock();
        self.layout.piece_spans(piece).any(|span| entries[span.entry].dispute.is_some())
    }

    /// Whether an entry's file is another than the one on record.
    pub(super) fn is_in_dispute(&self, entry: usize) -> bool {
        self.lock().get(entry).is_some_and(|known| known.dispute.is_some())
    }

    /// Whether it is to be hashed before it is known whose a piece is.
    pub(crate) fn is_doubted(&self, piece: PieceIndex) -> bool {
        let doubts = |known: &EntryState| {
            known.dispute.as_ref().is_some_and(|it| it.doubted.binary_search(&piece).is_ok())
        };
        let entries = self.lock();
        self.layout.piece_spans(piece).any(|span| doubts(&entries[span.entry]))
    }

    /// The first file that is known to be another than the one on record.
    pub fn in_the_way(&self) -> Option<usize> {
        self.lock().iter().position(|known| known.changed && known.dispute.is_some())
    }

    /// The file is not the one on record; perhaps there is none. The pieces that stood in it and are `doubted` are its owner's if they
    /// turn out to be others.
    pub(crate) fn dispute(
        &self,
        entry: usize,
        recorded: FileStamp,
        is_there: bool,
        doubted: Vec<PieceIndex>,
    ) {
        // What is gone of a share may come back; of a download it is fetched again.
        let is_gone_share = !is_there && !self.is_download();
        if let Some(known) = self.lock().get_mut(entry) {
            known.stamp = None;
            known.changed = is_gone_share;
            if is_gone_share || !doubted.is_empty() {
                known.dispute = Some(Dispute { recorded, doubted });
            }
        }
    }

    /// Lets the user's consent end all disputes: what does not match is fetched and written over.
    pub fn end_disputes(&self) {
        self.lock().iter_mut().for_each(|known| known.dispute = None);
    }

    /// Looks at files that changed, and ends the disputes that are over because the file is gone or as it was.
    pub fn yielded(&self) -> Yielded {
        let none = PieceSet::empty(self.layout.piece_count());
        let mut yielded = Yielded { gone: none.clone(), back: none };
        let changed =
            |known: &EntryState| known.dispute.as_ref().map(|it| it.recorded).filter(|_| known.changed);
        let disputed: Vec<_> = self.lock().iter().map(changed).collect();
        for (entry, recorded) in disputed.into_iter().enumerate() {
            let Some(recorded) = recorded else { continue };
            let pieces = match self.state_of(entry) {
                Ok(None) if self.is_download() => &mut yielded.gone,
                Ok(Some(found)) if found.stamp == recorded => &mut yielded.back,
                _ => continue,
            };
            self.layout.pieces_of(entry).for_each(|piece| {
                pieces.insert(piece);
            });
            if let Some(known) = self.lock().get_mut(entry) {
                known.changed = false;
                known.dispute = None;
            }
        }
        yielded
    }
}
