//! Telling whether a file is still the one that was verified.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::dispute::Dispute;
use super::folder::Base;
use super::{EntryState, Store};
use crate::platform::{self, FileState};
use crate::{EntryKind, FileStamp, Likeness, PieceIndex, Rechecked, StorageError};

impl Store {
    /// The stamps under which files were verified, for the journal. `None` for a file that is still being written,
    /// for one that is not there, and for pads and links. One that changed keeps the stamp on record.
    pub fn stamps(&self) -> Vec<Option<FileStamp>> {
        let known: Vec<_> = self.lock().iter().map(|entry| (entry.recorded(), entry.missing)).collect();
        let stamps = known.into_iter().enumerate().map(|(entry, (stamp, missing))| match stamp {
            None if missing == 0 && self.is_file(entry) => {
                let found = self.state_of(entry).ok().flatten()?;
                let length = self.layout.entries().get(entry)?.length;
                let fits = found.is_file && found.stamp.length == length;
                fits.then(|| self.settle(entry, found.stamp)).flatten()
            }
            stamp => stamp,
        });
        stamps.collect()
    }

    /// Entries whose file changed since it was verified, found so far.
    pub fn changed(&self) -> Vec<usize> {
        let entries = self.lock();
        entries.iter().enumerate().filter(|(_, entry)| entry.changed).map(|(index, _)| index).collect()
    }

    /// Checks every file against its stamp now; returns the entries that were found changed or gone (their pieces left the verified
    /// set), or [in doubt](Store::doubted). A file that cannot be looked at, because its folder is not mounted for example, is passed over.
    pub fn check_stamps(&self) -> Vec<usize> {
        let stamped: Vec<_> = self.lock().iter().map(|entry| entry.stamp).collect();
        let mut found = Vec::new();
        for (entry, stamp) in stamped.into_iter().enumerate() {
            let Some(stamp) = stamp else { continue };
            let Ok(now) = self.state_of(entry) else { continue };
            let is_news = match now.map(|now| (now.stamp, stamp.compare(&now.stamp))) {
                Some((_, Likeness::Same)) => false,
                Some((now, Likeness::Touched)) => self.doubt(entry, now),
                Some((_, Likeness::Other)) | None => {
                    self.forget(entry);
                    true
                }
            };
            if is_news {
                found.push(entry);
            }
        }
        found
    }

    /// What lies at the path of an entry now; `None` when nothing does.
    pub(crate) fn state_of(&self, entry: usize) -> Result<Option<FileState>, StorageError> {
        let found = match self.base()? {
            Base::Folder(folder) => platform::state_below(&*folder, &self.path_below(entry)),
            Base::SingleFile => platform::state_at(&self.path_of(entry)),
        };
        match found {
            Ok(state) => Ok(Some(state)),
            Err(Errno::NOENT | Errno::NOTDIR) if self.has_folder() => Ok(None),
            Err(errno) => Err(self.error("look at", entry, errno)),
        }
    }

    /// How an open file compares with the one that was verified. A file that is not settled is only asked to reach up to `end`; one
    /// that is complete and has no stamp yet gets this one.
    pub(super) fn likeness(&self, entry: usize, state: &FileState, end: u64) -> Likeness {
        let mut entries = self.lock();
        let Some(known) = entries.get_mut(entry) else { return Likeness::Other };
        let is_same = match known.stamp {
            Some(stamp) => return stamp.compare(&state.stamp),
            None if !state.is_file => false,
            None if known.missing == 0 => {
                let fits =
                    self.layout.entries().get(entry).is_some_and(|entry| entry.length == state.stamp.length);
                known.stamp = fits.then_some(state.stamp);
                fits
            }
            None => state.stamp.length >= end,
        };
        if is_same { Likeness::Same } else { Likeness::Other }
    }

    /// Gives a complete entry its stamp, unless it has one; returns the one it has.
    pub(super) fn settle(&self, entry: usize, stamp: FileStamp) -> Option<FileStamp> {
        let mut entries = self.lock();
        let known = entries.get_mut(entry).filter(|known| known.missing == 0)?;
        Some(*known.stamp.get_or_insert(stamp))
    }

    /// Gives a file that is as stamped the present stamp, if the one it has is from before change times were asked for.
    pub(crate) fn renew_stamp(&self, entry: usize, now: FileStamp) {
        let mut entries = self.lock();
        let stamp = entries.get_mut(entry).and_then(|known| known.stamp.as_mut());
        if let Some(stamp) = stamp.filter(|stamp| stamp.changed_ns.is_none()) {
            *stamp = now;
        }
    }

    /// Takes over what a recheck found, and the stamps of the files that it read.
    pub(crate) fn restate(&self, found: &Rechecked, read: &BTreeMap<usize, Option<FileStamp>>) {
        let is_hashed = |piece: &PieceIndex| found.proven.contains(*piece) || found.refuted.contains(*piece);
        let mut entries = self.lock();
        // Files of which this recheck does not tell all that the change time leaves open.
        let mut open = BTreeMap::new();
        for (&entry, &stamp) in read {
            let Some(was) = entries.get(entry).and_then(|known| known.stamp) else { continue };
            let is_left = |piece: &PieceIndex| !is_hashed(piece) && self.is_verified(*piece);
            let mut left = self.layout.pieces_of(entry).filter(is_left).peekable();
            match stamp.map_or(Likeness::Other, |now| was.compare(&now)) {
                Likeness::Same => {}
                Likeness::Touched if left.peek().is_none() => {}
                Likeness::Touched => {
                    open.insert(entry, was);
                }
                // The file is another one by now: what was not hashed this time is not vouched for.
                Likeness::Other => left.for_each(|piece| {
                    self.mark_missing(&mut entries, piece);
                }),
            }
        }
        for piece in found.refuted.iter() {
            self.mark_missing(&mut entries, piece);
        }
        for piece in found.proven.iter() {
            self.mark_verified(&mut entries, piece);
            // Whoever wrote it, nothing says that it is on disk.
            self.mark_dirty(&mut entries, piece);
        }
        for (entry, stamp) in read {
            let is_all = self.layout.pieces_of(*entry).all(|piece| is_hashed(&piece));
            if let Some(known) = entries.get_mut(*entry) {
                known.settle_dispute(found, *stamp, is_all);
                let stamp = open.get(entry).copied().or(*stamp);
                // Nobody here writes to a file that is somebody's work, either.
                known.stamp =
                    stamp.filter(|_| !self.is_download() || known.missing == 0 || known.dispute.is_some());
            }
        }
    }

    /// Takes all pieces of a changed file out of the verified set, and closes it so that the next attempt sees the new file.
    pub(crate) fn forget(&self, entry: usize) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        // Of a download, what is gone is nobody's work.
        let is_gone = self.is_download() && matches!(self.state_of(entry), Ok(None));
        let mut entries = self.lock();
        let recorded = entries.get(entry).and_then(EntryState::recorded).filter(|_| !is_gone);
        for piece in self.layout.pieces_of(entry) {
            self.mark_missing(&mut entries, piece);
        }
        if let Some(known) = entries.get_mut(entry) {
            known.changed = true;
            known.prepared = None;
            known.stamp = None;
            known.dispute = recorded.map(|recorded| Dispute::over(recorded, Vec::new()));
        }
        drop(entries);
        self.files.remove(self.key(entry));
        tracing::warn!(path = ?self.path_of(entry), "file changed since it was verified");
    }

    pub(crate) fn is_file(&self, entry: usize) -> bool {
        self.layout.entries().get(entry).is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. }))
    }
}
