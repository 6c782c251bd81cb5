//! The key of a private network: nodes that do not have it cannot even speak to those that do.

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::files::{self, FileError};

/// The first line of the file; the second says how the key is written below it.
const HEAD: &[u8] = b"/key/swarm/psk/1.0.0/";
const LENGTH: usize = 32;
/// The longest file that is read.
const FILE_LENGTH_MAX: u64 = 1_024;

/// A key that all nodes of one network have and nobody else, as go-libp2p keeps it in `swarm.key`.
#[derive(Clone)]
pub struct NetworkKey(Zeroizing<[u8; LENGTH]>);

/// The bytes are no key of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkKeyError {
    /// Another file.
    #[error("the first line is not /key/swarm/psk/1.0.0/")]
    Head,
    /// An encoding that is not known.
    #[error("the second line is none of /base16/, /base64/ and /bin/")]
    Encoding,
    /// The key itself cannot be read.
    #[error("the key is not {LENGTH} bytes in the encoding that the second line names")]
    Key,
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkKeyFileError {
    /// The file is not as it must be.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{path:?} holds no key of a private network")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NetworkKeyError,
    },
}

impl NetworkKey {
    /// The key in the file at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// [`NetworkKeyFileError`]. A key that other users may read is refused.
    pub fn load(path: &Path) -> Result<Option<Self>, NetworkKeyFileError> {
        let Some(bytes) = files::read_secret(path, FILE_LENGTH_MAX)? else { return Ok(None) };
        let key = Self::parse(&bytes);
        key.map(Some).map_err(|source| NetworkKeyFileError::Content { path: path.to_owned(), source })
    }

    /// A new key.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn generate() -> Result<Self, rand::rngs::SysError> {
        let mut key = Zeroizing::new([0; LENGTH]);
        SysRng.try_fill_bytes(&mut *key)?;
        Ok(Self(key))
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// [`NetworkKeyError`].
    pub fn parse(file: &[u8]) -> Result<Self, NetworkKeyError> {
        let (head, rest) = line(file);
        if head != HEAD {
            return Err(NetworkKeyError::Head);
        }
        let (encoding, key) = line(rest);
        let key = match encoding {
            b"/bin/" => Some(Zeroizing::new(key.to_vec())),
            b"/base16/" => HEXLOWER_PERMISSIVE.decode(key.trim_ascii()).ok().map(Zeroizing::new),
            b"/base64/" => BASE64.decode(key.trim_ascii()).ok().map(Zeroizing::new),
            _ => return Err(NetworkKeyError::Encoding),
        };
        let key: Option<[u8; LENGTH]> = key.and_then(|key| key.as_slice().try_into().ok());
        key.map(|key| Self(Zeroizing::new(key))).ok_or(NetworkKeyError::Key)
    }

    /// The bytes of a file with this key, for other nodes of the network.
    pub fn to_file(&self) -> Zeroizing<String> {
        let head = String::from_utf8_lossy(HEAD);
        let key = Zeroizing::new(HEXLOWER.encode(&*self.0));
        Zeroizing::new(format!("{head}\n/base16/\n{}\n", *key))
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKey")
    }
}

/// The first line without its end, and what follows.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "8eeb5ad6cd9fb5f7f0a8e5f9d0a2c1b3c4d5e6f708192a3b4c5d6e7f80912a3b";

    fn file(encoding: &str, key: &[u8]) -> Vec<u8> {
        [b"/key/swarm/psk/1.0.0/\n", encoding.as_bytes(), b"\n", key].concat()
    }

    #[test]
    fn the_file_of_go_libp2p_is_read_in_each_encoding() {
        let key = HEXLOWER.decode(HEX.as_bytes()).unwrap();
        for file in [
            file("/base16/", HEX.as_bytes()),
            file("/base16/", format!("{}\n", HEX.to_uppercase()).as_bytes()),
            file("/base64/", BASE64.encode(&key).as_bytes()),
            file("/bin/", &key),
            format!("/key/swarm/psk/1.0.0/\r\n/base16/\r\n{HEX}\r\n").into_bytes(),
        ] {
            assert_eq!(NetworkKey::parse(&file).unwrap().as_bytes(), &*key);
        }
    }

    #[test]
    fn a_key_is_the_same_after_writing_and_reading() {
        let key = NetworkKey::generate().unwrap();
        assert_eq!(NetworkKey::parse(key.to_file().as_bytes()).unwrap().as_bytes(), key.as_bytes());
        assert_ne!(key.as_bytes(), NetworkKey::generate().unwrap().as_bytes());
        assert_eq!(format!("{key:?}"), "NetworkKey");
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        for (file, refusal) in [
            (b"".to_vec(), NetworkKeyError::Head),
            (b"/key/swarm/psk/2.0.0/\n/base16/\n".to_vec(), NetworkKeyError::Head),
            (file("/base32/", HEX.as_bytes()), NetworkKeyError::Encoding),
            (file("/base16/", &HEX.as_bytes()[2..]), NetworkKeyError::Key),
            (file("/base16/", b"not hex"), NetworkKeyError::Key),
            (file("/bin/", &[0; 33]), NetworkKeyError::Key),
        ] {
            assert_eq!(NetworkKey::parse(&file).map(|_| ()), Err(refusal), "{file:?}");
        }
    }

    #[test]
    fn a_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swarm.key");
        assert!(NetworkKey::load(&path).unwrap().is_none());
        std::fs::write(&path, file("/base16/", HEX.as_bytes())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(NetworkKey::load(&path), Err(NetworkKeyFileError::File(FileError::Exposed { .. }))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(NetworkKey::load(&path).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = NetworkKey::parse(&bytes);
            let _ = NetworkKey::parse(&file("/base64/", &bytes));
        }
    }
}
