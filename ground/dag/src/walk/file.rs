//! Where the bytes of a file lie.

use std::ops::Range;
use std::vec::IntoIter;

use cid::Cid;

use super::{Parsed, WalkError, expect, parse};
use crate::pb::Link;
use crate::unixfs::{Data, Kind};
use crate::verify::{Codec, inlined};

/// Nodes in nodes. A balanced tree of files of all sizes, with two links in each node, has fewer.
const DEPTH_MAX: usize = 64;
/// Links that are kept in mind. Importers write some thousands in a node, and few nodes lie above each other.
const LINKS_HELD_MAX: usize = 1 << 17;
/// Files end where offsets do.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Finds the blocks that hold a range of a file, in order.
///
/// Call [`next`](Self::next) until it gives nothing, then [`feed`](Self::feed) the block that it [`needs`](Self::need), verified, and so
/// on until it needs none. Raw leaves are never needed: their parents say where their bytes lie. The blocks may lie about each other, so
/// [`Extent::of`] checks what was said.
#[derive(Debug)]
pub struct FileWalk {
    range: Range<u64>,
    size: Option<u64>,
    wanted: Option<Part>,
    /// Bytes of the range in a node that was fed.
    found: Option<Extent>,
    /// Parts of the range below the nodes from the root to here.
    stack: Vec<IntoIter<Part>>,
    held: usize,
}

/// A run of the file's bytes in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The block.
    pub cid: Cid,
    /// How long the block is.
    pub block_len: u64,
    /// Where in the block the run begins.
    pub block_offset: u64,
    /// Where in the file the run begins.
    pub offset: u64,
    /// How long it is. Never nothing.
    pub length: u64,
}

/// A block that holds a part of the file, itself or below it.
#[derive(Clone, Copy, Debug)]
struct Part {
    cid: Cid,
    offset: u64,
    /// How many bytes of the file its parent says it holds. Of the root nobody says anything.
    size: Option<u64>,
    depth: usize,
}

impl Extent {
    /// The run, out of its block.
    ///
    /// # Errors
    /// [`WalkError::Sizes`] if the block is longer or shorter than its parent says.
    pub fn of<'a>(&self, block: &'a [u8]) -> Result<&'a [u8], WalkError> {
        if block.len() as u64 != self.block_len {
            return Err(WalkError::Sizes);
        }
        let at = |offset| usize::try_from(offset).map_err(|_| WalkError::Sizes);
        block.get(at(self.block_offset)?..at(self.block_offset + self.length)?).ok_or(WalkError::Sizes)
    }
}

impl FileWalk {
    /// A walk over a range of the file that begins with the block `root`. What lies beyond its end is left out.
    pub fn new(root: Cid, range: Range<u64>) -> Self {
        let wanted = Some(Part { cid: root, offset: 0, size: None, depth: 0 });
        Self { range, size: None, wanted, found: None, stack: Vec::new(), held: 0 }
    }

    /// The size of the file, as soon as its root was fed. A few blocks, each linked many times, can make any size true.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The block without which it does not go on, if [`next`](Self::next) gave nothing; none at the end.
    pub fn need(&self) -> Option<&Cid> {
        self.wanted.as_ref().map(|part| &part.cid)
    }

    /// Blocks of the range that are known already behind that, in the order in which they will be asked for or given.
    pub fn upcoming(&self) -> impl Iterator<Item = &Cid> {
        self.stack.iter().rev().flat_map(|parts| parts.as_slice()).map(|part| &part.cid)
    }

    /// Takes the block that is needed.
    ///
    /// # Errors
    /// [`WalkError`] says what is wrong with it. The walk cannot go on, unless the block was [another](WalkError::NotAsked).
    pub fn feed(&mut self, cid: &Cid, block: &[u8]) -> Result<(), WalkError> {
        expect(self.need(), cid, block)?;
        let Some(part) = self.wanted.take() else { return Err(WalkError::NotAsked) };
        match parse(cid, block)? {
            Parsed::Raw(bytes) => {
                let size = bytes.len() as u64;
                self.settle(&part, size)?;
                self.found = self.extent(&part, size, 0, size);
            }
            Parsed::Node(links, data) => {
                let size = size_of(&links, &data)?;
                self.settle(&part, size)?;
                let own = data.data.unwrap_or_default();
                // Protobuf keeps the bytes of a field together.
                let at = if own.is_empty() { 0 } else { own.as_ptr().addr() - block.as_ptr().addr() };
                self.found = self.extent(&part, block.len() as u64, at as u64, own.len() as u64);
                self.descend(&part, &links, &data)?;
            }
        }
        Ok(())
    }

    /// The next run of the range that is known.
    ///
    /// # Errors
    /// [`WalkError`] if a block that lies in its own name is malformed. The walk cannot go on.
    #[expect(clippy::should_implement_trait, reason = "nothing can mean that a block is needed")]
    pub fn next(&mut self) -> Result<Option<Extent>, WalkError> {
        loop {
            if self.found.is_some() {
                return Ok(self.found.take());
            }
            if let Some(Part { cid, .. }) = self.wanted {
                match inlined(&cid) {
                    Some(block) => self.feed(&cid, block)?,
                    None => return Ok(None),
                }
                continue;
            }
            let Some(part) = self.next_part() else { return Ok(None) };
            match (Codec::of(&part.cid), part.size) {
                (Ok(Codec::Raw), Some(size)) => self.found = self.extent(&part, size, 0, size),
                _ => self.wanted = Some(part),
            }
        }
    }

    fn next_part(&mut self) -> Option<Part> {
        loop {
            let Some(part) = self.stack.last_mut()?.next() else {
                self.stack.pop();
                continue;
            };
            self.held -= 1;
            return Some(part);
        }
    }

    /// Holds the size of a block against what its parent says. The root's is the file's.
    fn settle(&mut self, part: &Part, size: u64) -> Result<(), WalkError> {
        match part.size {
            Some(said) if said != size => Err(WalkError::Sizes),
            Some(_) => Ok(()),
            None => {
                self.size = Some(size);
                self.range.end = self.range.end.min(size);
                Ok(())
            }
        }
    }

    /// What of the range lies in the `length` bytes at `block_offset` of a block, which are the first of its part of the file.
    fn extent(&self, part: &Part, block_len: u64, block_offset: u64, length: u64) -> Option<Extent> {
        let start = self.range.start.max(part.offset);
        let end = self.range.end.min(part.offset + length);
        (start < end).then(|| Extent {
            cid: part.cid,
            block_len,
            block_offset: block_offset + (start - part.offset),
            offset: start,
            length: end - start,
        })
    }

    /// Keeps in mind what of the range lies below a node. Parts without bytes are never visited: so every block that is asked for brings
    /// the walk on.
    fn descend(&mut self, part: &Part, links: &[Link<'_>], data: &Data<'_>) -> Result<(), WalkError> {
        let mut offset = part.offset + data.data.map_or(0, <[u8]>::len) as u64;
        let mut parts = Vec::new();
        for (link, &size) in links.iter().zip(&data.blocksizes) {
            if offset < self.range.end && offset + size > self.range.start && size > 0 {
                parts.push(Part { cid: link.cid, offset, size: Some(size), depth: part.depth + 1 });
            }
            offset += size;
        }
        if parts.is_empty() {
            return Ok(());
        }
        if part.depth == DEPTH_MAX {
            return Err(WalkError::TooDeep);
        }
        self.held += parts.len();
        if self.held > LINKS_HELD_MAX {
            return Err(WalkError::TooWide);
        }
        self.stack.push(parts.into_iter());
        Ok(())
    }
}

/// Bytes of the file from this node downwards, after a look whether it can be a part of one.
fn size_of(links: &[Link<'_>], data: &Data<'_>) -> Result<u64, WalkError> {
    if !matches!(data.kind, Kind::File | Kind::Raw) {
        return Err(WalkError::NotAFile(data.kind));
    }
    if links.iter().any(|link| !link.name().is_empty()) {
        return Err(WalkError::NamedPart);
    }
    if links.len() != data.blocksizes.len() {
        return Err(WalkError::Sizes);
    }
    let own = data.data.map_or(0, <[u8]>::len) as u64;
    let size = data.blocksizes.iter().try_fold(own, |sum, &size| sum.checked_add(size));
    let size = size.filter(|&size| size <= SIZE_MAX).ok_or(WalkError::Sizes)?;
    if data.filesize.is_some_and(|said| said != size) {
        return Err(WalkError::Sizes);
    }
    Ok(size)
}
