//! Files and directories out of blocks.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use cid::Cid;
use hyper::StatusCode;
use peerage_dag::pb::Node;
use peerage_dag::unixfs::{Data, Kind, Metadata};
use peerage_dag::{Codec, FileWalk, Listed, Listing};
use tokio::sync::mpsc;

use crate::Refusal;
use crate::backend::Backend;
use crate::blocks::{Ahead, Blocks};

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
            Kind::Raw | Kind::File => Ok(Self::File { length: length(cid, block)?, metadata }),
            Kind::Directory | Kind::HamtShard => Ok(Self::Directory { metadata }),
            Kind::Symlink => Ok(Self::Link(block.slice_ref(data.data.unwrap_or_default()))),
            Kind::Metadata => Err(malformed(cid, "of a kind that nobody uses")),
        }
    }
}

/// How long a file is, if the sizes in its root add up.
fn length(cid: &Cid, block: &Bytes) -> Result<u64, Refusal> {
    let mut walk = FileWalk::new(*cid, 0..0);
    if peerage_dag::inlined(cid).is_none() {
        walk.feed(cid, block).map_err(|error| malformed(cid, error))?;
    }
    walk.next().map_err(|error| malformed(cid, error))?;
    walk.size().ok_or_else(|| malformed(cid, "of no size"))
}

/// The block is not what its codec or its parent promises.
pub(crate) fn malformed(cid: &Cid, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{cid} is malformed: {why}"))
}

/// Where parts of an answer go. Whoever makes them ends with whoever reads them.
#[derive(Debug)]
pub(crate) struct Sink(pub(crate) mpsc::Sender<io::Result<Bytes>>);

impl Sink {
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            // Nobody reads any more: this task is about to be ended.
            let _ = self.0.send(Ok(bytes)).await;
        }
    }
}

/// A range of a file, run by run.
#[derive(Debug)]
struct Runs<B> {
    root: Cid,
    walk: FileWalk,
    ahead: Ahead<B>,
    /// The node that was looked at last: it may hold bytes of the file itself.
    node: Option<(Cid, Bytes)>,
}

impl<B: Backend> Runs<B> {
    fn new(blocks: &Blocks<B>, root: &Cid, range: Range<u64>) -> Self {
        Self { root: *root, walk: FileWalk::new(*root, range), ahead: Ahead::new(blocks), node: None }
    }

    /// The next bytes; `None`: that was all.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(run) = self.walk.next().map_err(|error| malformed(&self.root, error))? {
                let block = match &self.node {
                    Some((cid, block)) if *cid == run.cid => block.clone(),
                    _ => self.ahead.get(&run.cid, self.walk.upcoming()).await?,
                };
                let bytes = run.of(&block).map_err(|error| malformed(&run.cid, error))?;
                return Ok(Some(block.slice_ref(bytes)));
            }
            let Some(cid) = self.walk.need().copied() else { return Ok(None) };
            let block = self.ahead.get(&cid, self.walk.upcoming()).await?;
            self.walk.feed(&cid, &block).map_err(|error| malformed(&cid, error))?;
            self.node = Some((cid, block));
        }
    }
}

/// Sends a range of a file.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn pour<B: Backend>(
    blocks: &Blocks<B>,
    root: &Cid,
    range: Range<u64>,
    out: &Sink,
) -> Result<(), Refusal> {
    let mut runs = Runs::new(blocks, root, range);
    while let Some(run) = runs.next().await? {
        out.send(run).await;
    }
    Ok(())
}

/// Some bytes of a file, all at once.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn some<B: Backend>(
    blocks: &Blocks<B>,
    root: &Cid,
    range: Range<u64>,
) -> Result<Vec<u8>, Refusal> {
    let mut runs = Runs::new(blocks, root, range);
    let mut found = Vec::new();
    while let Some(run) = runs.next().await? {
        found.extend_from_slice(&run);
    }
    Ok(found)
}

/// The entries of a directory, in the order of their blocks, up to `most`; and whether there are more.
///
/// # Errors
/// A block that is missing or malformed.
pub(crate) async fn list<B: Backend>(
    blocks: &Blocks<B>,
    cid: &Cid,
    most: usize,
) -> Result<(Vec<Listed>, bool), Refusal> {
    let (mut listing, mut ahead) = (Listing::new(*cid), Ahead::new(blocks));
    let mut entries = Vec::new();
    loop {
        while let Some(entry) = listing.next().map_err(|error| malformed(cid, error))? {
            if entries.len() == most {
                return Ok((entries, true));
            }
            entries.push(entry);
        }
        let Some(needed) = listing.need().copied() else { return Ok((entries, false)) };
        let block = ahead.get(&needed, listing.upcoming()).await?;
        listing.feed(&needed, &block).map_err(|error| malformed(&needed, error))?;
    }
}
