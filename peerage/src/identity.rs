//! Who this node is and whom it knows: the folder `identity` of the data directory.
//!
//! Not here: what a key or a contact is (`ground/identity`), and the commands (`cli/id.rs`, `cli/contact.rs`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use peerage_identity::{BookError, ContactBook, FileError, KeyFileError, NodeKey};

use crate::errors::HintExt;
use crate::private;
use crate::ui::Shown;

/// Where it lies.
#[derive(Clone, Debug)]
pub struct IdentityFolder {
    data_dir: PathBuf,
}

impl IdentityFolder {
    /// That of a data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// The file of the node's key.
    pub fn key_file(&self) -> PathBuf {
        self.data_dir.join("identity/key")
    }

    /// The node's key, which is made when there is none.
    ///
    /// # Errors
    /// It cannot be read or made, or others may have read it.
    pub fn key(&self) -> Result<NodeKey> {
        self.ensure()?;
        let path = self.key_file();
        let key = NodeKey::load_or_create(&path);
        let hint = key.as_ref().err().and_then(|error| way_out(error, &path));
        hinted(key.map_err(Into::into), hint).context("find the key of this node")
    }

    /// The contacts. Their file is made with the first of them.
    ///
    /// # Errors
    /// The data directory cannot be made, or others may write there.
    pub fn contacts(&self) -> Result<ContactBook> {
        self.ensure()?;
        Ok(ContactBook::at(&self.data_dir.join("identity/contacts.json")))
    }

    fn ensure(&self) -> Result<()> {
        private::create_folder(&self.data_dir)
            .with_context(|| format!("use the data directory {}", Shown::path(&self.data_dir)))
            .hint("choose another folder with --data-dir DIR")
    }
}

/// Hangs on what a result of the contact book fails with, if it is the book's fault, what to do about it.
///
/// # Errors
/// That of `result`.
pub fn advise<T>(result: Result<T>) -> Result<T> {
    let hint = match result.as_ref().err().and_then(|error| error.downcast_ref()) {
        Some(BookError::File(FileError::Exposed { path, .. })) => {
            Some(format!("look whether it says what you said, then `chmod go-w {}`", Shown::path(path)))
        }
        Some(BookError::Content { path, .. }) => {
            Some(format!("mend {}, or move it away and begin anew", Shown::path(path)))
        }
        Some(BookError::Later { .. }) => Some("use the program that wrote it, or a later one".to_owned()),
        _ => None,
    };
    hinted(result, hint)
}

fn hinted<T>(result: Result<T>, hint: Option<String>) -> Result<T> {
    match hint {
        Some(hint) => result.hint(hint),
        None => result,
    }
}

/// What to do about a key that is not used.
fn way_out(error: &KeyFileError, path: &Path) -> Option<String> {
    let path = Shown::path(path);
    match error {
        KeyFileError::File(FileError::Exposed { .. }) => Some(format!(
            "`chmod 600 {path}` if nobody else has read it; if somebody may have, move it away, and the next command makes another"
        )),
        KeyFileError::Content { .. } => Some(format!("move {path} away, and the next command makes another")),
        _ => None,
    }
}
