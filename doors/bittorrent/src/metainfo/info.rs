//! The `info` dictionary: what the info hash is a hash of.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::{
    Alignment, Entry, EntryKind, Hash20, Hash32, Layout, LayoutError, RelPath, Truth, V2File,
};
use unicode_normalization::UnicodeNormalization;

use super::fields::{Fields, required};
use super::{
    METAINFO_LENGTH_MAX, MetainfoError, PIECE_LENGTH_V2_MIN, PIECES_MAX, Reason, hybrid, names, v1, v2,
};
use crate::bencode::{self, Keys, Value};
use crate::hash::InfoHashes;

/// The hashes of a file's pieces by the root of its tree: equal files share them (BEP 52).
pub type PieceLayers = BTreeMap<Hash32, Box<[Hash32]>>;

/// A torrent without its addresses: what it is called, which files it has, and most of what proves them true.
#[derive(Clone, Debug)]
pub struct Info {
    /// Hashes of [`Info::raw`]: v1 if it has v1 pieces, v2 if it has a v2 tree.
    pub hashes: InfoHashes,
    /// The single file's name, or that of the folder of many.
    pub name: RelPath,
    /// Whether it is one file, not a folder.
    pub single: bool,
    /// Whether peers may come from trackers only (BEP 27).
    pub private: bool,
    /// The site it was made for; makes for another info hash.
    pub source: Option<String>,
    /// Its files. The path of a single file is its name; all others lie below a folder called [`Info::name`].
    pub layout: Arc<Layout>,
    /// The original bytes, as peers ask for them (BEP 9).
    pub raw: Bytes,
    /// Where the v1 hashes lie in `raw`.
    v1: Option<Range<usize>>,
    /// v2 roots by entry.
    v2: Option<Box<[Option<Hash32>]>>,
}

impl Info {
    /// Reads a dictionary alone, as it is fetched from peers (BEP 9). Whether it is the one that was asked for shows in
    /// [`Info::hashes`]: [`InfoHashes::agrees_with`].
    ///
    /// # Errors
    /// [`MetainfoError`]: what was wrong, and where.
    pub fn parse(raw: Bytes) -> Result<Self, MetainfoError> {
        if raw.len() > METAINFO_LENGTH_MAX {
            return Err(MetainfoError::TooLarge(raw.len()));
        }
        let parts = Parts::read(bencode::decode(&raw, Keys::AnyOrder)?)?;
        Ok(parts.into_info(raw))
    }

    /// Reads the dictionary inside a torrent, which was decoded already.
    pub(super) fn of_value(value: Value<'_>) -> Result<Self, MetainfoError> {
        Ok(Parts::read(value)?.into_info(Bytes::copy_from_slice(value.raw())))
    }

    /// Bytes of a full piece.
    pub fn piece_length(&self) -> u32 {
        self.layout.piece_length()
    }

    /// The folder that all files lie below; `None` for a single file.
    pub fn root(&self) -> Option<RelPath> {
        (!self.single).then(|| self.name.clone())
    }

    /// The name as text: foreign bytes replaced, control characters still in it.
    pub fn display_name(&self) -> Cow<'_, str> {
        self.name.as_path().to_string_lossy()
    }

    /// SHA-1 of every piece; `None` for a v2-only torrent.
    pub fn v1_hashes(&self) -> Option<Box<[Hash20]>> {
        let pieces = self.raw.get(self.v1.clone()?)?;
        Some(pieces.as_chunks().0.into())
    }

    /// The root of an entry's v2 tree; `None` for entries without bytes, pads, and v1-only torrents.
    pub fn v2_root(&self, entry: usize) -> Option<Hash32> {
        *self.v2.as_ref()?.get(entry)?
    }

    /// What proves the bytes true, with those piece layers that are there already.
    ///
    /// # Errors
    /// [`MetainfoError`] when a layer does not belong to its file.
    pub fn truth(&self, layers: &PieceLayers) -> Result<Truth, MetainfoError> {
        let v2 = self.v2.as_ref().map(|roots| {
            let files = roots.iter().zip(self.layout.entries());
            let file = |(root, entry): (&Option<Hash32>, &Entry)| {
                let root = (*root)?;
                let layer = layers.get(&root).filter(|_| self.needs_layer(entry)).cloned();
                Some(V2File { root, layer })
            };
            files.map(file).collect()
        });
        Truth::new(&self.layout, self.v1_hashes(), v2)
            .map_err(|(entry, error)| MetainfoError::new(self.layer_place(entry), Reason::Layer(error)))
    }

    /// The entries that have a piece layer, with their roots.
    pub fn layered(&self) -> impl Iterator<Item = (usize, Hash32)> + '_ {
        let roots = self.v2.iter().flat_map(|roots| roots.iter()).zip(self.layout.entries()).enumerate();
        roots
            .filter(|(_, (_, entry))| self.needs_layer(entry))
            .filter_map(|(index, (root, _))| Some((index, (*root)?)))
    }

    /// Two entries that are one file where the file system ignores case or how accents are composed (macOS, Windows, some
    /// Linux mounts); such a torrent cannot be completed there.
    pub fn case_collision(&self) -> Option<(usize, usize)> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let entries = self.layout.entries().iter().enumerate();
        entries.filter(|(_, entry)| entry.kind != EntryKind::Pad).find_map(|(index, entry)| {
            let path = entry.path.as_path().to_string_lossy();
            let folded = path.nfc().flat_map(char::to_lowercase).nfc().collect();
            seen.insert(folded, index).map(|first| (first, index))
        })
    }

    /// The number of every file and link in a link's selection of files (BEP 53): of a v1 torrent its place in the list, pads counted. A
    /// torrent with a v2 tree is numbered as libtorrent 2.0.8 does it: as if a pad lay behind every file that does not end
    /// with a piece, wherever the pads of a hybrid's list are.
    pub fn selection_numbers(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let piece_length = u64::from(self.piece_length());
        let mut next = 0;
        self.layout.entries().iter().enumerate().filter_map(move |(index, entry)| {
            let number = next;
            let is_pad = entry.kind == EntryKind::Pad;
            next += match (&self.v2, is_pad) {
                (None, _) => 1,
                (Some(_), true) => 0,
                (Some(_), false) => 1 + u32::from(entry.length % piece_length != 0),
            };
            (!is_pad).then_some((index, number))
        })
    }

    /// What an entry's piece layer is called in errors.
    pub(super) fn layer_place(&self, entry: usize) -> String {
        let path = self.layout.entries().get(entry).map(|entry| entry.path.as_path().display().to_string());
        format!("piece layers of {:?}", path.unwrap_or_default())
    }

    /// A file that fits in one piece is verified by its root (BEP 52).
    fn needs_layer(&self, entry: &Entry) -> bool {
        entry.length > u64::from(self.piece_length())
    }
}

/// The keys that are read.
const KEYS: &[&str] = &[
    "attr",
    "file tree",
    "files",
    "length",
    "meta version",
    "name",
    "name.utf-8",
    "piece length",
    "pieces",
    "private",
    "source",
    "symlink path",
];

/// What was read, before the bytes it was read from can be moved.
struct Parts {
    name: RelPath,
    single: bool,
    private: bool,
    source: Option<String>,
    layout: Layout,
    v1: Option<Range<usize>>,
    v2: Option<Box<[Option<Hash32>]>>,
}

impl Parts {
    fn read(value: Value<'_>) -> Result<Self, MetainfoError> {
        let info = Fields::of(value, "info", KEYS)?;
        Self::of(&info, value.span().start).map_err(|error| error.inside("info"))
    }

    /// Reads `info`, which begins at `start` of the input.
    fn of(info: &Fields<'_>, start: usize) -> Result<Self, MetainfoError> {
        let name = name(info)?;
        let piece_length = required(info.size("piece length")?, "piece length")?;
        let pieces = pieces(info, start)?;
        let tree = tree(info, piece_length)?;
        let length = u32::try_from(piece_length)
            .map_err(|_| MetainfoError::new("piece length", LayoutError::PieceLength(piece_length)))?;
        let (entries, single, v2, alignment) = match (&pieces, tree) {
            (None, None) => return Err(MetainfoError::new("", Reason::NoHashes)),
            (Some(_), None) => {
                let (entries, single) = v1::entries(info, &name)?;
                (entries, single, None, Alignment::Stream)
            }
            (Some(_), Some(tree)) => {
                let (entries, single) = v1::entries(info, &name)?;
                let roots = hybrid::reconcile(&entries, tree, length)?;
                (entries, single, Some(roots.into()), Alignment::Stream)
            }
            (None, Some(tree)) => {
                let single = v2::is_single(&tree, &name);
                let (entries, roots): (Vec<Entry>, Vec<_>) = tree.into_iter().unzip();
                let place = |index: usize| match entries.get(index) {
                    Some(entry) => format!("file tree {:?}", entry.path.as_path()),
                    None => "file tree".to_owned(),
                };
                names::refuse_collisions(&entries, place)?;
                (entries, single, Some(roots.into()), Alignment::PerFile)
            }
        };
        let layout = Layout::new(entries, length, alignment)
            .map_err(|error| MetainfoError::new("piece length", error))?;
        let count = layout.piece_count();
        if count > PIECES_MAX {
            return Err(MetainfoError::new("piece length", Reason::TooManyPieces(count)));
        }
        if let Some(pieces) = &pieces {
            let found = pieces.len() / 20;
            if u32::try_from(found) != Ok(count) {
                return Err(MetainfoError::new("pieces", Reason::PieceCount { found, expected: count }));
            }
        }
        // Any number but 0, as libtorrent reads it: an odd one is meant as a flag, too.
        let private =
            info.get("private").and_then(|value| value.as_int()).is_some_and(|private| private != 0);
        Ok(Self { name, single, private, source: info.text("source"), layout, v1: pieces, v2 })
    }

    fn into_info(self, raw: Bytes) -> Info {
        Info {
            hashes: InfoHashes::of(&raw, self.v1.is_some(), self.v2.is_some()),
            name: self.name,
            single: self.single,
            private: self.private,
            source: self.source,
            layout: Arc::new(self.layout),
            raw,
            v1: self.v1,
            v2: self.v2,
        }
    }
}

fn name(info: &Fields<'_>) -> Result<RelPath, MetainfoError> {
    let key = if info.get("name.utf-8").is_some() { "name.utf-8" } else { "name" };
    let bytes = required(info.bytes(key)?, key)?;
    names::name(bytes).map_err(|reason| MetainfoError::new(key, reason))
}

/// Where the v1 hashes lie in `info`.
fn pieces(info: &Fields<'_>, start: usize) -> Result<Option<Range<usize>>, MetainfoError> {
    let Some(hashes) = info.bytes("pieces")? else { return Ok(None) };
    if hashes.len() % 20 != 0 {
        let reason = Reason::CutHashes { found: hashes.len(), hash: 20 };
        return Err(MetainfoError::new("pieces", reason));
    }
    // The bytes of a string are the last of its span, behind its length.
    let end = info.get("pieces").map_or(start, |value| value.span().end).saturating_sub(start);
    Ok(Some(end.saturating_sub(hashes.len())..end))
}

/// The files of the v2 tree, if there is one.
fn tree(info: &Fields<'_>, piece_length: u64) -> Result<Option<Vec<v2::TreeEntry>>, MetainfoError> {
    let version = info.int("meta version")?;
    let tree = info.dict("file tree")?;
    match version {
        None if tree.is_none() => return Ok(None),
        None => return Err(MetainfoError::new("meta version", Reason::Missing)),
        Some(2) => {}
        Some(other) => return Err(MetainfoError::new("meta version", Reason::MetaVersion(other))),
    }
    let tree = required(tree, "file tree")?;
    if !piece_length.is_power_of_two() || piece_length < PIECE_LENGTH_V2_MIN.into() {
        return Err(MetainfoError::new("piece length", Reason::PieceLengthV2(piece_length)));
    }
    v2::entries(tree).map(Some)
}
