//! The Merkle trees of BEP 52: SHA-256, two children a node, widths that are powers of two.

use sha2::{Digest, Sha256};

use crate::Hash32;

/// The root of a Merkle tree over `leaves`, padded with `pad` hashes to the next power of two or to `width` if larger.
pub fn merkle_root(leaves: &[Hash32], width: usize, mut pad: Hash32) -> Hash32 {
    let Some(first) = leaves.first() else { return raised(pad, width.next_power_of_two()) };
    let mut width = leaves.len().max(width).next_power_of_two();
    let mut root = *first;
    let mut row: Vec<Hash32> = Vec::new();
    while width > 1 {
        // The padding is never laid out: an odd node at the end of a row meets the pad of its level.
        let below = if row.is_empty() { leaves } else { &row };
        row = below.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&pad))).collect();
        pad = parent(&pad, &pad);
        width /= 2;
        root = row[0];
    }
    root
}

/// The root of a subtree of `width` (a power of two) zero leaves: what pads a layer above the leaves.
pub fn merkle_pad(width: usize) -> Hash32 {
    raised([0; 32], width)
}

/// The root over `width` times the same hash.
fn raised(mut hash: Hash32, mut width: usize) -> Hash32 {
    while width > 1 {
        hash = parent(&hash, &hash);
        width /= 2;
    }
    hash
}

fn parent(left: &Hash32, right: &Hash32) -> Hash32 {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    Sha256::digest(both).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, with every padding hash laid out.
    fn by_definition(leaves: &[Hash32], width: usize, pad: Hash32) -> Hash32 {
        let mut row = leaves.to_vec();
        row.resize(leaves.len().max(width).next_power_of_two(), pad);
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        }
        row[0]
    }

    #[test]
    fn a_single_leaf_is_its_own_root() {
        assert_eq!(merkle_root(&[[7; 32]], 1, [0; 32]), [7; 32]);
    }

    #[test]
    fn a_huge_width_costs_only_its_logarithm() {
        let root = merkle_root(&[[0; 32]], 1 << 60, [0; 32]);
        assert_eq!(root, merkle_pad(1 << 60));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(leaves in prop::collection::vec(any::<[u8; 32]>(), 0..20), width in 0_usize..40, pad: [u8; 32]) {
            prop_assert_eq!(merkle_root(&leaves, width, pad), by_definition(&leaves, width, pad));
        }

        #[test]
        fn a_pad_is_a_tree_of_zero_leaves(height in 0_u32..6) {
            prop_assert_eq!(merkle_pad(1 << height), by_definition(&[], 1 << height, [0; 32]));
        }
    }
}
