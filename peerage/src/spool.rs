//! Places in the data directory for bytes that come from stdin or go to stdout.
//!
//! A spool is a folder that its process holds locked, so that another process knows whether it is in use. What a killed process left is
//! swept when the next spool is made, and when a daemon starts.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::age::is_older;
use crate::private;

/// Folders below the data directory, by what they are for.
pub const STDIN: &str = "stdin";
/// As [`STDIN`].
pub const STDOUT: &str = "stdout";

/// Begins the name of a spool that the same command takes up again.
const RESUMABLE: &str = "link-";
/// How long such a spool waits for that.
const RESUMABLE_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A folder of its own, deleted with what is in it unless it is left, or somebody has [adopted](adopt) it.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    path: PathBuf,
    stays: bool,
    _lock: File,
}

impl Spool {
    /// A fresh folder below `parent`.
    ///
    /// # Errors
    /// The system's.
    pub fn folder(parent: &Path) -> io::Result<Self> {
        private::create_folder(parent)?;
        sweep_quietly(parent);
        loop {
            let folder = parent.join(format!("{}-{:x}", std::process::id(), rand::random::<u32>()));
            fs::DirBuilder::new().mode(0o700).create(&folder)?;
            if let Some(spool) = Self::hold(folder)? {
                return Ok(spool);
            }
        }
    }

    /// The folder of `key` below `parent`, as an earlier run left it; a fresh one while another process uses that.
    ///
    /// # Errors
    /// The system's.
    pub fn resumable(parent: &Path, key: u64) -> io::Result<Self> {
        private::create_folder(parent)?;
        let folder = parent.join(format!("{RESUMABLE}{key:016x}"));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let Some(spool) = Self::hold(folder)? else { return Self::folder(parent) };
        // Held first: whatever the clock says by now, what is asked for is not swept.
        sweep_quietly(parent);
        Ok(spool)
    }

    /// A path for a file called `name` in a fresh folder.
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

    /// Locks a folder; `None` when another process has it, or swept it just now.
    fn hold(folder: PathBuf) -> io::Result<Option<Self>> {
        let Some(lock) = lock(&folder)? else { return Ok(None) };
        Ok(Some(Self { path: folder.clone(), folder, stays: false, _lock: lock }))
    }

    /// The folder, or the file in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for the same command to go on with.
    pub fn leave(mut self) {
        self.stays = true;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.stays && !mark(&self.folder).exists() {
            // It may be gone already, by `remove` with files.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Keeps the folder below `parent` that `path` lies in, whatever becomes of the process that made it. Nothing happens when `path` is
/// somebody's own file.
///
/// # Errors
/// The system's.
pub fn adopt(parent: &Path, path: &Path) -> io::Result<()> {
    match folder_of(parent, path) {
        Some(folder) => File::create(mark(folder)).map(drop),
        None => Ok(()),
    }
}

/// The folder below `parent` that was kept for `path`, which lies in it; `None` when `path` is somebody's own file.
pub fn kept(parent: &Path, path: &Path) -> Option<PathBuf> {
    folder_of(parent, path).filter(|folder| mark(folder).exists()).map(Path::to_owned)
}

fn folder_of<'a>(parent: &Path, path: &'a Path) -> Option<&'a Path> {
    let folder = path.parent()?;
    let is_below = folder.parent()?.canonicalize().ok()? == parent.canonicalize().ok()?;
    is_below.then_some(folder)
}

/// Deletes a folder that was kept.
///
/// # Errors
/// The system's.
pub fn release(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)?;
    fs::remove_file(mark(folder))
}

/// Deletes what killed processes left below `parent`.
///
/// # Errors
/// The system's.
pub fn sweep(parent: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == MARK) {
            if !path.with_extension("").exists() {
                fs::remove_file(path)?;
            }
            continue;
        }
        if mark(&path).exists() || is_resumable(&path) {
            continue;
        }
        if let Ok(Some(_lock)) = lock(&path) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Marks a folder that stays, beside it: what is in it belongs to whoever uses it.
const MARK: &str = "kept";

fn mark(folder: &Path) -> PathBuf {
    folder.with_extension(MARK)
}

fn is_resumable(folder: &Path) -> bool {
    let named =
        folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(RESUMABLE.as_bytes()));
    named && !is_older(folder, RESUMABLE_KEPT)
}

/// What is left over is no reason not to go on.
fn sweep_quietly(parent: &Path) {
    if let Err(error) = sweep(parent) {
        tracing::debug!(%error, "not everything was swept");
    }
}

/// The lock of a folder; `None` when another process has it, or when the folder is not there any more.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let file = match File::open(folder) {
        Err(error) if gone(&error) => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let ours = file.metadata()?;
    let named =
        fs::metadata(folder).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
    Ok(named.then_some(file))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn it_is_gone_unless_it_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::file(parent.path(), "a").unwrap();
        fs::write(spool.path(), "x").unwrap();
        drop(spool);
        assert_eq!(count(parent.path()), 0);
        let spool = Spool::file(parent.path(), "a").unwrap();
        let path = spool.path().to_owned();
        fs::write(&path, "x").unwrap();
        adopt(parent.path(), &path).unwrap();
        drop(spool);
        sweep(parent.path()).unwrap();
        assert!(path.exists());
        assert_eq!(kept(parent.path(), parent.path()), None);
        release(&kept(parent.path(), &path).unwrap()).unwrap();
        assert_eq!(count(parent.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join("1-abc");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("stdin"), "x").unwrap();
        let spool = Spool::folder(parent.path()).unwrap();
        assert!(!left.exists());
        sweep(parent.path()).unwrap();
        assert!(spool.path().exists());
    }

    #[test]
    fn the_same_command_finds_what_it_left() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::resumable(parent.path(), 7).unwrap();
        let other = Spool::resumable(parent.path(), 7).unwrap();
        assert_ne!(spool.path(), other.path());
        let path = spool.path().to_owned();
        fs::write(path.join("half"), "x").unwrap();
        spool.leave();
        let again = Spool::resumable(parent.path(), 7).unwrap();
        assert_eq!((again.path(), again.path().join("half").exists()), (&*path, true));
        again.leave();
        let old = SystemTime::now() - RESUMABLE_KEPT - Duration::from_secs(60);
        File::open(&path).unwrap().set_modified(old).unwrap();
        let wanted = Spool::resumable(parent.path(), 7).unwrap();
        assert!(wanted.path().join("half").exists(), "old, and asked for");
        wanted.leave();
        sweep(parent.path()).unwrap();
        assert!(!path.exists());
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
