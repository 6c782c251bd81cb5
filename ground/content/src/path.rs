//! Paths inside content that can never leave its folder.

use std::path::Path;

/// A relative path whose every component is a plain name: not empty, not `.` or `..`, without `/` or
/// NUL, at most 255 bytes. It can only be built checked, so nothing below re-checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(std::path::PathBuf);

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
    pub fn from_components<I>(_components: I) -> Result<Self, PathError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        todo!()
    }

    /// The path, relative to the folder of the content.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The components as raw bytes.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty::<&[u8]>()
    }
}
