//! One piece on its way in, on the workers' side: hash, write, verdict.
//!
//! Runs of a piece are worked on one after the other, whichever worker does it, so the v1 hash sees them in turn and an old
//! attempt's writes never overtake a new one's. Runs of different pieces go side by side.
//!
//! An attempt that fails its v2 hash stays open, *kept*: everything it brought is on disk, and once the leaves are known, only the
//! blocks that differ from theirs go missing again. A failed v1 hash says nothing of single blocks and ends the attempt.
//!
//! No lock is held while bytes are hashed or written: `State::busy` says that a worker has the piece.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::IntakeEvent;
use crate::arrival::ChainId;
use crate::digest::{PieceDigest, V1Digest, Verdict, bad_blocks};
use crate::intake::Kept;
use crate::recheck::digest_on_disk;
use crate::{BLOCK_LENGTH, Block, BlockBuf, Hash32, PieceIndex, StorageError, Store, Truth, merkle_root};

/// What all pieces of an intake are worked on with.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) store: Arc<Store>,
    pub(super) truth: Arc<Truth>,
    events: Sender<IntakeEvent>,
    /// Attempts begun and neither decided nor cancelled.
    pending: AtomicUsize,
    /// Blocks handed to workers, whose buffers come back without anybody's doing.
    in_flight: AtomicUsize,
    /// Dropped with the bench: says that no worker is at work any more.
    _busy: oneshot::Sender<Infallible>,
}

impl Bench {
    pub(super) fn new(
        store: Arc<Store>,
        truth: Arc<Truth>,
        events: Sender<IntakeEvent>,
        busy: oneshot::Sender<Infallible>,
    ) -> Self {
        let (pending, in_flight) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { store, truth, events, pending, in_flight, _busy: busy }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// Some blocks of a piece, ascending by number.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) attempt: u32,
    pub(super) blocks: Vec<Received>,
    pub(super) hashed: Option<Hashed>,
}

/// A block, and its leaf if that was taken on arrival.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) index: u32,
    pub(super) data: BlockBuf,
    pub(super) leaf: Option<Hash32>,
}

/// The v1 hash of the first blocks of an attempt, of which none is missing.
#[derive(Clone, Debug)]
pub(super) struct Hashed {
    pub(super) chain: ChainId,
    pub(super) blocks: u32,
    pub(super) digest: V1Digest,
}

/// One piece, shared by the intake's owner and the workers.
#[derive(Debug)]
pub(super) struct PieceWork {
    piece: PieceIndex,
    /// Blocks of the piece, padding included.
    blocks: u32,
    /// The attempt that is open; 0 when none is.
    live: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    attempts: u32,
    inbox: VecDeque<Run>,
    /// A worker has the piece, or a job for it is queued.
    busy: bool,
    /// Boxed, since it is handed around.
    progress: Option<Box<Progress>>,
}

/// How far an attempt is.
#[derive(Debug)]
struct Progress {
    attempt: u32,
    digest: PieceDigest,
    /// The next block that the v1 hash waits for.
    next: u32,
    /// Blocks that are on disk, or are padding.
    settled: Vec<Settled>,
    /// Blocks that are neither.
    left: u32,
    /// [`Store::losses`] when the attempt began.
    losses: u64,
    /// The leaves that were found, of an attempt that failed and is kept.
    kept: Option<Box<[Hash32]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    No,
    Written,
    Padding,
}

/// How an attempt ended.
enum Outcome {
    /// It goes on.
    Open(Box<Progress>),
    /// All hashes match, all bytes are written.
    True,
    /// The v2 hash does not match, the bytes are written: the leaves tell, or will, which blocks are bad.
    Kept(Box<Progress>),
    /// A hash does not match, and nothing can tell which block is bad.
    False,
}

impl PieceWork {
    pub(super) fn new(piece: PieceIndex, blocks: u32) -> Self {
        Self { piece, blocks, live: AtomicU32::new(0), state: Mutex::default() }
    }

    pub(super) fn piece(&self) -> PieceIndex {
        self.piece
    }

    /// Opens a new attempt.
    pub(super) fn begin(&self, bench: &Bench) -> u32 {
        let mut state = self.lock();
        state.attempts += 1;
        if self.live.swap(state.attempts, Ordering::AcqRel) == 0 {
            bench.pending.fetch_add(1, Ordering::AcqRel);
        }
        state.attempts
    }

    pub(super) fn is_live(&self, attempt: u32) -> bool {
        self.live.load(Ordering::Acquire) == attempt
    }

    /// Ends the open attempt without a verdict; false when none was open.
    pub(super) fn cancel(&self, bench: &Bench) -> bool {
        let was_open = self.live.swap(0, Ordering::AcqRel) != 0;
        if was_open {
            bench.pending.fetch_sub(1, Ordering::AcqRel);
        }
        was_open
    }

    /// Queues a run; true when a job has to be started for it.
    pub(super) fn enqueue(&self, bench: &Bench, run: Run) -> bool {
        bench.in_flight.fetch_add(run.blocks.len(), Ordering::Relaxed);
        let mut state = self.lock();
        state.inbox.push_back(run);
        !std::mem::replace(&mut state.busy, true)
    }

    /// Works on what is queued until nothing is: the job of a worker.
    pub(super) fn drain(self: &Arc<Self>, bench: &Bench) {
        loop {
            let mut state = self.lock();
            let Some(run) = state.inbox.pop_front() else {
                state.busy = false;
                return;
            };
            let progress = state.progress.take();
            drop(state);
            let attempt = run.attempt;
            let open = progress.filter(|progress| progress.attempt == attempt);
            let result = self.is_live(attempt).then(|| self.work_on(bench, open, &run));
            // Its buffers are free before anybody acts on the verdict.
            bench.in_flight.fetch_sub(run.blocks.len(), Ordering::Relaxed);
            drop(run);
            match result {
                None => {}
                Some(Ok(Outcome::Open(progress))) => self.lock().progress = Some(progress),
                Some(Ok(Outcome::Kept(progress))) => self.keep(bench, attempt, progress),
                Some(result) => self.decide(bench, attempt, result),
            }
        }
    }

    /// Tells the verdict, unless the attempt was cancelled meanwhile.
    fn decide(&self, bench: &Bench, attempt: u32, result: Result<Outcome, StorageError>) {
        if self.live.compare_exchange(attempt, 0, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let piece = self.piece;
        let event = match result {
            Ok(Outcome::Open(_) | Outcome::Kept(_)) => return,
            Ok(Outcome::True) => {
                // In this order: whoever gives leaves looks afterwards whether they came too late.
                bench.store.complete(piece);
                bench.truth.drop_leaves(piece);
                IntakeEvent::Verified(piece)
            }
            Ok(Outcome::False) => IntakeEvent::Corrupt { piece, kept: None },
            Err(error) => IntakeEvent::Failed { piece, error },
        };
        // Nobody listens any more when the transfer was removed.
        let _ = bench.events.blocking_send(event);
        bench.pending.fetch_sub(1, Ordering::AcqRel);
    }

    /// Keeps the attempt open, and tells that it failed.
    fn keep(self: &Arc<Self>, bench: &Bench, attempt: u32, progress: Box<Progress>) {
        self.lock().progress = Some(progress);
        if self.is_live(attempt) {
            let kept = Some(Kept { work: Arc::clone(self), attempt });
            let _ = bench.events.blocking_send(IntakeEvent::Corrupt { piece: self.piece, kept });
        }
    }

    /// The blocks of a kept attempt that are bad by the leaves that are known now. They have to come again, and the attempt goes
    /// on like any other. None while the leaves are not known, or of an attempt that is not kept.
    pub(super) fn convict(&self, bench: &Bench, attempt: u32) -> Vec<Block> {
        let mut state = self.lock();
        let progress = state.progress.as_mut().filter(|progress| progress.attempt == attempt);
        let Some(progress) = progress else { return Vec::new() };
        let Some(found) = &progress.kept else { return Vec::new() };
        let layout = bench.store.layout();
        let bad = bad_blocks(&bench.truth, self.piece, found, |index| layout.block(self.piece, index));
        if !bad.is_empty() {
            progress.reopen(&bad);
        }
        bad
    }

    /// Hashes and writes a run. A piece whose last run this is gets its verdict before the run is written, so a bad piece
    /// of one run never touches the disk, unless its good blocks can be told from the bad ones.
    fn work_on(
        &self,
        bench: &Bench,
        open: Option<Box<Progress>>,
        run: &Run,
    ) -> Result<Outcome, StorageError> {
        let store = &*bench.store;
        let mut progress = match open {
            Some(progress) => progress,
            None => self.start(bench, run.attempt)?,
        };
        if let Some(hashed) = &run.hashed
            && hashed.blocks > progress.next
        {
            progress.digest.go_on_from(&hashed.digest);
            progress.next = hashed.blocks;
        }
        for Received { index, data, leaf } in &run.blocks {
            self.catch_up(store, &mut progress)?;
            let is_next = progress.next == *index;
            progress.next += u32::from(is_next);
            match leaf {
                None if is_next => progress.digest.update_both(*index, data),
                None => progress.digest.update_v2(*index, data),
                Some(leaf) => {
                    progress.digest.put_leaf(*index, *leaf);
                    if is_next {
                        progress.digest.update_v1(data);
                    }
                }
            }
        }
        self.catch_up(store, &mut progress)?;
        progress.left = progress.left.saturating_sub(run.blocks.len() as u32);
        if progress.left > 0 {
            self.write(store, run)?;
            for block in &run.blocks {
                if let Some(settled) = progress.settled.get_mut(block.index as usize) {
                    *settled = Settled::Written;
                }
            }
            return Ok(Outcome::Open(progress));
        }
        if let Verdict::False(found) = progress.digest.finish() {
            let Some(found) = found.filter(|found| self.differs(bench, found)) else {
                return Ok(Outcome::False);
            };
            self.write(store, run)?;
            let mut kept = self.start(bench, run.attempt)?;
            kept.losses = progress.losses;
            kept.keep(found);
            return Ok(Outcome::Kept(kept));
        }
        self.write(store, run)?;
        if store.losses() != progress.losses {
            self.verify_on_disk(bench)?;
        }
        Ok(Outcome::True)
    }

    /// Whether these leaves are not those of the v2 hash.
    fn differs(&self, bench: &Bench, leaves: &[Hash32]) -> bool {
        let truth = bench.truth.v2_piece(self.piece);
        truth.is_some_and(|truth| merkle_root(leaves, truth.width, [0; 32]) != truth.hash)
    }

    fn start(&self, bench: &Bench, attempt: u32) -> Result<Box<Progress>, StorageError> {
        let layout = bench.store.layout();
        let digest = PieceDigest::new(&bench.truth, self.piece)
            .ok_or_else(|| self.error(&bench.store, io::Error::other("no hash is known for the piece")))?;
        let settled = |index| match layout.is_padding(layout.block(self.piece, index)) {
            true => Settled::Padding,
            false => Settled::No,
        };
        let settled: Vec<Settled> = (0..self.blocks).map(settled).collect();
        let left = settled.iter().filter(|settled| **settled == Settled::No).count() as u32;
        // Without a v1 hash nothing waits for its turn.
        let next = if digest.needs_order() { 0 } else { self.blocks };
        let losses = bench.store.losses();
        Ok(Box::new(Progress { attempt, digest, next, settled, left, losses, kept: None }))
    }

    /// Takes the v1 hash over padding, and over blocks that came too early and were written: those are read back.
    fn catch_up(&self, store: &Store, progress: &mut Progress) -> Result<(), StorageError> {
        while let Some(settled) = progress.settled.get(progress.next as usize) {
            let block = store.layout().block(self.piece, progress.next);
            match settled {
                Settled::No => break,
                Settled::Padding => progress.digest.update_v1_zeros(block.length),
                Settled::Written => {
                    let mut bytes = [0; BLOCK_LENGTH as usize];
                    let bytes = &mut bytes[..block.length as usize];
                    if !store.read_unverified(block, bytes)? {
                        return Err(self.error(store, io::ErrorKind::NotFound.into()));
                    }
                    progress.digest.update_v1(bytes);
                }
            }
            progress.next += 1;
        }
        Ok(())
    }

    fn write(&self, store: &Store, run: &Run) -> Result<(), StorageError> {
        run.blocks.chunk_by(|before, after| before.index + 1 == after.index).try_for_each(|run| {
            let begin = run.first().map_or(0, |block| block.index * BLOCK_LENGTH);
            let blocks: Vec<&[u8]> = run.iter().map(|block| &*block.data).collect();
            store.write(self.piece, begin, &blocks)
        })
    }

    /// Some file changed or vanished since the first run was written: believes only what is on disk now.
    fn verify_on_disk(&self, bench: &Bench) -> Result<(), StorageError> {
        match digest_on_disk(&bench.store, &bench.truth, self.piece)? {
            Some(Verdict::True) => Ok(()),
            _ => Err(self.error(
                &bench.store,
                io::Error::new(io::ErrorKind::NotFound, "the file was removed or changed meanwhile"),
            )),
        }
    }

    fn error(&self, store: &Store, source: io::Error) -> StorageError {
        let entry = store.layout().piece_spans(self.piece).next().map_or(0, |span| span.entry);
        StorageError::new("verify", &store.path_of(entry), source)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Everything is on disk, its leaves are these, and some are wrong. The v1 hash begins anew, for it went over bad blocks.
    fn keep(&mut self, found: Box<[Hash32]>) {
        for settled in self.settled.iter_mut().filter(|settled| **settled == Settled::No) {
            *settled = Settled::Written;
        }
        self.left = 0;
        for (index, leaf) in (0..).zip(&found) {
            self.digest.put_leaf(index, *leaf);
        }
        self.kept = Some(found);
    }

    /// These blocks have to come again.
    fn reopen(&mut self, bad: &[Block]) {
        for block in bad {
            if let Some(settled) = self.settled.get_mut((block.begin / BLOCK_LENGTH) as usize) {
                *settled = Settled::No;
            }
        }
        self.left = bad.len() as u32;
        self.kept = None;
    }
}
