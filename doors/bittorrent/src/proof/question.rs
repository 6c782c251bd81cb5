//! What to answer those who ask for hashes.

use std::ops::Range;

use peerage_content::Hash32;

use super::tree::{PieceLayer, Tree, subtree};
use super::{SPAN, span_height, uncle_count};
use crate::wire::HashRequest;

/// Leaves in one request for the blocks of a whole piece: what libtorrent allows, enough for pieces of 128 MiB.
const LEAVES_MAX: u32 = 8192;

/// Why a request is rejected without looking anything up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Nonsense {
    /// It names another file.
    #[error("hash request is for another file")]
    Root,
    /// Neither the leaves nor a layer from the piece layer up to below the root.
    #[error("hash request starts at layer {0}")]
    Base(u32),
    /// Not a power of two, or too many.
    #[error("hash request asks for {0} hashes")]
    Count(u32),
    /// Not aligned, or past the end.
    #[error("hash request starts at hash {0}")]
    Index(u32),
    /// More layers than there are below the root.
    #[error("hash request asks for {0} layers of proof")]
    Proofs(u32),
}

/// A request that makes sense, and how to answer it.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    tree: Tree,
    request: HashRequest,
}

impl Question {
    /// Checks a request for hashes of `tree`, as libtorrent does, but for two things: spans must be aligned (BEP 52), and only
    /// leaves of one piece may be more than 512. A single hash is answered, though BEP 52 wants two: libtorrent asks for one
    /// when a file has one piece more than a multiple of 512.
    ///
    /// # Errors
    /// [`Nonsense`]: answer with [`crate::wire::Message::HashReject`].
    pub fn new(tree: &Tree, request: &HashRequest) -> Result<Self, Nonsense> {
        let HashRequest { root, base, index, count, proofs } = *request;
        if root != tree.root() {
            return Err(Nonsense::Root);
        }
        if base >= tree.height() || (base != 0 && base < tree.piece_layer()) {
            return Err(Nonsense::Base(base));
        }
        let most = if base < tree.piece_layer() { tree.blocks_in(0).next_power_of_two() } else { 0 };
        if !count.is_power_of_two() || count > most.clamp(SPAN, LEAVES_MAX) {
            return Err(Nonsense::Count(count));
        }
        let fits = u64::from(index) + u64::from(count) <= tree.width(base);
        if !index.is_multiple_of(count) || !fits || !tree.covers(base, index) {
            return Err(Nonsense::Index(index));
        }
        if proofs >= tree.height() - base {
            return Err(Nonsense::Proofs(proofs));
        }
        Ok(Self { tree: *tree, request: *request })
    }

    /// The pieces whose blocks must be read and hashed to answer; `None` when the piece layer is enough.
    pub fn needs_leaves(&self) -> Option<Range<u32>> {
        let HashRequest { base, index, count, .. } = self.request;
        (base < self.tree.piece_layer()).then(|| self.tree.pieces_of_blocks(index, count))
    }

    /// Hashes in the answer.
    pub(super) fn cost(&self) -> u32 {
        self.request.count + uncle_count(&self.request)
    }

    /// The answer: the hashes of [`crate::wire::Message::Hashes`]. `None` when it cannot be answered, because the piece layer is
    /// not known or the leaves are not what they should be: reject.
    ///
    /// `layer` is `None` for a file of one piece, or while it is not known. `leaves` are the hashes of all blocks of the pieces
    /// named by [`Question::needs_leaves`], in order; without such pieces they are ignored.
    pub fn answer(&self, layer: Option<&PieceLayer>, leaves: &[Hash32]) -> Option<Vec<Hash32>> {
        let HashRequest { base, index, count, .. } = self.request;
        let known = match self.needs_leaves() {
            None => Known { layer, leaves: &[], first: 0, tree: &self.tree },
            Some(pieces) => {
                self.check(pieces.clone(), layer, leaves)?;
                Known { layer, leaves, first: pieces.start, tree: &self.tree }
            }
        };
        let mut hashes = Vec::with_capacity(self.cost() as usize);
        let pad = Tree::pad(base);
        for at in index..index + count {
            hashes.push(if self.tree.covers(base, at) { known.node(base, at)? } else { pad });
        }
        let bottom = base + span_height(count);
        for above in 0..uncle_count(&self.request) {
            let uncle = ((index >> span_height(count)) >> above) ^ 1;
            hashes.push(known.node(bottom + above, uncle)?);
        }
        Some(hashes)
    }

    /// Whether leaves belong to these pieces: a file that was changed must not make us a liar.
    fn check(&self, pieces: Range<u32>, layer: Option<&PieceLayer>, mut leaves: &[Hash32]) -> Option<()> {
        for piece in pieces {
            let (own, rest) = leaves.split_at_checked(self.tree.blocks_in(piece) as usize)?;
            leaves = rest;
            let (width, hash) = match self.tree.pieces() {
                1 => (0, self.tree.root()),
                _ => (1 << self.tree.piece_layer(), *layer?.piece(piece)?),
            };
            if peerage_content::merkle_root(own, width, [0; 32]) != hash {
                return None;
            }
        }
        leaves.is_empty().then_some(())
    }
}

/// What is at hand to answer with.
struct Known<'a> {
    tree: &'a Tree,
    layer: Option<&'a PieceLayer>,
    leaves: &'a [Hash32],
    /// The piece that the leaves begin with.
    first: u32,
}

impl Known<'_> {
    fn node(&self, layer: u32, index: u32) -> Option<Hash32> {
        if layer >= self.tree.piece_layer() {
            return Some(self.layer?.node(layer, index));
        }
        let before = (u64::from(self.first) << self.tree.piece_layer()) >> layer;
        let index = u64::from(index).checked_sub(before)?;
        Some(subtree(self.leaves, layer, index, 0).unwrap_or_else(|| Tree::pad(layer)))
    }
}
