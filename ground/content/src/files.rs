//! Open files, bounded for the whole process: least recently used are closed.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by all stores of a process.
#[derive(Clone, Debug)]
pub struct FilePool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    recency: Mutex<Recency>,
    stores: AtomicU64,
}

/// An open file or folder. Whoever uses it holds an `Arc`, so that eviction never closes it under their hands.
#[derive(Debug)]
pub(crate) struct OpenFile {
    fd: OwnedFd,
    writable: bool,
}

impl OpenFile {
    pub(crate) fn new(fd: OwnedFd, writable: bool) -> Arc<Self> {
        Arc::new(Self { fd, writable })
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A store's number and which of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    pub(crate) store: u64,
    /// Index of the entry, or [`FileKey::FOLDER`].
    pub(crate) entry: usize,
}

impl FileKey {
    /// Stands for the folder that a store opens its files below.
    pub(crate) const FOLDER: usize = usize::MAX;
}

impl FilePool {
    /// At most `files` open at once (those in use at the moment of their eviction not counted).
    pub fn new(files: usize) -> Self {
        let recency = Mutex::new(Recency { bound: files.max(1), ..Recency::default() });
        Self { shared: Arc::new(Shared { recency, stores: AtomicU64::new(0) }) }
    }

    /// A number for a new store.
    pub(crate) fn register(&self) -> u64 {
        self.shared.stores.fetch_add(1, Ordering::Relaxed)
    }

    /// The file, if it is open, and writable if that is asked for.
    pub(crate) fn get(&self, key: FileKey, writable: bool) -> Option<Arc<OpenFile>> {
        self.lock().touch(key).filter(|file| file.writable || !writable)
    }

    /// Keeps a file open; replaces the one under that key.
    pub(crate) fn insert(&self, key: FileKey, file: &Arc<OpenFile>) {
        // What leaves is closed after the lock is gone: closing may wait for the disk.
        let leaving = self.lock().insert(key, Arc::clone(file));
        drop(leaving);
    }

    /// Closes one file.
    pub(crate) fn remove(&self, key: FileKey) {
        let leaving = self.lock().remove(key);
        drop(leaving);
    }

    /// Closes this very file; false when another has taken its place, or none is open.
    pub(crate) fn remove_exact(&self, key: FileKey, file: &Arc<OpenFile>) -> bool {
        let mut recency = self.lock();
        let is_it = recency.touch(key).is_some_and(|found| Arc::ptr_eq(&found, file));
        let leaving = is_it.then(|| recency.remove(key));
        drop(recency);
        leaving.is_some()
    }

    /// Closes all files of a store.
    pub(crate) fn remove_store(&self, store: u64) {
        let mut recency = self.lock();
        let keys: Vec<FileKey> = recency.slots.keys().copied().filter(|key| key.store == store).collect();
        let leaving: Vec<_> = keys.into_iter().filter_map(|key| recency.remove(key)).collect();
        drop(recency);
        drop(leaving);
    }

    fn lock(&self) -> MutexGuard<'_, Recency> {
        self.shared.recency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files in order of use: a list threaded through a vector, so that a touch allocates nothing.
#[derive(Debug, Default)]
struct Recency {
    bound: usize,
    slots: HashMap<FileKey, usize>,
    nodes: Vec<Node>,
    /// Nodes without a file.
    spare: Vec<usize>,
    /// Most and least recently used.
    ends: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Node {
    key: FileKey,
    file: Option<Arc<OpenFile>>,
    newer: Option<usize>,
    older: Option<usize>,
}

impl Recency {
    fn touch(&mut self, key: FileKey) -> Option<Arc<OpenFile>> {
        let index = *self.slots.get(&key)?;
        if self.ends.is_some_and(|(newest, _)| newest != index) {
            self.unlink(index);
            self.link(index);
        }
        self.nodes[index].file.clone()
    }

    /// Returns what has to be closed.
    fn insert(&mut self, key: FileKey, file: Arc<OpenFile>) -> Option<Arc<OpenFile>> {
        let replaced = self.remove(key);
        let oldest =
            self.ends.filter(|_| self.slots.len() >= self.bound).map(|(_, oldest)| self.nodes[oldest].key);
        let evicted = oldest.and_then(|oldest| self.remove(oldest));
        let node = Node { key, file: Some(file), newer: None, older: None };
        let index = match self.spare.pop() {
            Some(index) => {
                self.nodes[index] = node;
                index
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.slots.insert(key, index);
        self.link(index);
        replaced.or(evicted)
    }

    fn remove(&mut self, key: FileKey) -> Option<Arc<OpenFile>> {
        let index = self.slots.remove(&key)?;
        self.unlink(index);
        self.spare.push(index);
        self.nodes[index].file.take()
    }

    /// Puts a node in front as the newest.
    fn link(&mut self, index: usize) {
        let (second, oldest) = match self.ends {
            Some((newest, oldest)) => (Some(newest), oldest),
            None => (None, index),
        };
        self.nodes[index].newer = None;
        self.nodes[index].older = second;
        if let Some(second) = second {
            self.nodes[second].newer = Some(index);
        }
        self.ends = Some((index, oldest));
    }

    fn unlink(&mut self, index: usize) {
        let Node { newer, older, .. } = self.nodes[index];
        if let Some(newer) = newer {
            self.nodes[newer].older = older;
        }
        if let Some(older) = older {
            self.nodes[older].newer = newer;
        }
        self.ends = self.ends.and_then(|(newest, oldest)| {
            let newest = if newest == index { older? } else { newest };
            let oldest = if oldest == index { newer? } else { oldest };
            Some((newest, oldest))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(entry: usize) -> FileKey {
        FileKey { store: (entry % 2) as u64, entry }
    }

    fn open(writable: bool) -> Arc<OpenFile> {
        OpenFile::new(std::fs::File::open("/dev/null").unwrap().into(), writable)
    }

    #[test]
    fn the_least_recently_used_is_closed() {
        let pool = FilePool::new(2);
        let files = [open(false), open(false), open(false)];
        pool.insert(key(0), &files[0]);
        pool.insert(key(1), &files[1]);
        assert!(pool.get(key(0), false).is_some());
        pool.insert(key(2), &files[2]);
        assert!(pool.get(key(1), false).is_none());
        assert_eq!(files.map(|file| Arc::strong_count(&file)), [2, 1, 2]);
    }

    #[test]
    fn a_reader_is_not_given_to_a_writer() {
        let pool = FilePool::new(2);
        pool.insert(key(0), &open(false));
        assert!(pool.get(key(0), true).is_none());
        pool.insert(key(0), &open(true));
        assert!(pool.get(key(0), true).is_some() && pool.get(key(0), false).is_some());
    }

    #[test]
    fn a_store_that_leaves_takes_its_files_along() {
        let pool = FilePool::new(8);
        (0..6).for_each(|entry| pool.insert(key(entry), &open(true)));
        pool.remove_store(0);
        let left: Vec<usize> = (0..6).filter(|&entry| pool.get(key(entry), true).is_some()).collect();
        assert_eq!(left, [1, 3, 5]);
    }

    proptest! {
        /// The list holds what a plain vector, ordered by use and cut at the bound, would hold.
        #[test]
        fn agrees_with_a_plain_list(bound in 1_usize..5, steps in prop::collection::vec((0_usize..8, 0_u8..3), 0..60)) {
            let pool = FilePool::new(bound);
            let mut model: Vec<usize> = Vec::new();
            for (entry, step) in steps {
                let known = model.iter().position(|&other| other == entry);
                match step {
                    0 => {
                        pool.insert(key(entry), &open(false));
                        known.map(|at| model.remove(at));
                        model.insert(0, entry);
                        model.truncate(bound);
                    }
                    1 => {
                        prop_assert_eq!(pool.get(key(entry), false).is_some(), known.is_some());
                        if let Some(at) = known {
                            let entry = model.remove(at);
                            model.insert(0, entry);
                        }
                    }
                    _ => {
                        pool.remove(key(entry));
                        known.map(|at| model.remove(at));
                    }
                }
                prop_assert_eq!(pool.lock().slots.len(), model.len());
            }
        }
    }
}
