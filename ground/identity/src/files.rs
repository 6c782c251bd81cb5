//! Small files that hold a secret or a list: read with a bound, written whole, changed by one process at a time.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Permission bits of everybody but the owner: all of them, and those to write.
const USED_BY_OTHERS: u32 = 0o077;
const WRITTEN_BY_OTHERS: u32 = 0o022;

/// Why a file of an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused.
    #[error("{attempt} {path:?}")]
    System {
        /// What was tried.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Other users may read a secret, or write what this one relies on.
    #[error("{path:?} is open to other users (its mode is {mode:03o})")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a folder, a pipe or a device.
    #[error("{0:?} is no regular file")]
    Irregular(PathBuf),
    /// It is longer than anything that belongs there.
    #[error("{path:?} is longer than {length_max} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// What was expected at most.
        length_max: u64,
    },
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::System { attempt, path, source }
}

/// The bytes of a file that nobody but its owner may read or write; `None` when there is none.
pub(crate) fn read_secret(path: &Path, length_max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    read(path, USED_BY_OTHERS, length_max)
}

/// The bytes of a file that nobody but its owner may write; `None` when there is none.
pub(crate) fn read_own(path: &Path, length_max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    read(path, WRITTEN_BY_OTHERS, length_max)
}

fn read(path: &Path, refused: u32, length_max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let Some((file, found)) = open(path)? else { return Ok(None) };
    if found.mode() & refused != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode: found.mode() & 0o777 });
    }
    // As much room as there will be at most: a buffer that grows leaves copies of the secret behind.
    let capacity = found.len().min(length_max) as usize + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(length_max + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > length_max {
        return Err(FileError::TooLong { path: path.to_owned(), length_max });
    }
    Ok(Some(bytes))
}

fn open(path: &Path) -> Result<Option<(File, Metadata)>, FileError> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    // Opening a pipe would wait for whoever writes into it.
    if !found.is_file() {
        return Err(FileError::Irregular(path.to_owned()));
    }
    let file = File::open(path).map_err(failed("open", path))?;
    // What was opened, should it be another by now.
    let opened = file.metadata().map_err(failed("look at", path))?;
    Ok(Some((file, opened)))
}

/// The right to change a file, among all processes, until dropped. It lies beside the file, as `FILE.lock`, since the file itself is replaced.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    path: &'a Path,
    _lock: File,
}

impl<'a> Claim<'a> {
    /// Waits for the right to change the file at `path`. Its folder is created when it is missing, for this user alone.
    pub(crate) fn take(path: &'a Path) -> Result<Self, FileError> {
        let folder = folder_of(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("create folder", folder))?;
        let beside = beside(path, "lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed("open", &beside))?;
        lock.lock().map_err(failed("lock", &beside))?;
        Ok(Self { path, _lock: lock })
    }

    /// Replaces the file so that a reader, and a crash at any moment, find the old bytes or the new ones. It is for this user alone.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), FileError> {
        let new = beside(self.path, "new");
        // A leftover of a process that was killed: nobody else writes it while the claim is held.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("remove", &new)(error)),
            _ => {}
        }
        let write = || {
            // create_new follows no link and opens nothing that somebody else put there.
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            // Without it the name may reach the disk before the bytes do.
            file.sync_all()?;
            fs::rename(&new, self.path)?;
            File::open(folder_of(self.path))?.sync_all()
        };
        write().map_err(failed("write", self.path)).inspect_err(|_| {
            // What was begun is of no use; it may never have been created.
            let _ = fs::remove_file(&new);
        })
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_whole_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/list");
        fs::create_dir(folder.path().join("deep")).unwrap();
        // Half of a file of a process that was killed, and longer than the new one.
        fs::write(folder.path().join("deep/list.new"), [7; 100]).unwrap();
        let claim = Claim::take(&path).unwrap();
        claim.replace(b"one").unwrap();
        claim.replace(b"two").unwrap();
        assert_eq!(**read_secret(&path, 3).unwrap().unwrap(), *b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!folder.path().join("deep/list.new").exists());
    }

    #[test]
    fn a_secret_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, b"x").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refusal = read_secret(&path, 9).unwrap_err();
            assert!(matches!(refusal, FileError::Exposed { mode: told, .. } if told == mode), "{refusal}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read_secret(&path, 9).unwrap().is_some());
    }

    #[test]
    fn what_does_not_belong_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(read_secret(&path, 9).unwrap().is_none());
        assert!(matches!(read_secret(folder.path(), 9), Err(FileError::Irregular(_))));
        Claim::take(&path).unwrap().replace(&[0; 10]).unwrap();
        assert!(matches!(read_secret(&path, 9), Err(FileError::TooLong { length_max: 9, .. })));
        assert!(matches!(read_secret(&path.join("y"), 9), Err(FileError::System { .. })));
    }
}
