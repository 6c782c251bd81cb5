//! Hashing what is already on disk against the truth.

use crate::digest::{PieceDigest, Verdict};
use crate::{BLOCK_LENGTH, Block, PieceIndex, PieceSet, StorageError, Store, Truth, hashing::Progress};

/// Bytes read at a time; several blocks, and far less than a core's cache.
const CHUNK: u32 = 16 * BLOCK_LENGTH;

/// Hashes `pieces` of the store on `threads` threads (0: one a core), sets and clears the store's verified set, refreshes its
/// stamps, and returns the pieces that are true. A missing or short file is not an error: its pieces are simply not there.
pub fn recheck(
    store: &Store,
    truth: &Truth,
    pieces: &PieceSet,
    threads: usize,
    progress: Progress<'_>,
) -> PieceSet {
    let _ = (store, truth, pieces, threads, progress);
    todo!()
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
            digest.update_v1(block);
            digest.update_v2(index, block);
        }
    }
    Ok(Some(digest.finish()))
}
