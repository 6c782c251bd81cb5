//! Info hashes: the names that BitTorrent gives content.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The names of a torrent: SHA-1 of its `info` bytes (BEP 3), SHA-256 of them (BEP 52), or both (hybrid).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHashes {
    /// v1; `None` for a v2-only torrent.
    pub v1: Option<[u8; 20]>,
    /// v2; `None` for a v1-only torrent.
    pub v2: Option<[u8; 32]>,
}

/// The 20 bytes by which peers, trackers and the DHT know a swarm: the v1 hash, or the v2 hash cut short (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SwarmHash(pub [u8; 20]);

impl fmt::Debug for SwarmHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SwarmHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl InfoHashes {
    /// The hashes of an `info` dictionary's original bytes, of the kinds that it has.
    pub fn of(info: &[u8], v1: bool, v2: bool) -> Self {
        Self { v1: v1.then(|| Sha1::digest(info).into()), v2: v2.then(|| Sha256::digest(info).into()) }
    }

    /// The swarms of this torrent: one, or two for a hybrid, v1 first.
    pub fn swarms(&self) -> impl Iterator<Item = SwarmHash> + use<> {
        self.v1.map(SwarmHash).into_iter().chain(self.swarm_v2())
    }

    /// The swarm of those who speak v2: its hash, cut to the 20 bytes that handshakes and trackers have room for (BEP 52).
    pub fn swarm_v2(&self) -> Option<SwarmHash> {
        let hash = self.v2?;
        let mut short = [0; 20];
        short.copy_from_slice(&hash[..20]);
        Some(SwarmHash(short))
    }

    /// The swarm that names the torrent where only one name fits: v1 if there is one.
    pub fn primary(&self) -> Option<SwarmHash> {
        self.swarms().next()
    }

    /// Whether the two can name the same torrent: no common kind of hash differs, and at least one is equal.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let equal = |same: Option<bool>| same != Some(false);
        let v1 = self.v1.zip(other.v1).map(|(a, b)| a == b);
        let v2 = self.v2.zip(other.v2).map(|(a, b)| a == b);
        equal(v1) && equal(v2) && (v1.is_some() || v2.is_some())
    }
}
