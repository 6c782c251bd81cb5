//! Paths inside content that can never leave its folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes in the longest name that file systems take.
const NAME_MAX: usize = 255;

/// A relative path whose every component is a plain name: not empty, not `.` or `..`, without `/` or
/// NUL, at most 255 bytes. It can only be built checked, so nothing below re-checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(PathBuf);

/// Why a path was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// No components at all.
    #[error("path has no components")]
    Empty,
    /// A component that is not a plain name.
    #[error("path component {component:?} {why}")]
    Component {
        /// The component, as text with foreign bytes replaced.
        component: String,
        /// What is wrong with it, as a predicate: "is empty", "climbs out of the folder".
        why: &'static str,
    },
}

impl RelPath {
    /// Checks raw components. Bytes are kept as they are on Unix (names need not be UTF-8).
    ///
    /// # Errors
    /// [`PathError`] names the first component that is not a plain name.
    pub fn from_components<I>(components: I) -> Result<Self, PathError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut path = PathBuf::new();
        for component in components {
            let name = component.as_ref();
            if let Some(why) = fault_of(name) {
                let shown = &name[..name.len().min(NAME_MAX)];
                return Err(PathError::Component {
                    component: String::from_utf8_lossy(shown).into_owned(),
                    why,
                });
            }
            path.push(OsStr::from_bytes(name));
        }
        if path.as_os_str().is_empty() {
            return Err(PathError::Empty);
        }
        Ok(Self(path))
    }

    /// The path, relative to the folder of the content.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The components as raw bytes.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.as_os_str().as_bytes().split(|&byte| byte == b'/')
    }

    /// This path below another.
    pub fn below(&self, folder: &RelPath) -> Self {
        Self(folder.0.join(&self.0))
    }
}

/// What keeps `name` from being a plain name.
fn fault_of(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("is empty"),
        b"." => Some("names the folder itself"),
        b".." => Some("climbs out of the folder"),
        _ if name.contains(&b'/') => Some("contains a slash"),
        _ if name.contains(&0) => Some("contains a NUL byte"),
        _ if name.len() > NAME_MAX => Some("is longer than 255 bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(components: &[&[u8]]) -> &'static str {
        match RelPath::from_components(components) {
            Err(PathError::Component { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_names_are_kept_byte_for_byte() {
        let path = RelPath::from_components([b"a b".as_slice(), b"\xff\xfe", b"...", b"-rf"]).unwrap();
        assert_eq!(path.as_path().as_os_str().as_bytes(), b"a b/\xff\xfe/.../-rf");
        assert_eq!(path.components().nth(1), Some(b"\xff\xfe".as_slice()));
    }

    #[test]
    fn what_could_leave_the_folder_is_refused() {
        assert_eq!(RelPath::from_components::<[&[u8]; 0]>([]), Err(PathError::Empty));
        assert_eq!(why(&[b"a", b""]), "is empty");
        assert_eq!(why(&[b"."]), "names the folder itself");
        assert_eq!(why(&[b"a", b".."]), "climbs out of the folder");
        assert_eq!(why(&[b"/etc"]), "contains a slash");
        assert_eq!(why(&[b"a\0b"]), "contains a NUL byte");
        assert_eq!(why(&[&[b'x'; 256]]), "is longer than 255 bytes");
        assert!(RelPath::from_components([[b'x'; 255]]).is_ok());
    }

    proptest! {
        /// Whatever was accepted stays below the folder it is joined to, component by component.
        #[test]
        fn accepted_paths_round_trip(components in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..5)) {
            if let Ok(path) = RelPath::from_components(&components) {
                prop_assert!(path.components().eq(components.iter().map(Vec::as_slice)));
                prop_assert!(path.as_path().components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
