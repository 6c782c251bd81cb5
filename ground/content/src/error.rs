//! What can go wrong with the user's files, told so that the user can act.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A failed operation on a file: what was tried on which, with the cause as its source.
#[derive(Debug, thiserror::Error)]
#[error("{attempt} {path:?}")]
pub struct StorageError {
    /// What was tried, as a verb: "open", "write", "read", "create folder".
    pub attempt: &'static str,
    /// The file or folder it was tried on.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// What a transfer should do about a [`StorageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// The disk or a quota is full: pause, try again when there is space.
    NoSpace,
    /// The file system is read-only, perhaps for now: pause until it is not.
    ReadOnly,
    /// Forbidden: the user must change that.
    NotPermitted,
    /// The folder or mount is gone: pause until it is back.
    Vanished,
    /// The device failed to read or write: pause, try again.
    Device,
    /// Anything else the system said.
    Other,
}

impl StorageErrorKind {
    /// Whether it may be over without the user doing anything to this very folder: waiting makes sense.
    pub fn passes(self) -> bool {
        matches!(self, Self::NoSpace | Self::ReadOnly | Self::Vanished | Self::Device)
    }
}

impl StorageError {
    /// An error of `attempt` on `path`.
    pub(crate) fn new(attempt: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { attempt, path: path.to_owned(), source: source.into() }
    }

    /// The error with its cause, for where one line is all there is.
    pub fn in_full(&self) -> String {
        format!("{self}: {}", self.source)
    }

    /// Sorts the error by what can be done about it.
    pub fn kind(&self) -> StorageErrorKind {
        if let Some(errno) = Errno::from_io_error(&self.source) {
            match errno {
                Errno::NOSPC | Errno::DQUOT => return StorageErrorKind::NoSpace,
                Errno::ROFS => return StorageErrorKind::ReadOnly,
                Errno::IO => return StorageErrorKind::Device,
                Errno::ACCESS | Errno::PERM => return StorageErrorKind::NotPermitted,
                Errno::NOENT
                | Errno::NODEV
                | Errno::NXIO
                | Errno::STALE
                | Errno::NOTCONN
                | Errno::HOSTDOWN => {
                    return StorageErrorKind::Vanished;
                }
                _ => {}
            }
        }
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageErrorKind::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => StorageErrorKind::ReadOnly,
            io::ErrorKind::PermissionDenied => StorageErrorKind::NotPermitted,
            io::ErrorKind::NotFound => StorageErrorKind::Vanished,
            _ => StorageErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_can_be_done() {
        let kind = |source: io::Error| StorageError::new("write", Path::new("x"), source).kind();
        assert_eq!(kind(Errno::NOSPC.into()), StorageErrorKind::NoSpace);
        assert_eq!(kind(io::ErrorKind::QuotaExceeded.into()), StorageErrorKind::NoSpace);
        assert_eq!(kind(Errno::ROFS.into()), StorageErrorKind::ReadOnly);
        assert_eq!(kind(Errno::ACCESS.into()), StorageErrorKind::NotPermitted);
        assert_eq!(kind(Errno::NOENT.into()), StorageErrorKind::Vanished);
        assert_eq!(kind(Errno::IO.into()), StorageErrorKind::Device);
        assert_eq!(kind(Errno::INVAL.into()), StorageErrorKind::Other);
        assert_eq!(kind(io::ErrorKind::InvalidData.into()), StorageErrorKind::Other);
    }

    #[test]
    fn the_message_names_the_attempt_and_the_thing_and_its_source_is_the_cause() {
        let error = StorageError::new("open", Path::new("a b"), Errno::ACCESS);
        assert_eq!(error.to_string(), "open \"a b\"");
        assert_eq!(error.in_full(), "open \"a b\": Permission denied (os error 13)");
    }
}
