//! The file tree of v2 torrents and hybrids (BEP 52).

use std::borrow::Cow;

use peerage_content::{Entry, EntryKind, Hash32, RelPath};

use super::fields::{Fields, required};
use super::{ENTRIES_MAX, MetainfoError, Reason, names, v1};
use crate::bencode::Dict;

/// A file of the tree, and the root of its hash tree if it has bytes.
pub(super) type TreeEntry = (Entry, Option<Hash32>);

/// Reads the files of a tree, in its order.
pub(super) fn entries(tree: Dict<'_>) -> Result<Vec<TreeEntry>, MetainfoError> {
    let mut walk = Walk { path: Vec::new(), found: Vec::new() };
    walk.folder(tree).map_err(|error| error.inside("file tree"))?;
    if walk.found.is_empty() {
        return Err(MetainfoError::new("file tree", Reason::NoFiles));
    }
    Ok(walk.found)
}

/// Whether the tree is that of a single file: the only one, called like the torrent.
pub(super) fn is_single(entries: &[TreeEntry], name: &RelPath) -> bool {
    matches!(entries, [(entry, _)] if entry.path == *name)
}

/// Goes down folder by folder. The decoder bounds how deep.
struct Walk<'a> {
    path: Vec<Cow<'a, [u8]>>,
    found: Vec<TreeEntry>,
}

impl<'a> Walk<'a> {
    fn folder(&mut self, folder: Dict<'a>) -> Result<(), MetainfoError> {
        let mut last = None;
        for (key, node) in folder {
            let place = || format!("\"{}\"", key.escape_ascii());
            if key.is_empty() {
                // Beside other names here, or at the top, where a file would have no name.
                let reason = if self.path.is_empty() { Reason::EmptyPath } else { Reason::FileAndFolder };
                return Err(MetainfoError::new(place(), reason));
            }
            if last.is_some_and(|last| last >= key) {
                return Err(MetainfoError::new(place(), Reason::Unsorted));
            }
            last = Some(key);
            let component = names::shortened(key);
            names::name(&component).map_err(|reason| MetainfoError::new(place(), reason))?;
            let node = Fields::of(node, &place())?;
            self.path.push(component);
            self.node(&node).map_err(|error| error.inside(place()))?;
            self.path.pop();
        }
        Ok(())
    }

    fn node(&mut self, node: &Fields<'a>) -> Result<(), MetainfoError> {
        let Some(file) = node.dict("")? else { return self.folder(node.0.clone()) };
        if node.0.clone().count() > 1 {
            return Err(MetainfoError::new("\"\"", Reason::FileAndFolder));
        }
        if self.found.len() == ENTRIES_MAX {
            return Err(MetainfoError::new("\"\"", Reason::TooManyFiles));
        }
        let found = self.file(&Fields(file)).map_err(|error| error.inside("\"\""))?;
        self.found.push(found);
        Ok(())
    }

    fn file(&self, file: &Fields<'_>) -> Result<TreeEntry, MetainfoError> {
        let path = names::path(&self.path).map_err(|reason| MetainfoError::new("path", reason))?;
        let kind = v1::kind(file)?;
        let length = match kind {
            EntryKind::Pad => return Err(MetainfoError::new("attr", Reason::PadInTree)),
            EntryKind::Symlink { .. } => 0,
            EntryKind::File { .. } => required(file.size("length")?, "length")?,
        };
        let root = if length == 0 { None } else { Some(root(file)?) };
        Ok((Entry { path, length, kind, offset: 0 }, root))
    }
}

fn root(file: &Fields<'_>) -> Result<Hash32, MetainfoError> {
    let key = "pieces root";
    let root = required(file.bytes(key)?, key)?;
    Hash32::try_from(root)
        .map_err(|_| MetainfoError::new(key, Reason::HashLength { found: root.len(), expected: 32 }))
}
