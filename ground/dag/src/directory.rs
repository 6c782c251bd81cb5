//! Directories from their entries: in one block, or sharded when that would grow too large. Symbolic links.

use std::fmt;

use cid::Cid;

use crate::file::{Built, Sink, emit};
use crate::hamt;
use crate::pb::{self, NodeWriter};
use crate::profile::{Profile, Threshold};
use crate::proto;
use crate::unixfs::{Data, Kind, Metadata};

/// A name in a directory and what it names. Small, since a directory may have a hundred thousand.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The CID's bytes, then the name's.
    bytes: Box<[u8]>,
    cid_len: u8,
    tsize: u64,
}

/// Why no directory can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A name that no entry can have.
    #[error("{0:?} cannot be the name of an entry")]
    Name(String),
    /// A name twice.
    #[error("two entries are named {0:?}")]
    Duplicate(String),
    /// Names made to collide: the hash of a name has too few bits to tell them apart.
    #[error("the names {0:?} and {1:?} have the same hash")]
    Collision(String, String),
    /// Folders in folders beyond reason.
    #[error("folders are more than {0} deep")]
    TooDeep(usize),
}

impl Entry {
    /// An entry.
    ///
    /// # Errors
    /// [`BuildError::Name`] if it is empty, `.` or `..`, or holds `/` or NUL.
    pub fn new(name: &[u8], cid: &Cid, tsize: u64) -> Result<Self, BuildError> {
        if !is_name(name) {
            return Err(BuildError::Name(shown(name)));
        }
        let cid = cid.to_bytes();
        // A CID has at most 84 bytes: two numbers, a hash function and 64 bytes of digest.
        let cid_len = u8::try_from(cid.len()).unwrap_or(u8::MAX);
        Ok(Self { bytes: [&cid, name].concat().into(), cid_len, tsize })
    }

    /// Its name. Not always text.
    pub fn name(&self) -> &[u8] {
        &self.bytes[usize::from(self.cid_len)..]
    }

    /// Bytes of all blocks below.
    pub fn tsize(&self) -> u64 {
        self.tsize
    }

    pub(crate) fn cid_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.cid_len)]
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cid = Cid::try_from(self.cid_bytes());
        f.debug_tuple("Entry").field(&shown(self.name())).field(&cid).field(&self.tsize).finish()
    }
}

/// Whether this can be the name of an entry: one component of a path, and not one that climbs.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Builds a directory from entries in any order, which are sorted by it: one block, or shards if the profile finds that too large.
///
/// # Errors
/// [`BuildError::Duplicate`], or [`BuildError::Collision`] if names were made to break sharding.
pub fn build(
    profile: &Profile,
    entries: &mut [Entry],
    metadata: &Metadata,
    sink: Sink<'_>,
) -> Result<Built, BuildError> {
    entries.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
        return Err(BuildError::Duplicate(shown(pair[0].name())));
    }
    let data = Data { metadata: *metadata, ..Data::new(Kind::Directory) };
    if is_too_large(profile, entries, &data) {
        return hamt::build(profile, entries, metadata, sink);
    }
    let mut writer = NodeWriter::default();
    for entry in entries.iter() {
        writer.link(entry.cid_bytes(), [entry.name()], entry.tsize);
    }
    Ok(emit(profile, writer, &data, sink))
}

/// Builds a symbolic link.
pub fn symlink(profile: &Profile, target: &[u8], metadata: &Metadata, sink: Sink<'_>) -> Built {
    let data = Data { data: Some(target), metadata: *metadata, ..Data::new(Kind::Symlink) };
    emit(profile, NodeWriter::default(), &data, sink)
}

/// A directory exactly at the threshold stays whole, and so does an empty one.
fn is_too_large(profile: &Profile, entries: &[Entry], data: &Data<'_>) -> bool {
    if entries.is_empty() {
        return false;
    }
    let (measure, threshold) = profile.threshold();
    let bytes: usize = match measure {
        Threshold::BlockBytes => {
            let links = entries
                .iter()
                .map(|entry| pb::link_len(entry.cid_bytes().len(), entry.name().len(), entry.tsize));
            links.sum::<usize>() + proto::bytes_len(data.encode().len())
        }
        Threshold::LinksBytes => entries.iter().map(|entry| entry.bytes.len()).sum(),
    };
    bytes as u64 > threshold
}

/// A name for people.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
