//! The shape of a file's tree, and the part of it from the piece layer upwards.

use std::ops::Range;

use peerage_content::{BLOCK_LENGTH, Hash32, merkle_root};

use super::{SPAN, parent};

/// The shape of one file's hash tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    root: Hash32,
    blocks: u64,
    pieces: u32,
    /// The layer with one hash a piece.
    piece_layer: u32,
}

impl Tree {
    /// The tree of a file of `length` bytes. `None` when it can have none: an empty file, a piece length that is not a power
    /// of two of at least a block, or more pieces than there are numbers.
    pub fn new(root: Hash32, length: u64, piece_length: u32) -> Option<Self> {
        if length == 0 || !piece_length.is_power_of_two() || piece_length < BLOCK_LENGTH {
            return None;
        }
        let pieces = length.div_ceil(piece_length.into()).try_into().ok()?;
        let piece_layer = (piece_length / BLOCK_LENGTH).trailing_zeros();
        Some(Self { root, blocks: length.div_ceil(BLOCK_LENGTH.into()), pieces, piece_layer })
    }

    /// The root, by which peers name the file.
    pub fn root(&self) -> Hash32 {
        self.root
    }

    /// Pieces of the file.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Blocks of one of its pieces; 0 when there is no such piece.
    pub fn blocks_in(&self, piece: u32) -> u32 {
        let before = u64::from(piece) << self.piece_layer;
        self.blocks.saturating_sub(before).min(1 << self.piece_layer) as u32
    }

    pub(super) fn piece_layer(&self) -> u32 {
        self.piece_layer
    }

    /// The layer of the root.
    pub(super) fn height(&self) -> u32 {
        self.blocks.next_power_of_two().trailing_zeros()
    }

    /// Hashes of a layer, those beyond the end of the file included. The layer must not be above the root.
    pub(super) fn width(&self, layer: u32) -> u64 {
        self.blocks.next_power_of_two() >> layer
    }

    /// Whether a hash covers any byte of the file.
    pub(super) fn covers(&self, layer: u32, index: u32) -> bool {
        u64::from(index) < self.blocks.div_ceil(1 << layer)
    }

    /// A hash of this layer that lies beyond the end of the file.
    pub(super) fn pad(layer: u32) -> Hash32 {
        (0..layer).fold([0; 32], |below, _| parent(&below, &below))
    }

    /// The pieces that a span of a layer below the piece layer lies in.
    pub(super) fn pieces_of_blocks(&self, first: u32, count: u32) -> Range<u32> {
        let end = (u64::from(first) + u64::from(count)).div_ceil(1 << self.piece_layer);
        (first >> self.piece_layer)..(end.min(self.pieces.into()) as u32)
    }
}

/// The piece layer of a file, ready to answer questions about any layer from there upwards.
#[derive(Debug)]
pub struct PieceLayer {
    tree: Tree,
    hashes: Box<[Hash32]>,
    /// One hash for each [`SPAN`] of pieces: without them, every answer would cost as much as the whole tree.
    spans: Box<[Hash32]>,
}

impl PieceLayer {
    /// From one hash a piece, as `peerage_content::V2File` has it; `None` when there are more or fewer.
    pub fn new(tree: Tree, hashes: Box<[Hash32]>) -> Option<Self> {
        if hashes.len() != tree.pieces as usize {
            return None;
        }
        let pad = Tree::pad(tree.piece_layer);
        let spans = hashes.chunks(SPAN as usize).map(|span| merkle_root(span, SPAN as usize, pad)).collect();
        Some(Self { tree, hashes, spans })
    }

    /// The hash of a piece.
    pub(super) fn piece(&self, piece: u32) -> Option<&Hash32> {
        self.hashes.get(piece as usize)
    }

    /// A hash of the piece layer or of one above it.
    pub(super) fn node(&self, layer: u32, index: u32) -> Hash32 {
        let above = layer - self.tree.piece_layer;
        let span_layer = SPAN.trailing_zeros();
        let (hashes, above, bottom) = match above.checked_sub(span_layer) {
            Some(above) => (&self.spans, above, self.tree.piece_layer + span_layer),
            None => (&self.hashes, above, self.tree.piece_layer),
        };
        subtree(hashes, above, index.into(), bottom).unwrap_or_else(|| Tree::pad(layer))
    }
}

/// The hash number `index` of the layer `above` that of `hashes`, which is number `bottom`; `None` beyond the end.
pub(super) fn subtree(hashes: &[Hash32], above: u32, index: u64, bottom: u32) -> Option<Hash32> {
    let width = 1_usize.checked_shl(above)?;
    let start = usize::try_from(index).ok()?.checked_mul(width)?;
    let end = start.saturating_add(width).min(hashes.len());
    let below = hashes.get(start..end).filter(|below| !below.is_empty())?;
    Some(if width == 1 { below[0] } else { merkle_root(below, width, Tree::pad(bottom)) })
}
