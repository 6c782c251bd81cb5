//! Every block of a tree.

use std::vec::IntoIter;

use cid::Cid;

use super::{WalkError, expect};
use crate::ipld::links;

/// Blocks above each other. Chains of documents may be long, but who writes a longer one can walk it.
const DEPTH_MAX: usize = 1024;
/// Links that are kept in mind: below 100 MB.
const LINKS_HELD_MAX: usize = 1 << 20;

/// Goes through all blocks of a tree, each before those below it, in the order of links. This is the order of blocks in a CAR.
///
/// A block that is linked twice comes twice, with all below it, unless it is [skipped](Self::skip): a few blocks can link each other into
/// a tree without end, so whoever goes through a tree of strangers keeps in mind what was seen. Blocks that lie
/// [in their own names](crate::inlined) are asked for, too: they are links like others.
#[derive(Debug)]
pub struct Traversal {
    wanted: Option<Cid>,
    stack: Vec<IntoIter<Cid>>,
    held: usize,
}

impl Traversal {
    /// All blocks from `root` downwards.
    pub fn new(root: Cid) -> Self {
        Self { wanted: Some(root), stack: Vec::new(), held: 0 }
    }

    /// The next block, until [`feed`](Self::feed) or [`skip`](Self::skip) was called; none at the end.
    pub fn need(&self) -> Option<&Cid> {
        self.wanted.as_ref()
    }

    /// Blocks that are known already to come later, the next ones first.
    pub fn upcoming(&self) -> impl Iterator<Item = &Cid> {
        self.stack.iter().rev().flat_map(|links| links.as_slice())
    }

    /// Goes on below the block that is needed.
    ///
    /// # Errors
    /// [`WalkError`] if it is malformed, or [not asked for](WalkError::NotAsked).
    pub fn feed(&mut self, cid: &Cid, block: &[u8]) -> Result<(), WalkError> {
        expect(self.need(), cid, block)?;
        let below = links(cid, block)?;
        if !below.is_empty() {
            if self.stack.len() == DEPTH_MAX {
                return Err(WalkError::TooDeep);
            }
            self.held += below.len();
            if self.held > LINKS_HELD_MAX {
                return Err(WalkError::TooWide);
            }
            self.stack.push(below.into_iter());
        }
        self.skip();
        Ok(())
    }

    /// Goes on beside the block that is needed.
    pub fn skip(&mut self) {
        self.wanted = None;
        while let Some(links) = self.stack.last_mut() {
            if let Some(next) = links.next() {
                self.held -= 1;
                self.wanted = Some(next);
                return;
            }
            self.stack.pop();
        }
    }
}
