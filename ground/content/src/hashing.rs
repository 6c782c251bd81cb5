//! One pass over the bytes, every tree at once, on all cores.

mod leaves;
mod units;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::slice::IterMut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

pub use self::leaves::{LeafFrame, LeafPlan};

use self::leaves::LeafDigest;
use self::units::{Cut, Unit, Units, leaf_counts};
use crate::digest::{V1Digest, v2_leaf};
use crate::truth::fits_v2;
use crate::workers::{on_threads, thread_count};
use crate::{
    BLOCK_LENGTH, EntryKind, FileStamp, Hash20, Hash32, Layout, Likeness, PieceIndex, StorageError, V2File,
    merkle_pad, merkle_root, platform,
};

/// A file to hash.
#[derive(Clone, Debug)]
pub struct HashedFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it was when it was walked; a file that is longer or shorter by now is an error.
    pub length: u64,
}

/// What to compute.
#[derive(Clone, Debug)]
pub struct HashPlan<'a> {
    /// The layout to cut by. For hybrids it holds the pads.
    pub layout: &'a Layout,
    /// The real files, by entry index (`None` for pads and links).
    pub files: Vec<Option<HashedFile>>,
    /// SHA-1 of every piece (BEP 3).
    pub v1: bool,
    /// The Merkle tree of every file (BEP 52).
    pub v2: bool,
    /// The leaves of every file; files must begin with pieces.
    pub leaves: Option<LeafPlan<'a>>,
    /// Threads; 0: one a core.
    pub threads: usize,
}

/// Called now and then with the bytes hashed so far; returns false to stop.
pub type Progress<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// The trees.
#[derive(Debug)]
pub struct Hashed {
    /// Piece hashes.
    pub v1: Option<Box<[Hash20]>>,
    /// By entry.
    pub v2: Option<Vec<Option<V2File>>>,
    /// By entry; of a file without bytes none.
    pub leaves: Option<Vec<Box<[Hash32]>>>,
    /// By entry, as the files were when they were read.
    pub stamps: Vec<Option<FileStamp>>,
}

/// Bytes read at a time: a multiple of a block, and small enough to be in a core's own cache when the second hash reads it.
const CHUNK: usize = 8 * BLOCK_LENGTH as usize;
/// Files longer than this are read ahead of, bytes.
const READ_AHEAD: u64 = 1 << 20;

/// Reads every byte once and computes what the plan asks for.
///
/// # Errors
/// The first [`StorageError`]: a file that cannot be read, that changed while it was read, or (`Interrupted`) the caller's stop.
pub fn hash(plan: &HashPlan<'_>, progress: Progress<'_>) -> Result<Hashed, StorageError> {
    check(plan)?;
    let pieces = plan.layout.piece_count() as usize;
    let mut v1 = vec![[0; 20]; if plan.v1 { pieces } else { 0 }];
    let mut roots = vec![[0; 32]; if plan.v2 { pieces } else { 0 }];
    let counts = plan.leaves.map(|leaves| leaf_counts(plan.layout, leaves));
    let mut leaves = vec![[0; 32]; counts.iter().flatten().sum()];
    let cut = Cut::new(plan.layout, plan.leaves);
    let pass = Pass {
        plan,
        progress,
        units: Mutex::new(Units::new(cut, &mut v1, &mut roots, &mut leaves)),
        stamps: plan.files.iter().map(|_| OnceLock::new()).collect(),
        done: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        error: Mutex::new(None),
    };
    on_threads(thread_count(plan.threads).min(cut.count()), || pass.work());
    let Pass { stamps, error, .. } = pass;
    if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut stamps: Vec<_> = stamps.into_iter().map(OnceLock::into_inner).collect();
    stamp_empty_files(plan, &mut stamps)?;
    Ok(Hashed {
        v1: plan.v1.then(|| v1.into_boxed_slice()),
        v2: plan.v2.then(|| trees(plan.layout, &roots)),
        leaves: counts.map(|counts| by_entry(&leaves, &counts)),
        stamps,
    })
}

/// Refuses plans that do not hang together: a caller's mistake, told instead of hashed.
fn check(plan: &HashPlan<'_>) -> Result<(), StorageError> {
    let entries = plan.layout.entries();
    let refuse = |entry: usize, why: &'static str| {
        let path = entries.get(entry).map(|entry| entry.path.as_path().to_owned()).unwrap_or_default();
        Err(StorageError::new("hash", &path, io::Error::new(io::ErrorKind::InvalidInput, why)))
    };
    if plan.files.len() != entries.len() {
        return refuse(0, "the plan has more or fewer files than the layout");
    }
    for (index, (entry, file)) in entries.iter().zip(&plan.files).enumerate() {
        let is_file = matches!(entry.kind, EntryKind::File { .. });
        if is_file != file.is_some() || file.as_ref().is_some_and(|file| file.length != entry.length) {
            return refuse(index, "the plan and the layout disagree about the file");
        }
        let is_aligned = entry.length == 0 || plan.layout.locate(index, 0).1 == 0;
        if plan.v2 && is_file && !(is_aligned && fits_v2(plan.layout.piece_length())) {
            return refuse(index, "the file is not laid out for a v2 tree");
        }
        if plan.leaves.is_some_and(|leaves| leaves.length == 0 || (is_file && !is_aligned)) {
            return refuse(index, "the file is not laid out for leaves");
        }
    }
    Ok(())
}

/// Empty files are in no piece, so no thread met them.
fn stamp_empty_files(plan: &HashPlan<'_>, stamps: &mut [Option<FileStamp>]) -> Result<(), StorageError> {
    for (stamp, file) in stamps.iter_mut().zip(&plan.files) {
        if let (None, Some(file)) = (&stamp, file) {
            let state = platform::state_at(&file.path)
                .map_err(|errno| StorageError::new("look at", &file.path, errno))?;
            if state.stamp.length != file.length {
                return Err(changed(file));
            }
            *stamp = Some(state.stamp);
        }
    }
    Ok(())
}

/// The trees of all files, from the roots over their pieces.
fn trees(layout: &Layout, roots: &[Hash32]) -> Vec<Option<V2File>> {
    let pad = merkle_pad((layout.piece_length() / BLOCK_LENGTH) as usize);
    let tree = |entry: usize| {
        let pieces = layout.pieces_of(entry);
        let layer = roots.get(pieces.start as usize..pieces.end as usize)?;
        match (layer, &layout.entries().get(entry)?.kind) {
            ([], _) | (_, EntryKind::Pad | EntryKind::Symlink { .. }) => None,
            ([root], _) => Some(V2File { root: *root, layer: None }),
            _ => Some(V2File { root: merkle_root(layer, 0, pad), layer: Some(layer.into()) }),
        }
    };
    (0..layout.entries().len()).map(tree).collect()
}

/// The leaves of each entry; `counts` says how many it has.
fn by_entry(mut leaves: &[Hash32], counts: &[usize]) -> Vec<Box<[Hash32]>> {
    let own = |count: &usize| leaves.split_off(..*count).unwrap_or_default().into();
    counts.iter().map(own).collect()
}

fn changed(file: &HashedFile) -> StorageError {
    StorageError::new("hash", &file.path, io::Error::other("it changed while it was read"))
}

/// One pass over all bytes, shared by its threads.
struct Pass<'a, 'slots> {
    plan: &'a HashPlan<'a>,
    progress: Progress<'a>,
    units: Mutex<Units<'slots>>,
    /// By entry, as the first thread that opened the file saw it; whoever opens or leaves it later must see the same.
    stamps: Vec<OnceLock<FileStamp>>,
    /// Bytes read.
    done: AtomicU64,
    stopped: AtomicBool,
    error: Mutex<Option<StorageError>>,
}

impl<'slots> Pass<'_, 'slots> {
    /// What one thread does.
    fn work(&self) {
        let mut reader = Reader {
            pass: self,
            open: None,
            buffer: vec![0; CHUNK],
            blocks: Vec::new(),
            leaf: self.plan.leaves.map(LeafDigest::new),
        };
        let result = std::iter::from_fn(|| self.take_unit()).try_for_each(|unit| reader.hash_unit(unit));
        if let Err(error) = result.and_then(|()| reader.leave()) {
            self.stopped.store(true, Ordering::Relaxed);
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    fn take_unit(&self) -> Option<Unit<'slots>> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        self.units.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One thread's hands: its buffer and the file it is in.
struct Reader<'a, 'slots> {
    pass: &'a Pass<'a, 'slots>,
    open: Option<(usize, OwnedFd)>,
    buffer: Vec<u8>,
    /// Of the v2 tree over the piece that is read.
    blocks: Vec<Hash32>,
    leaf: Option<LeafDigest<'a>>,
}

impl Reader<'_, '_> {
    fn hash_unit(&mut self, unit: Unit<'_>) -> Result<(), StorageError> {
        let (mut v1, mut v2) = (unit.v1.iter_mut(), unit.v2.iter_mut());
        let mut leaves = unit.leaves.iter_mut();
        let mut bytes = 0;
        for piece in unit.pieces {
            bytes += self.hash_piece(piece, v1.next(), v2.next(), &mut leaves)?;
        }
        let done = self.pass.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if (self.pass.progress)(done) {
            return Ok(());
        }
        let path =
            self.pass.plan.files.iter().flatten().next().map(|file| file.path.clone()).unwrap_or_default();
        Err(StorageError::new("hash", &path, io::Error::from(io::ErrorKind::Interrupted)))
    }

    /// Hashes one piece into the places given; returns the bytes read.
    fn hash_piece(
        &mut self,
        piece: PieceIndex,
        v1: Option<&mut Hash20>,
        v2: Option<&mut Hash32>,
        leaves: &mut IterMut<'_, Hash32>,
    ) -> Result<u64, StorageError> {
        let layout = self.pass.plan.layout;
        let mut digest = v1.is_some().then(V1Digest::default);
        let mut bytes = 0;
        self.blocks.clear();
        let mut width = (layout.piece_length() / BLOCK_LENGTH) as usize;
        for span in layout.piece_spans(piece) {
            if layout.is_pad(span.entry) {
                if let Some(digest) = &mut digest {
                    digest.update_zeros(span.length);
                }
                continue;
            }
            if v2.is_some() && layout.pieces_of(span.entry).len() == 1 {
                // The tree of a file within one piece is no wider than the file.
                width = span.length.div_ceil(BLOCK_LENGTH).next_power_of_two() as usize;
            }
            for begin in (0..span.length as usize).step_by(CHUNK) {
                let length = CHUNK.min(span.length as usize - begin);
                let offset = span.offset + begin as u64;
                self.read(span.entry, offset, length)?;
                let mut rest = layout.entries().get(span.entry).map_or(0, |entry| entry.length) - offset;
                for block in self.buffer[..length].chunks(BLOCK_LENGTH as usize) {
                    if let Some(leaf) = &mut self.leaf {
                        leaf.update(block, rest, leaves);
                        rest -= block.len() as u64;
                    }
                    match (&mut digest, v2.is_some()) {
                        (Some(digest), true) => self.blocks.push(digest.update_with_leaf(block)),
                        (Some(digest), false) => digest.update(block),
                        (None, true) => self.blocks.push(v2_leaf(block)),
                        (None, false) => {}
                    }
                }
            }
            bytes += u64::from(span.length);
        }
        if let (Some(v1), Some(digest)) = (v1, digest) {
            *v1 = digest.finish();
        }
        if let Some(v2) = v2 {
            *v2 = merkle_root(&self.blocks, width, [0; 32]);
        }
        Ok(bytes)
    }

    /// Fills the first `length` bytes of the buffer.
    fn read(&mut self, entry: usize, mut offset: u64, length: usize) -> Result<(), StorageError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != entry) {
            self.leave()?;
            self.enter(entry)?;
        }
        let (Some((_, fd)), Some(Some(file))) = (&self.open, self.pass.plan.files.get(entry)) else {
            return Ok(());
        };
        let mut rest = &mut self.buffer[..length];
        while !rest.is_empty() {
            match rustix::io::pread(fd, &mut *rest, offset) {
                Ok(0) => return Err(changed(file)),
                Ok(read) => {
                    rest = &mut rest[read..];
                    offset += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(StorageError::new("read", &file.path, errno)),
            }
        }
        Ok(())
    }

    fn enter(&mut self, entry: usize) -> Result<(), StorageError> {
        let Some(Some(file)) = self.pass.plan.files.get(entry) else { return Ok(()) };
        let fd =
            platform::open_file(&file.path).map_err(|errno| StorageError::new("open", &file.path, errno))?;
        if file.length > READ_AHEAD {
            platform::will_read_in_order(&fd);
        }
        self.open = Some((entry, fd));
        self.check_open()
    }

    /// Closes the open file, after making sure that it is still what it was when it was opened.
    fn leave(&mut self) -> Result<(), StorageError> {
        self.check_open()?;
        self.open = None;
        Ok(())
    }

    fn check_open(&self) -> Result<(), StorageError> {
        let Some((entry, fd)) = &self.open else { return Ok(()) };
        let (Some(Some(file)), Some(stamp)) =
            (self.pass.plan.files.get(*entry), self.pass.stamps.get(*entry))
        else {
            return Ok(());
        };
        let state = platform::state(fd).map_err(|errno| StorageError::new("read", &file.path, errno))?;
        // One that was only touched keeps the stamp from before it was read: whoever compares it next has it hashed once more.
        let is_other = stamp.get_or_init(|| state.stamp).compare(&state.stamp) == Likeness::Other;
        if !is_other && state.is_file && state.stamp.length == file.length {
            Ok(())
        } else {
            Err(changed(file))
        }
    }
}

#[cfg(test)]
mod tests;
