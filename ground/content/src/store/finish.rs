//! What remains when the bytes are there: empty files, links, lengths, and getting all of it to the disk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::Store;
use super::folder::OpenError;
use crate::{EntryKind, RelPath, StorageError, platform};

/// From this many files on, one flush of the whole file system is cheaper than one a file.
const FLUSH_SINGLY_MAX: usize = 16;

impl Store {
    /// Creates folders, empty files and links, sets executable bits and lengths: what remains when every wanted piece is verified.
    ///
    /// # Errors
    /// The first failure; calling again continues.
    pub fn finish(&self) -> Result<(), StorageError> {
        self.finish_only(|_| true)
    }

    /// As [`Store::finish`], for the entries that are wanted only.
    ///
    /// # Errors
    /// The first failure; calling again continues.
    pub fn finish_only(&self, is_wanted: impl Fn(usize) -> bool) -> Result<(), StorageError> {
        if !self.is_download() {
            return Ok(());
        }
        for (index, entry) in self.layout.entries().iter().enumerate() {
            if !is_wanted(index) {
                continue;
            }
            match &entry.kind {
                EntryKind::Pad => {}
                EntryKind::Symlink { target } => self.create_link(index, target)?,
                EntryKind::File { .. } => {
                    let is_unfinished = self.lock().get(index).is_some_and(|known| {
                        known.missing == 0 && !known.prepared && (entry.length == 0 || known.stamp.is_none())
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

    /// Flushes file data to the disk, so that it survives power loss.
    ///
    /// # Errors
    /// After an error the unsynced pieces must be treated as unverified after a reboot: the journal does. Every later call
    /// fails too, because the kernel drops what it could not write and then calls the file clean.
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
        let result = self.flush(&dirty);
        if result.is_err() {
            self.flush_failed.store(true, Ordering::Release);
        }
        result
    }

    fn flush(&self, dirty: &[usize]) -> Result<(), StorageError> {
        if dirty.is_empty() {
            return Ok(());
        }
        let folder = self.base_folder()?;
        if dirty.len() > FLUSH_SINGLY_MAX {
            // A handle that can only be passed by does not do for flushing: open a real one.
            let root = platform::open_folder_to_sync(&*folder, Path::new(""));
            return root.and_then(rustix::fs::syncfs).map_err(|errno| {
                StorageError::new("flush the file system of", &self.path_of(dirty[0]), errno)
            });
        }
        let mut folders = BTreeSet::new();
        for &entry in dirty {
            let file = match self.open_read(entry) {
                Ok(file) => file,
                // Its pieces will be found missing when they are read.
                Err(OpenError::Missing) => continue,
                Err(OpenError::Storage(error)) => return Err(error),
            };
            rustix::fs::fdatasync(&*file).map_err(|errno| self.error("flush", entry, errno))?;
            folders.extend(self.path_below(entry).ancestors().skip(1).map(Path::to_owned));
        }
        for path in folders {
            platform::open_folder_to_sync(&*folder, &path)
                .and_then(rustix::fs::fsync)
                .map_err(|errno| StorageError::new("flush folder", &path, errno))?;
        }
        Ok(())
    }
}
