//! One pass over the bytes, every tree at once, on all cores.

use std::path::PathBuf;

use crate::{FileStamp, Hash20, Hash32, Layout, StorageError, V2File};

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
    /// By entry, as the files were when they were read.
    pub stamps: Vec<Option<FileStamp>>,
}

/// Reads every byte once and computes what the plan asks for.
///
/// # Errors
/// The first [`StorageError`]: a file that cannot be read, that changed while it was read, or (`Interrupted`) the caller's stop.
pub fn hash(plan: &HashPlan<'_>, progress: Progress<'_>) -> Result<Hashed, StorageError> {
    let _ = (plan, progress);
    let _: Option<(Hash20, Hash32)> = None;
    todo!()
}
