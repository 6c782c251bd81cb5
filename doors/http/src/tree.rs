//! Files and directories out of blocks.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use cid::Cid;
use hyper::StatusCode;
use peerage_dag::Codec;
use peerage_dag::pb::Node;
use peerage_dag::unixfs::{Data, Kind, Metadata};
use tokio::sync::mpsc;

use crate::Refusal;
use crate::backend::Backend;
use crate::blocks::{Blocks, Waiting, Walk};

/// Blocks above each other in a file. Nine levels of the usual width hold more bytes than can be counted.
const FILE_DEPTH_MAX: usize = 32;
/// Blocks above each other in a sharded directory: a hash of 64 bits is used up by then.
const SHARD_DEPTH_MAX: usize = 32;
/// Buckets of a shard, more of which nobody reads.
const FANOUT_MAX: u64 = 1024;

/// What a block is the root of.
#[derive(Clone, Debug)]
pub(crate) enum Entity {
    /// A file of so many bytes.
    File { length: u64, metadata: Metadata },
    /// A directory, in one block or sharded.
    Directory { metadata: Metadata },
    /// A symbolic link, and where to.
    Link(Bytes),
    /// A block of another codec.
    Other(u64),
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: Vec<u8>,
    pub(crate) cid: Cid,
    /// What is said of all bytes below, with their framing.
    pub(crate) tsize: Option<u64>,
}

impl Entity {
    /// Looks at a block.
    ///
    /// # Errors
    /// 422: malformed.
    pub(crate) fn of(cid: &Cid, block: &Bytes) -> Result<Self, Refusal> {
        match Codec::of(cid) {
            Ok(Codec::Raw) => Ok(Self::File { length: block.len() as u64, metadata: Metadata::NONE }),
            Ok(Codec::DagPb) => Self::of_node(cid, block),
            _ => Ok(Self::Other(cid.codec())),
        }
    }

    fn of_node(cid: &Cid, block: &Bytes) -> Result<Self, Refusal> {
        let node = Node::decode(block).map_err(|error| malformed(cid, error))?;
        let data = Data::of(&node).map_err(|error| malformed(cid, error))?;
        let metadata = data.metadata;
        match data.kind {
            Kind::Raw | Kind::File => {
                Ok(Self::File { length: FileNode::of(cid, &node, &data)?.length, metadata })
            }
            Kind::Directory | Kind::HamtShard => Ok(Self::Directory { metadata }),
            Kind::Symlink => Ok(Self::Link(block.slice_ref(data.data.unwrap_or_default()))),
            Kind::Metadata => Err(malformed(cid, "of a kind that nobody uses")),
        }
    }
}

/// The block is not what its codec promises.
pub(crate) fn malformed(cid: &Cid, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{cid} is malformed: {why}"))
}

/// A node of a file whose sizes add up.
struct FileNode {
    /// Bytes from here downwards.
    length: u64,
    /// Bytes in the node itself, which come first.
    own: u64,
}

impl FileNode {
    fn of(cid: &Cid, node: &Node<'_>, data: &Data<'_>) -> Result<Self, Refusal> {
        let own = data.data.unwrap_or_default().len() as u64;
        if data.blocksizes.len() != node.links.len() {
            return Err(malformed(cid, "a file with other sizes than links"));
        }
        let sum = data.blocksizes.iter().try_fold(own, |sum, size| sum.checked_add(*size));
        let length = sum.ok_or_else(|| malformed(cid, "more bytes than can be counted"))?;
        if data.filesize.is_some_and(|said| said != length) {
            return Err(malformed(cid, "its sizes do not add up"));
        }
        Ok(Self { length, own })
    }
}

/// One block of a file: bytes of its own, then what lies below.
struct FilePart {
    own: Bytes,
    below: Vec<Waiting>,
}

/// Takes a block of a file apart; what lies outside of `range` is left out.
fn file_part(waiting: &Waiting, block: &Bytes, range: &Range<u64>) -> Result<FilePart, Refusal> {
    let Waiting { cid, depth, span, .. } = waiting;
    if Codec::of(cid) == Ok(Codec::Raw) {
        check_length(cid, span, block.len() as u64)?;
        return Ok(FilePart { own: within(block, span.start, range), below: Vec::new() });
    }
    if Codec::of(cid) != Ok(Codec::DagPb) {
        return Err(malformed(cid, "it cannot be a part of a file"));
    }
    if *depth > FILE_DEPTH_MAX {
        return Err(malformed(cid, "it lies too deep in a file"));
    }
    let node = Node::decode(block).map_err(|error| malformed(cid, error))?;
    let data = Data::of(&node).map_err(|error| malformed(cid, error))?;
    if !matches!(data.kind, Kind::File | Kind::Raw) {
        return Err(malformed(cid, "it cannot be a part of a file"));
    }
    let FileNode { length, own } = FileNode::of(cid, &node, &data)?;
    check_length(cid, span, length)?;
    let mut at = span.start + own;
    let mut below = Vec::new();
    for (link, size) in node.links.iter().zip(&data.blocksizes) {
        let child = at..at + size;
        at = child.end;
        if child.start < range.end && range.start < child.end {
            below.push(Waiting::new(link.cid, depth + 1, child));
        }
    }
    let own = within(&block.slice_ref(data.data.unwrap_or_default()), span.start, range);
    Ok(FilePart { own, below })
}

/// A part has to be as long as its parent says: else a range would be cut in the wrong place.
fn check_length(cid: &Cid, span: &Range<u64>, length: u64) -> Result<(), Refusal> {
    if span.end - span.start == length {
        Ok(())
    } else {
        Err(malformed(cid, "of another length than its parent says"))
    }
}

/// Those of the bytes, the first of which lies at `start`, that lie in the range.
fn within(bytes: &Bytes, start: u64, range: &Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
    let (from, to) = (place(range.start), place(range.end));
    bytes.slice(from..to.max(from))
}

/// Where parts of an answer go. Nobody there any more is no error: see [`Sink::is_closed`].
pub(crate) struct Sink(pub(crate) mpsc::Sender<io::Result<Bytes>>);

impl Sink {
    pub(crate) async fn send(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            // Whoever asked is gone; the walk looks before its next block.
            let _ = self.0.send(Ok(bytes)).await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Sends a range of a file, block after block.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn pour<B: Backend>(
    blocks: &Blocks<B>,
    root: &Cid,
    length: u64,
    range: Range<u64>,
    out: &Sink,
) -> Result<(), Refusal> {
    let mut walk = Walk::new(blocks.clone());
    walk.push(vec![Waiting::new(*root, 0, 0..length)])?;
    while let Some(next) = walk.next().await {
        let (waiting, block) = next?;
        let part = file_part(&waiting, &block, &range)?;
        out.send(part.own).await;
        walk.push(part.below)?;
        if out.is_closed() {
            break;
        }
    }
    Ok(())
}

/// The first bytes of a file.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn start<B: Backend>(
    blocks: &Blocks<B>,
    root: &Cid,
    length: u64,
    wanted: u64,
) -> Result<Vec<u8>, Refusal> {
    let range = 0..wanted.min(length);
    let mut walk = Walk::new(blocks.clone());
    walk.push(vec![Waiting::new(*root, 0, 0..length)])?;
    let mut found = Vec::new();
    while let Some(next) = walk.next().await {
        let (waiting, block) = next?;
        let part = file_part(&waiting, &block, &range)?;
        found.extend_from_slice(&part.own);
        walk.push(part.below)?;
    }
    Ok(found)
}

/// The blocks that hold a range of a file, from the root downwards.
///
/// # Errors
/// 422: malformed.
pub(crate) fn below_in_file(
    waiting: &Waiting,
    block: &Bytes,
    range: &Range<u64>,
) -> Result<Vec<Waiting>, Refusal> {
    file_part(waiting, block, range).map(|part| part.below)
}

/// One block of a directory: its entries and, if it is sharded, the shards below.
pub(crate) struct DirectoryPart {
    pub(crate) links: Vec<Link>,
    pub(crate) shards: Vec<Cid>,
}

/// Takes a block of a directory apart.
///
/// # Errors
/// 422: malformed.
pub(crate) fn directory_part(cid: &Cid, block: &Bytes, depth: usize) -> Result<DirectoryPart, Refusal> {
    let node = Node::decode(block).map_err(|error| malformed(cid, error))?;
    let data = Data::of(&node).map_err(|error| malformed(cid, error))?;
    let prefix = match data.kind {
        Kind::Directory if depth == 0 => None,
        Kind::HamtShard if depth <= SHARD_DEPTH_MAX => Some(prefix_len(cid, &data)?),
        _ => return Err(malformed(cid, "it cannot be a part of a directory")),
    };
    let mut part = DirectoryPart { links: Vec::new(), shards: Vec::new() };
    for link in node.links {
        let name = match prefix {
            None => link.name(),
            Some(prefix) => match link.name().get(prefix..) {
                None => return Err(malformed(cid, "a name without its bucket")),
                Some([]) => {
                    part.shards.push(link.cid);
                    continue;
                }
                Some(name) => name,
            },
        };
        part.links.push(Link { name: name.to_vec(), cid: link.cid, tsize: link.tsize });
    }
    Ok(part)
}

/// Hexadecimal digits before each name of a shard.
fn prefix_len(cid: &Cid, data: &Data<'_>) -> Result<usize, Refusal> {
    let fanout = data.fanout.filter(|fanout| fanout.is_power_of_two() && (8..=FANOUT_MAX).contains(fanout));
    let fanout = fanout.ok_or_else(|| malformed(cid, "a shard of an impossible width"))?;
    Ok(format!("{:X}", fanout - 1).len())
}

/// The entries of a directory, in the order of their blocks, up to `most`; and whether there are more.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn list<B: Backend>(
    blocks: &Blocks<B>,
    cid: &Cid,
    most: usize,
) -> Result<(Vec<Link>, bool), Refusal> {
    let mut walk = Walk::new(blocks.clone());
    walk.push(vec![Waiting::new(*cid, 0, 0..0)])?;
    let mut links = Vec::new();
    while let Some(next) = walk.next().await {
        let (waiting, block) = next?;
        let part = directory_part(&waiting.cid, &block, waiting.depth)?;
        links.extend(part.links);
        if links.len() > most {
            links.truncate(most);
            return Ok((links, true));
        }
        walk.push(
            part.shards.into_iter().map(|shard| Waiting::new(shard, waiting.depth + 1, 0..0)).collect(),
        )?;
    }
    Ok((links, false))
}
