//! CAR streams: blocks with their CIDs, depth first, so that whoever asks can verify each when it arrives.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use cid::Cid;
use peerage_dag::{FileWalk, Listing, Traversal, WalkError, car};

use crate::Refusal;
use crate::ask::{CarAsk, DagScope};
use crate::backend::Backend;
use crate::blocks::{Ahead, Blocks};
use crate::path::Found;
use crate::tree::{Entity, Sink, malformed};

/// Sends what was asked for: the blocks of the path, then those at its end, the first of which is `block`.
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
    let mut car = Car { ahead: Ahead::new(blocks), sent: (!ask.duplicates).then(HashSet::new), out };
    out.send(car::header(&[found.cid])).await;
    for cid in &found.visited {
        let block = blocks.get(cid).await?;
        car.send(cid, &block).await;
    }
    match ask.scope {
        DagScope::Block => car.send(&found.cid, block).await,
        DagScope::All => car.all(found.cid).await?,
        DagScope::Entity => match Entity::of(&found.cid, block)? {
            Entity::File { length, .. } => {
                // Of no byte, the root block is what tells that there is none.
                car.file(found.cid, ask.bytes.map_or(0..length, |bytes| bytes.of(length))).await?;
            }
            Entity::Directory { .. } => car.directory(found.cid).await?,
            Entity::Link(_) | Entity::Other(_) => car.send(&found.cid, block).await,
        },
    }
    Ok(())
}

/// A stream that is being sent.
struct Car<'a, B> {
    ahead: Ahead<B>,
    /// The blocks that were sent, if each is to be sent once.
    sent: Option<HashSet<Cid>>,
    out: &'a Sink,
}

impl<B: Backend> Car<'_, B> {
    async fn send(&mut self, cid: &Cid, block: &Bytes) {
        let is_new = self.sent.as_mut().is_none_or(|sent| sent.insert(*cid));
        // What lies in its own name is there wherever it is linked.
        if is_new && peerage_dag::inlined(cid).is_none() {
            self.out.send(car::section(cid, block.len())).await;
            self.out.send(block.clone()).await;
        }
    }

    fn was_sent(&self, cid: &Cid) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.contains(cid))
    }

    /// Everything from here downwards.
    async fn all(&mut self, root: Cid) -> Result<(), Refusal> {
        let mut walk = Traversal::new(root);
        while let Some(cid) = walk.need().copied() {
            if self.was_sent(&cid) {
                walk.skip();
                continue;
            }
            let block = self.ahead.get(&cid, walk.upcoming()).await?;
            self.send(&cid, &block).await;
            match walk.feed(&cid, &block) {
                // Nobody here knows what it links to.
                Err(WalkError::Codec(_)) => walk.skip(),
                fed => fed.map_err(|error| malformed(&cid, error))?,
            }
        }
        Ok(())
    }

    /// The blocks that hold a range of a file.
    async fn file(&mut self, root: Cid, range: Range<u64>) -> Result<(), Refusal> {
        let mut walk = FileWalk::new(root, range);
        let mut node = None;
        loop {
            while let Some(run) = walk.next().map_err(|error| malformed(&root, error))? {
                // A node that holds bytes itself was sent when it was needed.
                if node != Some(run.cid) && !self.was_sent(&run.cid) {
                    let block = self.ahead.get(&run.cid, walk.upcoming()).await?;
                    self.send(&run.cid, &block).await;
                }
            }
            let Some(cid) = walk.need().copied() else { return Ok(()) };
            let block = self.ahead.get(&cid, walk.upcoming()).await?;
            self.send(&cid, &block).await;
            walk.feed(&cid, &block).map_err(|error| malformed(&cid, error))?;
            node = Some(cid);
        }
    }

    /// All blocks of a directory, and none of what is in it.
    async fn directory(&mut self, root: Cid) -> Result<(), Refusal> {
        let mut listing = Listing::new(root);
        loop {
            while listing.next().map_err(|error| malformed(&root, error))?.is_some() {}
            let Some(cid) = listing.need().copied() else { return Ok(()) };
            let block = self.ahead.get(&cid, listing.upcoming()).await?;
            self.send(&cid, &block).await;
            listing.feed(&cid, &block).map_err(|error| malformed(&cid, error))?;
        }
    }
}
