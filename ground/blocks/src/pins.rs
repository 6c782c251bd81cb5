//! What the user wants kept.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use peerage_dag::Cid;
use redb::{Durability, ReadTransaction, ReadableTable};

use crate::blocks::Blocks;
use crate::error::Attempt;
use crate::tables::{COUNTS, LEAVES, NODES, PINNED, PINS, hash_key, place_keys};
use crate::{BlocksError, collect, nodes};

/// How much of a DAG a pin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinMode {
    /// The block itself.
    Direct,
    /// It and everything below.
    Recursive,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What is kept.
    pub root: Cid,
    /// How much of it.
    pub mode: PinMode,
    /// What the user calls it; may be empty.
    pub name: String,
    /// Since when, seconds since 1970.
    pub since: u64,
}

const DIRECT: u8 = 0;
const RECURSIVE: u8 = 1;

impl Blocks {
    /// Keeps `root`, in full or alone, until it is unpinned; a pin that is there already is replaced. On disk when this returns.
    ///
    /// # Errors
    /// [`BlocksError::Incomplete`] names the first block that is not here, [`BlocksError::Malformed`] one that cannot be walked; nothing is
    /// pinned then.
    pub fn pin(&self, root: &Cid, mode: PinMode, name: &str) -> Result<(), BlocksError> {
        // What is found complete must not be collected before the pin is on disk.
        let _collecting = self.collecting();
        let transaction = self.read()?;
        match mode {
            PinMode::Direct => self.must_be_here(&transaction, root, root)?,
            PinMode::Recursive => {
                let mut seen = HashSet::new();
                collect::walk(&transaction, root, &mut seen, &mut |missing| {
                    Err(BlocksError::Incomplete { root: Box::new(*root), missing: Box::new(*missing) })
                })?;
            }
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let kind = if mode == PinMode::Direct { DIRECT } else { RECURSIVE };
        self.write(Durability::Immediate, |transaction| {
            let mut pins = transaction.open_table(PINS).attempt("pin")?;
            pins.insert(root.to_bytes().as_slice(), (kind, since, name)).attempt("pin")?;
            nodes::count(transaction, PINNED, |before| before + 1).map(drop)
        })
    }

    /// Ends a pin; false: there was none.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn unpin(&self, root: &Cid) -> Result<bool, BlocksError> {
        self.write(Durability::Immediate, |transaction| {
            let mut pins = transaction.open_table(PINS).attempt("unpin")?;
            let before = pins.remove(root.to_bytes().as_slice()).attempt("unpin")?;
            Ok(before.is_some())
        })
    }

    /// All pins, in the order of their CIDs.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn pins(&self) -> Result<Vec<Pin>, BlocksError> {
        pins(&self.read()?)
    }

    fn must_be_here(&self, transaction: &ReadTransaction, root: &Cid, cid: &Cid) -> Result<(), BlocksError> {
        if is_here(transaction, cid)? {
            return Ok(());
        }
        Err(BlocksError::Incomplete { root: Box::new(*root), missing: Box::new(*cid) })
    }
}

/// All pins as a transaction sees them.
pub(crate) fn pins(transaction: &ReadTransaction) -> Result<Vec<Pin>, BlocksError> {
    let table = transaction.open_table(PINS).attempt("list pins")?;
    let mut pins = Vec::new();
    for found in table.iter().attempt("list pins")? {
        let (root, pin) = found.attempt("list pins")?;
        let (kind, since, name) = pin.value();
        let Ok(root) = Cid::read_bytes(root.value()) else { continue };
        let mode = if kind == DIRECT { PinMode::Direct } else { PinMode::Recursive };
        pins.push(Pin { root, mode, name: name.to_owned(), since });
    }
    Ok(pins)
}

/// Whether a block is kept, or lies in a content, live or not.
pub(crate) fn is_here(transaction: &ReadTransaction, cid: &Cid) -> Result<bool, BlocksError> {
    let nodes = transaction.open_table(NODES).attempt("look for a block")?;
    let hash = hash_key(cid);
    if nodes.get(hash.as_slice()).attempt("look for a block")?.is_some() {
        return Ok(true);
    }
    let leaves = transaction.open_table(LEAVES).attempt("look for a leaf")?;
    let (first, last) = place_keys(&hash);
    let mut found = leaves.range(first.as_slice()..=last.as_slice()).attempt("look for a leaf")?;
    Ok(found.next().is_some())
}

/// How often something was pinned.
pub(crate) fn generation(transaction: &ReadTransaction) -> Result<u64, BlocksError> {
    let counts = transaction.open_table(COUNTS).attempt("count")?;
    let found = counts.get(PINNED).attempt("count")?;
    Ok(found.map_or(0, |found| found.value()))
}
