//! The tree above the leaves of a file.

use cid::Cid;
use sha2::{Digest, Sha256};

use crate::pb::NodeWriter;
use crate::profile::Profile;
use crate::unixfs::{Data, Kind, Metadata};

/// What was built: the root of a tree, and what its directory says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// The root.
    pub cid: Cid,
    /// Bytes of all its blocks, one of them as often as it is linked.
    pub tsize: u64,
    /// Bytes of the file; of a directory, none.
    pub size: u64,
}

/// Takes blocks as they are built, the root last.
pub type Sink<'a> = &'a mut dyn FnMut(Cid, Vec<u8>);

/// Builds the nodes above the leaves of a file of `length` bytes, in the balanced layout: all leaves are as deep, all nodes but the last
/// of each level are full. A file of one leaf is that leaf, and has nothing above it.
///
/// `leaves` are the SHA2-256 digests of its chunks in their [frames](Profile::leaf_frame).
///
/// # Panics
/// If there are not [as many leaves](Profile::leaf_count) as a file of that length has.
pub fn build(profile: &Profile, length: u64, leaves: &[[u8; 32]], sink: Sink<'_>) -> Built {
    build_with(profile, length, leaves, &Metadata::NONE, sink)
}

/// As [`build`], for a file that keeps its mode or time. They stand in its root; an only leaf is
/// [framed](Profile::only_leaf_frame) with them.
///
/// # Panics
/// As [`build`].
pub fn build_with(
    profile: &Profile,
    length: u64,
    leaves: &[[u8; 32]],
    metadata: &Metadata,
    sink: Sink<'_>,
) -> Built {
    assert_eq!(leaves.len() as u64, profile.leaf_count(length), "leaves of a file of {length} bytes");
    if let [leaf] = leaves {
        return only_leaf(profile, length, leaf, metadata);
    }
    let mut level = lowest_level(profile, length, leaves, metadata, sink);
    while level.len() > 1 {
        let metadata = root_metadata(profile, level.len(), metadata);
        level = level
            .chunks(profile.width())
            .map(|children| parent(profile, children, |digest| profile.node_cid(digest), metadata, sink))
            .collect();
    }
    let root = &level[0];
    Built { cid: profile.node_cid(&root.digest), tsize: root.tsize, size: length }
}

/// A node of the level that is being built, or a leaf.
struct Child {
    digest: [u8; 32],
    tsize: u64,
    size: u64,
}

fn only_leaf(profile: &Profile, length: u64, leaf: &[u8; 32], metadata: &Metadata) -> Built {
    // The file is not longer than a chunk.
    let chunk = u32::try_from(length).unwrap_or(u32::MAX);
    let cid = if *metadata == Metadata::NONE { profile.leaf_cid(leaf) } else { profile.node_cid(leaf) };
    Built { cid, tsize: profile.only_leaf_frame(chunk, metadata).leaf_len(chunk), size: length }
}

/// The nodes right above the leaves. Leaves are digests alone until they are linked: a file may have millions.
fn lowest_level(
    profile: &Profile,
    length: u64,
    leaves: &[[u8; 32]],
    metadata: &Metadata,
    sink: Sink<'_>,
) -> Vec<Child> {
    let metadata = root_metadata(profile, leaves.len(), metadata);
    let chunk = u64::from(profile.chunk_size());
    let full = profile.leaf_len(profile.chunk_size());
    let mut rest = length;
    let mut child = |digest: &[u8; 32]| {
        let size = rest.min(chunk);
        rest -= size;
        // Not longer than a chunk.
        let tsize =
            if size == chunk { full } else { profile.leaf_len(u32::try_from(size).unwrap_or(u32::MAX)) };
        Child { digest: *digest, tsize, size }
    };
    leaves
        .chunks(profile.width())
        .map(|group| {
            let children: Vec<_> = group.iter().map(&mut child).collect();
            parent(profile, &children, |digest| profile.leaf_cid(digest), metadata, sink)
        })
        .collect()
}

/// What the parents of so many nodes keep beside bytes: only the root keeps anything.
fn root_metadata<'a>(profile: &Profile, children: usize, metadata: &'a Metadata) -> &'a Metadata {
    if children <= profile.width() { metadata } else { &Metadata::NONE }
}

fn parent(
    profile: &Profile,
    children: &[Child],
    cid_of: impl Fn(&[u8; 32]) -> Cid,
    metadata: &Metadata,
    sink: Sink<'_>,
) -> Child {
    let mut writer = NodeWriter::default();
    for child in children {
        writer.link(&cid_of(&child.digest).to_bytes(), [], child.tsize);
    }
    let size = children.iter().map(|child| child.size).sum();
    let data = Data {
        filesize: Some(size),
        blocksizes: children.iter().map(|child| child.size).collect(),
        metadata: *metadata,
        ..Data::new(Kind::File)
    };
    let (block, tsize) = writer.finish(&data.encode());
    let digest = Sha256::digest(&block).into();
    sink(profile.node_cid(&digest), block);
    Child { digest, tsize, size }
}

/// A dag-pb node as a block of its own.
pub(crate) fn emit(profile: &Profile, writer: NodeWriter, data: &Data<'_>, sink: Sink<'_>) -> Built {
    let (block, tsize) = writer.finish(&data.encode());
    let cid = profile.node_cid(&Sha256::digest(&block).into());
    sink(cid, block);
    Built { cid, tsize, size: 0 }
}

#[cfg(test)]
mod tests;
