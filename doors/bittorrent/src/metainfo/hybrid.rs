//! Hybrids: one torrent described twice. The descriptions must be of the same files at the same places (BEP 52), or peers of the
//! one kind would hand bytes to peers of the other that mean something else there.

use peerage_content::{Entry, EntryKind, Hash32};

use super::v2::TreeEntry;
use super::{MetainfoError, Reason};

/// Checks that both lists agree; gives the v2 roots by entry of the v1 list, whose pads have none.
pub(super) fn reconcile(
    v1: &[Entry],
    v2: Vec<TreeEntry>,
    piece_length: u32,
) -> Result<Vec<Option<Hash32>>, MetainfoError> {
    let piece_length = u64::from(piece_length);
    let mut tree = v2.into_iter();
    let mut roots = Vec::with_capacity(v1.len());
    // Where the next byte of the v1 list lies, and where the pieces of the next v2 file begin.
    let (mut stream, mut aligned) = (0_u64, 0_u64);
    for (index, entry) in v1.iter().enumerate() {
        let refuse = |reason| Err(MetainfoError::new(format!("files[{index}]"), reason));
        let root = if entry.kind == EntryKind::Pad {
            None
        } else {
            let Some((twin, root)) = tree.next() else {
                return refuse(Reason::Hybrid("it has fewer files"));
            };
            if let Some(difference) = difference(entry, &twin) {
                return refuse(Reason::Hybrid(difference));
            }
            if entry.length > 0 {
                if stream != aligned {
                    return refuse(Reason::Misaligned { found: stream, expected: aligned });
                }
                let pieces = entry.length.div_ceil(piece_length);
                aligned = aligned.saturating_add(pieces.saturating_mul(piece_length));
            }
            root
        };
        roots.push(root);
        stream = stream.saturating_add(entry.length);
    }
    if tree.next().is_some() {
        return Err(MetainfoError::new("files", Reason::Hybrid("it has more files")));
    }
    if stream > aligned {
        return Err(MetainfoError::new("files", Reason::Hybrid("it has no pieces for the last pad")));
    }
    Ok(roots)
}

/// What differs between the two descriptions of a file.
fn difference(v1: &Entry, v2: &Entry) -> Option<&'static str> {
    if v1.path != v2.path {
        return Some("another path");
    }
    if v1.length != v2.length {
        return Some("another length");
    }
    match (&v1.kind, &v2.kind) {
        (EntryKind::File { .. }, EntryKind::File { .. }) => None,
        (first, second) if first == second => None,
        _ => Some("another link"),
    }
}
