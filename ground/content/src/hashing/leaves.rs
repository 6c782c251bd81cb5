//! Leaves of files: runs of bytes of one length, each hashed for itself, that a tree of other people's making stands on.
//!
//! Which tree that is (the DAG that IPFS names a file by), this crate does not know: it is told how long a leaf is, and what is hashed around
//! its bytes.

use std::slice::IterMut;

use sha2::{Digest, Sha256};

use crate::{Hash32, Layout, PieceIndex};

/// What is hashed before and after the bytes of a leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafFrame {
    /// Before.
    pub prefix: Vec<u8>,
    /// After.
    pub suffix: Vec<u8>,
}

/// How files are cut into leaves.
#[derive(Clone, Copy)]
pub struct LeafPlan<'a> {
    /// Bytes of a leaf; the last one of a file may be shorter. Never 0.
    pub length: u32,
    /// The frame of a leaf of so many bytes.
    pub frame: &'a (dyn Fn(u32) -> LeafFrame + Sync),
}

impl std::fmt::Debug for LeafPlan<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LeafPlan").field("length", &self.length).finish_non_exhaustive()
    }
}

impl LeafPlan<'_> {
    /// How many leaves so many bytes have.
    pub(super) fn count(&self, bytes: u64) -> usize {
        bytes.div_ceil(self.length.into()) as usize
    }

    /// Pieces after which a leaf ends, at least `least` of them; `None`: only a file's end is sure to end one.
    pub(super) fn stride(&self, layout: &Layout, least: PieceIndex) -> Option<PieceIndex> {
        let (piece, leaf) = (layout.piece_length(), self.length);
        let pieces = if piece.is_multiple_of(leaf) {
            1
        } else if leaf.is_multiple_of(piece) {
            leaf / piece
        } else {
            return None;
        };
        least.max(1).checked_next_multiple_of(pieces)
    }
}

/// The leaf that is being hashed.
pub(super) struct LeafDigest<'a> {
    plan: LeafPlan<'a>,
    digest: Sha256,
    /// Bytes until it is complete; 0: the next byte begins one.
    left: u32,
    suffix: Vec<u8>,
}

impl<'a> LeafDigest<'a> {
    pub(super) fn new(plan: LeafPlan<'a>) -> Self {
        Self { plan, digest: Sha256::new(), left: 0, suffix: Vec::new() }
    }

    /// Takes in the next bytes of a file that has `rest` bytes from here on, these included; leaves that end with them go to `places`.
    pub(super) fn update(&mut self, mut bytes: &[u8], mut rest: u64, places: &mut IterMut<'_, Hash32>) {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.begin(rest);
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.left as usize));
            self.digest.update(now);
            self.left -= now.len() as u32;
            rest = rest.saturating_sub(now.len() as u64);
            bytes = later;
            if self.left == 0 {
                self.digest.update(&self.suffix);
                let hash = self.digest.finalize_reset();
                if let Some(place) = places.next() {
                    *place = hash.into();
                }
            }
        }
    }

    fn begin(&mut self, rest: u64) {
        // At most a leaf, so it fits; at least one byte, so that this ends whatever the caller says of the rest.
        self.left = rest.clamp(1, self.plan.length.into()) as u32;
        let LeafFrame { prefix, suffix } = (self.plan.frame)(self.left);
        self.digest.update(&prefix);
        self.suffix = suffix;
    }
}
