//! The extended handshake (BEP 10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ExtendedError, Extension, ExtensionIds, dictionary};
use crate::bencode::{Dict, Item};

/// Characters kept of a peer's name for itself.
pub const CLIENT_NAME_MAX: usize = 64;

/// What one side understands and who it is. Every part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// How the sender numbers the messages it understands (`m`).
    pub ids: ExtensionIds,
    /// Name and version of the sender (`v`); as received, at most [`CLIENT_NAME_MAX`] characters and no control characters.
    pub client: Option<String>,
    /// TCP port the sender listens on (`p`).
    pub port: Option<u16>,
    /// Requests the sender is willing to queue (`reqq`).
    pub requests_max: Option<u32>,
    /// The receiver's address as the sender sees it (`yourip`).
    pub your_ip: Option<IpAddr>,
    /// An IPv4 address of the sender (`ipv4`).
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of the sender (`ipv6`).
    pub ipv6: Option<Ipv6Addr>,
    /// Bytes of the metadata, if the sender has it (`metadata_size`, BEP 9). Only a claim.
    pub metadata_size: Option<u32>,
    /// Whether the sender will download nothing (`upload_only`, BEP 21).
    pub upload_only: Option<bool>,
    /// The sender answers hash requests (BEP 52) whichever name of the torrent it was greeted with (`pg_hashes`, our own). Others hang up
    /// on them in v1's name.
    pub hashes: bool,
}

impl ExtendedHandshake {
    /// Reads a payload.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ExtendedError> {
        let (dict, _) = dictionary("extended handshake", payload)?;
        let mut handshake = Self::default();
        // One walk: a peer could make every look-up of a key cost a megabyte.
        for (key, value) in dict {
            match key {
                b"m" => handshake.ids = value.as_dict().map(ids).unwrap_or_default(),
                b"v" => handshake.client = value.as_bytes().map(printable),
                b"p" => {
                    handshake.port =
                        value.as_uint().and_then(|port| port.try_into().ok()).filter(|&port| port != 0)
                }
                b"reqq" => {
                    handshake.requests_max =
                        value.as_uint().map(|count| count.try_into().unwrap_or(u32::MAX));
                }
                b"yourip" => handshake.your_ip = value.as_bytes().and_then(address),
                b"ipv4" => {
                    handshake.ipv4 =
                        value.as_bytes().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(Into::into);
                }
                b"ipv6" => {
                    handshake.ipv6 =
                        value.as_bytes().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(Into::into);
                }
                b"metadata_size" => {
                    handshake.metadata_size =
                        value.as_uint().and_then(|size| size.try_into().ok()).filter(|&size| size != 0);
                }
                b"pg_hashes" => handshake.hashes = value.as_int() == Some(1),
                b"upload_only" => handshake.upload_only = value.as_int().map(|value| value != 0),
                _ => {}
            }
        }
        Ok(handshake)
    }

    /// The bencoded dictionary.
    pub(super) fn payload(&self) -> Vec<u8> {
        let ids = Item::dict(self.ids.named().map(|(extension, id)| (extension.name(), Item::from(id))));
        let your_ip = self.your_ip.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => Item::from(address.octets()),
            IpAddr::V6(address) => Item::from(address.octets()),
        });
        let pairs = [
            ("m", Some(ids)),
            ("v", self.client.as_deref().map(Item::from)),
            ("p", self.port.map(Item::from)),
            ("reqq", self.requests_max.map(Item::from)),
            ("yourip", your_ip),
            ("ipv4", self.ipv4.map(|address| Item::from(address.octets()))),
            ("ipv6", self.ipv6.map(|address| Item::from(address.octets()))),
            ("metadata_size", self.metadata_size.map(Item::from)),
            ("upload_only", self.upload_only.map(Item::from)),
            ("pg_hashes", self.hashes.then(|| Item::from(1))),
        ];
        Item::dict(pairs.into_iter().filter_map(|(key, value)| Some((key, value?)))).encode()
    }
}

fn ids(dict: Dict<'_>) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for (key, value) in dict {
        let known = Extension::ALL.into_iter().find(|extension| extension.name().as_bytes() == key);
        let number = value.as_uint().and_then(|id| u8::try_from(id).ok());
        if let (Some(extension), Some(id)) = (known, number) {
            ids.set(extension, id);
        }
    }
    ids
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_canonical())
}

/// A name that can be shown and kept: bounded, and unable to command a terminal.
fn printable(bytes: &[u8]) -> String {
    // A character takes at most 4 bytes; what lies beyond can never be among the first characters.
    let start = bytes.get(..CLIENT_NAME_MAX * 4).unwrap_or(bytes);
    String::from_utf8_lossy(start).chars().filter(|c| !c.is_control()).take(CLIENT_NAME_MAX).collect()
}
