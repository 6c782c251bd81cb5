//! Following names from a root.

use bytes::Bytes;
use cid::Cid;

use crate::Refusal;
use crate::backend::Backend;
use crate::blocks::{Blocks, Waiting, Walk};
use crate::tree::{Entity, directory_part};

/// Where a path ends.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What lies there. Its block was not looked at: it may be a file in place.
    pub(crate) cid: Cid,
    /// The root and what each name led to, the last of which is `cid`.
    pub(crate) roots: Vec<Cid>,
    /// All blocks on the way, in order, without the last: what a proof of the path needs.
    pub(crate) visited: Vec<Cid>,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    /// A name that is not there: the site may say where to go.
    NoSuchName(Refusal),
    /// Anything else.
    Refused(Refusal),
}

impl From<Refusal> for Lost {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoSuchName(refusal) | Lost::Refused(refusal) => refusal,
        }
    }
}

/// Follows names from a root.
///
/// # Errors
/// [`Lost`]: a name that is not there, or a block that is missing or malformed.
pub(crate) async fn follow<B: Backend>(
    blocks: &Blocks<B>,
    root: Cid,
    names: &[Vec<u8>],
) -> Result<Found, Lost> {
    let mut found = Found { cid: root, roots: vec![root], visited: Vec::new() };
    for name in names {
        let block = blocks.get(&found.cid).await?;
        found.cid = found.step(blocks, &block, name).await?;
        found.roots.push(found.cid);
    }
    Ok(found)
}

impl Found {
    /// What a name leads to from here.
    async fn step<B: Backend>(
        &mut self,
        blocks: &Blocks<B>,
        block: &Bytes,
        name: &[u8],
    ) -> Result<Cid, Lost> {
        let shown = String::from_utf8_lossy(name);
        let missing =
            |what: &str| Lost::NoSuchName(Refusal::not_found(format!("{} {what} {shown:?}", self.cid)));
        match Entity::of(&self.cid, block)? {
            Entity::Directory { .. } => {}
            Entity::Link(_) => return Err(missing("is a symbolic link: below it is no")),
            Entity::File { .. } => return Err(missing("is a file: in it is no")),
            Entity::Other(_) => return Err(missing("is no directory: in it is no")),
        }
        match lookup(blocks, self.cid, name, &mut self.visited).await? {
            Some(cid) => Ok(cid),
            None => Err(Lost::NoSuchName(Refusal::not_found(format!("{} has no entry {shown:?}", self.cid)))),
        }
    }
}

/// What a name of a directory stands for.
async fn lookup<B: Backend>(
    blocks: &Blocks<B>,
    directory: Cid,
    name: &[u8],
    visited: &mut Vec<Cid>,
) -> Result<Option<Cid>, Refusal> {
    let mut walk = Walk::new(blocks.clone());
    walk.push(vec![Waiting::new(directory, 0, 0..0)])?;
    while let Some(next) = walk.next().await {
        let (waiting, block) = next?;
        let part = directory_part(&waiting.cid, &block, waiting.depth)?;
        visited.push(waiting.cid);
        if let Some(link) = part.links.into_iter().find(|link| link.name == name) {
            return Ok(Some(link.cid));
        }
        walk.push(
            part.shards.into_iter().map(|shard| Waiting::new(shard, waiting.depth + 1, 0..0)).collect(),
        )?;
    }
    Ok(None)
}
