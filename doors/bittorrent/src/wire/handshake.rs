//! The first 68 bytes each side sends (BEP 3).
//!
//! The hash comes before the peer id on purpose: whoever is dialled answers as soon as it knows the swarm.
//! [`HandshakeHead::decode`] therefore needs 48 bytes, [`Handshake::decode`] all 68.

use std::fmt;

use super::HandshakeError;
use crate::hash::SwarmHash;

/// What every plain connection begins with: the length of the name, then the name.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Bytes of a handshake.
pub const HANDSHAKE_LENGTH: usize = 68;

/// Bytes of a handshake after which the swarm is known.
pub const HANDSHAKE_HEAD_LENGTH: usize = 48;

/// The 20 bytes by which a BitTorrent client calls itself on one connection: made up, unproven, not a node's identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// `prefix` (client and version, BEP 20) followed by the bytes of `random`.
    pub fn new(prefix: [u8; 8], random: [u8; 12]) -> Self {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&prefix);
        id[8..].copy_from_slice(&random);
        Self(id)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// The eight reserved bytes: one bit for each extension a client understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved(pub [u8; 8]);

/// Where a bit lies: index of the byte, mask.
type Bit = (usize, u8);

const EXTENDED: Bit = (5, 0x10);
const DHT: Bit = (7, 0x01);
const FAST: Bit = (7, 0x04);
const V2: Bit = (7, 0x10);

impl Reserved {
    /// No extension.
    pub const NONE: Self = Self([0; 8]);

    /// The extension protocol (BEP 10) is understood.
    pub const fn with_extended(self) -> Self {
        self.with(EXTENDED)
    }
    /// A DHT node runs (BEP 5).
    pub const fn with_dht(self) -> Self {
        self.with(DHT)
    }
    /// The fast extension (BEP 6) is understood.
    pub const fn with_fast(self) -> Self {
        self.with(FAST)
    }
    /// The sender of a v1 handshake also speaks v2 in this hybrid's swarm (BEP 52).
    pub const fn with_v2(self) -> Self {
        self.with(V2)
    }
    /// Whether the extension protocol (BEP 10) is understood.
    pub const fn extended(self) -> bool {
        self.has(EXTENDED)
    }
    /// Whether a DHT node runs (BEP 5), so that a port message makes sense.
    pub const fn dht(self) -> bool {
        self.has(DHT)
    }
    /// Whether the fast extension (BEP 6) is understood.
    pub const fn fast(self) -> bool {
        self.has(FAST)
    }
    /// Whether a peer that greeted with a v1 hash also speaks v2 (BEP 52): the answer may carry the v2 hash.
    pub const fn v2(self) -> bool {
        self.has(V2)
    }

    const fn with(mut self, (byte, mask): Bit) -> Self {
        self.0[byte] |= mask;
        self
    }
    const fn has(self, (byte, mask): Bit) -> bool {
        self.0[byte] & mask != 0
    }
}

/// What the first 48 bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeHead {
    /// Extensions understood.
    pub reserved: Reserved,
    /// The swarm meant.
    pub swarm: SwarmHash,
}

impl HandshakeHead {
    /// Reads the head off the start of a stream; `None` while more bytes are needed (48 in all).
    ///
    /// # Errors
    /// [`HandshakeError`] at the first byte that differs from the protocol name, however few there are.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        let named = bytes.len().min(PROTOCOL.len());
        if bytes[..named] != PROTOCOL[..named] {
            return Err(HandshakeError::Protocol);
        }
        let Some((head, _)) = bytes.split_first_chunk::<HANDSHAKE_HEAD_LENGTH>() else { return Ok(None) };
        let mut reserved = [0; 8];
        let mut swarm = [0; 20];
        reserved.copy_from_slice(&head[20..28]);
        swarm.copy_from_slice(&head[28..48]);
        Ok(Some(Self { reserved: Reserved(reserved), swarm: SwarmHash(swarm) }))
    }
}

/// The greeting of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Extensions understood.
    pub reserved: Reserved,
    /// The swarm meant.
    pub swarm: SwarmHash,
    /// What the sender calls itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// As bytes.
    pub fn encode(&self) -> [u8; HANDSHAKE_LENGTH] {
        let mut bytes = [0; HANDSHAKE_LENGTH];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.swarm.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads a handshake off the start of a stream; `None` while more bytes are needed (68 in all).
    ///
    /// # Errors
    /// [`HandshakeError`] at the first byte that differs from the protocol name, however few there are.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        let Some(HandshakeHead { reserved, swarm }) = HandshakeHead::decode(bytes)? else { return Ok(None) };
        let Some((whole, _)) = bytes.split_first_chunk::<HANDSHAKE_LENGTH>() else { return Ok(None) };
        let mut peer_id = [0; 20];
        peer_id.copy_from_slice(&whole[HANDSHAKE_HEAD_LENGTH..]);
        Ok(Some(Self { reserved, swarm, peer_id: PeerId(peer_id) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Handshake {
        Handshake {
            reserved: Reserved::NONE.with_extended().with_fast().with_dht().with_v2(),
            swarm: SwarmHash([7; 20]),
            peer_id: PeerId::new(*b"-PX0001-", [9; 12]),
        }
    }

    #[test]
    fn bits_lie_where_the_specifications_put_them() {
        assert_eq!(Reserved::NONE.with_extended().0, [0, 0, 0, 0, 0, 0x10, 0, 0]);
        assert_eq!(Reserved::NONE.with_dht().0, [0, 0, 0, 0, 0, 0, 0, 0x01]);
        assert_eq!(Reserved::NONE.with_fast().0, [0, 0, 0, 0, 0, 0, 0, 0x04]);
        assert_eq!(Reserved::NONE.with_v2().0, [0, 0, 0, 0, 0, 0, 0, 0x10]);
        let all = sample().reserved;
        assert!(all.extended() && all.dht() && all.fast() && all.v2());
        let none = Reserved::NONE;
        assert!(!none.extended() && !none.dht() && !none.fast() && !none.v2());
    }

    #[test]
    fn the_swarm_is_known_after_48_bytes_and_the_rest_after_68() {
        let handshake = sample();
        let bytes = handshake.encode();
        for cut in 0..=HANDSHAKE_LENGTH {
            let head = HandshakeHead::decode(&bytes[..cut]).unwrap();
            let whole = Handshake::decode(&bytes[..cut]).unwrap();
            assert_eq!(head.map(|head| head.swarm), (cut >= 48).then_some(handshake.swarm), "{cut}");
            assert_eq!(whole, (cut == 68).then_some(handshake), "{cut}");
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_wrong_byte() {
        let mut bytes = sample().encode();
        bytes[19] ^= 1;
        assert_eq!(Handshake::decode(&bytes[..19]), Ok(None));
        assert_eq!(Handshake::decode(&bytes[..20]), Err(HandshakeError::Protocol));
        assert_eq!(HandshakeHead::decode(b"GET / HTTP/1.1"), Err(HandshakeError::Protocol));
    }
}
