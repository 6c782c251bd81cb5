//! A stream of bytes to a peer, and those that peers open.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use peerage_identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// Bytes both ways to one peer, encrypted, in order, with backpressure. To drop it before it is shut down resets it.
pub struct Stream(Compat<libp2p::Stream>);

impl Stream {
    pub(crate) fn new(stream: libp2p::Stream) -> Self {
        Self(stream.compat())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// The streams of one protocol that peers open. To drop it ends the protocol.
#[derive(Debug)]
pub struct Incoming(pub(crate) mpsc::Receiver<(PeerId, Stream)>);

impl Incoming {
    /// The next stream, and who opened it; `None` when the overlay has ended. What waits beyond the bound given to
    /// [`accept`](crate::Overlay::accept) is reset.
    pub async fn next(&mut self) -> Option<(PeerId, Stream)> {
        self.0.recv().await
    }
}
