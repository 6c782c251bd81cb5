//! Reads a stream that a peer opened.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cid::Cid;
use peerage_identity::PeerId;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::actor::Note;
use crate::bitswap::frame::{FrameError, Frames};
use crate::bitswap::message::{DecodeError, Message};
use crate::bitswap::verify::{self, Nameless};

/// Time between two signs of life of a message that takes long to arrive.
const HEARD: Duration = Duration::from_millis(500);
/// What a permit of `arriving` stands for.
pub(super) const PERMIT: usize = 1024;

/// A message with its blocks named.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    /// In place of the message's own.
    pub(super) blocks: Vec<(Result<Cid, Nameless>, Bytes)>,
    /// Its share of what may be on the way to the actor.
    _share: OwnedSemaphorePermit,
}

/// Why a stream is not read any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("stream broke")]
    Io(#[from] std::io::Error),
    #[error("bitswap has ended")]
    Ended,
}

/// Reads until the stream ends. `gone` is the mark of the connection that it belongs to.
pub(super) async fn read(
    peer: PeerId,
    mut stream: impl AsyncRead + Unpin,
    notes: mpsc::Sender<Note>,
    arriving: Arc<Semaphore>,
    gone: &CancellationToken,
) -> Result<(), ReadError> {
    let mut frames = Frames::new();
    let mut heard = Instant::now();
    loop {
        if stream.read_buf(frames.room()).await? == 0 {
            return Ok(());
        }
        while let Some(frame) = frames.next()? {
            let arrived = take_apart(&frame, &arriving).await?;
            let gone = gone.clone();
            notes.send(Note::Arrived { peer, gone, arrived }).await.map_err(|_| ReadError::Ended)?;
            heard = Instant::now();
        }
        if heard.elapsed() >= HEARD {
            heard = Instant::now();
            notes.send(Note::Heard(peer)).await.map_err(|_| ReadError::Ended)?;
        }
    }
}

async fn take_apart(frame: &Bytes, arriving: &Arc<Semaphore>) -> Result<Arrived, ReadError> {
    let mut message = Message::decode(frame)?;
    let permits = u32::try_from(frame.len().div_ceil(PERMIT)).unwrap_or(u32::MAX);
    let share = arriving.clone().acquire_many_owned(permits).await.map_err(|_| ReadError::Ended)?;
    let name = |block: crate::bitswap::message::Block| (verify::name(&block.prefix, &block.data), block.data);
    let blocks = std::mem::take(&mut message.blocks).into_iter().map(name).collect();
    Ok(Arrived { message, blocks, _share: share })
}
