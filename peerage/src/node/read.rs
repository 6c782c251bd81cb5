//! Reading a file while it is fetched: verified bytes in order, the pieces ahead of the reader wanted by deadline.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, Block, ReadError};
use peerage_swarm::core::ReaderId;
use peerage_swarm::driver::Transfer;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// Blocks handed over before the reader must take some.
const WAITING: usize = 32;
/// Bytes ahead of the reader that are wanted by deadline.
const AHEAD: u64 = 8 << 20;
/// How far apart the deadlines of successive pieces are: a reader of 4 MiB/s with pieces of 1 MiB.
const PACE: Duration = Duration::from_millis(250);

/// Reads `range` of an entry of the transfer's layout. Dropping the reader ends it.
pub(super) fn read(transfer: Transfer, entry: usize, range: Range<u64>) -> Reader {
    let (sender, blocks) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let reader = transfer.reader();
        let copied = tokio::select! {
            copied = copy(&transfer, reader, entry, range, &sender) => copied,
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = copied {
            let _ = sender.send(Err(error)).await;
        }
        transfer.clear_deadlines(reader).await;
    });
    Reader { blocks, present: Vec::new(), at: 0 }
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Reader {
    blocks: mpsc::Receiver<io::Result<Vec<u8>>>,
    present: Vec<u8>,
    at: usize,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at == self.present.len() {
            match ready!(self.blocks.poll_recv(context)) {
                Some(block) => {
                    self.present = block?;
                    self.at = 0;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let rest = &self.present[self.at..];
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

async fn copy(
    transfer: &Transfer,
    reader: ReaderId,
    entry: usize,
    range: Range<u64>,
    sender: &mpsc::Sender<io::Result<Vec<u8>>>,
) -> io::Result<()> {
    let layout = transfer.layout().clone();
    let pieces = layout.pieces_of(entry);
    let ahead = (AHEAD / u64::from(layout.piece_length())).clamp(1, 32) as u32;
    let mut at = range.start;
    let mut wanted = None;
    while at < range.end {
        let (piece, begin) = layout.locate(entry, at);
        if wanted != Some(piece) {
            wanted = Some(piece);
            let now = Instant::now();
            for (step, next) in (piece..pieces.end.min(piece + ahead)).enumerate() {
                if !transfer.store().is_verified(next) {
                    transfer.want_by(reader, next, now + PACE * step as u32).await;
                }
            }
        }
        transfer.wait_for(reader, piece, Instant::now()).await.map_err(io::Error::other)?;
        let length = u64::from(BLOCK_LENGTH)
            .min(range.end - at)
            .min(u64::from(layout.piece_size(piece) - begin)) as u32;
        let block = Block { piece, begin, length };
        let store = transfer.store().clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length as usize];
            store.read(block, &mut bytes).map(|()| bytes)
        });
        let bytes = match read.await? {
            // It is to be hashed first, and waited for like a piece that is not there yet.
            Err(ReadError::Touched { .. } | ReadError::InDoubt { .. }) => continue,
            read => read.map_err(io::Error::other)?,
        };
        if sender.send(Ok(bytes)).await.is_err() {
            break;
        }
        at += u64::from(length);
    }
    Ok(())
}
