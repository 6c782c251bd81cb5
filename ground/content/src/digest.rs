//! The hashes of one piece while its bytes pass by, and their comparison with the truth.

use sha2::{Digest, Sha256};

use crate::truth::V2Piece;
use crate::{BLOCK_LENGTH, Block, Hash20, Hash32, PieceIndex, Truth, merkle_root};

/// What zeros are hashed from.
static ZEROS: [u8; BLOCK_LENGTH as usize] = [0; BLOCK_LENGTH as usize];

/// Bytes that both hash functions take in at a time.
const STEP: usize = 64;

/// The v1 hash of a piece, fed in order.
///
/// It is built on the bare compression functions of the crates `sha1` and `sha2` for one reason: where a v1 and a v2 hash are
/// wanted of the same bytes, the two are computed step by step in turn. Each is a chain in which every step waits for the one
/// before; side by side they fill each other's gaps in the processor, which saves a tenth of their time.
#[derive(Clone, Debug)]
pub(crate) struct V1Digest {
    state: [u32; 5],
    /// Bytes taken in.
    length: u64,
    /// The last `length % STEP` of them wait here.
    waiting: [u8; STEP],
}

impl Default for V1Digest {
    fn default() -> Self {
        Self { state: V1_START, length: 0, waiting: [0; STEP] }
    }
}

impl V1Digest {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let waiting = (self.length % STEP as u64) as usize;
        self.length += bytes.len() as u64;
        if waiting > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(STEP - waiting));
            self.waiting[waiting..][..head.len()].copy_from_slice(head);
            if waiting + head.len() < STEP {
                return;
            }
            sha1::block_api::compress(&mut self.state, std::slice::from_ref(&self.waiting));
            bytes = rest;
        }
        let (steps, rest) = bytes.as_chunks();
        sha1::block_api::compress(&mut self.state, steps);
        self.waiting[..rest.len()].copy_from_slice(rest);
    }

    pub(crate) fn update_zeros(&mut self, mut length: u32) {
        while length > 0 {
            let zeros = length.min(BLOCK_LENGTH);
            self.update(&ZEROS[..zeros as usize]);
            length -= zeros;
        }
    }

    /// Takes a block in, and returns its leaf.
    pub(crate) fn update_with_leaf(&mut self, block: &[u8]) -> Hash32 {
        let (steps, []) = block.as_chunks::<STEP>() else {
            self.update(block);
            return v2_leaf(block);
        };
        if !self.length.is_multiple_of(STEP as u64) {
            self.update(block);
            return v2_leaf(block);
        }
        let mut leaf = V2_START;
        for step in steps {
            let step = std::slice::from_ref(step);
            sha1::block_api::compress(&mut self.state, step);
            sha2::block_api::compress256(&mut leaf, step);
        }
        self.length += block.len() as u64;
        let (end, _) = padding(&[], block.len() as u64);
        sha2::block_api::compress256(&mut leaf, &end[..1]);
        let mut hash = [0; 32];
        put_words(&mut hash, &leaf);
        hash
    }

    pub(crate) fn finish(mut self) -> Hash20 {
        let waiting = (self.length % STEP as u64) as usize;
        let (end, steps) = padding(&self.waiting[..waiting], self.length);
        sha1::block_api::compress(&mut self.state, &end[..steps]);
        let mut hash = [0; 20];
        put_words(&mut hash, &self.state);
        hash
    }
}

/// Where SHA-1 starts (FIPS 180-4, 5.3.1).
const V1_START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
/// Where SHA-256 starts (FIPS 180-4, 5.3.3).
const V2_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The last one or two steps of a message of `length` bytes that ends with `waiting`: a one bit, zeros, and the length in bits
/// (FIPS 180-4, 5.1.1). Returns how many steps they are.
fn padding(waiting: &[u8], length: u64) -> ([[u8; STEP]; 2], usize) {
    let mut end = [[0; STEP]; 2];
    end[0][..waiting.len()].copy_from_slice(waiting);
    end[0][waiting.len()] = 0x80;
    let steps = if waiting.len() < STEP - 8 { 1 } else { 2 };
    end[steps - 1][STEP - 8..].copy_from_slice(&(length * 8).to_be_bytes());
    (end, steps)
}

fn put_words(hash: &mut [u8], words: &[u32]) {
    for (place, word) in hash.chunks_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
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

    /// Takes the v1 hash over from one that is ahead.
    pub(crate) fn go_on_from(&mut self, digest: &V1Digest) {
        if let Some((v1, _)) = &mut self.v1 {
            v1.clone_from(digest);
        }
    }

    /// The leaf of block number `index`, computed elsewhere.
    pub(crate) fn put_leaf(&mut self, index: u32, leaf: Hash32) {
        if let Some((_, leaves)) = &mut self.v2
            && let Some(place) = leaves.get_mut(index as usize)
        {
            *place = leaf;
        }
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

    /// The next block of the v1 hash, and its leaf.
    pub(crate) fn update_both(&mut self, index: u32, block: &[u8]) {
        if let (Some((v1, _)), Some((piece, leaves))) = (&mut self.v1, &mut self.v2)
            && index.saturating_mul(BLOCK_LENGTH).saturating_add(block.len() as u32) <= piece.bytes
            && let Some(leaf) = leaves.get_mut(index as usize)
        {
            *leaf = v1.update_with_leaf(block);
        } else {
            self.update_v1(block);
            self.update_v2(index, block);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha1::Sha1;

    proptest! {
        /// Both hashes are what the crates' own front ends say, however the bytes are cut.
        #[test]
        fn agrees_with_the_crates(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0_u8..3), 0..8)) {
            let mut ours = V1Digest::default();
            let mut theirs = Sha1::new();
            for (mut bytes, how) in pieces {
                match how {
                    0 => ours.update(&bytes),
                    1 => prop_assert_eq!(ours.update_with_leaf(&bytes), <[u8; 32]>::from(Sha256::digest(&bytes))),
                    _ => {
                        bytes.fill(0);
                        ours.update_zeros(bytes.len() as u32);
                    }
                }
                theirs.update(&bytes);
            }
            prop_assert_eq!(ours.finish(), <[u8; 20]>::from(theirs.finalize()));
        }

        #[test]
        fn agrees_on_whole_steps(steps in 0_usize..6, rest in 0_usize..64, byte: u8) {
            let bytes = vec![byte; steps * STEP];
            let mut ours = V1Digest::default();
            prop_assert_eq!(ours.update_with_leaf(&bytes), <[u8; 32]>::from(Sha256::digest(&bytes)));
            ours.update(&bytes[..rest.min(bytes.len())]);
            let mut theirs = Sha1::new();
            theirs.update(&bytes);
            theirs.update(&bytes[..rest.min(bytes.len())]);
            prop_assert_eq!(ours.finish(), <[u8; 20]>::from(theirs.finalize()));
        }
    }

    #[test]
    fn known_answers() {
        let mut v1 = V1Digest::default();
        v1.update(b"abc");
        assert_eq!(v1.finish()[..4], [0xa9, 0x99, 0x3e, 0x36]);
        assert_eq!(V1Digest::default().finish()[..4], [0xda, 0x39, 0xa3, 0xee]);
        assert_eq!(v2_leaf(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
