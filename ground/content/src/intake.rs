//! The way in: blocks of a download, until they are verified and written.
//!
//! Blocks of one piece are gathered, hashed in order while they are still in cache, and written in
//! large runs on the worker threads. When the block pool runs low, runs of unfinished pieces are written early
//! and later read back to finish the hash, so that memory is bounded whatever the peers do.
//! Bytes of an unverified piece may lie in the file; they are not in the verified set and are never served.

use std::sync::Arc;

use crate::{Block, BlockBuf, BlockPool, PieceIndex, StorageError, Store, Truth, Workers};

/// What became of blocks given to an [`Intake`].
#[derive(Debug)]
#[non_exhaustive]
pub enum IntakeEvent {
    /// The piece is verified, written, and in the store's verified set.
    Verified(PieceIndex),
    /// The hash does not match; the piece's blocks are dropped. `bad` names blocks proven bad one by one (a v2 tree whose leaves are known), else it is empty.
    Corrupt {
        /// The piece.
        piece: PieceIndex,
        /// Blocks proven bad.
        bad: Vec<Block>,
    },
    /// The bytes could not be written; the piece's blocks are dropped and must be requested again once storage works.
    Failed {
        /// The piece.
        piece: PieceIndex,
        /// Why.
        error: StorageError,
    },
}

/// Gathers, verifies and writes the blocks of one download. Owned by one task; never blocks (work goes to [`Workers`]).
#[derive(Debug)]
pub struct Intake {
    _private: (),
}

impl Intake {
    /// Events go to `events`; its receiver must be drained, workers wait for it.
    pub fn new(
        store: Arc<Store>,
        truth: Arc<Truth>,
        workers: Workers,
        pool: BlockPool,
        events: tokio::sync::mpsc::Sender<IntakeEvent>,
    ) -> Self {
        let _ = (store, truth, workers, pool, events);
        todo!()
    }
    /// Takes a block. The caller (the swarm's core) has made sure that it was wanted, lies in the layout, is aligned to [`crate::BLOCK_LENGTH`] and is not here already.
    /// Blocks that are nothing but padding are not given: the intake knows them.
    pub fn accept(&mut self, block: Block, data: BlockBuf) {
        let _ = (block, data);
        todo!()
    }
    /// Drops what was gathered of a piece (it will be fetched anew).
    pub fn discard(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }
    /// Pieces begun and not decided.
    pub fn pending(&self) -> usize {
        todo!()
    }
}
