//! The hash trees of one torrent, as peers ask for them and help to complete them (BEP 52).
//!
//! Built lazily: a torrent that nobody asks about its hashes costs nothing here. What is true is decided by
//! `peerage_content::Truth` alone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use peerage_content::{BLOCK_LENGTH, Block, Hash32, Layout, PieceIndex, Store, Truth, merkle_root};
use peerage_swarm::core::PeerKey;
use peerage_swarm::driver::Transfer;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::proof::{self, LayerFetch, PieceLayer, Question, Received, Tree};
use crate::wire::HashRequest;

/// Piece layers kept ready for questions.
const LAYERS_MAX: usize = 64;

/// The trees of one transfer.
#[derive(Debug)]
pub(crate) struct Trees {
    layout: Arc<Layout>,
    truth: Arc<Truth>,
    store: Arc<Store>,
    /// Entries by the root of their tree; the first of equal files.
    entries: OnceLock<HashMap<Hash32, usize>>,
    layers: Mutex<HashMap<Hash32, Arc<PieceLayer>>>,
    missing: Mutex<LayerFetch>,
    /// Held while layers are computed: once is enough.
    computing: Mutex<()>,
}

/// What answers a question.
pub(crate) enum Answer {
    /// These hashes.
    Now(Vec<Hash32>),
    /// Pieces must be read and hashed: call [`Job::run`] where blocking is fine.
    Later(Box<Job>),
    /// Nothing: reject.
    Never,
}

/// A question that needs the leaves of pieces.
pub(crate) struct Job {
    question: Question,
    layer: Option<Arc<PieceLayer>>,
    pieces: Range<u32>,
    layout: Arc<Layout>,
    store: Arc<Store>,
}

impl Trees {
    pub(crate) fn new(transfer: &Transfer) -> Self {
        let (layout, truth) = (transfer.layout().clone(), transfer.truth().clone());
        let mut missing = LayerFetch::new();
        for entry in truth.missing_layers() {
            if let Some(tree) = tree(&layout, &truth, entry) {
                missing.want(entry, tree);
            }
        }
        Self {
            layout,
            truth,
            store: transfer.store().clone(),
            entries: OnceLock::new(),
            layers: Mutex::default(),
            missing: Mutex::new(missing),
            computing: Mutex::default(),
        }
    }

    /// The tree that a request means, and the question it asks.
    pub(crate) fn question(&self, request: &HashRequest) -> Option<(usize, Question)> {
        let entry = *self.entries().get(&request.root)?;
        let tree = tree(&self.layout, &self.truth, entry)?;
        Some((entry, Question::new(&tree, request).ok()?))
    }

    /// Hashes that have to be made ready before a question about an entry can be answered.
    pub(crate) fn upkeep(&self, entry: usize) -> u64 {
        let Some(tree) = tree(&self.layout, &self.truth, entry) else { return 0 };
        if self.layers().contains_key(&tree.root()) { 0 } else { tree.pieces().into() }
    }

    /// Answers a question about an entry.
    pub(crate) fn answer(&self, entry: usize, question: Question) -> Answer {
        let layer = self.layer(entry);
        match question.needs_leaves() {
            None => question.answer(layer.as_deref(), &[]).map_or(Answer::Never, Answer::Now),
            Some(pieces) => {
                let first = self.layout.pieces_of(entry).start;
                let pieces = first + pieces.start..first + pieces.end;
                if !pieces.clone().all(|piece| self.store.is_verified(piece)) {
                    return Answer::Never;
                }
                let (layout, store) = (self.layout.clone(), self.store.clone());
                Answer::Later(Box::new(Job { question, layer, pieces, layout, store }))
            }
        }
    }

    /// Whether every hash is known.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing().is_done()
    }

    /// Computes the piece layers that nobody told from files that are here in full, as far as they lead to their roots: those who
    /// meet in v1's name do not ask each other for hashes. Reads all of their bytes unless `cancel` is cancelled.
    pub(crate) fn compute_layers(&self, cancel: &CancellationToken) {
        let _alone = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in self.truth.missing_layers() {
            let Some(tree) = tree(&self.layout, &self.truth, entry) else { continue };
            let Some(layer) = self.computed_layer(entry, &tree, cancel) else { continue };
            match self.truth.set_layer(&self.layout, entry, layer) {
                Ok(()) => self.missing().known(&tree.root()),
                Err(error) => {
                    warn!(entry, %error, "a file that is what its v1 hashes say is not what its v2 root says")
                }
            }
        }
    }

    fn computed_layer(&self, entry: usize, tree: &Tree, cancel: &CancellationToken) -> Option<Box<[Hash32]>> {
        let pieces = self.layout.pieces_of(entry);
        if !pieces.clone().all(|piece| self.store.is_verified(piece)) {
            return None;
        }
        let width = (self.layout.piece_length() / BLOCK_LENGTH) as usize;
        let mut layer = Vec::with_capacity(tree.pieces() as usize);
        for piece in pieces {
            if cancel.is_cancelled() {
                return None;
            }
            let mut leaves = Vec::with_capacity(width);
            push_leaves(&self.layout, &self.store, piece, &mut leaves)?;
            layer.push(merkle_root(&leaves, width, [0; 32]));
        }
        Some(layer.into())
    }

    /// What to ask of a peer that has content.
    pub(crate) fn requests_of(&self, peer: PeerKey, now: Instant) -> Vec<HashRequest> {
        let mut missing = self.missing();
        std::iter::from_fn(|| missing.poll_request(now, peer, |_, _| true)).collect()
    }

    /// When to ask again what [`Trees::requests_of`] has for a peer, if nothing happens before.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.missing().poll_timeout(now)
    }

    /// An answer of a peer. Returns the pieces whose hashes are known from now on; an error when it lied.
    pub(crate) fn hashes(
        &self,
        peer: PeerKey,
        request: &HashRequest,
        hashes: &[Hash32],
        now: Instant,
    ) -> Result<Vec<Range<u32>>, ()> {
        match self.missing().hashes(now, peer, request, hashes) {
            Received::Lie => Err(()),
            Received::Taken | Received::Unrequested => Ok(Vec::new()),
            Received::Complete { entries, layer } => Ok(entries
                .into_iter()
                .filter(|entry| self.truth.set_layer(&self.layout, *entry, layer.clone()).is_ok())
                .map(|entry| self.layout.pieces_of(entry))
                .collect()),
        }
    }

    /// What to ask of a peer that has the piece, to learn the hashes of its blocks.
    pub(crate) fn leaf_request(&self, piece: PieceIndex) -> Option<HashRequest> {
        let (tree, piece) = self.tree_at(piece)?;
        proof::leaf_request(&tree, piece)
    }

    /// The answer of a peer to [`Trees::leaf_request`]; an error when it lied.
    pub(crate) fn leaves(
        &self,
        piece: PieceIndex,
        request: &HashRequest,
        hashes: &[Hash32],
    ) -> Result<(), ()> {
        let (tree, number) = self.tree_at(piece).ok_or(())?;
        let leaves = proof::leaves(&tree, number, request, hashes).ok_or(())?;
        self.truth.set_leaves(piece, leaves).map_err(|_| ())?;
        if self.store.is_verified(piece) {
            // Fetched anew meanwhile: nobody needs them any more.
            self.truth.drop_leaves(piece);
        }
        Ok(())
    }

    /// The tree of the file that a piece belongs to, and the number of the piece in it.
    fn tree_at(&self, piece: PieceIndex) -> Option<(Tree, u32)> {
        let first = self.layout.spans(Block { piece, begin: 0, length: 1 }).next()?;
        let tree = tree(&self.layout, &self.truth, first.entry)?;
        Some((tree, piece.checked_sub(self.layout.pieces_of(first.entry).start)?))
    }

    /// A peer will not answer.
    pub(crate) fn rejected(&self, peer: PeerKey, request: &HashRequest, now: Instant) {
        self.missing().rejected(now, peer, request);
    }

    /// A peer is gone.
    pub(crate) fn left(&self, peer: PeerKey) {
        self.missing().left(peer);
    }

    fn entries(&self) -> &HashMap<Hash32, usize> {
        self.entries.get_or_init(|| {
            let all = (0..self.layout.entries().len()).rev();
            all.filter_map(|entry| Some((self.truth.v2_root(entry)?, entry))).collect()
        })
    }

    fn layer(&self, entry: usize) -> Option<Arc<PieceLayer>> {
        let tree = tree(&self.layout, &self.truth, entry)?;
        let mut layers = self.layers();
        if let Some(layer) = layers.get(&tree.root()) {
            return Some(layer.clone());
        }
        let layer = Arc::new(PieceLayer::new(tree, self.truth.v2_file(entry)?.layer?)?);
        if layers.len() >= LAYERS_MAX {
            layers.clear();
        }
        layers.insert(tree.root(), layer.clone());
        Some(layer)
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<Hash32, Arc<PieceLayer>>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self) -> MutexGuard<'_, LayerFetch> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Reads and hashes; `None`: reject.
    pub(crate) fn run(self) -> Option<Vec<Hash32>> {
        let mut leaves = Vec::new();
        for piece in self.pieces.clone() {
            push_leaves(&self.layout, &self.store, piece, &mut leaves)?;
        }
        self.question.answer(self.layer.as_deref(), &leaves)
    }
}

/// Reads a piece and hashes its blocks; `None` when it cannot be read.
fn push_leaves(layout: &Layout, store: &Store, piece: u32, leaves: &mut Vec<Hash32>) -> Option<()> {
    let mut buffer = [0; BLOCK_LENGTH as usize];
    for index in 0..layout.block_count(piece) {
        // Leaves end with the file: pads of a hybrid are no part of its tree.
        let block = layout.block(piece, index);
        let length = file_bytes(layout, block);
        if length == 0 {
            break;
        }
        let data = buffer.get_mut(..length as usize)?;
        store.read(Block { length, ..block }, data).ok()?;
        leaves.push(Sha256::digest(&*data).into());
    }
    Some(())
}

/// How many bytes of a block belong to the file that its piece begins with.
fn file_bytes(layout: &Layout, block: Block) -> u32 {
    let first = layout.spans(Block { begin: 0, length: 1, piece: block.piece }).next();
    let Some(first) = first else { return 0 };
    layout.spans(block).take_while(|span| span.entry == first.entry).map(|span| span.length).sum()
}

fn tree(layout: &Layout, truth: &Truth, entry: usize) -> Option<Tree> {
    let length = layout.entries().get(entry)?.length;
    Tree::new(truth.v2_root(entry)?, length, layout.piece_length())
}
