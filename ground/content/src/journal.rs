//! Fast resume: what a restart may believe about one content, after a clean stop, `kill -9` or power loss.
//!
//! An append-only file of checksummed records beside a lock, so that two processes never work on one transfer. A piece is appended after its
//! bytes are written; file data itself is not forced to disk at that moment. Each run of a machine has a boot id: pieces recorded under the
//! present boot are believed (the page cache survived the process), pieces of an earlier boot only if a later `synced` record covers
//! them, the rest are to be rechecked. A torn tail is cut off on open. Compacted by writing anew and renaming.

use std::path::Path;

use crate::{PieceIndex, PieceSet, StorageError};

/// Identifies the state of a file: if any of it differs, the bytes may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Bytes.
    pub length: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i128,
    /// Inode number; 0 where there is none.
    pub inode: u64,
}

/// What the journal says at open.
#[derive(Debug)]
pub struct Resumed {
    /// Pieces to be believed, if the stamps of their files match.
    pub verified: PieceSet,
    /// Pieces that must be hashed before they are believed (power loss, or a file that changed).
    pub suspect: PieceSet,
    /// Stamps by entry.
    pub stamps: Vec<Option<FileStamp>>,
    /// The caller's note, as last set (where the files are, options): opaque here.
    pub note: Vec<u8>,
    /// Bytes uploaded and downloaded over all runs.
    pub totals: (u64, u64),
}

/// The journal of one transfer, locked against other processes.
#[derive(Debug)]
pub struct Journal {
    _private: (),
}

impl Journal {
    /// Opens or creates. `identity` names the content and its layout: a journal of another identity is an error, not a silent reset.
    ///
    /// # Errors
    /// [`StorageError`]; `WouldBlock` as its source when another process holds the lock.
    pub fn open(
        path: &Path,
        identity: &[u8],
        pieces: u32,
        entries: usize,
    ) -> Result<(Self, Resumed), StorageError> {
        let _ = (path, identity, pieces, entries);
        todo!()
    }
    /// Reads a journal without locking or repairing it: identity, note, counts (for listings).
    ///
    /// # Errors
    /// [`StorageError`] when it cannot be read or is not a journal.
    pub fn peek(path: &Path) -> Result<(Vec<u8>, Resumed), StorageError> {
        let _ = path;
        todo!()
    }
    /// Queues pieces for the next [`Journal::commit`].
    pub fn verified(&mut self, pieces: &[PieceIndex]) {
        let _ = pieces;
    }
    /// Queues the loss of pieces (changed file, recheck).
    pub fn lost(&mut self, pieces: &[PieceIndex]) {
        let _ = pieces;
    }
    /// Queues stamps, the note and the totals (only what changed is written).
    pub fn describe(&mut self, stamps: &[Option<FileStamp>], note: &[u8], totals: (u64, u64)) {
        let _ = (stamps, note, totals);
    }
    /// Writes what is queued, one append; survives `kill -9` once it returns. With `synced`, the caller has flushed all file data of the pieces
    /// recorded so far, and the journal itself is forced to disk.
    ///
    /// # Errors
    /// [`StorageError`]; what was queued stays queued.
    pub fn commit(&mut self, synced: bool) -> Result<(), StorageError> {
        let _ = synced;
        todo!()
    }
}
