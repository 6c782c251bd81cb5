//! The collection of blocks that nothing keeps.
//!
//! Kept are: the nodes of contents, what hangs below a pin, and what was put while a hold lasts. The rest is a cache, of which
//! the oldest goes first, and only as much as the quota asks. Reads are never in the way: they see the database as it was when they began.

use std::collections::HashSet;

use peerage_dag::{Cid, inlined};
use redb::{Durability, ReadTransaction, ReadableTable, WriteTransaction};

use crate::BlocksError;
use crate::blocks::Blocks;
use crate::error::Attempt;
use crate::pins::{PinMode, generation, is_here, pins};
use crate::tables::{COUNTS, KEPT_BYTES, NODES, hash_key};

/// Blocks deleted in one transaction: others who write wait that long.
const BATCH: usize = 1_000;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blocks that were deleted.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A block that nothing kept when it was looked at.
struct Loose {
    stamp: u64,
    key: Vec<u8>,
}

impl Blocks {
    /// Deletes blocks that nothing keeps, oldest first, until no more than `target` bytes are kept whole.
    ///
    /// # Errors
    /// [`BlocksError`]; what was deleted by then stays so. A block that cannot be understood ends the collection: what it links to is
    /// unknown.
    pub fn collect(&self, target: u64) -> Result<Collected, BlocksError> {
        let mut marked = HashSet::new();
        let mut marks = self.mark(&mut marked)?;
        let loose = self.loose(&marked)?;
        let mut collected = Collected::default();
        for batch in loose.chunks(BATCH) {
            // Whoever pins meanwhile has found blocks that are in the list.
            let _collecting = self.collecting();
            if generation(&self.read()?)? != marks {
                marks = self.mark(&mut marked)?;
            }
            if self.kept_bytes()? <= target {
                break;
            }
            let deleted =
                self.write(Durability::None, |transaction| sweep(transaction, batch, &marked, target))?;
            collected.blocks += deleted.blocks;
            collected.bytes += deleted.bytes;
        }
        Ok(collected)
    }

    /// Marks everything below all pins; returns which pins these are.
    pub(crate) fn mark(&self, marked: &mut HashSet<Vec<u8>>) -> Result<u64, BlocksError> {
        let transaction = self.read()?;
        for pin in pins(&transaction)? {
            match pin.mode {
                PinMode::Direct => drop(marked.insert(hash_key(&pin.root))),
                PinMode::Recursive => walk(&transaction, &pin.root, marked, &mut |_| Ok(()))?,
            }
        }
        generation(&transaction)
    }

    /// Blocks that are not marked and not held, oldest first.
    fn loose(&self, marked: &HashSet<Vec<u8>>) -> Result<Vec<Loose>, BlocksError> {
        let held_from = self.held_from().unwrap_or(u64::MAX);
        let transaction = self.read()?;
        let nodes = transaction.open_table(NODES).attempt("list blocks")?;
        let mut loose = Vec::new();
        for found in nodes.iter().attempt("list blocks")? {
            let (key, node) = found.attempt("list blocks")?;
            let (stamp, owners, _) = node.value();
            if owners == 0 && stamp < held_from && !marked.contains(key.value()) {
                loose.push(Loose { stamp, key: key.value().to_vec() });
            }
        }
        loose.sort_unstable_by_key(|block| block.stamp);
        Ok(loose)
    }
}

/// Deletes blocks of a batch that are still loose.
fn sweep(
    transaction: &WriteTransaction,
    batch: &[Loose],
    marked: &HashSet<Vec<u8>>,
    target: u64,
) -> Result<Collected, BlocksError> {
    let mut counts = transaction.open_table(COUNTS).attempt("count")?;
    let mut kept = counts.get(KEPT_BYTES).attempt("count")?.map_or(0, |kept| kept.value());
    let mut nodes = transaction.open_table(NODES).attempt("delete blocks")?;
    let mut collected = Collected::default();
    for block in batch {
        if kept <= target {
            break;
        }
        if marked.contains(&block.key) {
            continue;
        }
        // One that was put again since has another stamp: somebody may need it.
        let found = nodes.get(block.key.as_slice()).attempt("delete blocks")?;
        let length = found.and_then(|found| {
            let (stamp, owners, bytes) = found.value();
            (owners == 0 && stamp == block.stamp).then_some(bytes.len() as u64)
        });
        let Some(bytes) = length else { continue };
        nodes.remove(block.key.as_slice()).attempt("delete blocks")?;
        kept = kept.saturating_sub(bytes);
        collected.blocks += 1;
        collected.bytes += bytes;
    }
    counts.insert(KEPT_BYTES, kept).attempt("count")?;
    Ok(collected)
}

/// Adds `root` and everything below it to `seen`; what is there already is not walked again. `missing` hears of blocks that are not here.
pub(crate) fn walk(
    transaction: &ReadTransaction,
    root: &Cid,
    seen: &mut HashSet<Vec<u8>>,
    missing: &mut dyn FnMut(&Cid) -> Result<(), BlocksError>,
) -> Result<(), BlocksError> {
    let nodes = transaction.open_table(NODES).attempt("walk")?;
    let mut waiting = vec![*root];
    while let Some(cid) = waiting.pop() {
        let key = hash_key(&cid);
        if seen.contains(&key) {
            continue;
        }
        match nodes.get(key.as_slice()).attempt("walk")? {
            Some(node) => {
                let links = peerage_dag::links(&cid, node.value().2);
                waiting.extend(links.map_err(|error| BlocksError::Malformed {
                    cid: Box::new(cid),
                    source: Box::new(error),
                })?);
            }
            // A leaf in a file links to nothing.
            None if inlined(&cid).is_some() || is_here(transaction, &cid)? => {}
            None => missing(&cid)?,
        }
        seen.insert(key);
    }
    Ok(())
}
