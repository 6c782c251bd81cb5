//! Names of files: what is cleaned, and what is refused (the rules stand in the head of [`super`]).

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use peerage_content::{Entry, EntryKind, PathError, RelPath};
use sha2::{Digest, Sha256};

use super::fields::wrong_kind;
use super::{MetainfoError, PATH_LENGTH_MAX, Reason};
use crate::bencode::{Kind, List};

/// Bytes in the longest name that file systems take.
const NAME_LENGTH_MAX: usize = 255;

/// Bytes in the longest extension, dot included, that survives shortening.
const EXTENSION_LENGTH_MAX: usize = 16;

/// A single name, such as that of the torrent.
pub(super) fn name(bytes: &[u8]) -> Result<RelPath, Reason> {
    RelPath::from_components([shortened(bytes)]).map_err(reason)
}

/// The path of a v1 list, called `at`.
pub(super) fn path_of_list(list: List<'_>, at: &str) -> Result<RelPath, MetainfoError> {
    let mut components = Vec::new();
    for (index, value) in list.enumerate() {
        let place = || format!("{at}[{index}]");
        let bytes = value.as_bytes().ok_or_else(|| wrong_kind(place(), Kind::Bytes, value))?;
        if bytes.is_empty() || bytes == b"." {
            continue;
        }
        let component = shortened(bytes);
        // A component is checked alone, so that the error can say which one it is.
        RelPath::from_components([&component]).map_err(|error| MetainfoError::new(place(), reason(error)))?;
        components.push(component);
    }
    path(&components).map_err(|reason| MetainfoError::new(at, reason))
}

/// The path of these components, none of which is dropped.
pub(super) fn path(components: &[Cow<'_, [u8]>]) -> Result<RelPath, Reason> {
    let length = components.iter().map(|component| component.len() + 1).sum();
    if length > PATH_LENGTH_MAX {
        return Err(Reason::PathTooLong(length));
    }
    RelPath::from_components(components).map_err(reason)
}

/// The path of a pad in memory: what BEP 47 recommends on the wire.
pub(super) fn pad_path(length: u64) -> Result<RelPath, Reason> {
    RelPath::from_components([".pad", &length.to_string()]).map_err(reason)
}

/// Refuses two entries of one path, and a path below an entry that is no folder. `describe` names the entry of an index.
pub(super) fn refuse_collisions(
    entries: &[Entry],
    describe: impl Fn(usize) -> String,
) -> Result<(), MetainfoError> {
    let mut order: Vec<(&RelPath, usize)> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.kind != EntryKind::Pad)
        .map(|(index, entry)| (&entry.path, index))
        .collect();
    // Component by component, so that whatever lies below a path follows it at once.
    order.sort_unstable();
    for pair in order.windows(2) {
        let &[(first, first_index), (second, second_index)] = pair else { continue };
        if first == second {
            let reason = Reason::SamePath(describe(first_index));
            return Err(MetainfoError::new(describe(second_index), reason));
        }
        if second.as_path().starts_with(first.as_path()) {
            let reason = Reason::ThroughFile(describe(first_index));
            return Err(MetainfoError::new(describe(second_index), reason));
        }
    }
    Ok(())
}

/// A name that fits a file system. Names differ still when they differed before: a digest tells them apart.
pub(super) fn shortened(name: &[u8]) -> Cow<'_, [u8]> {
    if name.len() <= NAME_LENGTH_MAX {
        return Cow::Borrowed(name);
    }
    let extension = match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if name.len() - dot <= EXTENSION_LENGTH_MAX => name.get(dot..).unwrap_or_default(),
        _ => &[],
    };
    let digest = Sha256::digest(name);
    let digest = HEXLOWER.encode(digest.get(..4).unwrap_or_default());
    let mut end = NAME_LENGTH_MAX - 1 - digest.len() - extension.len();
    // Not inside a character: at most three bytes continue one.
    for _ in 0..3 {
        if name.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
    }
    let stem = name.get(..end).unwrap_or_default();
    Cow::Owned([stem, b"~", digest.as_bytes(), extension].concat())
}

/// A refused path, as the reason for refusing a torrent.
pub(super) fn reason(error: PathError) -> Reason {
    match error {
        PathError::Component { why, .. } => Reason::Name(why),
        _ => Reason::EmptyPath,
    }
}
