//! Where a path leads.

use std::collections::VecDeque;

use cid::Cid;

use super::listing::{Position, ShardLink, shard_links};
use super::{Parsed, WalkError, expect, parse};
use crate::directory::shown;
use crate::ipld::{self, Found};
use crate::pb::Link;
use crate::unixfs::{Data, Kind};
use crate::verify::{Codec, inlined};

/// Follows a path through directories, and through the links of dag-cbor and dag-json.
///
/// Call [`next`](Self::next); if it gives nothing, [`feed`](Self::feed) the block that it [`needs`](Self::need), verified. The block
/// that the path leads to is not asked for.
#[derive(Debug)]
pub struct Resolver {
    cid: Cid,
    path: VecDeque<Vec<u8>>,
    /// Where in a sharded directory it is.
    shard: Option<Position>,
    roots: Vec<Cid>,
    end: Option<ResolvedKind>,
}

/// Where a path led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The block.
    pub cid: Cid,
    /// What it is known to be.
    pub kind: ResolvedKind,
    /// What is left of the path.
    pub remainder: Vec<Vec<u8>>,
    /// The block that the path began with, and the one that each component led to.
    pub roots: Vec<Cid>,
}

/// What stands at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedKind {
    /// The whole block: nothing is left of the path.
    Block,
    /// A value inside a block of IPLD data, which the remainder names.
    Value,
    /// A symbolic link in the middle of the path, and where it points.
    Symlink(Vec<u8>),
}

impl Resolver {
    /// A walk from the block `root` along a path, its components separated by `/`. Empty ones and `.` are left out, `..` takes one back.
    ///
    /// # Errors
    /// [`WalkError::Climbs`] if more are taken back than there are.
    pub fn new(root: Cid, path: &[u8]) -> Result<Self, WalkError> {
        let mut components = VecDeque::new();
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(components.pop_back().ok_or(WalkError::Climbs)?),
                name => components.push_back(name.to_vec()),
            }
        }
        Ok(Self { cid: root, path: components, shard: None, roots: vec![root], end: None })
    }

    /// The block without which it does not go on, if [`next`](Self::next) gave nothing.
    pub fn need(&self) -> Option<&Cid> {
        (!self.is_done()).then_some(&self.cid)
    }

    /// Takes the block that is needed.
    ///
    /// # Errors
    /// [`WalkError::NotFound`] if the path leads nowhere, or what is wrong with the block. The walk cannot go on, unless the block was
    /// [another](WalkError::NotAsked).
    pub fn feed(&mut self, cid: &Cid, block: &[u8]) -> Result<(), WalkError> {
        expect(self.need(), cid, block)?;
        if let Ok(codec @ (Codec::DagCbor | Codec::DagJson)) = Codec::of(cid) {
            return self.through_ipld(codec, block);
        }
        match parse(cid, block)? {
            Parsed::Raw(_) => Err(WalkError::NotADirectory(Kind::Raw)),
            Parsed::Node(links, data) => self.through_node(&links, &data),
        }
    }

    /// Where the path leads, once that is known.
    ///
    /// # Errors
    /// As [`feed`](Self::feed), for a block that lies in its own name.
    #[expect(clippy::should_implement_trait, reason = "nothing means that a block is needed")]
    pub fn next(&mut self) -> Result<Option<Resolved>, WalkError> {
        while !self.is_done() {
            let cid = self.cid;
            match inlined(&cid) {
                Some(block) => self.feed(&cid, block)?,
                None => return Ok(None),
            }
        }
        Ok(Some(Resolved {
            cid: self.cid,
            kind: self.end.clone().unwrap_or(ResolvedKind::Block),
            remainder: self.path.iter().cloned().collect(),
            roots: self.roots.clone(),
        }))
    }

    fn is_done(&self) -> bool {
        self.end.is_some() || (self.path.is_empty() && self.shard.is_none())
    }

    fn through_ipld(&mut self, codec: Codec, block: &[u8]) -> Result<(), WalkError> {
        match ipld::seek(codec, block, self.path.make_contiguous())? {
            Found::Nothing => Err(self.not_found()),
            Found::Value => {
                self.end = Some(ResolvedKind::Value);
                Ok(())
            }
            Found::Link(cid, components) => {
                self.path.drain(..components);
                self.arrive(cid);
                Ok(())
            }
        }
    }

    fn through_node(&mut self, links: &[Link<'_>], data: &Data<'_>) -> Result<(), WalkError> {
        match data.kind {
            Kind::Directory if self.shard.is_none() => {
                let link =
                    links.iter().find(|link| self.path.front().is_some_and(|name| link.name() == name));
                let cid = link.ok_or_else(|| self.not_found())?.cid;
                self.step(cid);
                Ok(())
            }
            Kind::HamtShard => self.through_shard(links, data),
            Kind::Symlink => {
                self.end = Some(ResolvedKind::Symlink(data.data.unwrap_or_default().to_vec()));
                Ok(())
            }
            other => Err(WalkError::NotADirectory(other)),
        }
    }

    fn through_shard(&mut self, links: &[Link<'_>], data: &Data<'_>) -> Result<(), WalkError> {
        let position = self.shard.unwrap_or_default();
        let Some(name) = self.path.front() else { return Ok(()) };
        let hash = crate::hamt::hash(name);
        for (link, read) in links.iter().zip(shard_links(links, data, position)?) {
            match read {
                ShardLink::Entry(found) if found == name => {
                    self.step(link.cid);
                    return Ok(());
                }
                ShardLink::Shard(below) if below.holds(hash) => {
                    self.cid = link.cid;
                    self.shard = Some(below);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(self.not_found())
    }

    /// One component of the path is done.
    fn step(&mut self, cid: Cid) {
        self.path.pop_front();
        self.arrive(cid);
    }

    fn arrive(&mut self, cid: Cid) {
        self.cid = cid;
        self.shard = None;
        self.roots.push(cid);
    }

    fn not_found(&self) -> WalkError {
        WalkError::NotFound(self.path.front().map_or_else(String::new, |name| shown(name)))
    }
}
