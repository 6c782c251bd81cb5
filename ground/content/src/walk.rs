//! Listing a file or folder that is to be shared.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::{Entry, EntryKind, RelPath, StorageError};

/// What lies at a path.
#[derive(Debug)]
pub struct Walked {
    /// Whether it is a single file.
    pub single: bool,
    /// Files and links, in the order of a v2 file tree (bytewise by component); offsets are 0.
    pub entries: Vec<Entry>,
    /// What was passed over, with the reason (sockets, links that lead out of the folder).
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Lists a file or folder. Links inside the folder become [`crate::EntryKind::Symlink`]; those that lead out are skipped. Hidden files are included.
///
/// # Errors
/// [`StorageError`] for what cannot be read: sharing half a folder silently would be a lie.
pub fn walk(path: &Path) -> Result<Walked, StorageError> {
    let fail = |source| StorageError::new("look at", path, source);
    let metadata = fs::metadata(path).map_err(fail)?;
    let mut walked = Walked { single: !metadata.is_dir(), entries: Vec::new(), skipped: Vec::new() };
    if metadata.is_dir() {
        walked.folder(path, &mut Vec::new())?;
    } else if metadata.is_file() {
        let name = match path.file_name() {
            Some(name) => name.to_owned(),
            None => fs::canonicalize(path).map_err(fail)?.file_name().unwrap_or_default().to_owned(),
        };
        let path_below =
            RelPath::from_components([name.as_bytes()]).map_err(|error| fail(io::Error::other(error)))?;
        walked.entries.push(file(path_below, &metadata));
    } else {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a folder")));
    }
    Ok(walked)
}

impl Walked {
    /// Lists a folder; `below` are the names that lead to it from the top.
    fn folder(&mut self, folder: &Path, below: &mut Vec<OsString>) -> Result<(), StorageError> {
        let fail = |source| StorageError::new("list", folder, source);
        let mut names = Vec::new();
        for found in fs::read_dir(folder).map_err(fail)? {
            names.push(found.map_err(fail)?.file_name());
        }
        if names.is_empty() && !below.is_empty() {
            self.skipped.push((folder.to_owned(), "is an empty folder"));
        }
        // On Unix names compare as raw bytes: the order of keys in a v2 file tree.
        names.sort_unstable();
        for name in names {
            let path = folder.join(&name);
            below.push(name);
            self.found(&path, below)?;
            below.pop();
        }
        Ok(())
    }

    fn found(&mut self, path: &Path, below: &mut Vec<OsString>) -> Result<(), StorageError> {
        let fail = |source| StorageError::new("look at", path, source);
        let metadata = fs::symlink_metadata(path).map_err(fail)?;
        if metadata.is_dir() {
            return self.folder(path, below);
        }
        let Ok(path_below) = RelPath::from_components(below.iter().map(|name| name.as_bytes())) else {
            self.skipped.push((path.to_owned(), "has a name that others cannot take"));
            return Ok(());
        };
        if metadata.is_file() {
            self.entries.push(file(path_below, &metadata));
        } else if metadata.is_symlink() {
            let text = fs::read_link(path).map_err(fail)?;
            let parent = below.split_last().map_or(&[][..], |(_, parent)| parent);
            match inside(parent, &text) {
                Ok(target) => {
                    let kind = EntryKind::Symlink { target };
                    self.entries.push(Entry { path: path_below, length: 0, kind, offset: 0 });
                }
                Err(why) => self.skipped.push((path.to_owned(), why)),
            }
        } else {
            self.skipped.push((path.to_owned(), "is not a regular file"));
        }
        Ok(())
    }
}

fn file(path: RelPath, metadata: &Metadata) -> Entry {
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Entry { path, length: metadata.len(), kind: EntryKind::File { executable }, offset: 0 }
}

/// Where a link in the folder `parent` points, as a path from the top; or why it cannot be kept.
fn inside(parent: &[OsString], text: &Path) -> Result<RelPath, &'static str> {
    let mut at: Vec<&OsStr> = parent.iter().map(OsString::as_os_str).collect();
    for component in text.components() {
        match component {
            Component::Normal(name) => at.push(name),
            Component::CurDir => {}
            Component::ParentDir if at.pop().is_some() => {}
            Component::ParentDir => return Err("is a link that leads out of the folder"),
            Component::RootDir | Component::Prefix(_) => return Err("is a link with an absolute path"),
        }
    }
    RelPath::from_components(at.iter().map(|name| name.as_bytes()))
        .map_err(|_| "is a link to the folder itself")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::fs::symlink;

    fn names(walked: &Walked) -> Vec<String> {
        walked.entries.iter().map(|entry| entry.path.as_path().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn files_come_in_the_order_of_a_v2_tree() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/z")).unwrap();
        fs::create_dir_all(dir.path().join("none")).unwrap();
        for name in ["a/z/1", "a.txt", "a-b", "B", ".hidden", "\u{e4}", "a/z.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let walked = walk(dir.path()).unwrap();
        // Bytewise by component: what is in `a` comes before `a-b`, though '-' sorts before '/'.
        assert_eq!(names(&walked), [".hidden", "B", "a/z/1", "a/z.txt", "a-b", "a.txt", "\u{e4}"]);
        assert!(!walked.single);
        assert_eq!(walked.skipped, [(dir.path().join("none"), "is an empty folder")]);
        assert_eq!(walked.entries[0].length, 7);
    }

    #[test]
    fn links_inside_are_kept_and_others_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/file"), "x").unwrap();
        for (name, text) in [
            ("a/b/up", "../file"),
            ("a/gone", "./b/../nothing"),
            ("abs", "/etc/passwd"),
            ("out", "../x"),
            ("self", "a/.."),
        ] {
            symlink(text, dir.path().join(name)).unwrap();
        }
        mknodat(CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let walked = walk(dir.path()).unwrap();
        assert_eq!(names(&walked), ["a/b/up", "a/file", "a/gone"]);
        let target = |index: usize| match &walked.entries[index].kind {
            EntryKind::Symlink { target } => target.as_path().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!((target(0), target(2)), (PathBuf::from("a/file"), PathBuf::from("a/nothing")));
        let reasons: Vec<_> = walked.skipped.iter().map(|(_, why)| *why).collect();
        assert_eq!(
            reasons,
            [
                "is a link with an absolute path",
                "is a link that leads out of the folder",
                "is not a regular file",
                "is a link to the folder itself"
            ]
        );
    }

    #[test]
    fn a_single_file_has_its_name_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(OsStr::from_bytes(b"odd\xff name"));
        fs::write(&path, "1234").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let walked = walk(&path).unwrap();
        assert!(walked.single);
        assert_eq!(walked.entries[0].path.components().next(), Some(b"odd\xff name".as_slice()));
        assert_eq!(walked.entries[0].kind, EntryKind::File { executable: true });
        assert_eq!(walked.entries[0].length, 4);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = walk(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), crate::StorageErrorKind::Vanished);
        assert!(walk(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn links_cannot_climb_out() {
        let parent = [OsString::from("a")];
        assert!(inside(&parent, Path::new("../../x")).is_err());
        assert!(inside(&parent, Path::new("..")).is_err());
        assert_eq!(inside(&parent, Path::new("../x")).unwrap().as_path(), Path::new("x"));
    }
}
