//! Runs [`Server`](super::server::Server) and [`Fetch`](super::fetch::Fetch) over real streams.
//!
//! One task (`actor`) owns both; a [`Bitswap`] is a handle to it, a [`Session`] what one task of the program wants. Every peer has a
//! task that writes to it (`writer`), over one stream that is kept while it is used; every stream that a peer opens has one that
//! reads it, takes its messages apart and hashes their blocks (`reader`), so that this is spread over cores.
//!
//! Backpressure: what arrives waits for its share of [`ARRIVING_MAX`] bytes before it is given to the actor, so a reader stops reading when
//! the actor is behind. The actor waits for nobody: the cores have no more messages under way to a peer than fit its writer's queue,
//! and a session no more blocks than it has room for.
//!
//! What it stands on is handed in: [`Streams`] (peers and streams to them) and [`Blocks`] (where blocks lie).

mod actor;
mod overlay;
mod reader;
mod writer;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use peerage_identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fetch::Stats;
use super::message::Protocol;
use actor::{Actor, Note};
pub use overlay::{OverlayStreams, StreamsError};

/// Bytes of messages that have arrived and are not given to the actor.
const ARRIVING_MAX: usize = 16 * 1024 * 1024;
/// Notes that wait for the actor.
const INBOX: usize = 64;

/// Peers, and streams to them.
pub trait Streams: Clone + Send + Sync + 'static {
    /// A stream to a peer.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream by the best protocol that the peer speaks, and connects to it first if need be.
    fn open(&self, peer: PeerId) -> impl Future<Output = io::Result<(Protocol, Self::Stream)>> + Send;

    /// Closes the connection to a peer that misbehaves.
    fn dismiss(&self, peer: PeerId) -> impl Future<Output = ()> + Send;

    /// Finds peers that provide a block, and says who they are as they come.
    fn seek(&self, cid: Cid, found: mpsc::Sender<PeerId>) -> impl Future<Output = ()> + Send;
}

/// What comes from peers.
#[derive(Debug)]
pub enum Arrival<S> {
    /// A peer is connected.
    Connected(PeerId),
    /// A peer is gone.
    Disconnected(PeerId),
    /// A peer has opened a stream.
    Stream(PeerId, S),
}

/// Where blocks lie.
pub trait Blocks: Send + Sync + 'static {
    /// The size of a block, if it is here.
    fn size(&self, cid: &Cid) -> impl Future<Output = Option<usize>> + Send;

    /// A block, if it is here.
    fn get(&self, cid: &Cid) -> impl Future<Output = Option<Bytes>> + Send;

    /// Keeps a block. It is true: its hash was computed.
    fn put(&self, cid: &Cid, data: Bytes) -> impl Future<Output = io::Result<()>> + Send;
}

/// A running bitswap. Cheap to clone; it ends with the token that it was started with.
#[derive(Clone, Debug)]
pub struct Bitswap {
    notes: mpsc::Sender<Note>,
}

impl Bitswap {
    /// Starts it on the current runtime. `arrivals` come from the same place as `streams`.
    pub fn start<S: Streams, B: Blocks>(
        streams: S,
        arrivals: mpsc::Receiver<Arrival<S::Stream>>,
        blocks: Arc<B>,
        cancel: CancellationToken,
    ) -> Self {
        let (notes, inbox) = mpsc::channel(INBOX);
        let actor = Actor::new(streams, blocks, notes.clone(), cancel);
        tokio::spawn(actor.run(arrivals, inbox));
        Self { notes }
    }

    /// Begins to want blocks, at most `depth` at once.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn session(&self, depth: usize) -> Result<Session, Ended> {
        let depth = depth.max(1);
        let (sender, blocks) = mpsc::channel(depth);
        let closed = CancellationToken::new();
        let (reply, answer) = oneshot::channel();
        self.tell(Note::Open { blocks: sender, closed: closed.clone(), reply }).await?;
        let key = answer.await.map_err(|_| Ended)?;
        let notes = self.notes.clone();
        Ok(Session {
            key,
            notes,
            blocks,
            depth,
            wanted: 0,
            later: VecDeque::new(),
            _guard: closed.drop_guard(),
        })
    }

    /// A block has come to be here by other ways: peers that want it get it.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn arrived(&self, cid: Cid, size: usize) -> Result<(), Ended> {
        self.tell(Note::Stored { cid, size }).await
    }

    /// Numbers of what was fetched.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn stats(&self) -> Result<Stats, Ended> {
        let (reply, answer) = oneshot::channel();
        self.tell(Note::Stats(reply)).await?;
        answer.await.map_err(|_| Ended)
    }

    async fn tell(&self, note: Note) -> Result<(), Ended> {
        self.notes.send(note).await.map_err(|_| Ended)
    }
}

/// Bitswap has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bitswap has ended")]
pub struct Ended;

/// What one task wants. To drop it ends all its wants.
#[derive(Debug)]
pub struct Session {
    key: super::fetch::SessionKey,
    notes: mpsc::Sender<Note>,
    blocks: mpsc::Receiver<(Cid, Bytes)>,
    depth: usize,
    /// Blocks that are asked for or wait in `blocks`.
    wanted: usize,
    later: VecDeque<Cid>,
    _guard: DropGuard,
}

impl Session {
    /// Wants blocks; those named first come first, more or less. Each is to be named once.
    pub fn want(&mut self, cids: impl IntoIterator<Item = Cid>) {
        self.later.extend(cids);
    }

    /// Blocks that were wanted and have not come.
    pub fn outstanding(&self) -> usize {
        self.wanted + self.later.len()
    }

    /// The next block that comes; `None` when nothing is wanted. It can be given up at any time and called again.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn next(&mut self) -> Result<Option<(Cid, Bytes)>, Ended> {
        if self.outstanding() == 0 {
            return Ok(None);
        }
        // Half of the depth at a time, so that a note is not spent on every block.
        let room = self.depth - self.wanted;
        if !self.later.is_empty() && (room >= self.depth.div_ceil(2) || self.wanted == 0) {
            let permit = self.notes.reserve().await.map_err(|_| Ended)?;
            let count = room.min(self.later.len());
            let cids = self.later.drain(..count).collect();
            self.wanted += count;
            permit.send(Note::Want { session: self.key, cids });
        }
        let block = self.blocks.recv().await.ok_or(Ended)?;
        self.wanted -= 1;
        Ok(Some(block))
    }

    /// One block.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn get(&mut self, cid: Cid) -> Result<Bytes, Ended> {
        self.want([cid]);
        loop {
            match self.next().await? {
                Some((found, data)) if found == cid => return Ok(data),
                Some(_) => {}
                None => return Err(Ended),
            }
        }
    }
}
