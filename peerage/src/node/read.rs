//! Reading a file while it is fetched: verified bytes in order, the pieces ahead of the reader wanted by deadline.

use std::ops::Range;
use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, Block};
use peerage_swarm::driver::Transfer;
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream};

/// Bytes handed over before the reader must take some.
const BUFFER: usize = 512 << 10;
/// Bytes ahead of the reader that are wanted by deadline.
const AHEAD: u64 = 8 << 20;
/// How far apart the deadlines of successive pieces are: a reader of 4 MiB/s with pieces of 1 MiB.
const PACE: Duration = Duration::from_millis(250);

/// Reads `range` of an entry of the transfer's layout. Dropping the reader ends it.
pub(super) fn read(transfer: Transfer, entry: usize, range: Range<u64>) -> impl AsyncRead + Send + Sync + Unpin {
    let (reader, writer) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        if let Err(error) = copy(&transfer, entry, range, writer).await {
            tracing::debug!(%error, "reading a file ended early");
        }
    });
    reader
}

async fn copy(
    transfer: &Transfer,
    entry: usize,
    range: Range<u64>,
    mut writer: DuplexStream,
) -> std::io::Result<()> {
    let layout = transfer.layout().clone();
    let piece_length = u64::from(layout.piece_length());
    let pieces = layout.pieces_of(entry);
    let mut at = range.start;
    let mut wanted = None;
    while at < range.end {
        let (piece, begin) = layout.locate(entry, at);
        if wanted != Some(piece) {
            wanted = Some(piece);
            let ahead = (AHEAD / piece_length).clamp(1, 32) as u32;
            let now = Instant::now();
            for (step, next) in (piece..pieces.end.min(piece + ahead)).enumerate() {
                if !transfer.store().is_verified(next) {
                    transfer.want_by(next, now + PACE * step as u32).await;
                }
            }
        }
        let verified = transfer.wait_for(piece, Instant::now());
        tokio::select! {
            verified = verified => verified.map_err(std::io::Error::other)?,
            // Nobody reads any more: the duplex closes, and further writes fail.
            () = closed(&mut writer) => break,
        }
        let length = u64::from(BLOCK_LENGTH)
            .min(range.end - at)
            .min(u64::from(layout.piece_size(piece) - begin)) as u32;
        let block = Block { piece, begin, length };
        let store = transfer.store().clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length as usize];
            store.read(block, &mut bytes).map(|()| bytes)
        });
        let bytes = read.await?.map_err(std::io::Error::other)?;
        writer.write_all(&bytes).await?;
        at += u64::from(length);
    }
    transfer.clear_deadlines().await;
    Ok(())
}

/// Resolves when the other half of the pipe is dropped. A pipe tells only by a failed write of no bytes.
async fn closed(writer: &mut DuplexStream) {
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        if writer.write(&[]).await.is_err() {
            return;
        }
    }
}
