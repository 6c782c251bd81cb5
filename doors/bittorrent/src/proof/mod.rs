//! Hash requests (BEP 52): how a v2 magnet link gets its piece layers, and how a bad block is found.
//!
//! The metadata of a v2 torrent names one root a file; the piece layers below come from peers. [`LayerFetch`] asks for them in
//! spans of 512 hashes, each of which proves itself against the root by its uncles, so that a lie is known at once and whose it
//! was. [`Question`] answers those who ask us, as
//! much as their [`Allowance`] lets them. [`leaf_request`] and [`leaves()`] get the hashes of one piece's blocks when the piece proved
//! corrupt; the transfer says of whom to ask them.
//!
//! Nothing here reads files or decides what is true: bytes are read and hashed by the driver, and layers and leaves become
//! truth in `peerage_content::Truth`, which checks them again.
//!
//! Layers count from 0, the leaves, upwards to the root. Beyond the end of a file its leaves are zero, and the layers above
//! are what follows from that. All numbers of pieces and blocks here count from the start of the file.

mod allowance;
mod fetch;
mod leaves;
mod question;
#[cfg(test)]
mod tests;
mod tree;

pub use allowance::Allowance;
pub use fetch::{LayerFetch, Received};
pub use leaves::{leaf_request, leaves};
pub use question::{Nonsense, Question};
pub use tree::{PieceLayer, Tree};

use peerage_content::Hash32;
use sha2::{Digest, Sha256};

use crate::wire::HashRequest;

/// Hashes in one request: the most that BEP 52 recommends.
pub const SPAN: u32 = 512;

/// Layers that a span of `count` hashes covers without any uncle.
fn span_height(count: u32) -> u32 {
    count.trailing_zeros()
}

/// How many uncles belong to a request: one for each layer of the proof that cannot be computed from the hashes themselves.
fn uncle_count(request: &HashRequest) -> u32 {
    request.proofs.saturating_add(1).saturating_sub(span_height(request.count))
}

/// The root that follows from the answer to a request whose proof goes all the way up; `None` when the number of hashes is not
/// what was asked for.
fn root_of(request: &HashRequest, hashes: &[Hash32]) -> Option<Hash32> {
    let (span, uncles) = hashes.split_at_checked(request.count as usize)?;
    if span.is_empty() || !request.count.is_power_of_two() || uncles.len() != uncle_count(request) as usize {
        return None;
    }
    let mut hash = peerage_content::merkle_root(span, span.len(), [0; 32]);
    let mut index = request.index.checked_shr(span_height(request.count)).unwrap_or(0);
    for uncle in uncles {
        hash = if index.is_multiple_of(2) { parent(&hash, uncle) } else { parent(uncle, &hash) };
        index /= 2;
    }
    Some(hash)
}

fn parent(left: &Hash32, right: &Hash32) -> Hash32 {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}
