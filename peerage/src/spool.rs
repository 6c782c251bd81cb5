//! Places in the data directory for bytes that come from stdin or go to stdout.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A folder of its own, deleted with what is in it unless it is kept.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Spool {
    /// A fresh folder below `parent`.
    ///
    /// # Errors
    /// The system's.
    pub fn folder(parent: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let stamp = format!("{}-{:x}", std::process::id(), rand::random::<u32>());
        let folder = parent.join(stamp);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { path: folder.clone(), folder, kept: false })
    }

    /// A path for a file called `name` in such a folder.
    ///
    /// # Errors
    /// The system's; `InvalidInput` when `name` is not a plain file name.
    pub fn file(parent: &Path, name: &str) -> io::Result<Self> {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                format!("{name:?} is not a plain file name"),
            ));
        }
        let mut spool = Self::folder(parent)?;
        spool.path = spool.folder.join(name);
        Ok(spool)
    }

    /// The folder, or the file in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.kept {
            // It may be gone already, by `remove` with files.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_unless_it_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::file(parent.path(), "a").unwrap();
        fs::write(spool.path(), "x").unwrap();
        drop(spool);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        let spool = Spool::file(parent.path(), "a").unwrap();
        let path = spool.path().to_owned();
        fs::write(&path, "x").unwrap();
        spool.keep();
        assert!(path.exists());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "/etc/x", "."] {
            assert_eq!(
                Spool::file(parent.path(), name).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{name}"
            );
        }
    }
}
