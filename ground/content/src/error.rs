//! What can go wrong with the user's files, told so that the user can act.

use std::path::PathBuf;

/// A failed operation on a file, with the file, the attempt and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{attempt} {path:?}: {source}")]
pub struct StorageError {
    /// What was tried, as a verb: "open", "write", "read", "create folder".
    pub attempt: &'static str,
    /// The file or folder it was tried on.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: std::io::Error,
}

/// What a transfer should do about a [`StorageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// The disk or a quota is full: pause, try again when there is space.
    NoSpace,
    /// Read-only or forbidden: pause until the user changes it.
    NotPermitted,
    /// The folder or mount is gone: pause until it is back.
    Vanished,
    /// Anything else the system said.
    Other,
}

impl StorageError {
    /// Sorts the error by what can be done about it.
    pub fn kind(&self) -> StorageErrorKind {
        todo!()
    }
}
