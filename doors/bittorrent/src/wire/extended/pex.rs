//! Peer exchange on the wire (BEP 11).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ExtendedError, dictionary};
use crate::bencode::Item;

/// Addresses read of each list of one message. The specification allows 50; libtorrent sends 100.
pub const PEX_PEERS_MAX: usize = 200;

/// What the sender knows about a peer: bits of one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encrypted connections.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It will download nothing.
    pub const UPLOAD_ONLY: Self = Self(0x02);
    /// It speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// It can be reached by hole punching.
    pub const HOLEPUNCH: Self = Self(0x08);
    /// The sender dialled it, so it can be dialled.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether all bits of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for PexFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A peer that the sender is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PexPeer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is known about it.
    pub flags: PexFlags,
}

/// A `ut_pex` message. As received: as many as there came, any address and any port, nothing checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PexMessage {
    /// Peers the sender got connected to; at most [`PEX_PEERS_MAX`] of each address family.
    pub added: Vec<PexPeer>,
    /// Peers the sender lost; at most [`PEX_PEERS_MAX`] of each address family.
    pub dropped: Vec<SocketAddr>,
    /// Addresses that were there and not read, because there were too many.
    pub ignored: usize,
}

impl PexMessage {
    /// Reads a payload.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ExtendedError> {
        let (dict, _) = dictionary("ut_pex", payload)?;
        let mut lists = Lists::default();
        // One walk: a peer could make every look-up of a key cost a megabyte.
        for (key, value) in dict {
            let Some(bytes) = value.as_bytes() else { continue };
            match key {
                b"added" => lists.added = bytes,
                b"added.f" => lists.added_flags = bytes,
                b"added6" => lists.added6 = bytes,
                b"added6.f" => lists.added6_flags = bytes,
                b"dropped" => lists.dropped = bytes,
                b"dropped6" => lists.dropped6 = bytes,
                _ => {}
            }
        }
        Ok(lists.read())
    }

    /// The bencoded dictionary. Empty lists are left out.
    pub(super) fn payload(&self) -> Vec<u8> {
        let (mut added, mut added_flags) = (Vec::new(), Vec::new());
        let (mut added6, mut added6_flags) = (Vec::new(), Vec::new());
        let (mut dropped, mut dropped6) = (Vec::new(), Vec::new());
        for peer in &self.added {
            if write(peer.address, &mut added, &mut added6) {
                added_flags.push(peer.flags.0);
            } else {
                added6_flags.push(peer.flags.0);
            }
        }
        for &address in &self.dropped {
            write(address, &mut dropped, &mut dropped6);
        }
        let pairs = [
            ("added", added),
            ("added.f", added_flags),
            ("added6", added6),
            ("added6.f", added6_flags),
            ("dropped", dropped),
            ("dropped6", dropped6),
        ];
        let filled = pairs.into_iter().filter(|(_, list)| !list.is_empty());
        Item::dict(filled.map(|(key, list)| (key, Item::from(list)))).encode()
    }
}

/// The byte strings of a message.
#[derive(Default)]
struct Lists<'a> {
    added: &'a [u8],
    added_flags: &'a [u8],
    added6: &'a [u8],
    added6_flags: &'a [u8],
    dropped: &'a [u8],
    dropped6: &'a [u8],
}

impl Lists<'_> {
    fn read(&self) -> PexMessage {
        let flagged = |(at, address): (usize, SocketAddr), flags: &[u8]| PexPeer {
            address,
            flags: PexFlags(flags.get(at).copied().unwrap_or_default()),
        };
        let added = v4(self.added).enumerate().map(|peer| flagged(peer, self.added_flags));
        let added6 = v6(self.added6).enumerate().map(|peer| flagged(peer, self.added6_flags));
        let there4 = self.added.len() / 6 + self.dropped.len() / 6;
        let there6 = self.added6.len() / 18 + self.dropped6.len() / 18;
        let added: Vec<_> = added.chain(added6).collect();
        let dropped: Vec<_> = v4(self.dropped).chain(v6(self.dropped6)).collect();
        let ignored = (there4 + there6).saturating_sub(added.len() + dropped.len());
        PexMessage { added, dropped, ignored }
    }
}

fn v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    let peers = bytes.as_chunks::<6>().0.iter().take(PEX_PEERS_MAX);
    peers.map(|&[a, b, c, d, high, low]| {
        SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
    })
}

fn v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    let peers = bytes.as_chunks::<18>().0.iter().take(PEX_PEERS_MAX);
    peers.map(|peer| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&peer[..16]);
        SocketAddr::from((Ipv6Addr::from(octets), u16::from_be_bytes([peer[16], peer[17]])))
    })
}

/// Appends an address to the list of its family; whether that was the first.
fn write(address: SocketAddr, list4: &mut Vec<u8>, list6: &mut Vec<u8>) -> bool {
    let port = address.port().to_be_bytes();
    match address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => {
            list4.extend_from_slice(&ip.octets());
            list4.extend_from_slice(&port);
            true
        }
        std::net::IpAddr::V6(ip) => {
            list6.extend_from_slice(&ip.octets());
            list6.extend_from_slice(&port);
            false
        }
    }
}
