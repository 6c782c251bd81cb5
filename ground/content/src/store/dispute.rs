//! Files that are others than those on record. What they hold may be their owner's work.
//!
//! A journal says which pieces are true in files as they are stamped. When a file is not as stamped, the record is left as it is and
//! nothing of it is believed before it is hashed. What then does not match was written by somebody else, and is left alone: a crash does
//! not come to this, because a file has a stamp on record only when it was complete, our own writes take the stamp off the record first, and
//! of what a power loss may have eaten nothing is doubted here, but fetched again. The dispute ends when the bytes are true after all,
//! when the file of a download is gone, or when its user asks for a check of every byte.
//!
//! A running store that finds nothing but the change time to differ doubts the file in the same way: a changed mode or one more link is no
//! edit, but an edit whose author set the modification time back looks no other. The pieces stay verified, and are not served until they
//! are hashed.

use super::{EntryState, Store};
use crate::{FileStamp, Likeness, PieceIndex, PieceSet, Rechecked};

/// The file is another than the one on record. Nothing is written to it, and the record stays as it is.
#[derive(Debug)]
pub(super) struct Dispute {
    /// The stamp on record.
    pub(super) recorded: FileStamp,
    /// Pieces that stood in the file on record, ascending, until they are hashed.
    pub(super) doubted: Vec<PieceIndex>,
    /// The file as it was when it was hashed and did not match: there is no use in hashing it again before it is another.
    refuted: Option<FileStamp>,
}

impl Dispute {
    pub(super) fn over(recorded: FileStamp, doubted: Vec<PieceIndex>) -> Self {
        Self { recorded, doubted, refuted: None }
    }
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
    /// The stamp that belongs on record: what was verified had it.
    pub(super) fn recorded(&self) -> Option<FileStamp> {
        self.dispute.as_ref().map(|dispute| dispute.recorded).or(self.stamp)
    }

    /// Whether something of the file is to be hashed before it is known whose it is.
    fn is_doubted(&self) -> bool {
        self.dispute.as_ref().is_some_and(|dispute| !dispute.doubted.is_empty())
    }

    /// Whatever the file holds is nobody's work any more: what is missing of a download is written to it, which is no change by others.
    fn end_dispute(&mut self, is_download: bool) {
        self.dispute = None;
        self.stamp = self.stamp.filter(|_| !is_download || self.missing == 0);
    }

    /// Takes in what was hashed of the file, which had the stamp `read` then; `is_all`: all of it.
    pub(super) fn settle_dispute(&mut self, found: &Rechecked, read: Option<FileStamp>, is_all: bool) {
        let Some(dispute) = &mut self.dispute else {
            self.changed &= !is_all;
            return;
        };
        let was_doubted = !dispute.doubted.is_empty();
        if dispute.doubted.iter().any(|piece| found.refuted.contains(*piece)) {
            dispute.doubted = Vec::new();
            dispute.refuted = read;
            self.changed = true;
            return;
        }
        dispute.doubted.retain(|piece| !found.proven.contains(*piece));
        // Of a file that changed, true pieces say nothing about the others.
        let is_cleared = was_doubted && dispute.doubted.is_empty() && !self.changed;
        if is_all || is_cleared {
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

    /// Nothing but the change time of a file differs, which has the stamp `now`: nothing of it is served until it is hashed. False when
    /// that was known, or leaves nothing open.
    pub(super) fn doubt(&self, entry: usize, now: FileStamp) -> bool {
        let mut entries = self.lock();
        let Some(known) = entries.get_mut(entry) else { return false };
        // It may have been hashed since somebody looked at it.
        let touched = known.stamp.filter(|stamp| stamp.compare(&now) == Likeness::Touched);
        let Some(stamp) = touched.filter(|_| !known.is_doubted()) else { return false };
        let believed: Vec<_> =
            self.layout.pieces_of(entry).filter(|piece| self.is_verified(*piece)).collect();
        if believed.is_empty() {
            known.stamp = Some(now);
            return false;
        }
        known.dispute.get_or_insert_with(|| Dispute::over(stamp, Vec::new())).doubted = believed;
        drop(entries);
        tracing::info!(path = ?self.path_of(entry), "file may have changed since it was verified; it is hashed before it is served");
        true
    }

    /// Pieces of files of which nothing but the change time, or not even that, tells whether they are the ones on record: a recheck does.
    pub fn doubted(&self) -> PieceSet {
        let mut doubted = PieceSet::empty(self.layout.piece_count());
        let entries = self.lock();
        for piece in entries.iter().filter_map(|known| known.dispute.as_ref()).flat_map(|it| &it.doubted) {
            doubted.insert(*piece);
        }
        doubted
    }

    /// Whether a piece lies in a file of which something is to be hashed before it is read.
    pub fn is_doubted(&self, piece: PieceIndex) -> bool {
        let entries = self.lock();
        self.layout.piece_spans(piece).any(|span| entries[span.entry].is_doubted())
    }

    /// Whether it is to be hashed before it is known whose a piece is.
    pub(crate) fn is_undecided(&self, piece: PieceIndex) -> bool {
        let is_of = |known: &EntryState| {
            known.dispute.as_ref().is_some_and(|it| it.doubted.binary_search(&piece).is_ok())
        };
        let entries = self.lock();
        self.layout.piece_spans(piece).any(|span| is_of(&entries[span.entry]))
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
                known.dispute = Some(Dispute::over(recorded, doubted));
            }
        }
    }

    /// Lets the user's consent end all disputes: what does not match is fetched and written over.
    pub fn end_disputes(&self) {
        let is_download = self.is_download();
        self.lock().iter_mut().for_each(|known| known.end_dispute(is_download));
    }

    /// Looks at files that changed. Ends the disputes that are over because the file is gone or as it was, and has a file
    /// hashed that may be as it was.
    pub fn yielded(&self) -> Yielded {
        let none = PieceSet::empty(self.layout.piece_count());
        let mut yielded = Yielded { gone: none.clone(), back: none };
        let changed = |known: &EntryState| {
            let dispute = known.dispute.as_ref().filter(|_| known.changed && !known.is_doubted());
            dispute.map(|dispute| (dispute.recorded, dispute.refuted))
        };
        let disputed: Vec<_> = self.lock().iter().map(changed).collect();
        for (entry, dispute) in disputed.into_iter().enumerate() {
            let Some((recorded, refuted)) = dispute else { continue };
            let (pieces, is_over) = match self.state_of(entry) {
                Ok(None) if self.is_download() => (&mut yielded.gone, true),
                Ok(Some(found)) if Some(found.stamp) != refuted => match recorded.compare(&found.stamp) {
                    Likeness::Same => (&mut yielded.back, true),
                    Likeness::Touched => (&mut yielded.back, false),
                    Likeness::Other => continue,
                },
                _ => continue,
            };
            self.layout.pieces_of(entry).for_each(|piece| {
                pieces.insert(piece);
            });
            let mut entries = self.lock();
            match entries.get_mut(entry) {
                Some(known) if is_over => {
                    known.changed = false;
                    known.end_dispute(self.is_download());
                }
                // Moving a file elsewhere and back changes its change time.
                Some(EntryState { dispute: Some(dispute), .. }) => {
                    dispute.doubted = self.layout.pieces_of(entry).collect();
                }
                _ => {}
            }
        }
        yielded
    }
}
