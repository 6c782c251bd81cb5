//! Deleting a download: its files, and folders that are empty then. Nothing else, and nothing outside its folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Store;
use crate::{EntryKind, StorageError, platform};

impl Store {
    /// Deletes the files and links of a download and the folders that are empty then. Content that is shared in place is left alone.
    ///
    /// # Errors
    /// The first failure; what can be deleted is deleted all the same.
    pub fn delete(&self) -> Result<(), StorageError> {
        if !self.is_download() {
            return Ok(());
        }
        self.close();
        let folder = self.base_folder()?;
        let mut first_error = Ok(());
        let mut folders = BTreeSet::new();
        let mut remove = |path: &Path, flags: AtFlags| {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
            let removed = platform::open_folder_to_sync(&*folder, parent)
                .and_then(|parent| rustix::fs::unlinkat(parent, name, flags));
            match removed {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(errno) if first_error.is_ok() => {
                    first_error = Err(StorageError::new("delete", path, errno));
                }
                Err(_) => {}
            }
        };
        for (index, entry) in self.layout.entries().iter().enumerate() {
            if entry.kind != EntryKind::Pad {
                let path = self.path_below(index);
                remove(&path, AtFlags::empty());
                folders.extend(path.ancestors().skip(1).map(Path::to_owned));
            }
        }
        folders.remove(&PathBuf::new());
        // Descending order: what lies in a folder comes before it.
        folders.iter().rev().for_each(|folder| remove(folder, AtFlags::REMOVEDIR));
        first_error
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        Alignment, Entry, EntryKind, FilePool, Layout, PieceSet, Place, Preallocation, RelPath, Store,
    };

    #[test]
    fn only_its_own_files_and_empty_folders_go() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |path: &[&str]| Entry {
            path: RelPath::from_components(path).unwrap(),
            length: 3,
            kind: EntryKind::File { executable: false },
            offset: 0,
        };
        let entries = vec![entry(&["a", "b", "one"]), entry(&["a", "two"]), entry(&["gone"])];
        let layout = Arc::new(Layout::new(entries, 16 << 10, Alignment::Stream).unwrap());
        let top = folder.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        for file in ["a/b/one", "a/two", "a/foreign"] {
            std::fs::write(top.join(file), "abc").unwrap();
        }
        let place = Place::Download {
            folder: folder.path().to_owned(),
            root: Some(RelPath::from_components(["top"]).unwrap()),
            preallocation: Preallocation::Sparse,
        };
        let store = Store::new(layout, place, FilePool::new(4), PieceSet::full(1), Vec::new());
        store.delete().unwrap();
        assert!(!top.join("a/b").exists() && !top.join("a/two").exists());
        assert!(top.join("a/foreign").exists());
    }
}
