//! Blocks where they arrive: hashed by whoever received them, while they are in that core's cache.
//!
//! A worker that gets a block later, on another core or after other processes had theirs, waits for memory as long as it hashes. A leaf of
//! a v2 tree stands for itself. A v1 hash is a chain: it is true of a piece only if the very blocks that it went over are those that
//! were kept, in order, from the first. So every chain has a number, and the intake follows one as long as it takes each
//! of its blocks. What no chain brings, the workers hash.
//!
//! One source alone that sends faster than one core receives and hashes leaves hashing to the workers, piece by piece, where there are
//! cores enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{V1Digest, v2_leaf};
use crate::workers::Flow;
use crate::{BLOCK_LENGTH, Block, BlockBuf, Hash32, PieceIndex, Truth, Workers};

/// A block that arrived, and what was hashed on the way.
#[derive(Debug)]
pub struct Arrived {
    /// Where it belongs.
    pub block: Block,
    pub(crate) data: BlockBuf,
    pub(crate) leaf: Option<Hash32>,
    pub(crate) chained: Option<Chained>,
}

/// The v1 hash from the first block of a piece to the one that carries this.
#[derive(Clone, Debug)]
pub(crate) struct Chained {
    pub(crate) chain: ChainId,
    pub(crate) digest: V1Digest,
}

/// Names one pass over one piece; no two in a process are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainId(u64);

/// Hashes what one source sends. Owned by whoever reads from it.
#[derive(Debug)]
pub struct Arrivals {
    truth: Arc<Truth>,
    workers: Workers,
    /// While blocks come in.
    flow: Option<Flow>,
    /// The piece that came last.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    piece: PieceIndex,
    /// Whether its blocks are hashed here.
    here: bool,
    chain: Option<Chain>,
}

#[derive(Debug)]
struct Chain {
    /// Where in the piece the next block begins.
    next: u32,
    chained: Chained,
}

impl Arrived {
    /// A block of which nothing is hashed.
    pub fn new(block: Block, data: BlockBuf) -> Self {
        Self { block, data, leaf: None, chained: None }
    }
}

impl Arrivals {
    /// Hashes what `truth` has hashes for, unless `workers` had better do it.
    pub fn new(truth: Arc<Truth>, workers: Workers) -> Self {
        Self { truth, workers, flow: None, open: None }
    }

    /// Takes a block; `behind` says that more has come than the source's reader could take in. The block is hashed as it is: whether it was asked for,
    /// and whether it is true, others find out.
    pub fn take(&mut self, block: Block, data: BlockBuf, behind: bool) -> Arrived {
        self.flow.get_or_insert_with(|| self.workers.flow());
        let mut arrived = Arrived::new(block, data);
        let is_new = self.open.as_ref().is_none_or(|open| open.piece != block.piece);
        if is_new {
            let here = !(behind && self.workers.would_help());
            self.open = Some(Open { piece: block.piece, here, chain: None });
        }
        if self.open.as_ref().is_some_and(|open| open.here) {
            self.hash(&mut arrived);
        }
        arrived
    }

    /// No blocks are on their way.
    pub fn rest(&mut self) {
        self.flow = None;
    }

    fn hash(&mut self, arrived: &mut Arrived) {
        let has_leaf = self.has_leaf(arrived);
        if let Some(chain) = self.chain_at(arrived.block) {
            let digest = &mut chain.chained.digest;
            if has_leaf {
                arrived.leaf = Some(digest.update_with_leaf(&arrived.data));
            } else {
                digest.update(&arrived.data);
            }
            // Whoever sends on and on past the end of a piece gets nowhere.
            chain.next = chain.next.saturating_add(arrived.data.len() as u32);
            arrived.chained = Some(chain.chained.clone());
        } else if has_leaf {
            arrived.leaf = Some(v2_leaf(&arrived.data));
        }
    }

    /// Whether all of the block lies in a file whose tree is known.
    fn has_leaf(&self, arrived: &Arrived) -> bool {
        let end = u64::from(arrived.block.begin) + arrived.data.len() as u64;
        arrived.block.begin.is_multiple_of(BLOCK_LENGTH)
            && self.truth.v2_piece(arrived.block.piece).is_some_and(|piece| end <= u64::from(piece.bytes))
    }

    /// The chain that this block is the next of.
    fn chain_at(&mut self, Block { piece, begin, .. }: Block) -> Option<&mut Chain> {
        let open = self.open.as_mut()?;
        if begin == 0 {
            open.chain = self.truth.v1_piece(piece).map(|_| Chain::new());
        }
        open.chain.as_mut().filter(|chain| chain.next == begin)
    }
}

impl Chain {
    fn new() -> Self {
        static CHAINS: AtomicU64 = AtomicU64::new(0);
        let chain = ChainId(CHAINS.fetch_add(1, Ordering::Relaxed));
        Self { next: 0, chained: Chained { chain, digest: V1Digest::default() } }
    }
}
