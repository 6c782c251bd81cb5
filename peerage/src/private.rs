//! Folders and files for this user alone: what Peerage remembers tells what its user shares and fetches.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Write bits of everybody but the owner.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Creates a folder that only this user may enter, with those above it. One that exists already is left as readable as its owner made it,
/// but others may not write there: whoever can, could replace the token or a record.
///
/// # Errors
/// The system's; `PermissionDenied` when others may write there and it belongs to another user.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = fs::metadata(path)?;
    if found.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        let why = "other users may write there, and it is not yours";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(found.mode() & 0o7777 & !WRITABLE_BY_OTHERS))
}

/// Replaces a file so that a reader, and a crash at any moment, find the old bytes or the new ones.
///
/// # Errors
/// The system's; the old file is there still.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(beside)?;
        file.write_all(bytes)?;
        // Without it the name may reach the disk before the bytes do.
        file.sync_all()?;
        fs::rename(beside, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().inspect_err(|_| {
        // What was begun is of no use; it may never have been created.
        let _ = fs::remove_file(beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_new_folder_and_its_files_are_for_this_user_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        create_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&parent.path().join("a"))), (0o700, 0o700));
        replace(&folder.join("x"), b"one").unwrap();
        replace(&folder.join("x"), b"two").unwrap();
        assert_eq!((mode(&folder.join("x")), &*fs::read(folder.join("x")).unwrap()), (0o600, &b"two"[..]));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn others_may_not_write_into_a_folder_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        for (before, after) in [(0o777, 0o755), (0o775, 0o755), (0o755, 0o755), (0o750, 0o750)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(before)).unwrap();
            create_folder(folder.path()).unwrap();
            assert_eq!(mode(folder.path()), after, "{before:o}");
        }
    }
}
