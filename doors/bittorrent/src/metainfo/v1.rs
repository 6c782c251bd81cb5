//! The file list of v1 torrents and hybrids (BEP 3, 47).

use peerage_content::{Entry, EntryKind, RelPath};

use super::fields::{Fields, required};
use super::{ENTRIES_MAX, MetainfoError, Reason, names};
use crate::bencode::Value;

/// The keys of a file that are read.
const KEYS: &[&str] = &["attr", "length", "path", "path.utf-8", "symlink path"];

/// Reads the files of `info`; the name of the torrent is that of a single file. Says whether it is one.
pub(super) fn entries(info: &Fields<'_>, name: &RelPath) -> Result<(Vec<Entry>, bool), MetainfoError> {
    let length = info.size("length")?;
    match (length, info.list("files")?) {
        (Some(_), Some(_)) => Err(MetainfoError::new("files", Reason::LengthAndFiles)),
        (None, None) => Err(MetainfoError::new("length", Reason::Missing)),
        (Some(length), None) => {
            let kind = kind(info)?;
            if !matches!(kind, EntryKind::File { .. }) {
                return Err(MetainfoError::new("attr", Reason::NotAFile));
            }
            Ok((vec![Entry { path: name.clone(), length, kind, offset: 0 }], true))
        }
        (None, Some(files)) => {
            let mut entries = Vec::new();
            for (index, value) in files.enumerate() {
                if index == ENTRIES_MAX {
                    return Err(MetainfoError::new("files", Reason::TooManyFiles));
                }
                let entry = entry(value).map_err(|error| error.inside(format_args!("files[{index}]")))?;
                entries.push(entry);
            }
            if entries.is_empty() {
                return Err(MetainfoError::new("files", Reason::NoFiles));
            }
            names::refuse_collisions(&entries, |index| format!("files[{index}].path"))?;
            Ok((entries, false))
        }
    }
}

fn entry(value: Value<'_>) -> Result<Entry, MetainfoError> {
    let file = Fields::of(value, "", KEYS)?;
    let kind = kind(&file)?;
    let length = match kind {
        EntryKind::Symlink { .. } => 0,
        _ => required(file.size("length")?, "length")?,
    };
    let path = if kind == EntryKind::Pad {
        names::pad_path(length).map_err(|reason| MetainfoError::new("path", reason))?
    } else {
        let key = if file.get("path.utf-8").is_some() { "path.utf-8" } else { "path" };
        names::path_of_list(required(file.list(key)?, key)?, key)?
    };
    Ok(Entry { path, length, kind, offset: 0 })
}

/// What the attributes make of a file (BEP 47); the v2 tree has the same.
pub(super) fn kind(file: &Fields<'_>) -> Result<EntryKind, MetainfoError> {
    let attributes = file.bytes("attr")?.unwrap_or_default();
    if attributes.contains(&b'p') {
        return Ok(EntryKind::Pad);
    }
    if attributes.contains(&b'l') {
        let key = "symlink path";
        let target = names::path_of_list(required(file.list(key)?, key)?, key)?;
        return Ok(EntryKind::Symlink { target });
    }
    Ok(EntryKind::File { executable: attributes.contains(&b'x') })
}
