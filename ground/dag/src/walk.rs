//! What every walk has in common: its limits, its errors, and how a block is read.

use cid::Cid;

use crate::BLOCK_LEN_MAX;
use crate::pb::{Link, Node};
use crate::unixfs::{Data, Kind, UnixFsError};
use crate::verify::Codec;

mod file;
mod listing;
mod resolve;
mod traversal;

pub use file::{Extent, FileWalk};
pub use listing::{Listed, Listing};
pub use resolve::{Resolved, ResolvedKind, Resolver};
pub use traversal::Traversal;

/// Why a tree cannot be walked. The block that was fed last is at fault, or the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// A block that was not asked for. The walk goes on as if it had not been fed.
    #[error("block was not asked for")]
    NotAsked,
    /// A block larger than any that is passed around.
    #[error("block has more than {BLOCK_LEN_MAX} bytes")]
    TooLarge,
    /// A block whose codec holds no files and directories.
    #[error("codec {0:#x} holds no files")]
    Codec(u64),
    /// A block that is no UnixFS node.
    #[error(transparent)]
    UnixFs(#[from] UnixFsError),
    /// Something else stands where a file, or a part of one, should be.
    #[error("not a file but a {0:?}")]
    NotAFile(Kind),
    /// Something else stands where a directory should be.
    #[error("not a directory but a {0:?}")]
    NotADirectory(Kind),
    /// The parts of a file are not as large as is said, or larger than any file.
    #[error("sizes do not add up")]
    Sizes,
    /// Parts of a file that have names.
    #[error("part of a file has a name")]
    NamedPart,
    /// Nodes in nodes beyond what any importer writes.
    #[error("tree is too deep")]
    TooDeep,
    /// More links have to be kept in mind than any importer writes.
    #[error("tree is too wide")]
    TooWide,
    /// An entry that climbs out of its directory, or whose name cannot be one.
    #[error("entry cannot be named {0:?}")]
    Name(String),
    /// A part of a sharded directory that is not what it must be.
    #[error("sharded directory is malformed: {0}")]
    Shard(&'static str),
    /// A path that leads out of where it begins.
    #[error("path climbs above its beginning")]
    Climbs,
    /// No entry of that name.
    #[error("no entry named {0:?}")]
    NotFound(String),
    /// A block of IPLD data that is malformed.
    #[error("not {codec:?}: {why}")]
    Ipld {
        /// What it should be.
        codec: Codec,
        /// What is wrong.
        why: String,
    },
}

/// The block that a walk waits for has come.
fn expect(wanted: Option<&Cid>, cid: &Cid, block: &[u8]) -> Result<(), WalkError> {
    if wanted != Some(cid) {
        return Err(WalkError::NotAsked);
    }
    if block.len() > BLOCK_LEN_MAX {
        return Err(WalkError::TooLarge);
    }
    Ok(())
}

/// A block, read.
enum Parsed<'a> {
    /// Bytes of a file.
    Raw(&'a [u8]),
    /// A node.
    Node(Vec<Link<'a>>, Data<'a>),
}

fn parse<'a>(cid: &Cid, block: &'a [u8]) -> Result<Parsed<'a>, WalkError> {
    match Codec::of(cid) {
        Ok(Codec::Raw) => Ok(Parsed::Raw(block)),
        Ok(Codec::DagPb) => {
            let node = Node::decode(block).map_err(UnixFsError::from)?;
            let data = Data::of(&node)?;
            Ok(Parsed::Node(node.links, data))
        }
        _ => Err(WalkError::Codec(cid.codec())),
    }
}

#[cfg(test)]
mod tests;
