//! The file tree of v2 torrents and hybrids (BEP 52).

use std::borrow::Cow;

use peerage_content::{Entry, EntryKind, Hash32, RelPath};

use super::fields::{Fields, required};
use super::{ENTRIES_MAX, METAINFO_LENGTH_MAX, MetainfoError, Reason, names, v1};
use crate::bencode::{Cursor, Dict, Kind, Step};

/// The keys of a file that are read.
const KEYS: &[&str] = &["attr", "length", "pieces root", "symlink path"];

/// A file of the tree, and the root of its hash tree if it has bytes.
pub(super) type TreeEntry = (Entry, Option<Hash32>);

/// Reads the files of a tree, in its order.
pub(super) fn entries(tree: Dict<'_>) -> Result<Vec<TreeEntry>, MetainfoError> {
    let mut walk =
        Walk { cursor: tree.cursor(), keys: vec![None], path: Vec::new(), spelled: 0, found: Vec::new() };
    while walk.step().map_err(|error| walk.place(error))? {}
    if walk.found.is_empty() {
        return Err(MetainfoError::new("file tree", Reason::NoFiles));
    }
    Ok(walk.found)
}

/// Whether the tree is that of a single file: the only one, called like the torrent.
pub(super) fn is_single(entries: &[TreeEntry], name: &RelPath) -> bool {
    matches!(entries, [(entry, _)] if entry.path == *name)
}

/// Goes through the tree, in one pass and without recursion.
struct Walk<'a> {
    cursor: Cursor<'a>,
    /// The key in front of the cursor, in every node from the top to where it is; `None` before the first.
    keys: Vec<Option<&'a [u8]>>,
    /// The cleaned names of those nodes, of which the top has none.
    path: Vec<Cow<'a, [u8]>>,
    /// Bytes of all paths found: a tree writes a folder down once, and every path in memory repeats it.
    spelled: usize,
    found: Vec<TreeEntry>,
}

impl<'a> Walk<'a> {
    /// One key further; false at the end of the tree.
    fn step(&mut self) -> Result<bool, MetainfoError> {
        let key = match self.cursor.step() {
            Some(Step::Key(key)) => key,
            Some(Step::Up) => {
                self.keys.pop();
                self.path.pop();
                return Ok(true);
            }
            None => return Ok(false),
        };
        let last = self.keys.last_mut().and_then(|last| last.replace(key));
        if last.is_some_and(|last| last >= key) {
            return Err(MetainfoError::new("", Reason::Unsorted));
        }
        // The empty key is that of a file, and stands alone.
        if last == Some(b"") {
            return Err(MetainfoError::new("", Reason::FileAndFolder));
        }
        if key.is_empty() {
            self.leaf()?;
        } else {
            let component = names::shortened(key);
            names::name(&component).map_err(|reason| MetainfoError::new("", reason))?;
            self.cursor
                .enter()
                .map_err(|found| MetainfoError::new("", Reason::WrongKind { expected: Kind::Dict, found }))?;
            self.keys.push(None);
            self.path.push(component);
        }
        Ok(true)
    }

    /// A file: the node above names it.
    fn leaf(&mut self) -> Result<(), MetainfoError> {
        if self.path.is_empty() {
            return Err(MetainfoError::new("", Reason::EmptyPath));
        }
        if self.found.len() == ENTRIES_MAX {
            return Err(MetainfoError::new("", Reason::TooManyFiles));
        }
        let file = required(self.cursor.take(), "")?;
        let found = self.file(&Fields::of(file, "", KEYS)?)?;
        self.spelled += found.0.path.as_path().as_os_str().len();
        if self.spelled > METAINFO_LENGTH_MAX {
            return Err(MetainfoError::new("", Reason::PathsTooLong));
        }
        self.found.push(found);
        Ok(())
    }

    /// Says where in the tree an error is.
    fn place(&self, error: MetainfoError) -> MetainfoError {
        let keys = self.keys.iter().flatten();
        let place: String = keys.map(|key| format!(".\"{}\"", key.escape_ascii())).collect();
        error.inside(format_args!("file tree{place}"))
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
