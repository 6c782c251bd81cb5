//! The name of a node: a multihash of its public key.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use cid::multihash::Multihash;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::public::PublicKey;

/// The multicodec of a CID that names a key.
const LIBP2P_KEY: u64 = 0x72;
/// The multihash that is the key itself: what an Ed25519 key is short enough for.
const IDENTITY: u64 = 0x00;
const SHA2_256: u64 = 0x12;
const SHA2_256_LENGTH: u8 = 32;
/// The longest text that may name a peer: a hexadecimal CID of an Ed25519 key has 81 characters.
const TEXT_LENGTH_MAX: usize = 128;

/// Which node: what libp2p calls a peer id. An Ed25519 key stands in it whole, longer keys by their SHA-256.
///
/// As text it is Base58 (`12D3KooW…`, `Qm…`); a CID with the codec libp2p-key (`k51…`, `bafz…`) is read as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(libp2p_identity::PeerId);

/// Why bytes or a text are no peer id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIdError {
    /// Nothing is there.
    #[error("a peer id is not empty")]
    Empty,
    /// Longer than any.
    #[error("a peer id has {TEXT_LENGTH_MAX} characters at most")]
    TooLong,
    /// A letter that does not belong there, or an end that is missing.
    #[error("neither Base58 of a peer id nor a CID: {0}")]
    Text(String),
    /// A CID of something else.
    #[error("the CID names no key but content (codec {0:#x}, a key has {LIBP2P_KEY:#x})")]
    Codec(u64),
    /// Bytes that are no multihash, or one of a kind that names no peers.
    #[error("no multihash of a public key")]
    Multihash,
}

impl PeerId {
    /// The bytes of the multihash.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Reads the bytes of a multihash.
    ///
    /// # Errors
    /// [`PeerIdError::Multihash`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        Self::from_multihash(Multihash::from_bytes(bytes).map_err(|_| PeerIdError::Multihash)?)
    }

    /// As a CID with the codec libp2p-key: how IPNS names are written.
    pub fn to_cid(self) -> Cid {
        Cid::new_v1(LIBP2P_KEY, *self.0.as_ref())
    }

    /// The key itself, where the id holds it: that of every Ed25519 key does.
    pub fn public_key(self) -> Option<PublicKey> {
        let multihash: &Multihash<64> = self.0.as_ref();
        if multihash.code() != IDENTITY {
            return None;
        }
        PublicKey::from_protobuf(multihash.digest()).ok()
    }

    /// Whether a node can have this id: one that should hold a key and was mistyped often holds none.
    pub fn is_possible(self) -> bool {
        let multihash: &Multihash<64> = self.0.as_ref();
        multihash.code() != IDENTITY || self.public_key().is_some()
    }

    pub(crate) fn of(key: &libp2p_identity::PublicKey) -> Self {
        Self(key.to_peer_id())
    }

    fn from_multihash(multihash: Multihash<64>) -> Result<Self, PeerIdError> {
        // libp2p takes half a digest for a whole one.
        if multihash.code() == SHA2_256 && multihash.size() != SHA2_256_LENGTH {
            return Err(PeerIdError::Multihash);
        }
        libp2p_identity::PeerId::from_multihash(multihash).map(Self).map_err(|_| PeerIdError::Multihash)
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        if text.is_empty() {
            return Err(PeerIdError::Empty);
        }
        // Reading Base58 takes time that grows with the square of its length.
        if text.len() > TEXT_LENGTH_MAX {
            return Err(PeerIdError::TooLong);
        }
        // A CID begins with the letter of its base, of which none is `1` or `Q`.
        if text.starts_with('1') || text.starts_with("Qm") {
            let read: Result<libp2p_identity::PeerId, _> = text.parse();
            let id = read.map_err(|error| PeerIdError::Text(error.to_string()))?;
            return Self::from_multihash(id.into());
        }
        let cid: Cid = text.parse().map_err(|error: cid::Error| PeerIdError::Text(error.to_string()))?;
        if cid.codec() != LIBP2P_KEY {
            return Err(PeerIdError::Codec(cid.codec()));
        }
        Self::from_multihash(*cid.hash())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::NodeKey;

    // The examples of the peer id specification of libp2p.
    const ED25519: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    const RSA: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    const RSA_CID: &str = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe";

    #[test]
    fn one_id_has_many_spellings() {
        let id: PeerId = RSA.parse().unwrap();
        assert_eq!(RSA_CID.parse(), Ok(id));
        assert_eq!(id.to_cid().to_string(), RSA_CID);
        assert_eq!(id.to_string(), RSA);
        let id: PeerId = ED25519.parse().unwrap();
        let base36 = id.to_cid().to_string_of_base(cid::multibase::Base::Base36Lower).unwrap();
        assert!(base36.starts_with("k51q"), "{base36}");
        assert_eq!(base36.parse(), Ok(id));
        assert_eq!(PeerId::from_bytes(&id.to_bytes()), Ok(id));
        assert_eq!(serde_json::from_str::<PeerId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }

    #[test]
    fn an_id_of_an_ed25519_key_holds_the_key() {
        let key = NodeKey::from_seed([3; 32]);
        assert_eq!(key.peer_id().public_key(), Some(key.public()));
        assert_eq!(RSA.parse::<PeerId>().unwrap().public_key(), None);
        assert!(key.peer_id().is_possible() && RSA.parse::<PeerId>().unwrap().is_possible());
        // y = 2 is on no point of the curve.
        let mut mistyped = key.peer_id().to_bytes();
        mistyped[6..].copy_from_slice(&[&[2][..], &[0; 31]].concat());
        assert!(!PeerId::from_bytes(&mistyped).unwrap().is_possible());
    }

    #[test]
    fn what_is_no_id_is_refused() {
        use PeerIdError::*;
        for (text, refusal) in [
            ("", Empty),
            (&*"1".repeat(129), TooLong),
            ("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5", Text("invalid multihash".into())),
            // Content, not a key.
            ("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", Codec(0x70)),
        ] {
            assert_eq!(text.parse::<PeerId>(), Err(refusal), "{text}");
        }
        for text in ["laptop", "12D3KooW", "12D3KooW0", "Qm", "é"] {
            assert!(matches!(text.parse::<PeerId>(), Err(Text(_) | Multihash)), "{text}");
        }
        let half = HEXLOWER.decode(b"1204deadbeef").unwrap();
        assert_eq!(PeerId::from_bytes(&half), Err(Multihash));
        assert_eq!(PeerId::from_bytes(&[]), Err(Multihash));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(id) = PeerId::from_bytes(&bytes) {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,140}") {
            let _ = text.parse::<PeerId>();
        }
    }
}
