//! CAR streams: blocks with their CIDs, depth first, so that whoever asks can verify each when it arrives.

use std::collections::HashSet;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use cid::Cid;
use peerage_dag::Codec;
use peerage_dag::pb::Node;

use crate::Refusal;
use crate::ask::{CarAsk, DagScope};
use crate::backend::Backend;
use crate::blocks::{Blocks, Waiting, Walk};
use crate::path::Found;
use crate::tree::{Entity, Sink, below_in_file, directory_part, malformed};

/// Sends what was asked for: the blocks of the path, then those at its end.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn pour<B: Backend>(
    blocks: &Blocks<B>,
    found: &Found,
    block: &Bytes,
    ask: CarAsk,
    out: &Sink,
) -> Result<(), Refusal> {
    let mut sent = Sent { out, once: (!ask.duplicates).then(HashSet::new) };
    out.send(header(&found.cid)).await;
    for cid in &found.visited {
        let block = blocks.get(cid).await?;
        sent.send(cid, &block).await;
    }
    let below = Below::of(found, block, ask)?;
    let mut walk = Walk::new(blocks.clone());
    let span = match &below {
        Below::File(length, _) => 0..*length,
        _ => 0..0,
    };
    walk.push(vec![Waiting::new(found.cid, 0, span)])?;
    while let Some(next) = walk.next().await {
        let (waiting, block) = next?;
        let is_new = sent.send(&waiting.cid, &block).await;
        // The root may stand on the path, and is walked from here.
        if is_new || waiting.depth == 0 {
            walk.push(below.children(&waiting, &block)?)?;
        }
        if out.is_closed() {
            break;
        }
    }
    Ok(())
}

/// Which blocks below one are sent.
enum Below {
    /// None.
    Nothing,
    /// Those of a file of that length that hold these bytes.
    File(u64, Range<u64>),
    /// All shards of a directory.
    Shards,
    /// Whatever it links to.
    All,
}

impl Below {
    fn of(found: &Found, block: &Bytes, ask: CarAsk) -> Result<Self, Refusal> {
        match ask.scope {
            DagScope::Block => return Ok(Self::Nothing),
            DagScope::All => return Ok(Self::All),
            DagScope::Entity => {}
        }
        Ok(match Entity::of(&found.cid, block)? {
            Entity::File { length, .. } => {
                let range = ask.bytes.map_or(0..length, |bytes| bytes.of(length));
                // Of no byte, the root block is what tells that there is none.
                if range.is_empty() { Self::Nothing } else { Self::File(length, range) }
            }
            Entity::Directory { .. } => Self::Shards,
            Entity::Link(_) | Entity::Other(_) => Self::Nothing,
        })
    }

    fn children(&self, waiting: &Waiting, block: &Bytes) -> Result<Vec<Waiting>, Refusal> {
        let blocks = |cids: Vec<Cid>| {
            cids.into_iter().map(|cid| Waiting::new(cid, waiting.depth + 1, 0..0)).collect::<Vec<_>>()
        };
        Ok(match self {
            Self::Nothing => Vec::new(),
            Self::File(_, range) => below_in_file(waiting, block, range)?,
            Self::Shards => blocks(directory_part(&waiting.cid, block, waiting.depth)?.shards),
            Self::All => blocks(links(&waiting.cid, block)?),
        })
    }
}

/// What was sent.
struct Sent<'a> {
    out: &'a Sink,
    /// The blocks that were, if each is to be sent once.
    once: Option<HashSet<Cid>>,
}

impl Sent<'_> {
    /// Sends a block; false: it was sent before.
    async fn send(&mut self, cid: &Cid, block: &Bytes) -> bool {
        if self.once.as_mut().is_some_and(|once| !once.insert(*cid)) {
            return false;
        }
        // Its bytes stand in the CID, wherever that is linked.
        if peerage_dag::inlined(cid).is_none() {
            self.out.send(section(cid, block.len())).await;
            self.out.send(block.clone()).await;
        }
        true
    }
}

/// What a block links to.
fn links(cid: &Cid, block: &Bytes) -> Result<Vec<Cid>, Refusal> {
    match Codec::of(cid) {
        Ok(Codec::DagPb) => {
            let node = Node::decode(block).map_err(|error| malformed(cid, error))?;
            Ok(node.links.into_iter().map(|link| link.cid).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// The head of a CAR with one root: a map in DAG-CBOR, with its length before it.
fn header(root: &Cid) -> Bytes {
    let root = root.to_bytes();
    // A CID in CBOR begins with a zero byte, and is a tagged byte string: shorter than 256 bytes, as every CID is.
    let mut map = Vec::with_capacity(32 + root.len());
    map.extend_from_slice(b"\xa2\x65roots\x81\xd8\x2a\x58");
    map.push(u8::try_from(root.len() + 1).unwrap_or(u8::MAX));
    map.push(0);
    map.extend_from_slice(&root);
    map.extend_from_slice(b"\x67version\x01");
    let mut out = BytesMut::new();
    put_varint(&mut out, map.len());
    out.extend_from_slice(&map);
    out.freeze()
}

/// What stands before each block: the length of all that follows, and its CID.
fn section(cid: &Cid, length: usize) -> Bytes {
    let cid = cid.to_bytes();
    let mut out = BytesMut::with_capacity(cid.len() + 10);
    put_varint(&mut out, cid.len() + length);
    out.extend_from_slice(&cid);
    out.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.extend_from_slice(&[value as u8 | 0x80]);
        value >>= 7;
    }
    out.extend_from_slice(&[value as u8]);
}
