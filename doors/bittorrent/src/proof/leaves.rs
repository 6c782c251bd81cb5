//! The hashes of one piece's blocks, to find the one that is bad.

use peerage_content::Hash32;

use super::tree::Tree;
use super::{span_height, uncle_count};
use crate::wire::HashRequest;

/// The request for the leaves of a piece. Its hash is known, so no uncles are asked for. `None` when the piece is one block, of
/// which everything is known already, or does not exist, or is further on than a request can say.
pub fn leaf_request(tree: &Tree, piece: u32) -> Option<HashRequest> {
    let count = 1_u32.checked_shl(tree.piece_layer().min(tree.height()))?;
    let index = u32::try_from(u64::from(piece) << tree.piece_layer()).ok()?;
    let exists = tree.blocks_in(piece) > 0;
    (count > 1 && exists).then(|| HashRequest {
        root: tree.root(),
        base: 0,
        index,
        count,
        proofs: span_height(count) - 1,
    })
}

/// The leaves in the answer to [`leaf_request`], one for each block: for `peerage_content::Truth::set_leaves`, which checks them.
/// `None` when there are not as many hashes as were asked for, or the file has bytes where it has ended.
pub fn leaves(tree: &Tree, piece: u32, request: &HashRequest, hashes: &[Hash32]) -> Option<Box<[Hash32]>> {
    if leaf_request(tree, piece) != Some(*request)
        || uncle_count(request) != 0
        || hashes.len() != request.count as usize
    {
        return None;
    }
    let (leaves, beyond) = hashes.split_at_checked(tree.blocks_in(piece) as usize)?;
    beyond.iter().all(|hash| *hash == [0; 32]).then(|| leaves.into())
}
