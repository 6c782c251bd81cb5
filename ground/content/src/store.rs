//! The files of one content, and which of their pieces are verified.
//!
//! The store opens files lazily through the shared [`FilePool`], below one folder that nothing escapes
//! (no symlink is followed inside it). Before bytes are served it checks that the file is still the one
//! that was verified (size, modification time, inode); if not, its pieces leave the verified set and
//! the reader gets [`ReadError::Changed`].

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Block, FilePool, FileStamp, Layout, PieceIndex, PieceSet, StorageError};

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
    /// The system said no.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The files of one content. Shared behind an `Arc`; all methods take `&self` and may block on the disk.
#[derive(Debug)]
pub struct Store {
    _private: (),
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
        let _ = (layout, place, files, verified, stamps);
        todo!()
    }
    /// The map it was made with.
    pub fn layout(&self) -> &Arc<Layout> {
        todo!()
    }
    /// The absolute path of an entry.
    pub fn path_of(&self, entry: usize) -> PathBuf {
        let _ = entry;
        todo!()
    }
    /// A copy of the verified set.
    pub fn verified(&self) -> PieceSet {
        todo!()
    }
    /// Whether one piece is verified; lock-free.
    pub fn is_verified(&self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!()
    }
    /// Bytes of files (not pads) in verified pieces.
    pub fn verified_bytes(&self) -> u64 {
        todo!()
    }
    /// Marks a piece verified (recheck, intake) or takes it back (changed file).
    pub fn set_verified(&self, piece: PieceIndex, verified: bool) {
        let _ = (piece, verified);
        todo!()
    }
    /// Stamps of the files as they are now, for the journal; `None` for a file that does not exist.
    pub fn stamps(&self) -> Vec<Option<FileStamp>> {
        todo!()
    }
    /// Entries whose file changed since it was verified, found so far.
    pub fn changed(&self) -> Vec<usize> {
        todo!()
    }
    /// Checks every file against its stamp now; returns the entries that changed or vanished (their pieces left the verified set).
    pub fn check_stamps(&self) -> Vec<usize> {
        todo!()
    }
    /// Prepares to send a block of a verified piece. Opens what it needs and checks that files are unchanged.
    ///
    /// # Errors
    /// [`ReadError`]: nothing was sent.
    pub fn sending(&self, block: Block) -> Result<Sending, ReadError> {
        let _ = block;
        todo!()
    }
    /// Reads a block of a verified piece into `into` (`into.len() == block.length`).
    ///
    /// # Errors
    /// [`ReadError`]; `into` may be partly overwritten.
    pub fn read(&self, block: Block, into: &mut [u8]) -> Result<(), ReadError> {
        let _ = (block, into);
        todo!()
    }
    /// Whether the bytes of the block are in the page cache, so that sending them does not wait for the disk; when not,
    /// asks the kernel to read ahead `readahead` bytes from there.
    pub fn is_resident(&self, block: Block, readahead: u32) -> bool {
        let _ = (block, readahead);
        true
    }
    /// Creates folders, empty files and links, sets executable bits and lengths: what remains when every wanted piece is verified.
    ///
    /// # Errors
    /// The first failure; calling again continues.
    pub fn finish(&self) -> Result<(), StorageError> {
        todo!()
    }
    /// Flushes file data to the disk, so that it survives power loss.
    ///
    /// # Errors
    /// After an error the unsynced pieces must be treated as unverified after a reboot: the journal does.
    pub fn sync(&self) -> Result<(), StorageError> {
        todo!()
    }
    /// Closes this store's files in the pool.
    pub fn close(&self) {}
}

/// A block on its way out: what is left of it, file by file.
#[derive(Debug)]
pub struct Sending {
    _private: (),
}

impl Sending {
    /// Bytes not sent yet.
    pub fn remaining(&self) -> u32 {
        todo!()
    }
    /// Sends as much as a non-blocking socket takes, with `sendfile`; `more` says that further bytes follow at once (`MSG_MORE`
    /// for padding; `sendfile` itself cannot say so). Returns bytes sent; 0 only when nothing remained.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full; `UnexpectedEof` when the file shrank; else the socket's or file's error.
    pub fn send(&mut self, socket: impl AsFd, more: bool) -> std::io::Result<usize> {
        let _ = (socket, more);
        todo!()
    }
    /// Copies as much as fits into `into` instead (encrypted connections); returns bytes copied.
    ///
    /// # Errors
    /// As [`Sending::send`].
    pub fn copy(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let _ = into;
        todo!()
    }
}
