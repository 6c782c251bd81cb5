//! Magnet links: the shortest form of a torrent (BEP 9, 52, 53).
//!
//! A link names the content by one or both info hashes, and may say what it is called and where to look: trackers, web seeds, and
//! peers by address (`x.pe`), which alone is enough on a LAN. A bare info hash is read as a link too.
//!
//! Reading is strict about what it uses (a wrong hash is an error that says so) and deaf to the rest: unknown keys,
//! addresses beyond [`ADDRESSES_MAX`] of each kind, peers that are no addresses and files that are no numbers are passed over. Printing gives the form that other programs take.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use data_encoding::{BASE32, HEXLOWER, HEXLOWER_PERMISSIVE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::hash::InfoHashes;
use crate::metainfo::{ADDRESSES_MAX, Metainfo};

/// Bytes in the longest link that is read.
pub const LINK_LENGTH_MAX: usize = 64 << 10;

/// Ranges of files that are read from one link.
const RANGES_MAX: usize = 4096;

/// What begins a SHA-256 multihash: its code and its length.
const MULTIHASH_SHA256: &str = "1220";

/// What stays as it is in a value; all else is percent-encoded, so that no program takes a part of it for another key.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Addresses keep their colons and brackets: not every program decodes them.
const ENCODED_ADDRESS: &AsciiSet = &ENCODED.remove(b':').remove(b'[').remove(b']');

/// A magnet link, or the info hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// What is asked for; at least one of the two.
    pub hashes: InfoHashes,
    /// What it is called, as far as the link knows (`dn`).
    pub name: Option<String>,
    /// Bytes, as far as the link knows (`xl`).
    pub length: Option<u64>,
    /// Tracker URLs (`tr`).
    pub trackers: Vec<String>,
    /// Where the files lie on the web (`ws`).
    pub web_seeds: Vec<String>,
    /// Peers to try at once (`x.pe`).
    pub peers: Vec<PeerAddress>,
    /// The files to download, by number from 0, in the order of the torrent (`so`, BEP 53); empty: all.
    pub select_only: Vec<RangeInclusive<u32>>,
}

/// A peer in a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An address.
    Ip(SocketAddr),
    /// A name to look up, and a port.
    Host(String, u16),
}

/// Why a link was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// More than [`LINK_LENGTH_MAX`].
    #[error("link has {0} bytes, more than the {LINK_LENGTH_MAX} that are read")]
    TooLong(usize),
    /// Something else altogether.
    #[error("neither a magnet link nor an info hash")]
    NotAMagnet,
    /// No hash to ask for.
    #[error("magnet link names no BitTorrent info hash (xt=urn:btih: or xt=urn:btmh:)")]
    NoHash,
    /// A v1 hash of a wrong length or with foreign characters.
    #[error("v1 info hash {0:?} is neither 40 hexadecimal digits nor 32 of base32")]
    V1Hash(String),
    /// A v2 hash of a wrong length or with foreign characters.
    #[error("v2 info hash {0:?} is not a SHA-256 multihash: 1220 and 64 hexadecimal digits")]
    V2Hash(String),
    /// Two different hashes of the same kind: two torrents.
    #[error("magnet link names two different info hashes of the same kind")]
    TwoHashes,
    /// A size that is no number.
    #[error("length {0:?} is not a number")]
    Length(String),
}

impl Magnet {
    /// A link that knows nothing but the hashes.
    pub fn new(hashes: InfoHashes) -> Self {
        Self {
            hashes,
            name: None,
            length: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select_only: Vec::new(),
        }
    }

    /// Whether file number `index` is to be downloaded.
    pub fn selects(&self, index: u32) -> bool {
        self.select_only.is_empty() || self.select_only.iter().any(|range| range.contains(&index))
    }

    fn bare_hash(text: &str) -> Result<Self, MagnetError> {
        let mut hashes = InfoHashes { v1: None, v2: None };
        match text.len() {
            40 | 32 => hashes.v1 = Some(v1_hash(text)?),
            64 => hashes.v2 = Some(hex(text).ok_or_else(|| MagnetError::V2Hash(text.to_owned()))?),
            68 => hashes.v2 = Some(v2_hash(text)?),
            _ => return Err(MagnetError::NotAMagnet),
        }
        Ok(Self::new(hashes))
    }

    /// Takes in `xt`. Names of other networks are passed over.
    fn exact_topic(&mut self, topic: &str) -> Result<(), MagnetError> {
        if let Some(hash) = strip_prefix_ignoring_case(topic, "urn:btih:") {
            set_once(&mut self.hashes.v1, v1_hash(hash)?)?;
        } else if let Some(hash) = strip_prefix_ignoring_case(topic, "urn:btmh:") {
            set_once(&mut self.hashes.v2, v2_hash(hash)?)?;
        }
        Ok(())
    }
}

impl From<&Metainfo> for Magnet {
    /// The link to a torrent, with its trackers and web seeds.
    fn from(torrent: &Metainfo) -> Self {
        Self {
            name: Some(torrent.info.display_name().into_owned()),
            trackers: torrent.trackers.concat(),
            web_seeds: torrent.web_seeds.clone(),
            ..Self::new(torrent.info.hashes)
        }
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if text.len() > LINK_LENGTH_MAX {
            return Err(MagnetError::TooLong(text.len()));
        }
        let Some(query) = strip_prefix_ignoring_case(text, "magnet:") else {
            return Self::bare_hash(text);
        };
        let query = query.strip_prefix('?').unwrap_or(query);
        let mut magnet = Self::new(InfoHashes { v1: None, v2: None });
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = key.to_ascii_lowercase();
            // A plus is a space in names, which web forms made, and itself in URLs.
            let value = if key == "dn" { decoded(&value.replace('+', " ")) } else { decoded(value) };
            // Some programs number repeated keys: `tr.1`, `xt.2` (but `x.pe` is a key of its own).
            let key = match key.rsplit_once('.') {
                Some((key, number)) if number.parse::<u32>().is_ok() => key,
                _ => key.as_str(),
            };
            match key {
                "xt" => magnet.exact_topic(&value)?,
                "dn" if !value.is_empty() => magnet.name = Some(value),
                "xl" => magnet.length = Some(value.parse().map_err(|_| MagnetError::Length(value))?),
                "tr" => push(&mut magnet.trackers, Some(value).filter(|url| !url.is_empty())),
                "ws" => push(&mut magnet.web_seeds, Some(value).filter(|url| !url.is_empty())),
                "x.pe" => push(&mut magnet.peers, value.parse().ok()),
                "so" => select_only(&value, &mut magnet.select_only),
                _ => {}
            }
        }
        if magnet.hashes.v1.is_none() && magnet.hashes.v2.is_none() {
            return Err(MagnetError::NoHash);
        }
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "magnet:?";
        let mut put = |key: &str, value: fmt::Arguments<'_>| {
            write!(f, "{separator}{key}={value}")?;
            separator = "&";
            Ok(())
        };
        let encoded = |text| utf8_percent_encode(text, ENCODED);
        if let Some(v1) = self.hashes.v1 {
            put("xt", format_args!("urn:btih:{}", HEXLOWER.encode(&v1)))?;
        }
        if let Some(v2) = self.hashes.v2 {
            put("xt", format_args!("urn:btmh:{MULTIHASH_SHA256}{}", HEXLOWER.encode(&v2)))?;
        }
        if let Some(name) = &self.name {
            put("dn", format_args!("{}", encoded(name)))?;
        }
        if let Some(length) = self.length {
            put("xl", format_args!("{length}"))?;
        }
        for url in &self.trackers {
            put("tr", format_args!("{}", encoded(url)))?;
        }
        for url in &self.web_seeds {
            put("ws", format_args!("{}", encoded(url)))?;
        }
        for peer in &self.peers {
            put("x.pe", format_args!("{}", utf8_percent_encode(&peer.to_string(), ENCODED_ADDRESS)))?;
        }
        if !self.select_only.is_empty() {
            let ranges: Vec<String> = self.select_only.iter().map(range_text).collect();
            put("so", format_args!("{}", ranges.join(",")))?;
        }
        Ok(())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Text that is neither an address nor a host name, each with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address with a port, such as 192.0.2.7:6881, [2001:db8::7]:6881 or host:6881")]
pub struct PeerAddressError;

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(PeerAddressError) } else { Ok(Self::Ip(address)) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(PeerAddressError)?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(PeerAddressError)?;
        // Written without brackets by some: eight groups can be nothing else.
        if let Ok(address) = host.parse::<Ipv6Addr>() {
            return Ok(Self::Ip((address, port).into()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = (1..=253).contains(&host.len()) && host.bytes().all(plain);
        // A number in the last label is an address that was refused above (RFC 3986 3.2.2, RFC 1123 2.1).
        let looks_like_ip = host.rsplit('.').next().is_some_and(|label| label.parse::<u64>().is_ok());
        if !is_name || looks_like_ip {
            return Err(PeerAddressError);
        }
        Ok(Self::Host(host.to_owned(), port))
    }
}

fn push<T>(list: &mut Vec<T>, value: Option<T>)
where
    T: PartialEq,
{
    let new = value.filter(|value| list.len() < ADDRESSES_MAX && !list.contains(value));
    list.extend(new);
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn set_once<T: PartialEq>(slot: &mut Option<T>, value: T) -> Result<(), MagnetError> {
    match slot {
        Some(found) if *found != value => Err(MagnetError::TwoHashes),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn v1_hash(text: &str) -> Result<[u8; 20], MagnetError> {
    let hash = match text.len() {
        32 => {
            BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok().and_then(|bytes| bytes.try_into().ok())
        }
        _ => hex(text),
    };
    hash.ok_or_else(|| MagnetError::V1Hash(shown(text)))
}

fn v2_hash(text: &str) -> Result<[u8; 32], MagnetError> {
    let digest = strip_prefix_ignoring_case(text, MULTIHASH_SHA256).and_then(hex);
    digest.ok_or_else(|| MagnetError::V2Hash(shown(text)))
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Foreign text, cut to what an error message can hold.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Adds the ranges of `so` (BEP 53). What is no number or range in it is passed over.
fn select_only(text: &str, ranges: &mut Vec<RangeInclusive<u32>>) {
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>())
            && first <= last
            && ranges.len() < RANGES_MAX
        {
            ranges.push(first..=last);
        }
    }
}

fn range_text(range: &RangeInclusive<u32>) -> String {
    let (first, last) = (range.start(), range.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";
    const BASE: &str = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";
    const HEX_V2: &str = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";

    fn parse(text: &str) -> Magnet {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> MagnetError {
        text.parse::<Magnet>().unwrap_err()
    }

    #[test]
    fn a_link_with_everything() {
        let link = format!(
            "magnet:?xt=urn:btih:{HEX}&xt=urn:btmh:1220{HEX_V2}&dn=a%20b+%26c%2B&xl=77&tr=http%3A%2F%2Ft%2Fannounce%3Fx%3D1\
             &tr.1=udp://u:80&ws=http%3A%2F%2Fw%2Fa+b&x.pe=192.0.2.7:6881&x.pe=[2001:db8::7]:6882&x.pe=host.example:6883\
             &so=0,2,4-7&kt=ignored&foo&=&&"
        );
        let magnet = parse(&link);
        assert_eq!(HEXLOWER.encode(&magnet.hashes.v1.unwrap()), HEX);
        assert_eq!(HEXLOWER.encode(&magnet.hashes.v2.unwrap()), HEX_V2);
        assert_eq!((magnet.name.as_deref(), magnet.length), (Some("a b &c+"), Some(77)));
        assert_eq!(magnet.trackers, ["http://t/announce?x=1", "udp://u:80"]);
        assert_eq!(magnet.web_seeds, ["http://w/a+b"]);
        let peers = magnet.peers.iter().map(PeerAddress::to_string).collect::<Vec<_>>();
        assert_eq!(peers, ["192.0.2.7:6881", "[2001:db8::7]:6882", "host.example:6883"]);
        assert_eq!(magnet.select_only, [0..=0, 2..=2, 4..=7]);
        assert_eq!((0..9).filter(|&file| magnet.selects(file)).collect::<Vec<_>>(), [0, 2, 4, 5, 6, 7]);
        assert_eq!(parse(&magnet.to_string()), magnet);
    }

    #[test]
    fn what_is_printed_is_what_others_take() {
        let mut magnet = parse(HEX);
        assert_eq!(magnet.to_string(), format!("magnet:?xt=urn:btih:{HEX}"));
        magnet.name = Some("é &=#".into());
        magnet.trackers.push("http://t/a?b".into());
        magnet.peers.push("[::1]:5".parse().unwrap());
        let rest = "&dn=%C3%A9%20%26%3D%23&tr=http%3A%2F%2Ft%2Fa%3Fb&x.pe=[::1]:5";
        assert_eq!(magnet.to_string(), format!("magnet:?xt=urn:btih:{HEX}{rest}"));
        assert!(magnet.selects(9));
    }

    #[test]
    fn hashes_in_all_spellings() {
        let v1 = parse(HEX).hashes;
        for spelling in [HEX.to_uppercase(), BASE.into(), BASE.to_lowercase(), format!(" {HEX}\n")] {
            assert_eq!(parse(&spelling).hashes, v1, "{spelling}");
        }
        assert_eq!(parse(&format!("MAGNET:?XT=URN:BTIH:{BASE}")).hashes, v1);
        assert_eq!(parse(&format!("magnet:?xt.1=urn:btih:{HEX}&xt.2=urn:sha1:OTHER")).hashes, v1);
        assert_eq!(parse(&format!("magnet:?xt=urn%3Abtih%3A{HEX}")).hashes, v1);
        let v2 = parse(HEX_V2).hashes;
        assert!(v2.v1.is_none() && v2.v2.is_some());
        assert_eq!(parse(&format!("1220{HEX_V2}")).hashes, v2);
        assert_eq!(parse(&format!("magnet:?xt=urn:btmh:1220{}", HEX_V2.to_uppercase())).hashes, v2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for text in ["", "x", "http://example/", "magnet", &HEX[1..]] {
            assert_eq!(refusal(text), MagnetError::NotAMagnet, "{text}");
        }
        for text in ["magnet:", "magnet:?", "magnet:?dn=x", "magnet:?xt=urn:sha1:x"] {
            assert_eq!(refusal(text), MagnetError::NoHash, "{text}");
        }
        assert_eq!(refusal("magnet:?xt=urn:btih:12"), MagnetError::V1Hash("12".into()));
        let foreign = HEX.replace('a', "x");
        assert_eq!(refusal(&foreign), MagnetError::V1Hash(foreign.clone()));
        assert_eq!(refusal(&"1".repeat(32)), MagnetError::V1Hash("1".repeat(32)));
        let sha1 = format!("1114{HEX}");
        assert_eq!(refusal(&format!("magnet:?xt=urn:btmh:{sha1}")), MagnetError::V2Hash(sha1));
        let other = HEX.replace('0', "1");
        let two = format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{other}");
        assert_eq!(refusal(&two), MagnetError::TwoHashes);
        // The same twice, in two spellings, is no contradiction.
        parse(&format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{BASE}"));
        assert_eq!(refusal(&format!("magnet:?xt=urn:btih:{HEX}&xl=-1")), MagnetError::Length("-1".into()));
        let long = "m".repeat(LINK_LENGTH_MAX + 1);
        assert_eq!(refusal(&long), MagnetError::TooLong(long.len()));
    }

    /// As libtorrent 2.0.8 reads them; one bad word does not spoil the link.
    #[test]
    fn what_is_no_file_in_a_selection_is_passed_over() {
        for (so, expected) in [
            ("x", vec![]),
            ("", vec![]),
            ("5-", vec![]),
            ("4294967296", vec![]),
            ("-1,3", vec![3..=3]),
            ("2-1,1", vec![1..=1]),
            ("1,,2", vec![1..=1, 2..=2]),
            ("x,2-4", vec![2..=4]),
        ] {
            assert_eq!(parse(&format!("magnet:?xt=urn:btih:{HEX}&so={so}")).select_only, expected, "{so}");
        }
    }

    #[test]
    fn addresses_are_bounded_and_single() {
        let many: String =
            (0..1000).map(|index| format!("&tr=http://{index}/&tr=http://0/&x.pe=h:{}", index + 1)).collect();
        let magnet = parse(&format!("magnet:?xt=urn:btih:{HEX}{many}"));
        assert_eq!((magnet.trackers.len(), magnet.peers.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        let odd = parse(&format!("magnet:?xt=urn:btih:{HEX}&tr=&ws=&dn=&x.pe=nonsense"));
        assert_eq!(odd, Magnet::new(odd.hashes));
    }

    #[test]
    fn peer_addresses() {
        let shown = |text: &str| text.parse::<PeerAddress>().map(|peer| peer.to_string());
        assert_eq!(shown("2001:db8:0:0:0:0:0:1:80").as_deref(), Ok("[2001:db8::1]:80"));
        assert_eq!(shown("a-b.example:1").as_deref(), Ok("a-b.example:1"));
        for text in
            ["", ":1", "h", "h:", "h:0", "h:65536", "1.2.3.4:0", "1.2.3.400:1", "a b:1", "a/b:1", "[::1:1"]
        {
            assert_eq!(shown(text), Err(PeerAddressError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(
            v1: Option<[u8; 20]>,
            v2: [u8; 32],
            name in proptest::option::of("\\PC{1,12}"),
            trackers in proptest::collection::btree_set("\\PC{1,12}", 0..3),
            ranges in proptest::collection::vec((0..9_u32, 0..9_u32), 0..3),
            peer: SocketAddr,
        ) {
            let mut magnet = Magnet::new(InfoHashes { v1, v2: Some(v2) });
            magnet.name = name;
            magnet.trackers = trackers.into_iter().collect();
            magnet.select_only = ranges.into_iter().map(|(first, more)| first..=first + more).collect();
            magnet.peers = peer.to_string().parse().into_iter().collect();
            prop_assert_eq!(parse(&magnet.to_string()), magnet);
        }

        #[test]
        fn foreign_text_never_panics(text in "(magnet:\\?)?(xt=urn:bt[im]h:)?\\PC{0,40}") {
            let _ = text.parse::<Magnet>();
        }
    }
}
