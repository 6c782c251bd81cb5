//! The hashes of one piece while its bytes pass by, and their comparison with the truth.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::truth::V2Piece;
use crate::{BLOCK_LENGTH, Block, Hash20, Hash32, PieceIndex, Truth, merkle_root};

/// What zeros are hashed from.
static ZEROS: [u8; BLOCK_LENGTH as usize] = [0; BLOCK_LENGTH as usize];

/// The v1 hash of a piece, fed in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct V1Digest(Sha1);

impl V1Digest {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn update_zeros(&mut self, mut length: u32) {
        while length > 0 {
            let zeros = length.min(BLOCK_LENGTH);
            self.0.update(&ZEROS[..zeros as usize]);
            length -= zeros;
        }
    }

    pub(crate) fn finish(self) -> Hash20 {
        self.0.finalize().into()
    }
}

/// The leaf of a v2 tree over one block (BEP 52: the last one of a file over fewer bytes).
pub(crate) fn v2_leaf(block: &[u8]) -> Hash32 {
    Sha256::digest(block).into()
}

/// The hashes of one piece, block by block. Leaves may come in any order, the v1 hash needs blocks from first to last.
#[derive(Debug)]
pub(crate) struct PieceDigest {
    v1: Option<(V1Digest, Hash20)>,
    v2: Option<(V2Piece, Vec<Hash32>)>,
}

impl PieceDigest {
    /// Starts a piece; `None` when the truth has no hash for it.
    pub(crate) fn new(truth: &Truth, piece: PieceIndex) -> Option<Self> {
        let v1 = truth.v1_piece(piece).map(|hash| (V1Digest::default(), *hash));
        let v2 =
            truth.v2_piece(piece).map(|v2| (v2, vec![[0; 32]; v2.bytes.div_ceil(BLOCK_LENGTH) as usize]));
        (v1.is_some() || v2.is_some()).then_some(Self { v1, v2 })
    }

    /// Whether blocks have to come in order at all.
    pub(crate) fn needs_order(&self) -> bool {
        self.v1.is_some()
    }

    /// The next block of the v1 hash.
    pub(crate) fn update_v1(&mut self, bytes: &[u8]) {
        if let Some((v1, _)) = &mut self.v1 {
            v1.update(bytes);
        }
    }

    /// Padding in the v1 hash.
    pub(crate) fn update_v1_zeros(&mut self, length: u32) {
        if let Some((v1, _)) = &mut self.v1 {
            v1.update_zeros(length);
        }
    }

    /// The leaf of block number `index`.
    pub(crate) fn update_v2(&mut self, index: u32, block: &[u8]) {
        let Some((piece, leaves)) = &mut self.v2 else { return };
        // Bytes past the end of the file are padding.
        let left = piece.bytes.saturating_sub(index.saturating_mul(BLOCK_LENGTH)) as usize;
        if let Some(leaf) = leaves.get_mut(index as usize) {
            *leaf = v2_leaf(&block[..block.len().min(left)]);
        }
    }

    /// Whether every hash that is known matches.
    pub(crate) fn finish(self) -> Verdict {
        let v1 = self.v1.is_none_or(|(v1, expected)| v1.finish() == expected);
        let mut leaves = None;
        let v2 = self.v2.is_none_or(|(piece, found)| {
            let matches = merkle_root(&found, piece.width, [0; 32]) == piece.hash;
            leaves = Some(found.into_boxed_slice());
            matches
        });
        if v1 && v2 { Verdict::True } else { Verdict::False(leaves) }
    }
}

/// What the hashes said.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// All match.
    True,
    /// One does not; the leaves that were found, for a v2 tree.
    False(Option<Box<[Hash32]>>),
}

/// The blocks of a failed piece that are bad for sure: those whose leaf differs from the proven one.
pub(crate) fn bad_blocks(
    truth: &Truth,
    piece: PieceIndex,
    found: &[Hash32],
    block: impl Fn(u32) -> Block,
) -> Vec<Block> {
    let Some(proven) = truth.leaves(piece) else { return Vec::new() };
    let differing = (0..).zip(proven.iter().zip(found)).filter(|(_, (proven, found))| proven != found);
    differing.map(|(index, _)| block(index)).collect()
}
