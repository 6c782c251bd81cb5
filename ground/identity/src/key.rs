//! The key of this node, and the file it is kept in.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use libp2p_identity::Keypair;
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::files::{self, Claim, FileError};
use crate::peer_id::PeerId;
use crate::public::{PublicKey, kind_word};

/// Before the 64 bytes of an Ed25519 key pair, seed and public key, in libp2p's protobuf: the kind, and how many bytes follow.
const PAIR_HEAD: [u8; 4] = [0x08, 0x01, 0x12, 64];
/// The same of old versions of libp2p, which wrote the public key twice.
const LONG_PAIR_HEAD: [u8; 4] = [0x08, 0x01, 0x12, 96];
const PUBLIC_LENGTH: usize = 32;
/// The longest file that is read as a key: those of RSA are the longest, and only to be told what they are.
const FILE_LENGTH_MAX: u64 = 16 * 1024;

/// The Ed25519 key that makes this node who it is. Whoever has it is this node; it never shows in a log, and its memory is wiped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

/// The bytes are no key of a node.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No private key in libp2p's encoding.
    #[error("no private key: {0}")]
    Encoding(String),
    /// A key, but of another kind.
    #[error("the key is one of {0}, that of a node is Ed25519")]
    Kind(&'static str),
}

/// Why there is no key to go on with. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file is not as it must be.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{path:?} holds no key of a node")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it holds.
        #[source]
        source: KeyError,
    },
    /// There was none, and none could be made.
    #[error("the system gives no random bytes for a key")]
    Random(#[source] rand::rngs::SysError),
}

impl NodeKey {
    /// The key in the file at `path`. If there is none, one is made and kept there, whole or not at all whenever this process ends;
    /// of several processes that come at once, one makes it and all have the same.
    ///
    /// # Errors
    /// [`KeyFileError`]. A key that other users may read is refused: they may have read it.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let claim = Claim::take(path)?;
        // Another process may have been first.
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let key = Self::generate().map_err(KeyFileError::Random)?;
        claim.replace(&key.to_protobuf())?;
        Ok(key)
    }

    /// The key in the file at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load(path: &Path) -> Result<Option<Self>, KeyFileError> {
        let Some(bytes) = files::read_secret(path, FILE_LENGTH_MAX)? else { return Ok(None) };
        let key = Self::from_protobuf(&bytes);
        key.map(Some).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
    }

    /// A new key, which is kept nowhere.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn generate() -> Result<Self, rand::rngs::SysError> {
        let mut seed = Zeroizing::new([0; 32]);
        SysRng.try_fill_bytes(&mut *seed)?;
        Ok(Self::from_seed(*seed))
    }

    /// The key that grows of these 32 bytes (the private key of RFC 8032).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&Zeroizing::new(seed)))
    }

    /// The name of this node.
    pub fn peer_id(&self) -> PeerId {
        self.public().peer_id()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::of(&self.0.verifying_key())
    }

    /// A signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).to_bytes().to_vec()
    }

    /// The secret half of [`PublicKey::x25519`].
    pub(crate) fn x25519(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_scalar_bytes())
    }

    /// As libp2p writes it, with the secret.
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        let pair = Zeroizing::new(self.0.to_keypair_bytes());
        Zeroizing::new([&PAIR_HEAD[..], &*pair].concat())
    }

    /// Reads what [`NodeKey::to_protobuf`] writes, or another libp2p program.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = without_second_public_key(bytes);
        let found = Keypair::from_protobuf_encoding(&bytes).map_err(|error| encoding(&error))?;
        let kind = found.key_type();
        let pair = found.try_into_ed25519().map_err(|_| KeyError::Kind(kind_word(kind)))?;
        let pair = SigningKey::from_keypair_bytes(&Zeroizing::new(pair.to_bytes()));
        pair.map(Self).map_err(|error| encoding(&error))
    }
}

/// What an error says, and why.
fn encoding(error: &dyn Error) -> KeyError {
    let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    KeyError::Encoding(format!("{error}{why}"))
}

/// `bytes` as libp2p writes them today. If the two public keys of an old encoding differ it is left as it is, and so no key.
fn without_second_public_key(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let pair = bytes.strip_prefix(&LONG_PAIR_HEAD).and_then(|keys| {
        let (pair, second) = keys.split_last_chunk::<PUBLIC_LENGTH>()?;
        pair.ends_with(second).then_some(pair)
    });
    match pair {
        Some(pair) => Zeroizing::new([&PAIR_HEAD[..], pair].concat()),
        None => Zeroizing::new(bytes.to_vec()),
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey of {}", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::sync::Barrier;

    use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

    use super::*;

    // The vectors of the peer id specification of libp2p.
    const PRIVATE: &str = "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d\
                           1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
    const PUBLIC: &str = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
    const SECP256K1: &str = "0802122053dadf1d5a164d6b4acdb15e24aa4c5b1d3461bdbd42abedb0a4404d56ced8fb";

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_are_encoded_as_libp2p_has_it() {
        let key = NodeKey::from_protobuf(&hex(PRIVATE)).unwrap();
        assert_eq!(HEXLOWER.encode(&key.public().to_protobuf()), PUBLIC);
        assert_eq!(HEXLOWER.encode(&key.to_protobuf()), PRIVATE);
        let seed = hex(PRIVATE)[4..36].try_into().unwrap();
        assert_eq!(NodeKey::from_seed(seed).peer_id(), key.peer_id());
    }

    #[test]
    fn the_old_encoding_is_read_if_it_agrees_with_itself() {
        let pair = &hex(PRIVATE)[4..];
        let old = [&LONG_PAIR_HEAD[..], pair, &pair[32..]].concat();
        assert_eq!(*NodeKey::from_protobuf(&old).unwrap().to_protobuf(), hex(PRIVATE));
        let torn = [&LONG_PAIR_HEAD[..], pair, &pair[..32]].concat();
        assert!(matches!(NodeKey::from_protobuf(&torn), Err(KeyError::Encoding(_))));
    }

    #[test]
    fn what_is_no_key_of_a_node_is_refused() {
        assert_eq!(NodeKey::from_protobuf(&hex(SECP256K1)).unwrap_err(), KeyError::Kind("secp256k1"));
        let mut foreign_half = hex(PRIVATE);
        foreign_half[67] ^= 1;
        for bytes in [&hex(PUBLIC)[..], &hex(PRIVATE)[..67], &foreign_half, b"", b"-----BEGIN"] {
            assert!(matches!(NodeKey::from_protobuf(bytes), Err(KeyError::Encoding(_))), "{bytes:x?}");
        }
    }

    #[test]
    fn a_key_says_nothing_of_its_secret() {
        let key = NodeKey::from_seed([7; 32]);
        assert_eq!(format!("{key:?}"), format!("NodeKey of {}", key.peer_id()));
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity/key");
        assert!(NodeKey::load(&path).unwrap().is_none());
        let made = NodeKey::load_or_create(&path).unwrap();
        assert_eq!(NodeKey::load_or_create(&path).unwrap().peer_id(), made.peer_id());
        assert_eq!(NodeKey::load(&path).unwrap().unwrap().peer_id(), made.peer_id());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read(&path).unwrap(), *made.to_protobuf());
    }

    #[test]
    fn all_who_come_at_once_have_the_same_key() {
        const COMERS: usize = 8;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let start = Barrier::new(COMERS);
        let ids: Vec<PeerId> = std::thread::scope(|scope| {
            let comers: Vec<_> = (0..COMERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        NodeKey::load_or_create(&path).unwrap().peer_id()
                    })
                })
                .collect();
            comers.into_iter().map(|comer| comer.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    /// What somebody sees who looks at any moment is what a process that is killed at that moment leaves.
    #[test]
    fn there_is_a_whole_key_or_none_at_any_moment() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..300).map(|number| folder.path().join(number.to_string())).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for path in &paths {
                    NodeKey::load_or_create(path).unwrap();
                }
            });
            for path in &paths {
                while NodeKey::load(path).unwrap().is_none() {
                    std::hint::spin_loop();
                }
            }
        });
    }

    #[test]
    fn a_file_that_is_not_as_it_must_be_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for content in [&b""[..], b"nonsense", &hex(SECP256K1)] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let refusal = NodeKey::load_or_create(&path).unwrap_err();
            assert!(matches!(refusal, KeyFileError::Content { .. }), "{refusal}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refusal = NodeKey::load_or_create(&path).unwrap_err();
        assert!(matches!(refusal, KeyFileError::File(FileError::Exposed { .. })), "{refusal}");
    }
}
