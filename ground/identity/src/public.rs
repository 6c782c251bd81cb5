//! The public half of a key: of this node or of another.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use libp2p_identity::KeyType;

use crate::peer_id::PeerId;

/// The longest encoding of a key that is read: one of RSA with 8,192 bits has 1,100 bytes.
const PROTOBUF_LENGTH_MAX: usize = 2_048;

/// What signatures of a node are verified with. Nodes of Peerage have Ed25519 keys; those of others are verified, too (RSA, secp256k1, ECDSA).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey(libp2p_identity::PublicKey);

/// The bytes are no public key.
#[derive(Debug, thiserror::Error)]
#[error("no public key: {0}")]
pub struct PublicKeyError(String);

impl PublicKey {
    /// Whether `signature` is of this key's owner, over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }

    /// The id of its owner.
    pub fn peer_id(&self) -> PeerId {
        PeerId::of(&self.0)
    }

    /// As libp2p writes it: a protobuf of its kind and its bytes.
    pub fn to_protobuf(&self) -> Vec<u8> {
        self.0.encode_protobuf()
    }

    /// Reads what [`PublicKey::to_protobuf`] writes.
    ///
    /// # Errors
    /// [`PublicKeyError`].
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        if bytes.len() > PROTOBUF_LENGTH_MAX {
            return Err(PublicKeyError(format!("longer than {PROTOBUF_LENGTH_MAX} bytes")));
        }
        let read = libp2p_identity::PublicKey::try_decode_protobuf(bytes);
        read.map(Self).map_err(|error| PublicKeyError(error.to_string()))
    }

    /// The X25519 key that belongs to an Ed25519 key; `None` for other keys, and for those that everybody has the secret of.
    pub(crate) fn x25519(&self) -> Option<[u8; 32]> {
        let key = self.0.clone().try_into_ed25519().ok()?;
        let key = VerifyingKey::from_bytes(&key.to_bytes()).ok()?;
        (!key.is_weak()).then(|| key.to_montgomery().to_bytes())
    }

    pub(crate) fn of(key: &VerifyingKey) -> Self {
        let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(key.as_bytes());
        Self(key.expect("it is a public key").into())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key of {}", kind_word(self.0.key_type()), self.peer_id())
    }
}

/// How the kind of a key is called.
pub(crate) fn kind_word(kind: KeyType) -> &'static str {
    match kind {
        KeyType::Ed25519 => "Ed25519",
        KeyType::RSA => "RSA",
        KeyType::Secp256k1 => "secp256k1",
        KeyType::Ecdsa => "ECDSA",
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::NodeKey;

    #[test]
    fn a_signature_is_of_one_key_over_one_message() {
        let key = NodeKey::from_seed([1; 32]);
        let signature = key.sign(b"hello");
        assert!(key.public().verify(b"hello", &signature));
        assert!(!key.public().verify(b"hell", &signature));
        assert!(!NodeKey::from_seed([2; 32]).public().verify(b"hello", &signature));
        assert!(!key.public().verify(b"hello", &signature[1..]));
        assert!(!key.public().verify(b"hello", &[]));
    }

    /// The vectors of the peer id specification of libp2p.
    #[test]
    fn keys_of_others_are_read() {
        const SECP256K1: &str = "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99";
        const ECDSA: &str = "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530\
                             899d83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a5\
                             97fb4dcec034e9f77c409e62";
        for (text, beginning) in [(SECP256K1, "secp256k1 key of 16Uiu2HA"), (ECDSA, "ECDSA key of Qm")] {
            let bytes = HEXLOWER.decode(text.as_bytes()).unwrap();
            let key = PublicKey::from_protobuf(&bytes).unwrap();
            assert_eq!(key.to_protobuf(), bytes);
            assert!(format!("{key:?}").starts_with(beginning), "{key:?}");
        }
    }

    #[test]
    fn a_key_is_the_same_after_writing_and_reading() {
        let key = NodeKey::from_seed([1; 32]).public();
        assert_eq!(PublicKey::from_protobuf(&key.to_protobuf()).unwrap(), key);
        assert!(PublicKey::from_protobuf(&[8; 3_000]).is_err());
        assert!(PublicKey::from_protobuf(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(key) = PublicKey::from_protobuf(&bytes) {
                let _ = key.verify(b"", &bytes);
            }
        }
    }
}
