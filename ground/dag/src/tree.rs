//! Folders in folders, from paths.

use std::collections::BTreeMap;

use crate::directory::{self, BuildError, Entry, is_name, shown};
use crate::file::{Built, Sink};
use crate::profile::Profile;
use crate::unixfs::Metadata;

/// Folders that may lie in each other. Paths of the system have fewer components.
const DEPTH_MAX: usize = 512;

/// A folder that is being gathered: files in any order, then all its directories at once, the innermost first.
///
/// About 100 bytes and the name are kept of each file.
#[derive(Debug, Default)]
pub struct Tree {
    entries: Vec<Entry>,
    folders: BTreeMap<Box<[u8]>, Tree>,
    metadata: Metadata,
}

impl Tree {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, a symbolic link, or anything else that was built, by the components of its path.
    ///
    /// # Errors
    /// [`BuildError`] if a component cannot be a name, or the path is too deep.
    pub fn add<P>(&mut self, path: P, built: &Built) -> Result<(), BuildError>
    where
        P: IntoIterator,
        P::Item: AsRef<[u8]>,
    {
        let mut path = path.into_iter();
        let mut name = path.next().ok_or_else(|| BuildError::Name(String::new()))?;
        let mut folder = self;
        let mut depth = 0;
        for next in path {
            folder = folder.folder(name.as_ref(), &mut depth)?;
            name = next;
        }
        folder.entries.push(Entry::new(name.as_ref(), &built.cid, built.tsize)?);
        Ok(())
    }

    /// Adds a folder, which may stay empty, by the components of its path; none is the whole.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_folder<P>(&mut self, path: P, metadata: Metadata) -> Result<(), BuildError>
    where
        P: IntoIterator,
        P::Item: AsRef<[u8]>,
    {
        let mut folder = self;
        let mut depth = 0;
        for name in path {
            folder = folder.folder(name.as_ref(), &mut depth)?;
        }
        folder.metadata = metadata;
        Ok(())
    }

    /// Builds all directories.
    ///
    /// # Errors
    /// [`BuildError::Duplicate`] if a name was added twice, or [`BuildError::Collision`].
    pub fn build(mut self, profile: &Profile, sink: Sink<'_>) -> Result<Built, BuildError> {
        while let Some((name, folder)) = self.folders.pop_first() {
            let built = folder.build(profile, sink)?;
            self.entries.push(Entry::new(&name, &built.cid, built.tsize)?);
        }
        directory::build(profile, &mut self.entries, &self.metadata, sink)
    }

    fn folder(&mut self, name: &[u8], depth: &mut usize) -> Result<&mut Self, BuildError> {
        *depth += 1;
        if *depth > DEPTH_MAX {
            return Err(BuildError::TooDeep(DEPTH_MAX));
        }
        if !is_name(name) {
            return Err(BuildError::Name(shown(name)));
        }
        Ok(self.folders.entry(name.into()).or_default())
    }
}

#[cfg(test)]
mod tests;
