//! Telling whether a file is still the one that was verified.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::dispute::Dispute;
use super::folder::Base;
use super::{EntryState, Store};
use crate::platform::{self, FileState};
use crate::{EntryKind, FileStamp, Rechecked, StorageError};

impl Store {
    /// The stamps under which files were verified, for the journal. `None` for a file that is still being written,
    /// for one that is not there, and for pads and links. One that changed keeps the stamp on record.
    pub fn stamps(&self) -> Vec<Option<FileStamp>> {
        let stamp = |entry: &EntryState| match &entry.dispute {
            Some(dispute) => Some(dispute.recorded),
            None => entry.stamp,
        };
        let known: Vec<_> = self.lock().iter().map(|entry| (stamp(entry), entry.missing)).collect();
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

    /// Checks every file against its stamp now; returns the entries that changed or vanished (their pieces left the verified set). A file
    /// that cannot be looked at, because its folder is not mounted for example, is passed over.
    pub fn check_stamps(&self) -> Vec<usize> {
        let stamped: Vec<_> = self.lock().iter().map(|entry| entry.stamp).collect();
        let mut changed = Vec::new();
        for (entry, stamp) in stamped.into_iter().enumerate() {
            let Some(stamp) = stamp else { continue };
            let Ok(now) = self.state_of(entry) else { continue };
            if now.is_none_or(|now| now.stamp != stamp) {
                self.forget(entry);
                changed.push(entry);
            }
        }
        changed
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

    /// Whether an open file is the one that was verified. A file that is not settled is only asked to reach up to `end`; one
    /// that is complete and has no stamp yet gets this one.
    pub(super) fn is_unchanged(&self, entry: usize, state: &FileState, end: u64) -> bool {
        let mut entries = self.lock();
        let Some(known) = entries.get_mut(entry) else { return false };
        match known.stamp {
            Some(stamp) => stamp == state.stamp,
            None if !state.is_file => false,
            None if known.missing == 0 => {
                let fits =
                    self.layout.entries().get(entry).is_some_and(|entry| entry.length == state.stamp.length);
                known.stamp = fits.then_some(state.stamp);
                fits
            }
            None => state.stamp.length >= end,
        }
    }

    /// Gives a complete entry its stamp, unless it has one; returns the one it has.
    pub(super) fn settle(&self, entry: usize, stamp: FileStamp) -> Option<FileStamp> {
        let mut entries = self.lock();
        let known = entries.get_mut(entry).filter(|known| known.missing == 0)?;
        Some(*known.stamp.get_or_insert(stamp))
    }

    /// Takes over what a recheck found, and the files as they are now.
    pub(crate) fn restate(&self, found: &Rechecked, now: &BTreeMap<usize, Option<FileStamp>>) {
        let is_hashed = |piece| found.proven.contains(piece) || found.refuted.contains(piece);
        let mut entries = self.lock();
        for (&entry, &stamp) in now {
            let was = entries.get(entry).and_then(|known| known.stamp);
            if was.is_some() && was != stamp {
                // The file is another one by now: what was not hashed this time is not vouched for.
                for piece in self.layout.pieces_of(entry).filter(|&piece| !is_hashed(piece)) {
                    self.mark_missing(&mut entries, piece);
                }
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
        for (&entry, &stamp) in now {
            let is_hashed = self.layout.pieces_of(entry).all(is_hashed);
            if let Some(known) = entries.get_mut(entry) {
                known.settle_dispute(found, is_hashed);
                known.stamp = stamp.filter(|_| !self.is_download() || known.missing == 0);
            }
        }
    }

    /// Takes all pieces of a changed file out of the verified set, and closes it so that the next attempt sees the new file.
    pub(crate) fn forget(&self, entry: usize) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        // Of a download, what is gone is nobody's work.
        let is_gone = self.is_download() && matches!(self.state_of(entry), Ok(None));
        let mut entries = self.lock();
        let recorded = entries.get(entry).and_then(|known| known.stamp).filter(|_| !is_gone);
        for piece in self.layout.pieces_of(entry) {
            self.mark_missing(&mut entries, piece);
        }
        if let Some(known) = entries.get_mut(entry) {
            known.changed = true;
            known.prepared = None;
            known.stamp = None;
            known.dispute = recorded.map(|recorded| Dispute { recorded, doubted: Vec::new() });
        }
        drop(entries);
        self.files.remove(self.key(entry));
        tracing::warn!(path = ?self.path_of(entry), "file changed since it was verified");
    }

    pub(crate) fn is_file(&self, entry: usize) -> bool {
        self.layout.entries().get(entry).is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. }))
    }
}
