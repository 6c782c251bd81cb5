//! Fast resume: what a restart may believe about one content, after a clean stop, `kill -9` or power loss.
//!
//! An append-only file of checksummed records beside a lock, so that two processes never work on one transfer. A piece is appended after its
//! bytes are written; file data itself is not forced to disk at that moment. Each run of a machine has a boot id: pieces recorded under the
//! present boot are believed (the page cache survived the process), pieces of an earlier boot only if a later `synced` record covers
//! them, the rest are to be rechecked. A torn tail is cut off on open. Compacted by writing anew and renaming.

mod belief;
mod frame;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::{FileStamp, Likeness, PieceIndex, PieceSet, StorageError, Store, platform};
use belief::{Belief, Item};
use frame::Damage;

/// What the journal says at open.
#[derive(Debug)]
pub struct Resumed {
    /// Pieces to be believed, if the stamps of their files match: see [`Resumed::check`].
    pub verified: PieceSet,
    /// Pieces that must be hashed before they are believed (power loss, or a file that changed).
    pub suspect: PieceSet,
    /// Of the verified ones, those that nothing vouches for to be on disk; a former process left them in the page cache.
    pub unsynced: PieceSet,
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
    path: PathBuf,
    file: File,
    /// What a restart would believe, had the last commit been the last.
    belief: Belief,
    /// Where the next frame goes.
    end: u64,
    /// Changes for the next commit, in order.
    queue: Vec<Item>,
    /// What a flush under way covers; `None` when none was begun.
    covered: Option<PieceSet>,
    described: Option<Described>,
    /// The present boot is not on record yet.
    boot_pending: bool,
    /// The file must be written anew: it is damaged, or a flush of it failed.
    rewrite: bool,
    /// Written but not forced to disk.
    unsynced: bool,
    /// The file's name has been forced to disk.
    name_synced: bool,
    /// Length at which to see whether the file has become too long.
    compact_at: u64,
}

#[derive(Debug)]
struct Described {
    stamps: Vec<Option<FileStamp>>,
    note: Vec<u8>,
    totals: (u64, u64),
}

/// A journal is written anew when it is this many times longer than it needs to be, and longer than [`COMPACT_MIN`].
const COMPACT_RATIO: u64 = 4;
/// Bytes below which a journal is never written anew for its length.
const COMPACT_MIN: u64 = 16 << 10;

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
        Self::open_under(path, identity, pieces, entries, platform::boot_id().as_deref())
    }

    /// As [`Journal::open`], under a given boot id.
    fn open_under(
        path: &Path,
        identity: &[u8],
        pieces: u32,
        entries: usize,
        boot: Option<&[u8]>,
    ) -> Result<(Self, Resumed), StorageError> {
        let file = lock(path)?;
        let bytes = read_all(&file).map_err(|source| StorageError::new("read journal", path, source))?;
        let refuse =
            |why| StorageError::new("open journal", path, io::Error::new(io::ErrorKind::InvalidData, why));
        // Only a file that was never written is empty: contents come with a rename.
        let is_new = bytes.is_empty();
        let (mut belief, end, damage) = if is_new {
            (Belief::new(identity.to_vec(), pieces, entries), 0, Damage::None)
        } else {
            let (belief, end, damage) = belief::replay(&bytes)
                .ok_or_else(|| refuse("it is not a journal, or its head is damaged"))?;
            if (belief.identity.as_slice(), belief.pieces(), belief.stamps.len())
                != (identity, pieces, entries)
            {
                return Err(refuse("it belongs to other content"));
            }
            (belief, end, damage)
        };
        let boot_pending = belief.enter_boot(boot);
        if damage == Damage::Torn {
            file.set_len(end).map_err(|source| StorageError::new("repair journal", path, source))?;
        }
        let resumed = belief.resumed();
        let mut journal = Self {
            path: path.to_owned(),
            file,
            belief,
            end,
            queue: Vec::new(),
            covered: None,
            described: None,
            boot_pending,
            rewrite: damage == Damage::Inside,
            unsynced: false,
            name_synced: !is_new,
            compact_at: end.max(COMPACT_MIN),
        };
        if is_new {
            journal.write_anew(false)?;
        }
        Ok((journal, resumed))
    }

    /// Reads a journal without locking or repairing it: identity, note, counts (for listings).
    ///
    /// # Errors
    /// [`StorageError`] when it cannot be read or is not a journal.
    pub fn peek(path: &Path) -> Result<(Vec<u8>, Resumed), StorageError> {
        let bytes = std::fs::read(path).map_err(|source| StorageError::new("read journal", path, source))?;
        let (mut belief, _, _) = belief::replay(&bytes).ok_or_else(|| {
            StorageError::new(
                "read journal",
                path,
                io::Error::new(io::ErrorKind::InvalidData, "it is not a journal"),
            )
        })?;
        belief.enter_boot(platform::boot_id().as_deref());
        let resumed = belief.resumed();
        Ok((belief.identity, resumed))
    }

    /// Queues pieces for the next [`Journal::commit`].
    pub fn verified(&mut self, pieces: &[PieceIndex]) {
        self.uncover(pieces);
        match self.queue.last_mut() {
            Some(Item::Verified(queued)) => queued.extend_from_slice(pieces),
            _ => self.queue.push(Item::Verified(pieces.to_vec())),
        }
    }

    /// Queues the loss of pieces (changed file, recheck).
    pub fn lost(&mut self, pieces: &[PieceIndex]) {
        self.uncover(pieces);
        match self.queue.last_mut() {
            Some(Item::Lost(queued)) => queued.extend_from_slice(pieces),
            _ => self.queue.push(Item::Lost(pieces.to_vec())),
        }
    }

    /// Queues pieces that are not believed any more until they are hashed.
    pub fn suspect(&mut self, pieces: &[PieceIndex]) {
        self.uncover(pieces);
        self.queue.push(Item::Suspect(pieces.to_vec()));
    }

    /// Whether there are pieces that nothing vouches for to be on disk.
    pub fn has_unsynced(&self) -> bool {
        !self.belief.unsynced().is_empty()
    }

    /// Says that file data is about to be flushed: the next [`Journal::commit`] with `synced` covers the pieces of this moment, and
    /// none that is queued after it.
    pub fn begin_flush(&mut self) {
        self.covered = Some(self.belief.after(&self.queue).unsynced().clone());
    }

    /// What is written anew while a flush is under way may have come too late for it.
    fn uncover(&mut self, pieces: &[PieceIndex]) {
        if let Some(covered) = &mut self.covered {
            pieces.iter().for_each(|piece| {
                covered.remove(*piece);
            });
        }
    }

    /// Queues stamps, the note and the totals (only what changed is written).
    pub fn describe(&mut self, stamps: &[Option<FileStamp>], note: &[u8], totals: (u64, u64)) {
        self.described = Some(Described { stamps: stamps.to_vec(), note: note.to_vec(), totals });
    }

    /// Writes what is queued, one append; survives `kill -9` once it returns. With `synced`, the caller has flushed all file data of the
    /// pieces known at [`Journal::begin_flush`] (without it: of those recorded or queued so far), and the journal itself is forced to disk.
    ///
    /// # Errors
    /// [`StorageError`]; what was queued stays queued.
    pub fn commit(&mut self, synced: bool) -> Result<(), StorageError> {
        self.append(synced)?;
        if synced {
            self.covered = None;
        }
        Ok(())
    }

    fn append(&mut self, synced: bool) -> Result<(), StorageError> {
        let mut items = Vec::new();
        if self.boot_pending {
            items.push(Item::Boot(self.belief.boot.clone()));
        }
        items.extend(self.queue.iter().filter(|item| !item.is_empty()).cloned());
        if let Some(described) = &self.described {
            items.extend(self.belief.differences(&described.stamps, &described.note, described.totals));
        }
        // The loss of a piece must not be forgotten by a power loss that remembers the piece.
        let has_losses = items.iter().any(|item| matches!(item, Item::Lost(_)));
        if synced && (!items.is_empty() || !self.belief.unsynced().is_empty()) {
            let late = self.covered.as_ref().map(|covered| self.belief.after(&items).unsynced_but(covered));
            // In one frame, so that no power loss comes between: out of the way while the rest is called synced, and back again.
            let late = late.unwrap_or_default();
            items.push(Item::Lost(late.clone()));
            items.extend([Item::Synced, Item::Verified(late)]);
            items.retain(|item| !item.is_empty());
        }
        if self.rewrite {
            items.iter().for_each(|item| self.belief.apply(item));
            self.committed();
            return self.write_anew(true);
        }
        if !items.is_empty() {
            let frame = frame::encode(&items);
            if let Err(source) = self.file.write_all_at(&frame, self.end) {
                // Whatever part of it is there is cut off, now or by the next open.
                let _ = self.file.set_len(self.end);
                return Err(StorageError::new("write journal", &self.path, source));
            }
            self.end += frame.len() as u64;
            self.unsynced = true;
            items.iter().for_each(|item| self.belief.apply(item));
            self.committed();
        }
        if synced || has_losses {
            self.force()?;
        }
        self.compact()
    }

    /// What was queued is part of the belief now.
    fn committed(&mut self) {
        self.queue.clear();
        self.described = None;
        self.boot_pending = false;
    }

    /// Forces the journal to disk. A failed flush is not repeated, since the kernel then calls the pages clean: the file is
    /// written anew.
    fn force(&mut self) -> Result<(), StorageError> {
        if !self.name_synced {
            sync_folder_of(&self.path)?;
            self.name_synced = true;
        }
        if self.unsynced {
            if let Err(source) = self.file.sync_data() {
                self.rewrite = true;
                return Err(StorageError::new("flush journal", &self.path, source));
            }
            self.unsynced = false;
        }
        Ok(())
    }

    /// Writes the file anew if it has become much longer than it needs to be.
    fn compact(&mut self) -> Result<(), StorageError> {
        if self.end <= self.compact_at {
            return Ok(());
        }
        let needed = self.belief.snapshot().len() as u64;
        if self.end > needed.saturating_mul(COMPACT_RATIO) {
            return self.write_anew(true);
        }
        self.compact_at = self.end * 2;
        Ok(())
    }

    /// Writes the whole belief beside the file and renames it over. The new file is locked before it has the name, so
    /// no other process gets between.
    fn write_anew(&mut self, forced: bool) -> Result<(), StorageError> {
        let fail = |source| StorageError::new("write journal", &self.path, source);
        let snapshot = self.belief.snapshot();
        let beside = beside(&self.path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&beside)
            .map_err(fail)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| fail(errno.into()))?;
        file.write_all_at(&snapshot, 0).map_err(fail)?;
        if forced {
            file.sync_all().map_err(fail)?;
        }
        std::fs::rename(&beside, &self.path).map_err(fail)?;
        self.file = file;
        self.end = snapshot.len() as u64;
        self.compact_at = (self.end * COMPACT_RATIO).max(COMPACT_MIN);
        self.rewrite = false;
        self.unsynced = !forced;
        self.name_synced = false;
        if forced {
            self.force()?;
        }
        Ok(())
    }
}

impl Resumed {
    /// Compares with the files as they are now, and moves what cannot be believed: pieces of a file that is not the one stamped
    /// become suspect, and the store [holds](Store::is_disputed) the file for its owner's until they are hashed; pieces of a file that is
    /// gone, or that lie past its end, are neither verified nor suspect any more. `store` is one made from this `Resumed`; its
    /// verified set follows.
    ///
    /// # Errors
    /// [`StorageError`] when the folder cannot be looked at, because it is not mounted for example. Nothing has moved then.
    pub fn check(&mut self, store: &Store) -> Result<(), StorageError> {
        let layout = std::sync::Arc::clone(store.layout());
        let is_file = |entry: &usize| store.is_file(*entry) && !layout.pieces_of(*entry).is_empty();
        let entries = (0..layout.entries().len()).filter(is_file);
        let states = entries
            .map(|entry| Ok((entry, store.state_of(entry)?)))
            .collect::<Result<Vec<_>, StorageError>>()?;
        // Before any of it moves: files have pieces in common.
        let believed = self.verified.clone();
        let mut gone = Vec::new();
        for (entry, state) in states {
            let stamp = self.stamps.get(entry).copied().flatten();
            let now = state.filter(|state| state.is_file).map(|state| state.stamp);
            if let (Some(stamp), Some(now)) = (stamp, now)
                && stamp.compare(&now) == Likeness::Same
            {
                store.renew_stamp(entry, now);
                continue;
            }
            let length = now.map_or(0, |now| now.length);
            let mut doubted = Vec::new();
            for piece in layout.pieces_of(entry) {
                let Some(span) = layout.piece_spans(piece).find(|span| span.entry == entry) else { continue };
                let is_whole = length >= span.offset + u64::from(span.length);
                match stamp {
                    // The file was still being written, and the page cache vouches for what is there.
                    None if is_whole => {}
                    // Even a part of a piece is somebody's.
                    Some(_) if length > span.offset && believed.contains(piece) => doubted.push(piece),
                    Some(_) if is_whole => self.doubt(piece, store),
                    _ => gone.push(piece),
                }
            }
            if let Some(known) = self.stamps.get_mut(entry) {
                *known = None;
            }
            doubted.iter().for_each(|piece| self.doubt(*piece, store));
            if let Some(stamp) = stamp {
                store.dispute(entry, stamp, now.is_some(), doubted);
            }
        }
        for piece in gone.into_iter().filter(|piece| !store.is_undecided(*piece)) {
            self.verified.remove(piece);
            self.suspect.remove(piece);
            store.set_verified(piece, false);
        }
        Ok(())
    }

    /// Believes a piece no more before it is hashed, if it was on record at all.
    fn doubt(&mut self, piece: PieceIndex, store: &Store) {
        if self.verified.remove(piece) {
            self.suspect.insert(piece);
            store.set_verified(piece, false);
        }
    }
}

/// Opens and locks the file that has this name when the lock is held: a journal that is written anew changes places.
fn lock(path: &Path) -> Result<File, StorageError> {
    loop {
        let fail = |source| StorageError::new("open journal", path, source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| StorageError::new("lock journal", path, errno))?;
        let ours = file.metadata().map_err(fail)?;
        if std::fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Where a new file is written before it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".new");
    path.with_file_name(name)
}

fn sync_folder_of(path: &Path) -> Result<(), StorageError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| StorageError::new("flush folder", folder, source))
}
