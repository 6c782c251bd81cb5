//! The file around `info`: where to find peers, and the piece layers.

use std::fmt;

use peerage_content::{Hash32, LayerError, Truth, merkle_pad, merkle_root};

use super::fields::{Fields, wrong_kind};
use super::{
    ADDRESSES_MAX, Info, METAINFO_LENGTH_MAX, MetainfoError, PIECE_LENGTH_V2_MIN, PieceLayers, Reason,
};
use crate::bencode::{self, Item, Keys, Kind, Value};

/// A `.torrent` file.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// What it is a torrent of.
    pub info: Info,
    /// Tracker URLs by tier, the first tier to be asked first (BEP 12). Not checked further than that they are text.
    pub trackers: Vec<Vec<String>>,
    /// Where the files lie on the web (BEP 19, `url-list`).
    pub web_seeds: Vec<String>,
    /// Seeds of the older kind (BEP 17, `httpseeds`): kept, not used.
    pub http_seeds: Vec<String>,
    /// DHT nodes to begin with (BEP 5).
    pub nodes: Vec<Node>,
    /// What its author says about it.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<i64>,
    /// Hashes of v2 pieces; each was proved by its root. Those that are missing must come from peers.
    pub piece_layers: PieceLayers,
}

/// The keys that are read.
const KEYS: &[&str] = &[
    "announce",
    "announce-list",
    "comment",
    "created by",
    "creation date",
    "httpseeds",
    "info",
    "nodes",
    "piece layers",
    "url-list",
];

/// A DHT node (BEP 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Address or name.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl From<Info> for Metainfo {
    /// A torrent that knows nothing but its files: what was fetched with a magnet link.
    fn from(info: Info) -> Self {
        Self {
            info,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            piece_layers: PieceLayers::new(),
        }
    }
}

impl Metainfo {
    /// Reads a `.torrent` file.
    ///
    /// # Errors
    /// [`MetainfoError`]: what was wrong, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.len() > METAINFO_LENGTH_MAX {
            return Err(MetainfoError::TooLarge(bytes.len()));
        }
        // Bytes behind the dictionary mean nothing: editors and shells leave line breaks there.
        let (torrent, _) = bencode::decode_prefix(bytes, Keys::AnyOrder)?;
        let torrent = Fields::of(torrent, "torrent", KEYS)?;
        let info = torrent.get("info").ok_or_else(|| MetainfoError::new("info", Reason::Missing))?;
        let info = Info::of_value(info)?;
        let piece_layers = piece_layers(&torrent, &info)?;
        Ok(Self {
            info,
            trackers: trackers(&torrent),
            web_seeds: texts(torrent.get("url-list")),
            http_seeds: texts(torrent.get("httpseeds")),
            nodes: nodes(&torrent),
            comment: torrent.text("comment"),
            created_by: torrent.text("created by"),
            creation_date: torrent.get("creation date").and_then(|value| value.as_int()),
            piece_layers,
        })
    }

    /// What proves the bytes true.
    ///
    /// # Errors
    /// [`MetainfoError`] when a layer does not belong to its file; not after [`Metainfo::parse`] or [`Metainfo::take_layers`].
    pub fn truth(&self) -> Result<Truth, MetainfoError> {
        self.info.truth(&self.piece_layers)
    }

    /// Copies the piece layers that a transfer has learnt, so that they are saved too.
    pub fn take_layers(&mut self, truth: &Truth) {
        for (entry, root) in self.info.layered() {
            if let Some(layer) = truth.v2_file(entry).and_then(|file| file.layer) {
                self.piece_layers.insert(root, layer);
            }
        }
    }

    /// The file. The bytes of `info` are the original ones, so its hashes stay.
    pub fn to_bytes(&self) -> Vec<u8> {
        let strings =
            |texts: &[String]| (!texts.is_empty()).then(|| Item::list(texts.iter().map(String::as_str)));
        let tiers: Vec<Item> = self.trackers.iter().filter_map(|tier| strings(tier)).collect();
        let first = self.trackers.iter().flatten().next();
        let several = self.trackers.iter().flatten().nth(1).is_some();
        let node = |node: &Node| Item::list([Item::from(node.host.as_str()), node.port.into()]);
        // A v2 torrent has the key even when no file needs a layer (BEP 52).
        let layers = self.info.hashes.v2.map(|_| {
            let layers = self.piece_layers.iter();
            Item::dict(layers.map(|(root, layer)| (root.to_vec(), Item::from(layer.concat()))))
        });
        let pairs = [
            ("announce", first.map(|url| url.as_str().into())),
            ("announce-list", several.then_some(Item::List(tiers))),
            ("comment", self.comment.as_deref().map(Item::from)),
            ("created by", self.created_by.as_deref().map(Item::from)),
            ("creation date", self.creation_date.map(Item::from)),
            ("httpseeds", strings(&self.http_seeds)),
            ("info", Some(Item::Raw(self.info.raw.clone()))),
            ("nodes", (!self.nodes.is_empty()).then(|| Item::list(self.nodes.iter().map(node)))),
            ("piece layers", layers),
            ("url-list", strings(&self.web_seeds)),
        ];
        Item::dict(pairs.into_iter().filter_map(|(key, value)| Some((key, value?)))).encode()
    }
}

/// The tiers of `announce-list`, or the one tracker of `announce` where there is no list (BEP 12).
fn trackers(torrent: &Fields<'_>) -> Vec<Vec<String>> {
    let mut tiers = Vec::new();
    let mut count = 0;
    for tier in elements(torrent, "announce-list") {
        let urls: Vec<String> = texts(Some(tier)).into_iter().take(ADDRESSES_MAX - count).collect();
        count += urls.len();
        if !urls.is_empty() {
            tiers.push(urls);
        }
        if count == ADDRESSES_MAX {
            break;
        }
    }
    if tiers.is_empty() {
        let announce = texts(torrent.get("announce"));
        tiers.extend((!announce.is_empty()).then_some(announce));
    }
    tiers
}

/// The elements of an advisory list: none when it is absent or something else.
fn elements<'a>(torrent: &Fields<'a>, key: &str) -> impl Iterator<Item = Value<'a>> + use<'a> {
    torrent.get(key).and_then(|value| value.as_list()).into_iter().flatten()
}

/// The texts of a list, or a single text: torrents have both forms.
fn texts(value: Option<Value<'_>>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let single = value.as_str().into_iter();
    let many = value.as_list().into_iter().flatten().filter_map(|value| value.as_str());
    let texts = single.chain(many).map(str::trim).filter(|text| !text.is_empty());
    texts.take(ADDRESSES_MAX).map(str::to_owned).collect()
}

fn nodes(torrent: &Fields<'_>) -> Vec<Node> {
    let node = |value: Value<'_>| {
        let mut pair = value.as_list()?;
        let host = pair.next()?.as_str().filter(|host| !host.is_empty())?.to_owned();
        let port = pair.next()?.as_int().and_then(|port| u16::try_from(port).ok())?;
        Some(Node { host, port })
    };
    elements(torrent, "nodes").filter_map(node).take(ADDRESSES_MAX).collect()
}

/// The layers of the files of `info`, each checked against its root.
fn piece_layers(torrent: &Fields<'_>, info: &Info) -> Result<PieceLayers, MetainfoError> {
    let mut layers = PieceLayers::new();
    let Some(given) = torrent.dict("piece layers")? else { return Ok(layers) };
    let mut given: Vec<(&[u8], Value<'_>)> = given.filter(|(root, _)| root.len() == 32).collect();
    given.sort_unstable_by_key(|(root, _)| *root);
    for (entry, root) in info.layered() {
        let Ok(index) = given.binary_search_by_key(&root.as_slice(), |(root, _)| root) else { continue };
        let Some((_, value)) = given.get(index) else { continue };
        let layer = layer(*value, entry, root, info)?;
        layers.entry(root).or_insert(layer);
    }
    Ok(layers)
}

fn layer(value: Value<'_>, entry: usize, root: Hash32, info: &Info) -> Result<Box<[Hash32]>, MetainfoError> {
    let place = || info.layer_place(entry);
    let bytes = value.as_bytes().ok_or_else(|| wrong_kind(place(), Kind::Bytes, value))?;
    let (layer, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(MetainfoError::new(place(), Reason::CutHashes { found: bytes.len(), hash: 32 }));
    }
    let expected = info.layout.pieces_of(entry).len();
    let refuse = |error| Err(MetainfoError::new(place(), Reason::Layer(error)));
    if layer.len() != expected {
        return refuse(LayerError::Count { found: layer.len(), expected });
    }
    let leaves_per_piece = info.piece_length() / PIECE_LENGTH_V2_MIN;
    if merkle_root(layer, 0, merkle_pad(leaves_per_piece as usize)) != root {
        return refuse(LayerError::Root);
    }
    Ok(layer.into())
}
