//! What remains when the bytes are there: empty files, links, lengths, and getting all of it to the disk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::folder::OpenError;
use super::{EntryState, Store};
use crate::{EntryKind, FileStamp, PieceIndex, PieceSet, RelPath, StorageError, platform};

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

    /// Cuts off what the files of a download have beyond their lengths. That is somebody's work: only for whom its user gave it up.
    ///
    /// # Errors
    /// The first failure; the other files are cut all the same.
    pub fn cut_surplus(&self) -> Result<(), StorageError> {
        let mut first = Ok(());
        if !self.is_download() {
            return first;
        }
        for (index, entry) in self.layout.entries().iter().enumerate() {
            let is_longer = |stamp: FileStamp| stamp.length > entry.length;
            if !self.is_file(index)
                || !matches!(self.state_of(index), Ok(Some(state)) if is_longer(state.stamp))
            {
                continue;
            }
            let cut = self.base_folder().and_then(|folder| {
                platform::open_write(&*folder, &self.path_below(index))
                    .and_then(|file| platform::truncate(file, entry.length))
                    .map_err(|errno| self.open_error("shorten", index, errno))
            });
            first = first.and(cut);
        }
        first
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
    /// [`FlushError`]. The next call tries again, but no call brings back what the kernel dropped.
    pub fn sync(&self) -> Result<(), FlushError> {
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
        let Err(failure) = self.flush(&dirty) else { return Ok(()) };
        let none = PieceSet::empty(self.layout.piece_count());
        let (error, lost) = match failure {
            Failure::NotBegun(error) => (error, none),
            Failure::Dropped(error) => (error, self.doubt_unflushed(&dirty)),
        };
        let mut entries = self.lock();
        dirty.into_iter().for_each(|entry| entries[entry].dirty = true);
        Err(FlushError { error, lost })
    }

    /// After a failed flush the kernel calls clean what it could not write, and reads give it as long as it stays in memory: takes
    /// the pieces of these files back, and has them read from the disk from now on.
    fn doubt_unflushed(&self, entries: &[usize]) -> PieceSet {
        self.losses.fetch_add(1, Ordering::AcqRel);
        let mut lost = PieceSet::empty(self.layout.piece_count());
        for &entry in entries {
            let mut known = self.lock();
            for piece in self.layout.pieces_of(entry).filter(|piece| self.mark_missing(&mut known, *piece)) {
                lost.insert(piece);
            }
            drop(known);
            if let Ok(file) = self.open_read(entry) {
                platform::drop_cached(&*file);
            }
        }
        lost
    }

    fn flush(&self, dirty: &[usize]) -> Result<(), Failure> {
        let Some(&first) = dirty.first() else { return Ok(()) };
        let folder = self.base_folder().map_err(Failure::NotBegun)?;
        if dirty.len() > FLUSH_SINGLY_MAX {
            // A handle that can only be passed by does not do for flushing: open a real one.
            let fail = |errno| self.error("flush the file system of", first, errno);
            let root = platform::open_folder_to_sync(&*folder, Path::new(""))
                .map_err(|errno| Failure::NotBegun(fail(errno)))?;
            return rustix::fs::syncfs(root).map_err(|errno| Failure::Dropped(fail(errno)));
        }
        let mut folders = BTreeSet::new();
        for &entry in dirty {
            let file = match self.open_read(entry) {
                Ok(file) => file,
                // Its pieces will be found missing when they are read.
                Err(OpenError::Missing) => continue,
                Err(OpenError::Storage(error)) => return Err(Failure::NotBegun(error)),
            };
            rustix::fs::fdatasync(&*file)
                .map_err(|errno| Failure::Dropped(self.error("flush", entry, errno)))?;
            folders.extend(self.path_below(entry).ancestors().skip(1).map(Path::to_owned));
        }
        for path in folders {
            let fail = |errno| StorageError::new("flush folder", &path, errno);
            let opened = platform::open_folder_to_sync(&*folder, &path)
                .map_err(|errno| Failure::NotBegun(fail(errno)))?;
            rustix::fs::fsync(opened).map_err(|errno| Failure::Dropped(fail(errno)))?;
        }
        Ok(())
    }
}

/// File data was not forced to the disk.
#[derive(Debug)]
pub struct FlushError {
    /// What failed.
    pub error: StorageError,
    /// Pieces that left the verified set, because the kernel may have dropped them: what a recheck finds of them is on the disk.
    pub lost: PieceSet,
}

/// How a flush failed.
enum Failure {
    /// Before it began, at least for some: nothing is lost, and all of it is tried again.
    NotBegun(StorageError),
    /// The kernel could not write: what it drops then is not known.
    Dropped(StorageError),
}
