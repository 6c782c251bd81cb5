//! Listing a file or folder that is to be shared.

use std::path::Path;

use crate::{Entry, StorageError};

/// What lies at a path.
#[derive(Debug)]
pub struct Walked {
    /// Whether it is a single file.
    pub single: bool,
    /// Files and links, in the order of a v2 file tree (bytewise by component); offsets are 0.
    pub entries: Vec<Entry>,
    /// What was passed over, with the reason (sockets, links that lead out of the folder).
    pub skipped: Vec<(std::path::PathBuf, &'static str)>,
}

/// Lists a file or folder. Links inside the folder become [`crate::EntryKind::Symlink`]; those that lead out are skipped. Hidden files are included.
///
/// # Errors
/// [`StorageError`] for what cannot be read: sharing half a folder silently would be a lie.
pub fn walk(path: &Path) -> Result<Walked, StorageError> {
    let _ = path;
    todo!()
}
