//! The names of shares in IPFS, and their blocks.
//!
//! Of a share, the digests of its leaves are kept (`KEY.leaves`); all else follows from them. Where the node keeps a block store, the blocks
//! of what is shared can be had there by CID for as long as the share lives.

use std::collections::HashSet;
use std::sync::Arc;

use peerage_bittorrent::metainfo::Info;
use peerage_blocks::{Blocks, BlocksError, ContentId, InPlace, LeafSet};
use tracing::warn;

use super::Inner;
use super::entry::{Entry, Running};
use super::life::blocking;
use crate::author::{IpfsNames, Named, frames};
use crate::model::TransferId;

impl From<TransferId> for ContentId {
    fn from(id: TransferId) -> Self {
        Self(id.0)
    }
}

/// Names a share that is under way, and takes up its blocks. A share that cannot be named goes on under its info hashes.
pub(super) async fn name(node: &Inner, entry: &Arc<Entry>, running: &Arc<Running>) {
    let (blocks, owner, share) = (node.blocks.clone(), entry.clone(), running.clone());
    let named = blocking(move || {
        let info = &share.metainfo.info;
        let named = kept(&owner, info)?;
        owner.facts().ipfs = Some(IpfsNames::of(&named.dag, info));
        let taken_up = blocks.map_or(Ok(()), |blocks| take_up(&blocks, owner.id.into(), &named, &share));
        if let Err(error) = taken_up {
            warn!(id = owner.id.0, error = error.in_full(), "a share cannot be had by its CID");
        }
        Some(())
    });
    // `None`: it has no CID. An error: the node is stopping.
    let _ = named.await;
}

/// The names of a share by what was kept of it.
fn kept(entry: &Entry, info: &Info) -> Option<Named> {
    let bytes = entry.slot.read_leaves()?;
    let told = |error: &dyn std::error::Error| warn!(id = entry.id.0, %error, "a share has lost its CID");
    let leaves = LeafSet::parse(&bytes, &info.layout).inspect_err(|error| told(error)).ok()?;
    let dag = leaves.build(&info.layout, info.root().is_none()).inspect_err(|error| told(error)).ok()?;
    Some(Named { leaves, dag })
}

fn take_up(blocks: &Blocks, id: ContentId, named: &Named, running: &Running) -> Result<(), BlocksError> {
    let profile = named.leaves.profile.clone();
    let store = running.transfer.store().clone();
    let source = Arc::new(InPlace::new(store, profile.chunk_size(), frames(profile)));
    if blocks.root_of(id)? == Some(named.dag.root) {
        blocks.revive(id, source);
        return Ok(());
    }
    blocks.add_content(id, &named.leaves, &named.dag, source)
}

/// Forgets the blocks of a share that was removed. Touches the disk.
pub(super) fn forget(node: &Inner, id: TransferId) {
    let Some(blocks) = &node.blocks else { return };
    if let Err(error) = blocks.remove_content(id.into()) {
        warn!(id = id.0, error = error.in_full(), "the blocks of a share are not forgotten yet");
    }
}

/// Forgets the blocks of shares that are gone: the former run ended in between. Touches the disk.
pub(super) fn forget_strangers(node: &Inner) {
    let known: HashSet<_> = node.all().iter().map(|entry| ContentId::from(entry.id)).collect();
    let contents = node.blocks.as_ref().and_then(|blocks| blocks.contents().ok()).unwrap_or_default();
    for stranger in contents.into_iter().filter(|content| !known.contains(content)) {
        forget(node, TransferId(stranger.0));
    }
}
