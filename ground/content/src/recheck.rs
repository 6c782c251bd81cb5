//! Hashing what is already on disk against the truth.

use std::collections::BTreeMap;
use std::ops::Range;
use std::slice::Chunks;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::{PieceDigest, Verdict};
use crate::workers::{on_threads, thread_count};
use crate::{
    BLOCK_LENGTH, Block, FileStamp, Likeness, PieceIndex, PieceSet, StorageError, Store, Truth,
    hashing::Progress,
};

/// Bytes read at a time; several blocks, and far less than a core's cache.
const CHUNK: u32 = 16 * BLOCK_LENGTH;
/// Bytes that a thread takes on at a time, if pieces are shorter than that.
const UNIT: u32 = 1 << 20;

/// What a recheck found. What it did not decide, because no hash is known, because the bytes could not be read, or because it was stopped,
/// is in neither set and keeps its standing.
#[derive(Debug)]
pub struct Rechecked {
    /// Pieces that are true.
    pub proven: PieceSet,
    /// Pieces that are not: other bytes, or none.
    pub refuted: PieceSet,
    /// Why bytes could not be read; the first of such errors.
    pub error: Option<StorageError>,
}

impl Rechecked {
    /// Takes back that pieces are true.
    fn refute(&mut self, pieces: Range<PieceIndex>) {
        for piece in pieces {
            if self.proven.remove(piece) {
                self.refuted.insert(piece);
            }
        }
    }
}

/// Hashes `pieces` of the store on `threads` threads (0: one a core), sets and clears the store's verified set and refreshes its
/// stamps. A missing or short file is not an error: its pieces are simply not there; of one that is too long, none is. Nobody may write to the files meanwhile.
pub fn recheck(
    store: &Store,
    truth: &Truth,
    pieces: &PieceSet,
    threads: usize,
    progress: Progress<'_>,
) -> Rechecked {
    // What is open may have been replaced under its name.
    store.close();
    let layout = store.layout();
    let before = states(store, pieces);
    let queue: Vec<PieceIndex> = pieces.iter().filter(|&piece| piece < layout.piece_count()).collect();
    let pieces_per_unit = (UNIT / layout.piece_length()).max(1) as usize;
    let units: Mutex<Chunks<'_, PieceIndex>> = Mutex::new(queue.chunks(pieces_per_unit));
    let none = PieceSet::empty(pieces.len());
    let found = Mutex::new(Rechecked { proven: none.clone(), refuted: none, error: None });
    let (done, stopped) = (AtomicU64::new(0), AtomicBool::new(false));

    on_threads(thread_count(threads).min(queue.len().div_ceil(pieces_per_unit)), || {
        let mut buffer = vec![0; CHUNK as usize];
        while !stopped.load(Ordering::Relaxed)
            && let Some(unit) = lock(&units).next()
        {
            let mut verdict_on = |&piece: &PieceIndex| (piece, digest_into(store, truth, piece, &mut buffer));
            let verdicts: Vec<_> = unit.iter().map(&mut verdict_on).collect();
            let mut found = lock(&found);
            for (piece, verdict) in verdicts {
                match verdict {
                    Ok(Some(Verdict::True)) => {
                        found.proven.insert(piece);
                    }
                    Ok(None) if !truth.knows(piece) => {}
                    Ok(_) => {
                        found.refuted.insert(piece);
                    }
                    Err(error) => {
                        found.error.get_or_insert(error);
                    }
                }
            }
            drop(found);
            let bytes = unit.iter().map(|&piece| layout.piece_file_bytes(piece)).sum();
            if !progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes) {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    });

    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut read = states(store, pieces);
    for (entry, after) in &mut read {
        let Some(before) = before.get(entry) else { continue };
        match likeness(*before, *after) {
            Likeness::Same if is_longer(store, *entry, *after) => found.refute(layout.pieces_of(*entry)),
            Likeness::Same => {}
            // What was found holds for the file as it was: whoever compares it next has it hashed once more.
            Likeness::Touched => *after = *before,
            // What changed while it was read is proven in no state it was in.
            Likeness::Other => found.refute(layout.pieces_of(*entry)),
        }
    }
    store.restate(&found, &read);
    found
}

/// Whether a file has more bytes than the content's: true as far as that reaches, but not the content's.
fn is_longer(store: &Store, entry: usize, stamp: Option<FileStamp>) -> bool {
    let length = store.layout().entries().get(entry).map_or(0, |entry| entry.length);
    stamp.is_some_and(|stamp| stamp.length > length)
}

/// How a file compares with what was there before it was read.
fn likeness(before: Option<FileStamp>, after: Option<FileStamp>) -> Likeness {
    match (before, after) {
        (Some(before), Some(after)) => before.compare(&after),
        (None, None) => Likeness::Same,
        _ => Likeness::Other,
    }
}

/// The present stamps of the files that hold bytes of these pieces; `None` for those that are not there. Files that cannot be looked at
/// are left out.
fn states(store: &Store, pieces: &PieceSet) -> BTreeMap<usize, Option<FileStamp>> {
    let layout = store.layout();
    let is_meant =
        |entry: &usize| store.is_file(*entry) && layout.pieces_of(*entry).any(|piece| pieces.contains(piece));
    let stamp = |entry| {
        let state = store.state_of(entry).ok()?;
        Some((entry, state.filter(|state| state.is_file).map(|state| state.stamp)))
    };
    (0..layout.entries().len()).filter(is_meant).filter_map(stamp).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hashes one piece as it is on disk; `None` when bytes are missing or no hash is known.
pub(crate) fn digest_on_disk(
    store: &Store,
    truth: &Truth,
    piece: PieceIndex,
) -> Result<Option<Verdict>, StorageError> {
    let mut buffer = vec![0; CHUNK as usize];
    digest_into(store, truth, piece, &mut buffer)
}

/// As [`digest_on_disk`], with a buffer of [`CHUNK`] bytes to reuse.
fn digest_into(
    store: &Store,
    truth: &Truth,
    piece: PieceIndex,
    buffer: &mut [u8],
) -> Result<Option<Verdict>, StorageError> {
    let Some(mut digest) = PieceDigest::new(truth, piece) else { return Ok(None) };
    let size = store.layout().piece_size(piece);
    for begin in (0..size).step_by(CHUNK as usize) {
        let length = CHUNK.min(size - begin);
        let chunk = &mut buffer[..length as usize];
        if !store.read_unverified(Block { piece, begin, length }, chunk)? {
            return Ok(None);
        }
        for (index, block) in (begin / BLOCK_LENGTH..).zip(chunk.chunks(BLOCK_LENGTH as usize)) {
            digest.update_both(index, block);
        }
    }
    Ok(Some(digest.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BLOCK, Content, Hashes, bytes, file};
    use crate::{Alignment, ReadError};
    use std::sync::Arc;

    const PIECE: u32 = 2 * BLOCK_LENGTH;
    const GO_ON: Progress<'_> = &|_| true;

    fn content() -> Content {
        let entries = vec![file("a", 5 * BLOCK + 3), file("b", 10), file("c", 4 * BLOCK)];
        Content::new(entries, PIECE, Alignment::PerFile)
    }

    fn read(store: &Store, content: &Content, piece: PieceIndex) -> Result<(), ReadError> {
        let block = content.piece(piece);
        let mut into = vec![0; block.length as usize];
        store.read(block, &mut into)?;
        assert_eq!(into, content.bytes_of(block));
        Ok(())
    }

    #[test]
    fn an_old_download_is_believed_as_far_as_it_is_true() {
        for threads in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            let content = content();
            content.write_to(dir.path());
            let mut damaged = content.files[0].clone();
            damaged[2 * BLOCK as usize] ^= 1;
            std::fs::write(dir.path().join("a"), damaged).unwrap();
            std::fs::write(dir.path().join("c"), &content.files[2][..3 * BLOCK as usize]).unwrap();
            let store = content.download(dir.path());
            let all = PieceSet::full(content.layout.piece_count());
            let Rechecked { proven, refuted, error } =
                recheck(&store, &content.truth(Hashes::V2), &all, threads, GO_ON);
            assert!(error.is_none() && refuted.iter().eq([1, 5]), "{error:?} {refuted:?}");
            assert_eq!(proven.iter().collect::<Vec<_>>(), [0, 2, 3, 4]);
            assert_eq!(store.verified(), proven);
            let stamped: Vec<_> = store.stamps().iter().map(Option::is_some).collect();
            assert_eq!(stamped, [false, true, false], "only what is complete is settled");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_the_contents_until_its_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let content = content();
        content.write_to(dir.path());
        let longer = [&content.files[1][..], b"more"].concat();
        std::fs::write(dir.path().join("b"), longer).unwrap();
        let store = content.download(dir.path());
        let all = PieceSet::full(content.layout.piece_count());
        let check = || recheck(&store, &content.truth(Hashes::Both), &all, 2, GO_ON).refuted;
        assert!(check().iter().eq([3]));
        assert!(!store.is_verified(3));
        store.cut_surplus().unwrap();
        assert!(check().is_empty() && store.verified().is_full());
        assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), content.files[1]);
        let shared = content.shared(dir.path());
        std::fs::write(dir.path().join("b"), b"somebody's own work").unwrap();
        shared.cut_surplus().unwrap();
        assert_eq!(
            std::fs::read(dir.path().join("b")).unwrap(),
            b"somebody's own work",
            "a share is its owner's"
        );
    }

    #[test]
    fn a_share_is_served_again_after_its_change_was_undone() {
        let dir = tempfile::tempdir().unwrap();
        let content = content();
        let store = content.shared(dir.path());
        let truth = content.truth(Hashes::Both);
        let all = PieceSet::full(content.layout.piece_count());
        std::fs::write(dir.path().join("a"), bytes(5 * BLOCK + 3, 99)).unwrap();
        assert_eq!(store.check_stamps(), [0]);
        recheck(&store, &truth, &all, 2, GO_ON);
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [3, 4, 5]);
        std::fs::write(dir.path().join("a"), &content.files[0]).unwrap();
        recheck(&store, &truth, &all, 2, GO_ON);
        assert!(store.verified().is_full() && store.changed().is_empty());
        read(&store, &content, 0).unwrap();
    }

    #[test]
    fn a_recheck_of_some_pieces_does_not_vouch_for_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let content = content();
        let store = content.shared(dir.path());
        // The second piece of `a` is no longer what it was, and only the first is hashed.
        let mut damaged = content.files[0].clone();
        damaged[2 * BLOCK as usize] ^= 1;
        std::fs::write(dir.path().join("a"), damaged).unwrap();
        let mut first = PieceSet::empty(content.layout.piece_count());
        first.insert(0);
        let proven = recheck(&store, &content.truth(Hashes::V1), &first, 1, GO_ON).proven;
        assert_eq!(proven.iter().collect::<Vec<_>>(), [0]);
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [0, 3, 4, 5]);
        read(&store, &content, 0).unwrap();
        assert!(matches!(read(&store, &content, 1), Err(ReadError::NotVerified(1))));
    }

    #[test]
    fn stopping_leaves_the_rest_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(4 << 20, 1 << 20);
        let store = content.shared(dir.path());
        let all = PieceSet::full(4);
        let proven = recheck(&store, &content.truth(Hashes::V1), &all, 1, &|_| false).proven;
        assert_eq!(proven.count(), 1);
        assert!(store.verified().is_full());
    }

    #[test]
    fn progress_counts_bytes_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let content = content();
        let store = Arc::new(content.shared(dir.path()));
        let last = AtomicU64::new(0);
        let all = PieceSet::full(content.layout.piece_count());
        recheck(&store, &content.truth(Hashes::V1), &all, 1, &|done| {
            last.store(done, Ordering::Relaxed);
            true
        });
        assert_eq!(last.into_inner(), content.layout.content_length());
    }

    #[test]
    fn what_cannot_be_read_keeps_its_standing_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let content = content();
        let folder = dir.path().join("mount");
        let store = content.shared(&folder);
        store.close();
        std::fs::rename(&folder, dir.path().join("away")).unwrap();
        let all = PieceSet::full(content.layout.piece_count());
        let found = recheck(&store, &content.truth(Hashes::V1), &all, 1, GO_ON);
        assert_eq!(found.error.map(|error| error.kind()), Some(crate::StorageErrorKind::Vanished));
        assert!(found.refuted.is_empty() && store.verified().is_full());
        std::fs::rename(dir.path().join("away"), &folder).unwrap();
        read(&store, &content, 0).unwrap();
    }

    #[test]
    fn a_piece_without_a_known_hash_keeps_its_standing() {
        let dir = tempfile::tempdir().unwrap();
        let content = content();
        let store = content.shared(dir.path());
        let mut trees = content.v2();
        trees[0].as_mut().unwrap().layer = None;
        let truth = Truth::new(&content.layout, None, Some(trees)).unwrap();
        store.set_verified(1, false);
        let all = PieceSet::full(content.layout.piece_count());
        let found = recheck(&store, &truth, &all, 1, GO_ON);
        assert!(found.refuted.is_empty() && found.error.is_none());
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [0, 2, 3, 4, 5]);
    }
}
