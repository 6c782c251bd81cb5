//! What an overlay is told when it starts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use libp2p::pnet::PreSharedKey;
use peerage_identity::{NodeKey, PeerId};

use crate::address::Address;
use crate::dht::{DhtMode, Validators};

/// Settings of an [`Overlay`](crate::Overlay).
#[derive(Clone, Debug)]
pub struct OverlayConfig {
    /// Who this node is.
    pub key: NodeKey,
    /// Where to listen. Port 0: any.
    pub listen: Vec<Address>,
    /// Where others can reach this node though it can't know it: a forwarded port, a name.
    pub announce: Vec<Address>,
    /// Peers to begin with, each with its peer id. They are dialled again as long as nobody else is known.
    pub bootstrap: Vec<Address>,
    /// How to take part in the public hash table of IPFS.
    pub dht: DhtMode,
    /// How to take part in the hash table of the local network.
    pub lan_dht: DhtMode,
    /// Find peers of the local network by multicast, and be found.
    pub mdns: bool,
    /// Ask peers whether they can reach this node, and do the same for them (AutoNAT v2).
    pub autonat: bool,
    /// When nobody can, be reached through peers that relay, and get a direct connection from there where the routers allow (DCUtR).
    pub relay_client: bool,
    /// A node that nobody has reached after this is taken for one that nobody can reach.
    pub relay_after: Duration,
    /// Relay for others, within narrow limits, while this node can be reached itself.
    pub relay_server: bool,
    /// Pass on messages of topics (gossipsub).
    pub gossip: bool,
    /// Who judges the values of the hash tables.
    pub validators: Validators,
    /// Where known peers and the records of others are kept; without a folder they are forgotten at the end.
    pub data_dir: Option<PathBuf>,
    /// The program and its version, told to every peer.
    pub agent: String,
    /// Only nodes that hold the same key can talk to each other.
    pub private_network: Option<PrivateNetworkKey>,
    /// Peers that are never talked to.
    pub deny: Vec<PeerId>,
    /// Whether addresses of private ranges, and of this machine, are dialled also when somebody else told them.
    /// What the user names is dialled in any case.
    pub dial_private: bool,
    /// How much at most.
    pub limits: Limits,
}

impl OverlayConfig {
    /// The defaults: listens nowhere.
    pub fn new(key: NodeKey) -> Self {
        Self {
            key,
            listen: Vec::new(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            dht: DhtMode::Off,
            lan_dht: DhtMode::Off,
            mdns: false,
            autonat: false,
            relay_client: false,
            relay_after: Duration::from_secs(10),
            relay_server: false,
            gossip: false,
            validators: Validators::default(),
            data_dir: None,
            agent: concat!("peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
            private_network: None,
            deny: Vec::new(),
            dial_private: false,
            limits: Limits::default(),
        }
    }
}

/// Bounds on what peers can make this node hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that others opened.
    pub connections_in: u32,
    /// Connections of both directions.
    pub connections: u32,
    /// Connections to one peer.
    pub connections_per_peer: u32,
    /// Connections in the middle of their handshake, a direction.
    pub handshakes: u32,
    /// How long a handshake may take, whoever began it.
    pub handshake: Duration,
    /// Streams of one connection. A stream that nobody reads holds 256 KiB.
    pub streams_per_connection: usize,
    /// No new connection while the process has more than this in memory, bytes. `None`: no bound.
    pub memory: Option<usize>,
    /// A connection without streams is closed after this.
    pub idle: Duration,
    /// Provider records that are kept for others, a hash table; each takes about 200 bytes of disk.
    pub provider_records: u64,
    /// Values that are kept for others, a hash table, of at most 10 KiB.
    pub values: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_in: 512,
            connections: 768,
            connections_per_peer: 4,
            handshakes: 128,
            handshake: Duration::from_secs(20),
            streams_per_connection: 256,
            memory: None,
            idle: Duration::from_secs(30),
            provider_records: 200_000,
            values: 10_000,
        }
    }
}

/// The secret of a private network: 32 bytes that every one of its nodes holds.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateNetworkKey([u8; 32]);

/// A text that holds no key of a private network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of a private network: {0}")]
pub struct PrivateNetworkKeyError(String);

impl PrivateNetworkKey {
    /// The network of these bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    pub(crate) fn pre_shared(&self) -> PreSharedKey {
        PreSharedKey::new(self.0)
    }
}

/// Reads the contents of a `swarm.key` file: three lines, of which the last is the key in hexadecimal.
impl FromStr for PrivateNetworkKey {
    type Err = PrivateNetworkKeyError;

    fn from_str(text: &str) -> Result<Self, PrivateNetworkKeyError> {
        let key: PreSharedKey = text
            .parse()
            .map_err(|error: libp2p::pnet::KeyParseError| PrivateNetworkKeyError(error.to_string()))?;
        // The key shows its bytes only as the file that it came from.
        let file = key.to_key_file();
        let digits = file.lines().last().unwrap_or_default();
        let mut secret = [0; 32];
        for (byte, pair) in secret.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte =
                u8::from_str_radix(pair, 16).map_err(|error| PrivateNetworkKeyError(error.to_string()))?;
        }
        Ok(Self(secret))
    }
}

/// The secret stays one.
impl fmt::Debug for PrivateNetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateNetworkKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_key_file_is_read() {
        let digits: String = (0..32).map(|n| format!("{n:02x}")).collect();
        let key: PrivateNetworkKey = format!("/key/swarm/psk/1.0.0/\n/base16/\n{digits}\n").parse().unwrap();
        assert_eq!(key, PrivateNetworkKey::new(std::array::from_fn(|n| n as u8)));
        assert_eq!(format!("{key:?}"), "PrivateNetworkKey");
        assert!("/key/swarm/psk/1.0.0/\n/base16/\nabc".parse::<PrivateNetworkKey>().is_err());
    }
}
