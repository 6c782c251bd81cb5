//! The DAG by which IPFS names files that are shared, and what is kept of it.
//!
//! Its leaves lie in the files. What stands above them follows from the digests of the leaves alone, so these are all that is kept of a
//! content: 32 bytes a leaf. All else can be made again from them.

use peerage_content::{Entry, EntryKind, Hash32, Layout, RelPath};
use peerage_dag::directory::{BuildError, symlink};
use peerage_dag::unixfs::Metadata;
use peerage_dag::{Built, Cid, Profile, Tree, file};
use sha2::{Digest, Sha256};

use crate::Leaf;

/// The names of a content in IPFS, and the blocks that stand above its leaves.
#[derive(Clone, Debug)]
pub struct Dag {
    /// The file or folder itself, as other programs would name it.
    pub content: Cid,
    /// A folder that holds a single file under its name; of a folder, the folder itself.
    pub root: Cid,
    /// The blocks that do not lie in files, each before those that link to it.
    pub nodes: Vec<(Cid, Vec<u8>)>,
    /// The roots of the files, by entry.
    pub files: Vec<(Cid, u32)>,
}

/// The digests of the leaves of all files of a layout, under a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafSet {
    /// How files are cut.
    pub profile: Profile,
    /// By entry, as `peerage_content::hash` gives them.
    pub leaves: Vec<Box<[Hash32]>>,
}

/// Why a kept [`LeafSet`] is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeafSetError {
    /// Bytes that were written by something else, or damaged.
    #[error("the kept leaves are damaged")]
    Damaged,
    /// More or fewer leaves than the files have.
    #[error("the kept leaves are of other files")]
    OtherFiles,
}

/// What a kept set begins with.
const HEAD: &str = "peerage leaves 1 ";

impl LeafSet {
    /// Builds what stands above the leaves. `single`: the layout is of one file, not of a folder.
    ///
    /// # Errors
    /// [`BuildError`]: a folder of these names cannot be.
    ///
    /// # Panics
    /// If the leaves are not those of the layout's files.
    pub fn build(&self, layout: &Layout, single: bool) -> Result<Dag, BuildError> {
        let (mut nodes, mut files) = (Vec::new(), Vec::new());
        let mut sink = |cid, block| nodes.push((cid, block));
        let mut tree = Tree::new();
        let mut last = None;
        for (index, (entry, leaves)) in (0..).zip(layout.entries().iter().zip(&self.leaves)) {
            let built = match &entry.kind {
                EntryKind::File { .. } => {
                    let built = self.file(entry, leaves, &mut sink);
                    files.push((built.cid, index));
                    built
                }
                EntryKind::Symlink { target } => {
                    symlink(&self.profile, &from_link(&entry.path, target), &Metadata::NONE, &mut sink)
                }
                EntryKind::Pad => continue,
            };
            tree.add(entry.path.components(), &built)?;
            last = Some(built.cid);
        }
        let root = tree.build(&self.profile, &mut sink)?.cid;
        let content = last.filter(|_| single).unwrap_or(root);
        Ok(Dag { content, root, nodes, files })
    }

    fn file(&self, entry: &Entry, leaves: &[Hash32], sink: &mut dyn FnMut(Cid, Vec<u8>)) -> Built {
        if entry.length == 0 {
            let frame = self.profile.leaf_frame(0);
            let block = [frame.prefix, frame.suffix].concat();
            let leaf = Sha256::digest(&block).into();
            sink(self.profile.leaf_cid(&leaf), block);
            return file::build(&self.profile, 0, &[leaf], sink);
        }
        file::build(&self.profile, entry.length, leaves, sink)
    }

    /// Whether the file at an entry is one leaf and nothing more.
    pub(crate) fn is_leaf(&self, entry: u32) -> bool {
        self.leaves.get(entry as usize).is_some_and(|leaves| leaves.len() == 1)
    }

    /// The leaves that lie in files, with their places.
    pub fn places(&self) -> impl Iterator<Item = (Cid, Leaf)> + '_ {
        (0..).zip(&self.leaves).flat_map(move |(entry, leaves)| {
            let place = move |(number, digest)| (self.profile.leaf_cid(digest), Leaf { entry, number });
            (0..).zip(leaves).map(place)
        })
    }

    /// As it is kept: a line with the profile, the digests, and a digest over it all.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{HEAD}{}\n", self.profile).into_bytes();
        self.leaves.iter().flatten().for_each(|leaf| bytes.extend_from_slice(leaf));
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Reads what [`LeafSet::to_bytes`] wrote for the same layout.
    ///
    /// # Errors
    /// [`LeafSetError`].
    pub fn parse(bytes: &[u8], layout: &Layout) -> Result<Self, LeafSetError> {
        let (rest, check) = bytes.split_last_chunk::<32>().ok_or(LeafSetError::Damaged)?;
        if Sha256::digest(rest)[..] != check[..] {
            return Err(LeafSetError::Damaged);
        }
        let line = rest.iter().position(|&byte| byte == b'\n').ok_or(LeafSetError::Damaged)?;
        let (line, digests) = rest.split_at(line);
        let text = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(HEAD));
        let profile: Profile = text.and_then(|text| text.parse().ok()).ok_or(LeafSetError::Damaged)?;
        let (digests, []) = digests[1..].as_chunks::<32>() else { return Err(LeafSetError::Damaged) };
        let mut digests = digests;
        let chunk = u64::from(profile.chunk_size());
        let mut leaves = Vec::with_capacity(layout.entries().len());
        for entry in layout.entries() {
            let count = match entry.kind {
                EntryKind::File { .. } => entry.length.div_ceil(chunk),
                EntryKind::Pad | EntryKind::Symlink { .. } => 0,
            };
            let count = usize::try_from(count).map_err(|_| LeafSetError::OtherFiles)?;
            leaves.push(digests.split_off(..count).ok_or(LeafSetError::OtherFiles)?.into());
        }
        if !digests.is_empty() {
            return Err(LeafSetError::OtherFiles);
        }
        Ok(Self { profile, leaves })
    }
}

/// The target of a link as the link itself says it: from the folder that it lies in.
fn from_link(link: &RelPath, target: &RelPath) -> Vec<u8> {
    let folder: Vec<_> = link.components().collect();
    let folder = folder.split_last().map_or(&[][..], |(_, folder)| folder);
    let target: Vec<_> = target.components().collect();
    let common = folder.iter().zip(&target).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n(&b".."[..], folder.len() - common);
    let steps: Vec<_> = up.chain(target[common..].iter().copied()).collect();
    if steps.is_empty() { b".".to_vec() } else { steps.join(&b'/') }
}
