//! What proves bytes true: v1 piece hashes, v2 Merkle trees, or both (BEP 3, 52).
//!
//! Room for CIDs: a third tree is a third field of [`Truth`]; nobody outside asks which one answered.

use crate::{Layout, PieceIndex};

/// A SHA-1 hash.
pub type Hash20 = [u8; 20];
/// A SHA-256 hash.
pub type Hash32 = [u8; 32];

/// The v2 tree of one file (BEP 52).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2File {
    /// Root of the file's Merkle tree.
    pub root: Hash32,
    /// One hash a piece, unpadded, for files longer than a piece; `None` until known. A file that fits in one piece
    /// needs none: its root verifies it.
    pub layer: Option<Box<[Hash32]>>,
}

/// A layer that does not belong to the root it was given for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerError {
    /// The wrong number of hashes.
    #[error("piece layer has {found} hashes, the file has {expected} pieces")]
    Count {
        /// Hashes given.
        found: usize,
        /// Pieces of the file.
        expected: usize,
    },
    /// The hashes do not add up to the root.
    #[error("piece layer does not match the file's root")]
    Root,
}

/// The hashes of one content.
#[derive(Debug)]
pub struct Truth {
    _private: (),
}

impl Truth {
    /// From v1 piece hashes (`None` for v2-only) and v2 trees by entry (`None` for v1-only; inside, `None` for pads, links
    /// and empty files). At least one of the two.
    ///
    /// # Errors
    /// [`LayerError`] with the entry's index, when a layer does not match its root or has the wrong count.
    pub fn new(
        layout: &Layout,
        v1: Option<Box<[Hash20]>>,
        v2: Option<Vec<Option<V2File>>>,
    ) -> Result<Self, (usize, LayerError)> {
        let _ = (layout, v1, v2);
        todo!()
    }

    /// Whether the hash of `piece` is known, so that it can be requested at all (v2 layers may come late).
    pub fn knows(&self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!()
    }

    /// The v2 tree of an entry.
    pub fn v2_file(&self, entry: usize) -> Option<V2File> {
        let _ = entry;
        todo!()
    }

    /// Gives the piece layer of an entry (fetched from a peer); takes `&self` because a running transfer shares the truth.
    ///
    /// # Errors
    /// [`LayerError`]; the truth is unchanged.
    pub fn set_layer(&self, layout: &Layout, entry: usize, layer: Box<[Hash32]>) -> Result<(), LayerError> {
        let _ = (layout, entry, layer);
        todo!()
    }

    /// The entries whose piece layer is still missing.
    pub fn missing_layers(&self) -> Vec<usize> {
        todo!()
    }
}

/// The root of a Merkle tree over `leaves`, padded with `pad` hashes to the next power of two or to `width` if larger.
pub fn merkle_root(leaves: &[Hash32], width: usize, pad: Hash32) -> Hash32 {
    let _ = (leaves, width, pad);
    todo!()
}

/// The root of a subtree of `width` (a power of two) zero leaves: what pads a layer above the leaves.
pub fn merkle_pad(width: usize) -> Hash32 {
    let _ = width;
    todo!()
}
