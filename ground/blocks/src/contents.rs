//! Content: whose leaves lie in files, and which nodes stand above them.

use std::collections::HashSet;

use peerage_dag::Cid;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::blocks::ContentId;
use crate::error::Attempt;
use crate::tables::{CONTENTS, FILES, LEAVES, hash_key, place_key};
use crate::{BlocksError, Dag, LeafSet, nodes};

/// Takes up content as part of `transaction`; there is none of this number.
pub(crate) fn add(
    transaction: &WriteTransaction,
    id: ContentId,
    leaves: &LeafSet,
    dag: &Dag,
) -> Result<(), BlocksError> {
    let mut seen = HashSet::new();
    for (cid, bytes) in &dag.nodes {
        nodes::put(transaction, cid, bytes)?;
        // A node that stands in several places of it belongs to it once.
        if seen.insert(hash_key(cid)) {
            nodes::own(transaction, cid, |owners| owners + 1)?;
        }
    }
    let mut table = transaction.open_table(LEAVES).attempt("keep leaves")?;
    for (cid, leaf) in leaves.places() {
        let key = place_key(&hash_key(&cid), id);
        table.insert(key.as_slice(), (leaf.entry, leaf.number)).attempt("keep leaves")?;
    }
    let mut files = transaction.open_table(FILES).attempt("keep files")?;
    // A file of one leaf is found as that.
    for (cid, entry) in dag.files.iter().filter(|(_, entry)| !leaves.is_leaf(*entry)) {
        files.insert(place_key(&hash_key(cid), id).as_slice(), entry).attempt("keep files")?;
    }
    let mut contents = transaction.open_table(CONTENTS).attempt("keep a content")?;
    contents.insert(id.0, dag.root.to_bytes().as_slice()).attempt("keep a content")?;
    Ok(())
}

/// Forgets content as part of `transaction`, if there is any of this number. Of its nodes, those in `pinned` stay.
pub(crate) fn remove(
    transaction: &WriteTransaction,
    id: ContentId,
    pinned: &HashSet<Vec<u8>>,
) -> Result<(), BlocksError> {
    let root = {
        let mut contents = transaction.open_table(CONTENTS).attempt("forget a content")?;
        let root = contents.remove(id.0).attempt("forget a content")?;
        root.and_then(|root| Cid::read_bytes(root.value()).ok())
    };
    let Some(root) = root else { return Ok(()) };
    let mut leaves = transaction.open_table(LEAVES).attempt("forget leaves")?;
    let mut files = transaction.open_table(FILES).attempt("forget files")?;
    let (mut seen, mut waiting) = (HashSet::new(), vec![root]);
    while let Some(cid) = waiting.pop() {
        let key = hash_key(&cid);
        if seen.contains(&key) {
            continue;
        }
        let place = place_key(&key, id);
        leaves.remove(place.as_slice()).attempt("forget leaves")?;
        files.remove(place.as_slice()).attempt("forget files")?;
        if let Some((owners, bytes)) = nodes::own(transaction, &cid, |owners| owners.saturating_sub(1))? {
            // What cannot be read links to nothing that is known.
            waiting.extend(peerage_dag::links(&cid, &bytes).unwrap_or_default());
            if owners == 0 && !pinned.contains(&key) {
                nodes::delete(transaction, &cid)?;
            }
        }
        seen.insert(key);
    }
    Ok(())
}

/// The numbers of all contents.
pub(crate) fn numbers(transaction: &ReadTransaction) -> Result<Vec<ContentId>, BlocksError> {
    let contents = transaction.open_table(CONTENTS).attempt("list contents")?;
    let mut numbers = Vec::new();
    for found in contents.iter().attempt("list contents")? {
        numbers.push(ContentId(found.attempt("list contents")?.0.value()));
    }
    Ok(numbers)
}
