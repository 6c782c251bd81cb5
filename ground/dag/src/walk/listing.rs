//! The entries of a directory.

use std::collections::HashSet;
use std::vec::IntoIter;

use cid::Cid;

use super::{Parsed, WalkError, expect, parse};
use crate::directory::{is_name, shown};
use crate::hamt::{self, Fanout, MURMUR3_X64_64};
use crate::pb::Link;
use crate::unixfs::{Data, Kind};
use crate::verify::inlined;

/// Lists a directory, in one block or sharded, in the order of its blocks: by name, or by the hash of the name.
///
/// Call [`next`](Self::next) until it gives nothing, then [`feed`](Self::feed) the block that it [`needs`](Self::need), verified, and so
/// on until it needs none.
#[derive(Debug)]
pub struct Listing {
    wanted: Option<(Cid, Position)>,
    stack: Vec<IntoIter<Item>>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, which can be a component of a path. Not always text.
    pub name: Vec<u8>,
    /// What it names.
    pub cid: Cid,
    /// What is said of the size of all blocks below. Not to be trusted.
    pub tsize: Option<u64>,
}

#[derive(Debug)]
enum Item {
    Entry(Listed),
    Shard(Cid, Position),
}

/// Where a shard stands: the bits that the hashes of all names below begin with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// That of the shards above, which has to stay the same.
    fanout: Option<Fanout>,
    level: u32,
    hash: u64,
}

/// A link of a shard, read.
pub(super) enum ShardLink<'a> {
    Entry(&'a [u8]),
    Shard(Position),
}

impl Listing {
    /// A listing of the directory that begins with the block `root`.
    pub fn new(root: Cid) -> Self {
        Self { wanted: Some((root, Position::default())), stack: Vec::new() }
    }

    /// The block without which it does not go on, if [`next`](Self::next) gave nothing; none at the end.
    pub fn need(&self) -> Option<&Cid> {
        self.wanted.as_ref().map(|(cid, _)| cid)
    }

    /// Shards that are known already behind that, in the order in which they will be asked for.
    pub fn upcoming(&self) -> impl Iterator<Item = &Cid> {
        let items = self.stack.iter().rev().flat_map(|items| items.as_slice());
        items.filter_map(|item| if let Item::Shard(cid, _) = item { Some(cid) } else { None })
    }

    /// Takes the block that is needed.
    ///
    /// # Errors
    /// [`WalkError`] says what is wrong with it. The listing cannot go on, unless the block was [another](WalkError::NotAsked).
    pub fn feed(&mut self, cid: &Cid, block: &[u8]) -> Result<(), WalkError> {
        expect(self.need(), cid, block)?;
        let Some((_, position)) = self.wanted.take() else { return Err(WalkError::NotAsked) };
        let (links, data) = match parse(cid, block)? {
            Parsed::Node(links, data) => (links, data),
            Parsed::Raw(_) => return Err(WalkError::NotADirectory(Kind::Raw)),
        };
        let items = match data.kind {
            Kind::Directory if position.level == 0 => whole(&links)?,
            Kind::HamtShard => shard(&links, &data, position)?,
            other => return Err(WalkError::NotADirectory(other)),
        };
        self.stack.push(items.into_iter());
        Ok(())
    }

    /// The next entry that is known.
    ///
    /// # Errors
    /// [`WalkError`] if a block that lies in its own name is malformed. The listing cannot go on.
    #[expect(clippy::should_implement_trait, reason = "nothing can mean that a block is needed")]
    pub fn next(&mut self) -> Result<Option<Listed>, WalkError> {
        loop {
            if let Some((cid, _)) = self.wanted {
                match inlined(&cid) {
                    Some(block) => self.feed(&cid, block)?,
                    None => return Ok(None),
                }
            }
            let Some(items) = self.stack.last_mut() else { return Ok(None) };
            match items.next() {
                Some(Item::Entry(entry)) => return Ok(Some(entry)),
                Some(Item::Shard(cid, position)) => self.wanted = Some((cid, position)),
                None => drop(self.stack.pop()),
            }
        }
    }
}

fn shard(links: &[Link<'_>], data: &Data<'_>, position: Position) -> Result<Vec<Item>, WalkError> {
    let item = |(link, read): (&Link<'_>, ShardLink<'_>)| match read {
        ShardLink::Entry(name) => Item::Entry(listed(link, name)),
        ShardLink::Shard(position) => Item::Shard(link.cid, position),
    };
    Ok(links.iter().zip(shard_links(links, data, position)?).map(item).collect())
}

/// The entries of a directory in one block. Of two with the same name, the first counts.
fn whole(links: &[Link<'_>]) -> Result<Vec<Item>, WalkError> {
    let mut names = HashSet::with_capacity(links.len());
    let mut items = Vec::with_capacity(links.len());
    for link in links {
        checked(link.name())?;
        if names.insert(link.name()) {
            items.push(Item::Entry(listed(link, link.name())));
        }
    }
    Ok(items)
}

fn listed(link: &Link<'_>, name: &[u8]) -> Listed {
    Listed { name: name.to_vec(), cid: link.cid, tsize: link.tsize }
}

fn checked(name: &[u8]) -> Result<(), WalkError> {
    if is_name(name) { Ok(()) } else { Err(WalkError::Name(shown(name))) }
}

/// How many buckets a shard has.
fn fanout_of(data: &Data<'_>) -> Result<Fanout, WalkError> {
    if data.hash_type != Some(MURMUR3_X64_64) {
        return Err(WalkError::Shard("unknown hash function"));
    }
    data.fanout.and_then(Fanout::new).ok_or(WalkError::Shard("impossible number of buckets"))
}

/// Reads the links of a shard, and checks that each belongs there. As the hashes of names have to fit, no shard can stand in two places,
/// nor in itself; as none may be empty, each brings the walk on.
pub(super) fn shard_links<'a>(
    links: &[Link<'a>],
    data: &Data<'_>,
    position: Position,
) -> Result<Vec<ShardLink<'a>>, WalkError> {
    let fanout = fanout_of(data)?;
    if position.fanout.is_some_and(|above| above != fanout) {
        return Err(WalkError::Shard("the number of buckets changes"));
    }
    if links.is_empty() && position.level > 0 {
        return Err(WalkError::Shard("empty shard"));
    }
    let mut taken = vec![false; fanout.buckets()];
    let mut read = Vec::with_capacity(links.len().min(fanout.buckets()));
    for link in links {
        let (bucket, name) = fanout.split(link.name()).ok_or(WalkError::Shard("name without a bucket"))?;
        if std::mem::replace(&mut taken[bucket], true) {
            return Err(WalkError::Shard("bucket taken twice"));
        }
        let below = position.below(fanout, bucket).ok_or(WalkError::TooDeep)?;
        if !name.is_empty() {
            checked(name)?;
            if !below.holds(hamt::hash(name)) {
                return Err(WalkError::Shard("name in a wrong bucket"));
            }
            read.push(ShardLink::Entry(name));
        } else if below.level == fanout.levels() {
            return Err(WalkError::TooDeep);
        } else {
            read.push(ShardLink::Shard(below));
        }
    }
    Ok(read)
}

impl Position {
    /// The position of what stands in a bucket, if there are that many bits.
    fn below(self, fanout: Fanout, bucket: usize) -> Option<Self> {
        let level = self.level + 1;
        let hash = self.hash << fanout.bits() | bucket as u64;
        (level <= fanout.levels()).then_some(Self { fanout: Some(fanout), level, hash })
    }

    /// Whether a hash begins with the bits of this position.
    pub(super) fn holds(self, hash: u64) -> bool {
        self.fanout.is_none_or(|fanout| hash >> (u64::BITS - self.level * fanout.bits()) == self.hash)
    }
}
