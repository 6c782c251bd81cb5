//! Blocks that are kept whole.

use bytes::Bytes;
use peerage_dag::{BLOCK_LEN_MAX, Cid, inlined};
use redb::{ReadableTable, WriteTransaction};

use crate::BlocksError;
use crate::error::Attempt;
use crate::tables::{COUNTS, KEPT_BYTES, NEXT_STAMP, NODES, hash_key};

/// Keeps a block, as part of `transaction`; one that is here already counts as new.
pub(crate) fn put(transaction: &WriteTransaction, cid: &Cid, bytes: &[u8]) -> Result<(), BlocksError> {
    if bytes.len() > BLOCK_LEN_MAX {
        return Err(BlocksError::TooLong { length: bytes.len(), max: BLOCK_LEN_MAX });
    }
    if inlined(cid).is_some() {
        return Ok(());
    }
    let stamp = count(transaction, NEXT_STAMP, |next| next + 1)?;
    let mut nodes = transaction.open_table(NODES).attempt("keep a block")?;
    let key = hash_key(cid);
    let owners = nodes.get(key.as_slice()).attempt("keep a block")?.map(|found| found.value().1);
    nodes.insert(key.as_slice(), (stamp, owners.unwrap_or(0), bytes)).attempt("keep a block")?;
    if owners.is_none() {
        count(transaction, KEPT_BYTES, |kept| kept + bytes.len() as u64)?;
    }
    Ok(())
}

/// A block belongs to one content more, or fewer. Returns to how many now, and its bytes; `None`: it is not kept whole.
pub(crate) fn own(
    transaction: &WriteTransaction,
    cid: &Cid,
    change: impl Fn(u32) -> u32,
) -> Result<Option<(u32, Bytes)>, BlocksError> {
    let mut nodes = transaction.open_table(NODES).attempt("change a block")?;
    let key = hash_key(cid);
    let found = nodes.get(key.as_slice()).attempt("change a block")?.map(|found| {
        let (stamp, owners, bytes) = found.value();
        (stamp, owners, Bytes::copy_from_slice(bytes))
    });
    let Some((stamp, owners, bytes)) = found else { return Ok(None) };
    let owners = change(owners);
    nodes.insert(key.as_slice(), (stamp, owners, &bytes[..])).attempt("change a block")?;
    Ok(Some((owners, bytes)))
}

/// Deletes a block.
pub(crate) fn delete(transaction: &WriteTransaction, cid: &Cid) -> Result<(), BlocksError> {
    let mut nodes = transaction.open_table(NODES).attempt("delete a block")?;
    let removed = nodes.remove(hash_key(cid).as_slice()).attempt("delete a block")?;
    let length = removed.map_or(0, |removed| removed.value().2.len() as u64);
    count(transaction, KEPT_BYTES, |kept| kept.saturating_sub(length))?;
    Ok(())
}

/// Changes one of the [`COUNTS`]; returns what it was.
pub(crate) fn count(
    transaction: &WriteTransaction,
    name: &str,
    change: impl Fn(u64) -> u64,
) -> Result<u64, BlocksError> {
    let mut counts = transaction.open_table(COUNTS).attempt("count")?;
    let before = counts.get(name).attempt("count")?.map_or(0, |before| before.value());
    counts.insert(name, change(before)).attempt("count")?;
    Ok(before)
}
