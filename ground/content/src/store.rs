//! The files of one content, and which of their pieces are verified.
//!
//! The store opens files lazily through the shared [`FilePool`], below one folder that nothing escapes
//! (no symlink is followed inside it). Before bytes are served it checks that the file is still the one
//! that was verified (size, modification time, inode); if not, its pieces leave the verified set and
//! the reader gets [`ReadError::Changed`]. Where nothing but the change time differs, nothing of the file is
//! served until a recheck has told whether its bytes do: [`ReadError::Touched`].

mod delete;
mod dispute;
mod finish;
mod folder;
mod sending;
mod stamps;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::io::Errno;

use crate::bits::AtomicPieceSet;
use crate::files::{FileKey, OpenFile};
use crate::{
    Block, FilePool, FileStamp, Layout, Likeness, PieceIndex, PieceSet, Quota, StorageError, platform,
};

pub use dispute::Yielded;
pub use finish::FlushError;
pub use sending::Sending;

use dispute::Dispute;

/// Where the bytes lie.
#[derive(Clone, Debug)]
pub enum Place {
    /// Shared in place: existing files, opened read-only. A single file's path, or the folder.
    InPlace(PathBuf),
    /// A download: the folder that receives the content. Single-file content becomes `folder/<entry path>`;
    /// multi-file content brings its top folder in `root`.
    Download {
        /// Existing folder chosen by the user.
        folder: PathBuf,
        /// Top folder of multi-file content, created below `folder`; `None` for a single file.
        root: Option<crate::RelPath>,
        /// Whether space is taken up front.
        preallocation: Preallocation,
    },
}

/// Whether space for files is taken before their bytes arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// Files grow as sparse files.
    #[default]
    Sparse,
    /// `fallocate` at first write.
    Full,
}

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The block lies in a piece that is not verified.
    #[error("piece {0} is not verified")]
    NotVerified(PieceIndex),
    /// Past the end, or empty.
    #[error("block {0:?} is outside the content")]
    OutOfBounds(Block),
    /// The file is not what was verified; its pieces left the verified set.
    #[error("{path:?} changed since it was verified")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Only the change time of the file is another than when it was verified, as was found just now: it has to be
    /// [hashed](Store::doubted) before it is read.
    #[error("{path:?} may have changed since it was verified")]
    Touched {
        /// The file.
        path: PathBuf,
    },
    /// The same, as was found before.
    #[error("{path:?} is to be hashed before it is read")]
    InDoubt {
        /// The file.
        path: PathBuf,
    },
    /// The system said no.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The files of one content. Shared behind an `Arc`; all methods take `&self` and may block on the disk.
///
/// An entry is *settled* when nobody here writes to it any more: it is shared in place, or all its pieces are verified.
/// Only a settled entry has a stamp, and from then on any change to its file is somebody else's.
#[derive(Debug)]
pub struct Store {
    layout: Arc<Layout>,
    place: Place,
    files: FilePool,
    /// This store's number in the file pool.
    number: u64,
    verified: AtomicPieceSet,
    verified_bytes: AtomicU64,
    /// Changes of `verified` are made under this lock, so that the counts in it agree; reading needs no lock.
    entries: Mutex<Vec<EntryState>>,
    budget: Option<Budget>,
    /// Whether `Place::InPlace` names a file rather than a folder, once looked up.
    is_single: OnceLock<bool>,
    /// How often bytes on disk were found to be others than those written.
    losses: AtomicU64,
}

/// What the store knows about one entry.
#[derive(Debug, Default)]
struct EntryState {
    /// The file as it was when it was verified; only when settled.
    stamp: Option<FileStamp>,
    /// Pieces of the entry that are not verified.
    missing: u32,
    /// The file changed since it was verified, and was not verified again.
    changed: bool,
    dispute: Option<Dispute>,
    /// The file was created or adopted by this store, with its length and mode in order; its inode number then.
    prepared: Option<u64>,
    /// Written since the last flush.
    dirty: bool,
    /// The user does not want it: it is written only as far as pieces that it shares with others demand it.
    unwanted: bool,
}

/// A quota, and the pieces already charged to it.
#[derive(Debug)]
struct Budget {
    quota: Quota,
    charged: AtomicPieceSet,
}

impl Store {
    /// A store over `place`. Touches no file yet. `verified` and `stamps` come from a [`Journal`](crate::Journal), from hashing, or are empty.
    pub fn new(
        layout: Arc<Layout>,
        place: Place,
        files: FilePool,
        verified: PieceSet,
        stamps: Vec<Option<FileStamp>>,
    ) -> Self {
        let verified = if verified.len() == layout.piece_count() {
            verified
        } else {
            PieceSet::from_words(verified.words().to_vec(), layout.piece_count())
        };
        let in_place = matches!(place, Place::InPlace(_));
        let mut stamps = stamps.into_iter();
        let entries = (0..layout.entries().len())
            .map(|entry| {
                let missing = if verified.is_full() {
                    0
                } else {
                    layout.pieces_of(entry).filter(|&piece| !verified.contains(piece)).count() as u32
                };
                let stamp = stamps.next().flatten().filter(|_| in_place || missing == 0);
                EntryState { stamp, missing, ..EntryState::default() }
            })
            .collect();
        let bytes = if verified.is_full() {
            layout.content_length()
        } else {
            verified.iter().map(|piece| layout.piece_file_bytes(piece)).sum()
        };
        Self {
            number: files.register(),
            verified: AtomicPieceSet::new(&verified),
            verified_bytes: AtomicU64::new(bytes),
            entries: Mutex::new(entries),
            budget: None,
            is_single: OnceLock::new(),
            losses: AtomicU64::new(0),
            layout,
            place,
            files,
        }
    }

    /// Charges what this store writes, and what it has verified already, to a quota; given back when the store is dropped.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        quota.take_present(self.verified_bytes());
        self.budget = Some(Budget { quota, charged: AtomicPieceSet::new(&self.verified()) });
        self
    }

    /// Says which entries the user wants; all at first. The others are neither created empty nor given space up front.
    pub fn want(&self, is_wanted: impl Fn(usize) -> bool) {
        for (index, entry) in self.lock().iter_mut().enumerate() {
            entry.unwanted = !is_wanted(index);
        }
    }

    /// The first file of which something is missing.
    pub fn incomplete(&self) -> Option<usize> {
        let entries = self.lock();
        (0..entries.len()).find(|&entry| entries[entry].missing > 0 && self.is_file(entry))
    }

    /// Whether all is there of any of the files that a piece is part of.
    pub fn completes(&self, piece: PieceIndex) -> bool {
        let entries = self.lock();
        self.layout.piece_spans(piece).any(|span| entries[span.entry].missing == 0)
    }

    /// The map it was made with.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// A copy of the verified set.
    pub fn verified(&self) -> PieceSet {
        self.verified.snapshot()
    }

    /// Whether one piece is verified; lock-free.
    pub fn is_verified(&self, piece: PieceIndex) -> bool {
        self.verified.contains(piece)
    }

    /// Bytes of files (not pads) in verified pieces.
    pub fn verified_bytes(&self) -> u64 {
        self.verified_bytes.load(Ordering::Relaxed)
    }

    /// Marks a piece verified (recheck, intake) or takes it back (changed file).
    pub fn set_verified(&self, piece: PieceIndex, verified: bool) {
        let mut entries = self.lock();
        if verified {
            self.mark_verified(&mut entries, piece);
        } else {
            self.mark_missing(&mut entries, piece);
        }
    }

    /// Adds a piece; returns whether that completed any of its entries.
    fn mark_verified(&self, entries: &mut [EntryState], piece: PieceIndex) -> bool {
        if !self.verified.insert(piece) {
            return false;
        }
        self.verified_bytes.fetch_add(self.layout.piece_file_bytes(piece), Ordering::Relaxed);
        let mut completed = false;
        for span in self.layout.piece_spans(piece) {
            let entry = &mut entries[span.entry];
            entry.missing = entry.missing.saturating_sub(1);
            if entry.missing == 0 {
                entry.changed = false;
                entry.dispute = None;
                completed = true;
            }
        }
        completed
    }

    /// Takes a piece back; returns whether it was there.
    fn mark_missing(&self, entries: &mut [EntryState], piece: PieceIndex) -> bool {
        if !self.verified.remove(piece) {
            return false;
        }
        self.verified_bytes.fetch_sub(self.layout.piece_file_bytes(piece), Ordering::Relaxed);
        for span in self.layout.piece_spans(piece) {
            let entry = &mut entries[span.entry];
            entry.missing += 1;
            if self.is_download() {
                // It will be written again, and that is no change by others.
                entry.stamp = None;
            }
        }
        true
    }

    /// Prepares to send a block of a verified piece. Opens what it needs and checks that files are unchanged.
    ///
    /// # Errors
    /// [`ReadError`]: nothing was sent.
    pub fn sending(&self, block: Block) -> Result<Sending, ReadError> {
        self.check_readable(block)?;
        let mut sending = Sending::new(block.length);
        // What the spans do not cover lies in the gap behind a v2 file.
        let mut missing = block.length;
        for (index, span) in self.layout.spans(block).enumerate() {
            if index == SPANS_OPEN_MAX {
                // Thousands of tiny files would all be open for as long as the peer takes.
                return self.copied(block);
            }
            if self.layout.is_pad(span.entry) {
                sending.push_zeros(span.length);
            } else {
                let file = self.open_unchanged(span.entry, span.offset + u64::from(span.length))?;
                sending.push_file(file, span.offset, span.length);
            }
            missing -= span.length;
        }
        if missing > 0 {
            sending.push_zeros(missing);
        }
        Ok(sending)
    }

    /// A block that is copied now, one file after the other.
    fn copied(&self, block: Block) -> Result<Sending, ReadError> {
        let mut bytes = vec![0; block.length as usize];
        let mut rest = &mut bytes[..];
        for span in self.layout.spans(block) {
            let Some((mut part, others)) =
                std::mem::take(&mut rest).split_at_mut_checked(span.length as usize)
            else {
                return Err(ReadError::OutOfBounds(block));
            };
            rest = others;
            if self.layout.is_pad(span.entry) {
                continue;
            }
            let file = self.open_unchanged(span.entry, span.offset + u64::from(span.length))?;
            let mut offset = span.offset;
            while !part.is_empty() {
                match rustix::io::pread(&*file, &mut *part, offset) {
                    Ok(0) => return Err(self.error("read", span.entry, io::ErrorKind::UnexpectedEof).into()),
                    Ok(read) => {
                        part = &mut part[read..];
                        offset += read as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(self.error("read", span.entry, errno).into()),
                }
            }
        }
        Ok(Sending::of_bytes(bytes))
    }

    /// Reads a block of a verified piece into `into` (`into.len() == block.length`).
    ///
    /// # Errors
    /// [`ReadError`]; `into` may be partly overwritten.
    pub fn read(&self, block: Block, into: &mut [u8]) -> Result<(), ReadError> {
        if into.len() != block.length as usize {
            return Err(ReadError::OutOfBounds(block));
        }
        let mut sending = self.sending(block)?;
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += sending.copy(rest).map_err(|source| {
                let entry =
                    self.layout.spans(block).map(|span| span.entry).find(|&entry| !self.layout.is_pad(entry));
                StorageError::new("read", &self.path_of(entry.unwrap_or(0)), source)
            })?;
        }
        Ok(())
    }

    /// Whether the bytes of the block are in the page cache, so that sending them does not wait for the disk; when not,
    /// asks the kernel to read ahead `readahead` bytes from there.
    pub fn is_resident(&self, block: Block, readahead: u32) -> bool {
        let files = self.layout.spans(block).filter(|span| !self.layout.is_pad(span.entry));
        for span in files {
            // Whoever sends the block meets the error and says so.
            let Ok(file) = self.open_read(span.entry) else { return true };
            let probes = (0..span.length).step_by(RESIDENCY_STEP).map(|at| span.offset + u64::from(at));
            if let Some(miss) = probes.into_iter().find(|&at| !platform::is_cached(&*file, at)) {
                platform::read_ahead(&*file, miss, readahead.max(span.length).into());
                return false;
            }
        }
        true
    }

    /// Closes this store's files in the pool.
    pub fn close(&self) {
        self.files.remove_store(self.number);
    }

    fn check_readable(&self, block: Block) -> Result<(), ReadError> {
        if !self.layout.serves(block) {
            return Err(ReadError::OutOfBounds(block));
        }
        if !self.is_verified(block.piece) {
            return Err(ReadError::NotVerified(block.piece));
        }
        Ok(())
    }

    /// An entry's file, open for reading and the one that was verified, at least up to `end`.
    fn open_unchanged(&self, entry: usize, end: u64) -> Result<Arc<OpenFile>, ReadError> {
        let changed = || {
            self.forget(entry);
            ReadError::Changed { path: self.path_of(entry) }
        };
        let file = match self.open_read(entry) {
            Ok(file) => file,
            Err(folder::OpenError::Missing) => return Err(changed()),
            Err(folder::OpenError::Storage(error)) => return Err(error.into()),
        };
        let state = platform::state(&*file).map_err(|errno| self.error("read", entry, errno))?;
        // One that was removed or replaced still has its bytes as long as it is open, but is not what the user shares any more.
        if state.unlinked {
            return Err(changed());
        }
        match self.likeness(entry, &state, end) {
            Likeness::Same => Ok(file),
            Likeness::Touched if self.doubt(entry, state.stamp) => {
                Err(ReadError::Touched { path: self.path_of(entry) })
            }
            Likeness::Touched => Err(ReadError::InDoubt { path: self.path_of(entry) }),
            Likeness::Other => Err(changed()),
        }
    }

    /// How often a file was found changed or gone so far: what was written before the last time may not be there any more.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn is_download(&self) -> bool {
        matches!(self.place, Place::Download { .. })
    }

    fn key(&self, entry: usize) -> FileKey {
        FileKey { store: self.number, entry }
    }

    fn error(&self, attempt: &'static str, entry: usize, source: impl Into<std::io::Error>) -> StorageError {
        StorageError::new(attempt, &self.path_of(entry), source)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EntryState>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
        if let Some(budget) = &self.budget {
            let charged = budget.charged.snapshot();
            budget.quota.give_back(charged.iter().map(|piece| self.layout.piece_file_bytes(piece)).sum());
        }
    }
}

/// Files that a block on its way out keeps open; of more, its bytes are copied.
const SPANS_OPEN_MAX: usize = 8;
/// Bytes between two probes of the page cache: Linux reads ahead at least as much by default.
const RESIDENCY_STEP: usize = 128 << 10;
