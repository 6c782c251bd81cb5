//! Opening the files of a store, below its folder and nowhere else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Place, Store};
use crate::files::{FileKey, OpenFile};
use crate::{EntryKind, StorageError, platform};

/// What a store's files are opened from.
pub(super) enum Base {
    /// A folder; entries lie below it.
    Folder(Arc<OpenFile>),
    /// The user's path is the file itself.
    SingleFile,
}

/// Why a file could not be opened for reading.
pub(super) enum OpenError {
    /// The folder is there, the file is not.
    Missing,
    /// The folder is gone, or the system said no.
    Storage(StorageError),
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl Store {
    /// The absolute path of an entry (as absolute as the place is).
    pub fn path_of(&self, entry: usize) -> PathBuf {
        let below = self.path_below(entry);
        match &self.place {
            Place::InPlace(path) if self.is_single_file() => path.clone(),
            Place::InPlace(path) => path.join(below),
            Place::Download { folder, .. } => folder.join(below),
        }
    }

    /// The path of an entry below [`Base::Folder`].
    pub(super) fn path_below(&self, entry: usize) -> PathBuf {
        let path = self.layout.entries().get(entry).map_or(Path::new(""), |entry| entry.path.as_path());
        match &self.place {
            Place::Download { root: Some(root), .. } => root.as_path().join(path),
            _ => path.to_owned(),
        }
    }

    /// The folder named by the user, or the file.
    fn base_path(&self) -> &Path {
        match &self.place {
            Place::InPlace(path) | Place::Download { folder: path, .. } => path,
        }
    }

    /// Whether the user's path is the one file itself. Content of one file may also be a folder with one file in it;
    /// only the disk knows.
    fn is_single_file(&self) -> bool {
        let Place::InPlace(path) = &self.place else { return false };
        let is_file = |kind: &EntryKind| matches!(kind, EntryKind::File { .. });
        *self.is_single.get_or_init(|| {
            let mut files = self.layout.entries().iter().filter(|entry| is_file(&entry.kind));
            match (files.next(), files.next()) {
                (Some(file), None) => match std::fs::metadata(path) {
                    Ok(found) => !found.is_dir(),
                    // Gone for now: its name decides.
                    Err(_) => path.file_name() == Some(file.path.as_path().as_os_str()),
                },
                _ => false,
            }
        })
    }

    /// Whether what is not found is gone, and not merely on a disk that is not mounted: of a file that the user named, the folder must
    /// be there. The folder of everything else was opened before anything was looked for in it.
    pub(super) fn has_folder(&self) -> bool {
        let parent = self.base_path().parent().filter(|parent| !parent.as_os_str().is_empty());
        !self.is_single_file() || parent.is_none_or(Path::is_dir)
    }

    /// The folder, opened anew if the pool has closed it.
    pub(super) fn base(&self) -> Result<Base, StorageError> {
        if self.is_single_file() {
            return Ok(Base::SingleFile);
        }
        let key = self.key(FileKey::FOLDER);
        if let Some(folder) = self.files.get(key, false) {
            return Ok(Base::Folder(folder));
        }
        let folder = platform::open_folder(self.base_path())
            .map_err(|errno| StorageError::new("open folder", self.base_path(), errno))?;
        let folder = OpenFile::new(folder, false);
        self.files.insert(key, &folder);
        Ok(Base::Folder(folder))
    }

    /// The folder of a download, which is never a single file.
    pub(super) fn base_folder(&self) -> Result<Arc<OpenFile>, StorageError> {
        match self.base()? {
            Base::Folder(folder) => Ok(folder),
            Base::SingleFile => Err(StorageError::new("open folder", self.base_path(), Errno::NOTDIR)),
        }
    }

    /// After something was not found: whether the folder itself is still at its path. A folder that was removed while it was
    /// open, and perhaps made anew, is forgotten here, so that the next attempt sees the new one.
    pub(super) fn refresh_base(&self) -> Result<Base, StorageError> {
        self.files.remove(self.key(FileKey::FOLDER));
        self.base()
    }

    /// An entry's file, open for reading at least. Whether it is unchanged is for the caller to check.
    pub(super) fn open_read(&self, entry: usize) -> Result<Arc<OpenFile>, OpenError> {
        let key = self.key(entry);
        if let Some(file) = self.files.get(key, false) {
            return Ok(file);
        }
        let open = |base: &Base| match base {
            Base::Folder(folder) => platform::open_read(&**folder, &self.path_below(entry)),
            Base::SingleFile => platform::open_file(self.base_path()),
        };
        let base = self.base()?;
        let opened = match open(&base) {
            Err(Errno::NOENT) if matches!(base, Base::Folder(_)) => open(&self.refresh_base()?),
            opened => opened,
        };
        let file = match opened {
            Ok(file) => OpenFile::new(file, false),
            Err(Errno::NOENT | Errno::NOTDIR) if self.has_folder() => return Err(OpenError::Missing),
            Err(errno) => return Err(self.open_error("open", entry, errno).into()),
        };
        self.files.insert(key, &file);
        Ok(file)
    }

    /// An error of opening an entry, told in words where the system's are not plain.
    pub(super) fn open_error(&self, attempt: &'static str, entry: usize, errno: Errno) -> StorageError {
        let source = match errno {
            Errno::LOOP => {
                std::io::Error::other("a symbolic link is in the way, and none is followed inside content")
            }
            errno => errno.into(),
        };
        self.error(attempt, entry, source)
    }
}
