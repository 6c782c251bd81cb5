//! What remains when the bytes are there: empty files, links, lengths, and getting all of it to the disk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::folder::OpenError;
use super::{EntryState, Store};
use crate::{EntryKind, PieceIndex, PieceSet, RelPath, StorageError, platform};

/// From this many files on, one flush of the whole file system is cheaper than one a file.
const FLUSH_SINGLY_MAX: usize = 16;

impl Store {
    /// Creates folders, empty files and links, sets executable bits and lengths: what remains when every wanted piece is verified.
    /// Entries that are not wanted are left out.
    ///
    /// # Errors
    /// The first failure; calling again continues.
    pub fn finish(&self) -> Result<(), StorageError> {
        if !self.is_download() {
            return Ok(());
        }
        for (index, entry) in self.layout.entries().iter().enumerate() {
            if self.lock().get(index).is_none_or(|known| known.unwanted) {
                continue;
            }
            match &entry.kind {
                EntryKind::Pad => {}
                EntryKind::Symlink { target } => self.create_link(index, target)?,
                EntryKind::File { .. } => {
                    let is_unfinished = self.lock().get(index).is_some_and(|known| {
                        known.missing == 0
                            && known.prepared.is_none()
                            && (entry.length == 0 || known.stamp.is_none())
                    });
                    if is_unfinished {
                        self.open_write(index)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Creates a link whose text climbs from the link's own folder to the content's, and from there to the target.
    fn create_link(&self, entry: usize, target: &RelPath) -> Result<(), StorageError> {
        let Some(link) = self.layout.entries().get(entry).map(|entry| &entry.path) else { return Ok(()) };
        let mut text: PathBuf = (1..link.components().count()).map(|_| OsStr::new("..")).collect();
        text.push(target.as_path());
        let path = self.path_below(entry);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let folder = self.base_folder()?;
        platform::make_folders(&*folder, parent)
            .and_then(|parent| platform::make_link(parent, name, &text))
            .map_err(|errno| self.open_error("create link", entry, errno))
    }

    /// Says that nothing vouches for these pieces to be on disk: the next [`Store::sync`] flushes their files too.
    pub fn flush_later(&self, pieces: &PieceSet) {
        let mut entries = self.lock();
        pieces.iter().for_each(|piece| self.mark_dirty(&mut entries, piece));
    }

    /// Files that are shared in place are their user's to flush.
    pub(super) fn mark_dirty(&self, entries: &mut [EntryState], piece: PieceIndex) {
        if self.is_download() {
            for span in self.layout.piece_spans(piece).filter(|span| self.is_file(span.entry)) {
                entries[span.entry].dirty = true;
            }
        }
    }

    /// Flushes file data to the disk, so that it survives power loss.
    ///
    /// # Errors
    /// After an error the unsynced pieces must be treated as unverified after a reboot: the journal does. When it was the flush itself
    /// that failed, every later call fails too, because the kernel drops what it could not write and then calls the file clean. When
    /// files could not be opened to be flushed, the next call tries again.
    pub fn sync(&self) -> Result<(), StorageError> {
        if self.flush_failed.load(Ordering::Acquire) {
            let source = io::Error::other("an earlier flush failed, and what it lost is not known");
            return Err(StorageError::new("flush", &self.path_of(0), source));
        }
        let dirty: Vec<usize> = {
            let mut entries = self.lock();
            let dirty = entries.iter_mut().enumerate().filter(|(_, entry)| entry.dirty);
            dirty
                .map(|(index, entry)| {
                    entry.dirty = false;
                    index
                })
                .collect()
        };
        match self.flush(&dirty) {
            Ok(()) => Ok(()),
            Err(FlushError::Lost(error)) => {
                self.flush_failed.store(true, Ordering::Release);
                Err(error)
            }
            Err(FlushError::NotBegun(error)) => {
                let mut entries = self.lock();
                dirty.into_iter().for_each(|entry| entries[entry].dirty = true);
                Err(error)
            }
        }
    }

    fn flush(&self, dirty: &[usize]) -> Result<(), FlushError> {
        let Some(&first) = dirty.first() else { return Ok(()) };
        let folder = self.base_folder().map_err(FlushError::NotBegun)?;
        if dirty.len() > FLUSH_SINGLY_MAX {
            // A handle that can only be passed by does not do for flushing: open a real one.
            let fail = |errno| self.error("flush the file system of", first, errno);
            let root = platform::open_folder_to_sync(&*folder, Path::new(""))
                .map_err(|errno| FlushError::NotBegun(fail(errno)))?;
            return rustix::fs::syncfs(root).map_err(|errno| FlushError::Lost(fail(errno)));
        }
        let mut folders = BTreeSet::new();
        for &entry in dirty {
            let file = match self.open_read(entry) {
                Ok(file) => file,
                // Its pieces will be found missing when they are read.
                Err(OpenError::Missing) => continue,
                Err(OpenError::Storage(error)) => return Err(FlushError::NotBegun(error)),
            };
            rustix::fs::fdatasync(&*file)
                .map_err(|errno| FlushError::Lost(self.error("flush", entry, errno)))?;
            folders.extend(self.path_below(entry).ancestors().skip(1).map(Path::to_owned));
        }
        for path in folders {
            let fail = |errno| StorageError::new("flush folder", &path, errno);
            let opened = platform::open_folder_to_sync(&*folder, &path)
                .map_err(|errno| FlushError::NotBegun(fail(errno)))?;
            rustix::fs::fsync(opened).map_err(|errno| FlushError::Lost(fail(errno)))?;
        }
        Ok(())
    }
}

/// How a flush failed.
enum FlushError {
    /// Before it began, at least for some: nothing is lost, and all of it is tried again.
    NotBegun(StorageError),
    /// The kernel could not write: what it drops then is not known.
    Lost(StorageError),
}
