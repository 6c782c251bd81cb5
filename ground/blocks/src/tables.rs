//! What lies in the database, and how it is written.

use peerage_dag::Cid;
use redb::TableDefinition;

use crate::blocks::{ContentId, Leaf};

/// Leaves in files: multihash and content (so that equal leaves of several contents stand side by side) to entry and number.
pub(crate) const LEAVES: TableDefinition<'_, &[u8], (u32, u32)> = TableDefinition::new("leaves");
/// Files that lie whole in a content: the multihash of their root and content (as above) to entry.
pub(crate) const FILES: TableDefinition<'_, &[u8], u32> = TableDefinition::new("files");
/// Blocks kept whole: multihash to their stamp, how many contents they belong to, and their bytes.
pub(crate) const NODES: TableDefinition<'_, &[u8], (u64, u32, &[u8])> = TableDefinition::new("nodes");
/// Live contents: number to the CID of their root.
pub(crate) const CONTENTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("contents");
/// Pins: CID to how they are pinned, when (seconds since 1970), and a name.
pub(crate) const PINS: TableDefinition<'_, &[u8], (u8, u64, &str)> = TableDefinition::new("pins");
/// Numbers about the rest.
pub(crate) const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");

/// In [`COUNTS`]: bytes of all blocks kept whole.
pub(crate) const KEPT_BYTES: &str = "kept bytes";
/// In [`COUNTS`]: the stamp of the next block that is kept.
pub(crate) const NEXT_STAMP: &str = "next stamp";

/// In [`COUNTS`]: how often something was pinned.
pub(crate) const PINNED: &str = "pinned";

/// The key of something that lies in a content.
pub(crate) fn place_key(hash: &[u8], content: ContentId) -> Vec<u8> {
    let mut key = Vec::with_capacity(hash.len() + 4);
    key.extend_from_slice(hash);
    key.extend_from_slice(&content.0.to_be_bytes());
    key
}

/// The keys between which all places of one hash lie.
pub(crate) fn place_keys(hash: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (place_key(hash, ContentId(0)), place_key(hash, ContentId(u32::MAX)))
}

/// The content in such a key.
pub(crate) fn content_of(key: &[u8]) -> ContentId {
    ContentId(key.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}

/// What blocks are looked up by.
pub(crate) fn hash_key(cid: &Cid) -> Vec<u8> {
    cid.hash().to_bytes()
}

/// The leaf that a value of [`LEAVES`] says.
pub(crate) fn leaf_at((entry, number): (u32, u32)) -> Leaf {
    Leaf { entry, number }
}
