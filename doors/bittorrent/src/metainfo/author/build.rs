//! Writing a torrent down.

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_content::{Alignment, Entry, EntryKind, Hash32, Hashed, Layout, RelPath, V2File};

use super::{AuthorError, Format, Options};
use crate::bencode::Item;
use crate::metainfo::{Info, Metainfo, PieceLayers};

/// A dictionary that grows.
type Pairs = BTreeMap<Bytes, Item>;

/// Makes the torrent of `hashed`, which was hashed by `layout`. `name` is what the file or the folder will be called by those who
/// download it; a `single` file's own path in the layout does not matter.
///
/// # Errors
/// [`AuthorError`] when layout, hashes and options are not of the same format, or the torrent would be refused by its readers.
pub fn create(
    layout: &Layout,
    hashed: &Hashed,
    name: &RelPath,
    single: bool,
    options: &Options,
) -> Result<Metainfo, AuthorError> {
    let name = only_component(name)?;
    let mut info = Pairs::new();
    put(&mut info, "name", Item::from(name));
    put(&mut info, "piece length", layout.piece_length().into());
    if options.private {
        put(&mut info, "private", 1.into());
    }
    if let Some(source) = &options.source {
        put(&mut info, "source", source.as_str().into());
    }
    let mut piece_layers = PieceLayers::new();
    if options.format.has_v1() {
        put_v1(&mut info, layout, hashed, single)?;
    }
    if options.format.has_v2() {
        let trees = trees(layout, hashed, options.format)?;
        put(&mut info, "meta version", 2.into());
        put(&mut info, "file tree", tree(layout, trees, name, single)?);
        let layers = trees.iter().flatten().filter_map(|file| Some((file.root, file.layer.clone()?)));
        piece_layers.extend(layers);
    }
    let info = Info::parse(Item::Dict(info).encode().into())?;
    // A file of one piece is its own layer, and is not listed (BEP 52).
    let listed: std::collections::BTreeSet<Hash32> = info.layered().map(|(_, root)| root).collect();
    piece_layers.retain(|root, _| listed.contains(root));
    let torrent = Metainfo {
        trackers: options.trackers.clone(),
        web_seeds: options.web_seeds.clone(),
        nodes: options.nodes.clone(),
        comment: options.comment.clone(),
        created_by: options.created_by.clone(),
        creation_date: options.creation_date,
        piece_layers,
        ..Metainfo::from(info)
    };
    if torrent.info.layered().any(|(_, root)| !torrent.piece_layers.contains_key(&root)) {
        return Err(AuthorError::Hashes("a piece layer is missing"));
    }
    // Proves the layers by their roots.
    torrent.truth()?;
    Ok(torrent)
}

fn put(dict: &mut Pairs, key: &'static str, value: Item) {
    dict.insert(Bytes::from_static(key.as_bytes()), value);
}

fn only_component(name: &RelPath) -> Result<&[u8], AuthorError> {
    let mut components = name.components();
    match (components.next(), components.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(AuthorError::Hashes("its name is a path")),
    }
}

/// `pieces`, and `length` or `files` (BEP 3, 47).
fn put_v1(info: &mut Pairs, layout: &Layout, hashed: &Hashed, single: bool) -> Result<(), AuthorError> {
    let hashes = hashed.v1.as_deref().ok_or(AuthorError::Hashes("v1 hashes are missing"))?;
    if layout.alignment() != Alignment::Stream {
        return Err(AuthorError::Hashes("v1 pieces run through all files"));
    }
    put(info, "pieces", hashes.concat().into());
    match (single, layout.entries()) {
        (true, [file]) => {
            put(info, "length", length(file.length));
            put_attributes(info, file);
        }
        (true, _) => return Err(AuthorError::NotSingle),
        (false, entries) => put(info, "files", Item::List(entries.iter().map(list_entry).collect())),
    }
    Ok(())
}

/// A file, link or pad of the v1 list.
fn list_entry(entry: &Entry) -> Item {
    let mut file = Pairs::new();
    put(&mut file, "length", length(entry.length));
    put(&mut file, "path", path(&entry.path));
    put_attributes(&mut file, entry);
    Item::Dict(file)
}

/// BEP 47, the same in v1 and v2.
fn put_attributes(file: &mut Pairs, entry: &Entry) {
    let attributes = match &entry.kind {
        EntryKind::File { executable: false } => return,
        EntryKind::File { executable: true } => "x",
        EntryKind::Pad => "p",
        EntryKind::Symlink { target } => {
            put(file, "symlink path", path(target));
            "l"
        }
    };
    put(file, "attr", attributes.into());
}

/// The v2 trees by entry, if they belong to the layout.
fn trees<'a>(
    layout: &Layout,
    hashed: &'a Hashed,
    format: Format,
) -> Result<&'a [Option<V2File>], AuthorError> {
    let trees = hashed.v2.as_deref().ok_or(AuthorError::Hashes("v2 trees are missing"))?;
    if trees.len() != layout.entries().len() {
        return Err(AuthorError::Hashes("v2 trees are of another layout"));
    }
    if format == Format::V2 && layout.alignment() != Alignment::PerFile {
        return Err(AuthorError::Hashes("every v2 file begins a piece"));
    }
    Ok(trees)
}

/// `file tree` (BEP 52).
fn tree(layout: &Layout, trees: &[Option<V2File>], name: &[u8], single: bool) -> Result<Item, AuthorError> {
    let mut top = Pairs::new();
    for (entry, tree) in layout.entries().iter().zip(trees) {
        if entry.kind == EntryKind::Pad {
            continue;
        }
        let file = Item::dict([("", tree_entry(entry, tree.as_ref())?)]);
        if single {
            top.insert(Bytes::copy_from_slice(name), file);
        } else {
            hang(&mut top, entry, file)?;
        }
    }
    Ok(Item::Dict(top))
}

/// Puts a file into the tree, with the folders above it.
fn hang(top: &mut Pairs, entry: &Entry, file: Item) -> Result<(), AuthorError> {
    let mut components: Vec<&[u8]> = entry.path.components().collect();
    let leaf = components.pop().ok_or(AuthorError::NoFiles)?;
    let mut folder = top;
    for component in components {
        let below =
            folder.entry(Bytes::copy_from_slice(component)).or_insert_with(|| Item::Dict(Pairs::new()));
        let Item::Dict(below) = below else { return Err(AuthorError::Hashes("a file is a folder")) };
        folder = below;
    }
    folder.insert(Bytes::copy_from_slice(leaf), file);
    Ok(())
}

fn tree_entry(entry: &Entry, tree: Option<&V2File>) -> Result<Item, AuthorError> {
    let mut file = Pairs::new();
    put_attributes(&mut file, entry);
    if matches!(entry.kind, EntryKind::File { .. }) {
        put(&mut file, "length", length(entry.length));
        if entry.length > 0 {
            let tree = tree.ok_or(AuthorError::Hashes("the root of a file is missing"))?;
            put(&mut file, "pieces root", tree.root.into());
        }
    }
    Ok(Item::Dict(file))
}

/// No layout is as long as 2^63 bytes: it would have too many pieces.
fn length(length: u64) -> Item {
    Item::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn path(path: &RelPath) -> Item {
    Item::list(path.components())
}
