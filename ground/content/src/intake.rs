//! The way in: blocks of a download, until they are verified and written.
//!
//! Blocks of one piece are gathered, hashed in order while they are still in cache, and written in
//! large runs on the worker threads. When the block pool runs low, runs of unfinished pieces are written early
//! and later read back to finish the hash, so that memory is bounded whatever the peers do.
//! Bytes of an unverified piece may lie in the file; they are not in the verified set and are never served.
//!
//! A piece that fails its v2 hash is not lost: its blocks are written and kept ([`Intake::keep`]) until its leaves are known, which
//! tell the bad ones ([`Intake::convict`]), or until it is discarded. What then comes is checked block by block ([`Intake::refutes`]).

mod assembly;
#[cfg(test)]
mod tests;
mod work;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use assembly::Assembly;
use work::{Bench, PieceWork};

use crate::{Arrived, Block, BlockPool, PieceIndex, StorageError, Store, Truth, Workers};

/// What became of blocks given to an [`Intake`].
#[derive(Debug)]
#[non_exhaustive]
pub enum IntakeEvent {
    /// The piece is verified, written, and in the store's verified set.
    Verified(PieceIndex),
    /// The hash does not match.
    Corrupt {
        /// The piece.
        piece: PieceIndex,
        /// What was brought, where leaves can tell good blocks from bad: for [`Intake::keep`]. `None`: the piece's blocks are dropped.
        kept: Option<Kept>,
    },
    /// The bytes could not be written; the piece's blocks are dropped and must be requested again once storage works. Blocks that
    /// arrive after this begin the piece anew; who pauses calls [`Intake::discard`], so that they do not hold buffers.
    Failed {
        /// The piece.
        piece: PieceIndex,
        /// Why.
        error: StorageError,
    },
}

/// The blocks of a piece that failed its v2 hash, on disk. Dropped with the last of its owners.
#[derive(Debug)]
pub struct Kept {
    work: Arc<PieceWork>,
    attempt: u32,
}

/// Gathers, verifies and writes the blocks of one download. Owned by one task; never blocks (work goes to [`Workers`]).
#[derive(Debug)]
pub struct Intake {
    bench: Arc<Bench>,
    workers: Workers,
    pool: BlockPool,
    /// Pieces whose blocks have not all been handed to workers.
    gathering: HashMap<PieceIndex, Assembly>,
    /// Pieces that workers may still be busy with: should such a piece be begun anew, its new blocks queue up behind the old.
    handed: HashMap<PieceIndex, Weak<PieceWork>>,
    /// Closed when the last worker has let go of the bench.
    idle: oneshot::Receiver<Infallible>,
}

/// An intake that was stopped while workers may still write some of what it gave them.
#[derive(Debug)]
pub struct Stopping {
    /// Pieces that were begun, and of which no verdict will come any more.
    pub dropped: Vec<PieceIndex>,
    idle: oneshot::Receiver<Infallible>,
}

impl Stopping {
    /// Returns when nothing more will be written. Blocks: workers end the run that they are at, and somebody must be taking events.
    pub fn wait(self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = self.idle.blocking_recv();
    }
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
        let (busy, idle) = oneshot::channel();
        let bench = Arc::new(Bench::new(store, truth, events, busy));
        Self { bench, workers, pool, gathering: HashMap::new(), handed: HashMap::new(), idle }
    }

    /// Drops everything gathered. What is on its way to the disk gets no verdict any more; verdicts given before may still be among the
    /// events.
    pub fn stop(mut self) -> Stopping {
        // Emptied, so that dropping the intake finds nothing left to cancel.
        let handed = std::mem::take(&mut self.handed);
        let live = handed.into_iter().filter_map(|(piece, work)| Some((piece, work.upgrade()?)));
        let dropped = live.filter(|(_, work)| work.cancel(&self.bench)).map(|(piece, _)| piece).collect();
        let (_, unused) = oneshot::channel();
        Stopping { dropped, idle: std::mem::replace(&mut self.idle, unused) }
    }

    /// Takes a block. The caller (the swarm's core) has made sure that it was wanted, lies in the layout, is aligned to [`crate::BLOCK_LENGTH`] and is not here already.
    /// Blocks that are nothing but padding are not given: the intake knows them. One that does not fit after all is dropped.
    pub fn accept(&mut self, arrived: Arrived) {
        let block = arrived.block;
        let layout = self.bench.store.layout();
        let index = block.begin / crate::BLOCK_LENGTH;
        if arrived.data.len() != block.length as usize
            || layout.block(block.piece, index) != block
            || block.length == 0
        {
            tracing::warn!(?block, "a block that does not fit was given to the intake");
            return;
        }
        if self.gathering.get(&block.piece).is_none_or(|assembly| !assembly.is_live()) {
            let begun = self.begin(block.piece);
            self.gathering.insert(block.piece, begun);
        }
        let Some(assembly) = self.gathering.get_mut(&block.piece) else { return };
        if let Some(run) = assembly.accept(index, arrived) {
            let is_complete = assembly.is_complete();
            self.hand_over(block.piece, run);
            if is_complete {
                self.gathering.remove(&block.piece);
            }
        }
        self.relieve();
    }

    /// Keeps what a piece brought that failed, until it is discarded. Returns what [`Intake::convict`] says of it; `None` when it was
    /// discarded meanwhile, so that nobody waits for this verdict any more.
    pub fn keep(&mut self, kept: Kept) -> Option<Vec<Block>> {
        let Kept { work, attempt } = kept;
        if !work.is_live(attempt) {
            return None;
        }
        let piece = work.piece();
        self.gathering.insert(piece, Assembly::kept(self.bench.store.layout(), work, attempt));
        Some(self.convict(piece))
    }

    /// Names the bad ones among the blocks that are kept of a piece, if its leaves are known ([`Truth::set_leaves`]). They alone have to
    /// come again. Empty while they are not known, and when nothing is kept of it.
    pub fn convict(&mut self, piece: PieceIndex) -> Vec<Block> {
        let Some(assembly) = self.gathering.get_mut(&piece) else { return Vec::new() };
        let bad = assembly.work().convict(&self.bench, assembly.attempt());
        assembly.lack(&bad);
        bad
    }

    /// Whether a block is bad by the leaves of its piece, as far as they are known. Its sender is guilty; do not give it to
    /// [`Intake::accept`].
    pub fn refutes(&self, arrived: &Arrived) -> bool {
        self.bench.truth.refutes(arrived)
    }

    /// Drops what was gathered of a piece (it will be fetched anew). Its verdict may be on its way already.
    pub fn discard(&mut self, piece: PieceIndex) {
        // Looked up first: an idle piece is kept alive by its assembly alone.
        if let Some(work) = self.handed.get(&piece).and_then(Weak::upgrade) {
            work.cancel(&self.bench);
        }
        self.gathering.remove(&piece);
    }

    /// Pieces begun and not decided.
    pub fn pending(&self) -> usize {
        self.bench.pending()
    }

    /// Writes unfinished pieces early if the block pool runs low. [`Intake::accept`] does this by itself; a process with several
    /// downloads also calls it now and then for those that receive nothing, since they may be the ones that hold the buffers.
    pub fn relieve(&mut self) {
        let (used, bound) = self.pool.usage();
        // As long as workers hold enough to bring the pool back, waiting for them is better than small writes.
        if used <= bound - bound / LOW_FRACTION || self.bench.in_flight() >= bound / LOW_FRACTION {
            return;
        }
        let fullest = self.gathering.iter().max_by_key(|(_, assembly)| assembly.held());
        let Some(piece) = fullest.filter(|(_, assembly)| assembly.held() > 0).map(|(&piece, _)| piece) else {
            return;
        };
        let runs = self.gathering.get_mut(&piece).map(Assembly::take_held).unwrap_or_default();
        for run in runs {
            self.hand_over(piece, run);
        }
    }

    /// A new assembly of a piece, behind whatever is left to do of an older one.
    fn begin(&mut self, piece: PieceIndex) -> Assembly {
        let layout = self.bench.store.layout();
        let work = match self.handed.get(&piece).and_then(Weak::upgrade) {
            Some(work) => work,
            None => {
                if self.handed.len() >= 64 && self.handed.len() >= 2 * self.gathering.len() {
                    self.handed.retain(|_, work| work.strong_count() > 0);
                }
                let work = Arc::new(PieceWork::new(piece, layout.block_count(piece)));
                self.handed.insert(piece, Arc::downgrade(&work));
                work
            }
        };
        let attempt = work.begin(&self.bench);
        Assembly::new(layout, work, attempt)
    }

    fn hand_over(&self, piece: PieceIndex, run: work::Run) {
        let Some(assembly) = self.gathering.get(&piece) else { return };
        if assembly.work().enqueue(&self.bench, run) {
            let (work, bench) = (Arc::clone(assembly.work()), Arc::clone(&self.bench));
            self.workers.submit(move || work.drain(&bench));
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        for work in self.handed.values().filter_map(Weak::upgrade) {
            work.cancel(&self.bench);
        }
    }
}

/// When less than one in this many buffers of the pool is free, unfinished pieces are written early.
const LOW_FRACTION: usize = 4;
