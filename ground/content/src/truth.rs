//! What proves bytes true: v1 piece hashes, v2 Merkle trees, or both (BEP 3, 52).
//!
//! Room for CIDs: a third tree is a third field of [`Truth`]; nobody outside asks which one answered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::digest::v2_leaf;
use crate::{Arrived, BLOCK_LENGTH, EntryKind, Layout, PieceIndex, merkle_pad, merkle_root};

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

/// Hashes that do not belong to what they were given for.
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
    /// A v2 tree for content whose pieces are not powers of two of at least a block, or for a file that does not start a piece.
    #[error("file is not laid out for a v2 tree")]
    Alignment,
    /// Leaves for a piece that has no v2 hash (yet).
    #[error("no v2 hash is known for the piece")]
    Unknown,
    /// Piece hashes or trees that are fewer or more than the layout's pieces or entries.
    #[error("{found} hashes for {expected} pieces or files")]
    Shape {
        /// Hashes given.
        found: usize,
        /// Pieces or entries of the layout.
        expected: usize,
    },
}

/// The hashes of one content.
#[derive(Debug)]
pub struct Truth {
    v1: Option<Box<[Hash20]>>,
    /// The files with a v2 tree, in order of their pieces.
    v2: Vec<Tree>,
    blocks_per_piece: usize,
    /// Leaves of pieces that failed, until they verify: they tell which block was bad.
    leaves: Mutex<BTreeMap<PieceIndex, Box<[Hash32]>>>,
}

/// The v2 tree of one file, and where the file lies.
#[derive(Debug)]
struct Tree {
    entry: usize,
    pieces: Range<PieceIndex>,
    length: u64,
    root: Hash32,
    layer: OnceLock<Box<[Hash32]>>,
}

/// What a v2 tree says about one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct V2Piece {
    /// Root over the piece's leaves.
    pub(crate) hash: Hash32,
    /// Leaves that the root spans, absent ones being zero.
    pub(crate) width: usize,
    /// Bytes of the piece that belong to the file; what follows is padding, which no leaf covers.
    pub(crate) bytes: u32,
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
        let shape = |found, expected| {
            if found == expected { Ok(()) } else { Err(LayerError::Shape { found, expected }) }
        };
        if let Some(v1) = &v1 {
            shape(v1.len(), layout.piece_count() as usize).map_err(|error| (0, error))?;
        }
        let blocks_per_piece = (layout.piece_length() / BLOCK_LENGTH).max(1) as usize;
        let mut trees = Vec::new();
        if let Some(files) = v2 {
            shape(files.len(), layout.entries().len()).map_err(|error| (0, error))?;
            for (entry, file) in files.into_iter().enumerate() {
                let Some(file) = file else { continue };
                let tree = Tree::new(layout, entry, file.root).map_err(|error| (entry, error))?;
                if let Some(layer) = file.layer {
                    tree.set_layer(layer, blocks_per_piece).map_err(|error| (entry, error))?;
                }
                trees.push(tree);
            }
        }
        Ok(Self { v1, v2: trees, blocks_per_piece, leaves: Mutex::default() })
    }

    /// Whether the hash of `piece` is known, so that it can be requested at all (v2 layers may come late).
    pub fn knows(&self, piece: PieceIndex) -> bool {
        self.v1_piece(piece).is_some() || self.v2_piece(piece).is_some()
    }

    /// The v2 tree of an entry.
    pub fn v2_file(&self, entry: usize) -> Option<V2File> {
        let tree = self.tree_of(entry)?;
        Some(V2File { root: tree.root, layer: tree.layer.get().cloned() })
    }

    /// The root of an entry's v2 tree.
    pub fn v2_root(&self, entry: usize) -> Option<Hash32> {
        Some(self.tree_of(entry)?.root)
    }

    /// Gives the piece layer of an entry (fetched from a peer); takes `&self` because a running transfer shares the truth.
    ///
    /// # Errors
    /// [`LayerError`]; the truth is unchanged.
    pub fn set_layer(&self, _layout: &Layout, entry: usize, layer: Box<[Hash32]>) -> Result<(), LayerError> {
        self.tree_of(entry).ok_or(LayerError::Unknown)?.set_layer(layer, self.blocks_per_piece)
    }

    /// The entries whose piece layer is still missing.
    pub fn missing_layers(&self) -> Vec<usize> {
        self.v2
            .iter()
            .filter(|tree| tree.pieces.len() > 1 && tree.layer.get().is_none())
            .map(|tree| tree.entry)
            .collect()
    }

    /// Gives the leaf hashes of a piece (one a block, unpadded; for instance from a peer after the piece failed), so that the
    /// intake can name the blocks that are bad. They are kept until the piece verifies; whoever finds that it has already calls
    /// [`Truth::drop_leaves`].
    ///
    /// # Errors
    /// [`LayerError`]; the truth is unchanged.
    pub fn set_leaves(&self, piece: PieceIndex, leaves: Box<[Hash32]>) -> Result<(), LayerError> {
        let tree = self.tree_at(piece).ok_or(LayerError::Unknown)?;
        let expected = tree.blocks_in(piece, self.blocks_per_piece);
        if leaves.len() != expected {
            return Err(LayerError::Count { found: leaves.len(), expected });
        }
        let truth = self.v2_piece(piece).ok_or(LayerError::Unknown)?;
        if merkle_root(&leaves, truth.width, [0; 32]) != truth.hash {
            return Err(LayerError::Root);
        }
        self.lock_leaves().insert(piece, leaves);
        Ok(())
    }

    /// The leaves given for a piece.
    pub(crate) fn leaves(&self, piece: PieceIndex) -> Option<Box<[Hash32]>> {
        self.lock_leaves().get(&piece).cloned()
    }

    /// Whether a block differs from the leaf that is known of it.
    pub(crate) fn refutes(&self, arrived: &Arrived) -> bool {
        let block = arrived.block;
        let leaves = self.lock_leaves();
        let leaf =
            leaves.get(&block.piece).and_then(|leaves| leaves.get((block.begin / BLOCK_LENGTH) as usize));
        let Some(leaf) = leaf.copied() else { return false };
        drop(leaves);
        let found = arrived.leaf.or_else(|| {
            // A leaf ends with its file.
            let end = self.v2_piece(block.piece)?.bytes.saturating_sub(block.begin) as usize;
            Some(v2_leaf(&arrived.data[..arrived.data.len().min(end)]))
        });
        found.is_some_and(|found| found != leaf)
    }

    /// Forgets the leaves of a piece that verified.
    pub fn drop_leaves(&self, piece: PieceIndex) {
        self.lock_leaves().remove(&piece);
    }

    /// The v1 hash of a piece.
    pub(crate) fn v1_piece(&self, piece: PieceIndex) -> Option<&Hash20> {
        self.v1.as_ref()?.get(piece as usize)
    }

    /// What the v2 tree says about a piece; `None` without a tree or while its layer is missing.
    pub(crate) fn v2_piece(&self, piece: PieceIndex) -> Option<V2Piece> {
        let tree = self.tree_at(piece)?;
        if tree.pieces.len() == 1 {
            let width = tree.blocks_in(piece, self.blocks_per_piece).next_power_of_two();
            return Some(V2Piece { hash: tree.root, width, bytes: tree.length as u32 });
        }
        let index = piece - tree.pieces.start;
        let hash = *tree.layer.get()?.get(index as usize)?;
        let piece_length = self.blocks_per_piece as u64 * u64::from(BLOCK_LENGTH);
        let bytes = (tree.length - u64::from(index) * piece_length).min(piece_length) as u32;
        Some(V2Piece { hash, width: self.blocks_per_piece, bytes })
    }

    fn tree_of(&self, entry: usize) -> Option<&Tree> {
        let index = self.v2.binary_search_by_key(&entry, |tree| tree.entry).ok()?;
        self.v2.get(index)
    }

    fn tree_at(&self, piece: PieceIndex) -> Option<&Tree> {
        let index = self.v2.partition_point(|tree| tree.pieces.end <= piece);
        self.v2.get(index).filter(|tree| tree.pieces.contains(&piece))
    }

    fn lock_leaves(&self) -> MutexGuard<'_, BTreeMap<PieceIndex, Box<[Hash32]>>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn new(layout: &Layout, entry: usize, root: Hash32) -> Result<Self, LayerError> {
        let pieces = layout.pieces_of(entry);
        let starts_a_piece = layout.locate(entry, 0).1 == 0;
        match layout.entries().get(entry) {
            Some(file)
                if matches!(file.kind, EntryKind::File { .. })
                    && !pieces.is_empty()
                    && starts_a_piece
                    && fits_v2(layout.piece_length()) =>
            {
                Ok(Self { entry, pieces, length: file.length, root, layer: OnceLock::new() })
            }
            _ => Err(LayerError::Alignment),
        }
    }

    fn set_layer(&self, layer: Box<[Hash32]>, blocks_per_piece: usize) -> Result<(), LayerError> {
        let expected = self.pieces.len();
        if layer.len() != expected {
            return Err(LayerError::Count { found: layer.len(), expected });
        }
        // The one hash of a file that fits in a piece is its root already.
        let root =
            if expected == 1 { layer[0] } else { merkle_root(&layer, 0, merkle_pad(blocks_per_piece)) };
        if root != self.root {
            return Err(LayerError::Root);
        }
        // Another thread may have been first; both layers proved themselves, so they are the same.
        let _ = self.layer.set(layer);
        Ok(())
    }

    /// Blocks of the file in one of its pieces.
    fn blocks_in(&self, piece: PieceIndex, blocks_per_piece: usize) -> usize {
        let blocks = usize::try_from(self.length.div_ceil(BLOCK_LENGTH.into())).unwrap_or(usize::MAX);
        let before = (piece - self.pieces.start) as usize * blocks_per_piece;
        (blocks - before).min(blocks_per_piece)
    }
}

/// Whether pieces of this length can be subtrees of a v2 tree (BEP 52).
pub(crate) fn fits_v2(piece_length: u32) -> bool {
    piece_length.is_power_of_two() && piece_length >= BLOCK_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, Entry, RelPath};
    use sha2::{Digest, Sha256};

    const PIECE: u32 = 2 * BLOCK_LENGTH;

    /// A layout of files of these lengths, for v2.
    fn layout(lengths: &[u64]) -> Layout {
        let entries = lengths.iter().enumerate().map(|(index, &length)| Entry {
            path: RelPath::from_components([index.to_string()]).unwrap(),
            length,
            kind: EntryKind::File { executable: false },
            offset: 0,
        });
        Layout::new(entries.collect(), PIECE, Alignment::PerFile).unwrap()
    }

    fn leaf(of: u8) -> Hash32 {
        Sha256::digest([of]).into()
    }

    /// A file of five blocks: three pieces of two, two and one.
    fn five_blocks() -> (Layout, Vec<Hash32>, Box<[Hash32]>, Hash32) {
        let layout = layout(&[u64::from(BLOCK_LENGTH) * 4 + 1]);
        let leaves: Vec<Hash32> = (0..5).map(leaf).collect();
        let layer: Box<[Hash32]> = leaves.chunks(2).map(|pair| merkle_root(pair, 2, [0; 32])).collect();
        let root = merkle_root(&leaves, 0, [0; 32]);
        (layout, leaves, layer, root)
    }

    #[test]
    fn a_layer_adds_up_to_the_root_of_the_leaves() {
        let (layout, _, layer, root) = five_blocks();
        let file = V2File { root, layer: Some(layer.clone()) };
        let truth = Truth::new(&layout, None, Some(vec![Some(file.clone())])).unwrap();
        assert_eq!(truth.v2_file(0), Some(file));
        assert!((0..3).all(|piece| truth.knows(piece)) && !truth.knows(3));
        assert_eq!(truth.v2_piece(2).unwrap().hash, layer[2]);
    }

    #[test]
    fn a_late_layer_makes_pieces_known_and_a_wrong_one_does_not() {
        let (layout, _, layer, root) = five_blocks();
        let truth = Truth::new(&layout, None, Some(vec![Some(V2File { root, layer: None })])).unwrap();
        assert_eq!((truth.missing_layers(), truth.knows(0)), (vec![0], false));
        let short = layer[..2].into();
        assert_eq!(truth.set_layer(&layout, 0, short), Err(LayerError::Count { found: 2, expected: 3 }));
        let mut wrong = layer.clone();
        wrong[1] = [9; 32];
        assert_eq!(truth.set_layer(&layout, 0, wrong.clone()), Err(LayerError::Root));
        assert!(!truth.knows(0));
        assert_eq!(truth.set_layer(&layout, 0, layer), Ok(()));
        assert!(truth.knows(0) && truth.missing_layers().is_empty());
        let refused = Truth::new(&layout, None, Some(vec![Some(V2File { root, layer: Some(wrong) })]));
        assert_eq!(refused.unwrap_err(), (0, LayerError::Root));
    }

    #[test]
    fn a_file_of_one_piece_is_verified_by_its_root() {
        let layout = layout(&[1, u64::from(PIECE)]);
        let tree = |of| Some(V2File { root: leaf(of), layer: None });
        let truth = Truth::new(&layout, None, Some(vec![tree(1), tree(2)])).unwrap();
        assert!(truth.missing_layers().is_empty());
        let pieces = [0, 1].map(|piece| truth.v2_piece(piece).unwrap());
        assert_eq!(pieces.map(|piece| (piece.hash, piece.width)), [(leaf(1), 1), (leaf(2), 2)]);
    }

    #[test]
    fn leaves_are_proved_and_forgotten() {
        let (layout, leaves, layer, root) = five_blocks();
        let truth = Truth::new(&layout, None, Some(vec![Some(V2File { root, layer: Some(layer) })])).unwrap();
        assert_eq!(truth.set_leaves(0, leaves[..1].into()), Err(LayerError::Count { found: 1, expected: 2 }));
        assert_eq!(truth.set_leaves(0, leaves[1..3].into()), Err(LayerError::Root));
        assert_eq!(truth.set_leaves(9, leaves[..2].into()), Err(LayerError::Unknown));
        assert_eq!(truth.set_leaves(2, leaves[4..].into()), Ok(()));
        assert_eq!(truth.leaves(2).as_deref(), Some(&leaves[4..]));
        truth.drop_leaves(2);
        assert_eq!(truth.leaves(2), None);
    }

    #[test]
    fn trees_that_do_not_fit_the_layout_are_refused() {
        let unaligned = Layout::new(layout(&[1, 1]).entries().to_vec(), PIECE, Alignment::Stream).unwrap();
        let tree = || Some(V2File { root: leaf(0), layer: None });
        assert_eq!(
            Truth::new(&unaligned, None, Some(vec![tree(), tree()])).unwrap_err(),
            (1, LayerError::Alignment)
        );
        let odd = Layout::of_length(100, BLOCK_LENGTH * 3);
        assert_eq!(Truth::new(&odd, None, Some(vec![tree()])).unwrap_err(), (0, LayerError::Alignment));
        let shape = LayerError::Shape { found: 2, expected: 1 };
        assert_eq!(Truth::new(&odd, None, Some(vec![None, None])).unwrap_err(), (0, shape));
        let shape = LayerError::Shape { found: 0, expected: 1 };
        assert_eq!(Truth::new(&odd, Some(Box::new([])), None).unwrap_err(), (0, shape));
    }
}
