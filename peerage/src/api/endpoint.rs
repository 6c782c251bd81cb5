//! How a client finds the daemon: `daemon.json` in the data directory, and the lock beside it.
//!
//! The lock tells whether a daemon runs (the kernel releases it however the process ends), the file tells where. A file
//! without a held lock is of a daemon that was killed: its token is never sent to whoever has the port now.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::TryRng;
use serde::{Deserialize, Serialize};

use crate::private;

const LOCK: &str = "daemon.lock";
const FILE: &str = "daemon.json";
/// The file is ours and short; more is not read.
const FILE_LENGTH_MAX: u64 = 4_096;

/// Where the daemon of a data directory is, and the secret that opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The API's address, on loopback.
    pub address: SocketAddr,
    /// The bearer token: 256 random bits in hex, new with every start.
    pub token: String,
    /// The daemon's process, for people.
    pub pid: u32,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Why the daemon's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Another daemon has this data directory.
    #[error("a daemon runs already on {0:?}")]
    Taken(PathBuf),
    /// A daemon runs but has not said where (it starts or ends just now).
    #[error("the daemon on {0:?} does not say where it is")]
    Silent(PathBuf),
    /// A file cannot be read or written.
    #[error("{attempt} {path:?}")]
    File {
        /// What was tried.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EndpointError {
    let path = path.to_owned();
    move |source| EndpointError::File { attempt, path, source }
}

/// The right to be the daemon of a data directory, until dropped.
#[derive(Debug)]
pub struct DaemonLock {
    data_dir: PathBuf,
    _file: File,
}

impl DaemonLock {
    /// Takes it. The data directory is created when it is missing, for this user alone.
    ///
    /// # Errors
    /// [`EndpointError::Taken`], or a file's.
    pub fn take(data_dir: &Path) -> Result<Self, EndpointError> {
        private::create_folder(data_dir).map_err(failed("create folder", data_dir))?;
        let path = data_dir.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { data_dir: data_dir.to_owned(), _file: file }),
            Err(TryLockError::WouldBlock) => Err(EndpointError::Taken(data_dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// Says where the daemon is, with a new token. The file appears whole, readable by this user alone.
    ///
    /// # Errors
    /// A file's, or the system has no random bytes.
    pub fn publish(&self, address: SocketAddr) -> Result<Endpoint, EndpointError> {
        let path = self.data_dir.join(FILE);
        let endpoint = Endpoint {
            address,
            token: token().map_err(failed("make a token for", &path))?,
            pid: std::process::id(),
        };
        let write = || {
            let beside = self.data_dir.join(format!("{FILE}.new"));
            // A leftover of a killed daemon; the lock says that nobody is writing it.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // create_new follows no link and opens nothing that somebody else put there.
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
            file.write_all(serde_json::to_string(&endpoint)?.as_bytes())?;
            fs::rename(&beside, &path)
        };
        write().map_err(failed("write", &path))?;
        Ok(endpoint)
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        // It may never have been published; and the next daemon replaces what is left.
        let _ = fs::remove_file(self.data_dir.join(FILE));
    }
}

impl Endpoint {
    /// The daemon of a data directory, if one runs.
    ///
    /// # Errors
    /// [`EndpointError::Silent`] while it starts or ends, or a file's.
    pub fn find(data_dir: &Path) -> Result<Option<Self>, EndpointError> {
        let lock = data_dir.join(LOCK);
        match File::open(&lock) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed("open", &lock)(error)),
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => return Ok(None),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed("lock", &lock)(error)),
            },
        }
        let path = data_dir.join(FILE);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(FILE_LENGTH_MAX).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(EndpointError::Silent(data_dir.to_owned()));
            }
            Err(error) => return Err(failed("read", &path)(error)),
        }
        let endpoint: Self =
            serde_json::from_str(&text).map_err(|error| failed("read", &path)(error.into()))?;
        Ok(Some(endpoint))
    }
}

fn token() -> io::Result<String> {
    let mut bytes = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn address() -> SocketAddr {
        "127.0.0.1:6880".parse().unwrap()
    }

    #[test]
    fn a_daemon_is_found_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        assert_eq!(Endpoint::find(&data_dir).unwrap(), None);
        let lock = DaemonLock::take(&data_dir).unwrap();
        assert!(matches!(Endpoint::find(&data_dir), Err(EndpointError::Silent(_))));
        let endpoint = lock.publish(address()).unwrap();
        assert_eq!(Endpoint::find(&data_dir).unwrap(), Some(endpoint.clone()));
        assert!(matches!(DaemonLock::take(&data_dir), Err(EndpointError::Taken(_))));
        drop(lock);
        assert_eq!(Endpoint::find(&data_dir).unwrap(), None);
        let again = DaemonLock::take(&data_dir).unwrap().publish(address()).unwrap();
        assert_ne!(again.token, endpoint.token);
    }

    #[test]
    fn the_token_is_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let lock = DaemonLock::take(&data_dir).unwrap();
        fs::write(data_dir.join("daemon.json.new"), "a leftover that others can read").unwrap();
        let endpoint = lock.publish(address()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data_dir.join(FILE)), 0o600);
        assert_eq!(mode(&data_dir), 0o700);
        assert_eq!(endpoint.token.len(), 64);
        assert!(!format!("{endpoint:?}").contains(&endpoint.token));
    }

    #[test]
    fn the_file_of_a_killed_daemon_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let lock = DaemonLock::take(folder.path()).unwrap();
        lock.publish(address()).unwrap();
        let left = fs::read(folder.path().join(FILE)).unwrap();
        drop(lock);
        fs::write(folder.path().join(FILE), left).unwrap();
        assert_eq!(Endpoint::find(folder.path()).unwrap(), None);
    }
}
