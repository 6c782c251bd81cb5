//! Listens, and bounds what strangers can take up.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use peerage_tcp::Pacing;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::backend::Backend;
use crate::body::Body;
use crate::front::{self, Ended, Handed};
use crate::gateway::Gateway;

/// Bytes of the head of a request.
pub(crate) const HEAD_MAX: usize = 16 << 10;
/// Headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;
/// How long requests under way may take once the server stops.
const GRACE: Duration = Duration::from_millis(500);
/// Pause after the system gave no connection: it may be out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection may take up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long a connection may be silent between requests.
    pub idle: Duration,
    /// How long whoever reads an answer may take none of it.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(60),
        }
    }
}

/// Serves a gateway until `stop`; what is still under way half a second later is cut off.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    gateway: Arc<Gateway<B>>,
    limits: Limits,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let pacing = Pacing::of_system();
    pacing.begin(&listener);
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            // Those that ended are forgotten.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        pacing.connected(&stream);
        let (gateway, limits, stop) = (gateway.clone(), limits.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = converse(stream, gateway, limits, stop).await {
                debug!(%error, "a connection to the gateway ended");
            }
            drop(place);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is left is cut off with the set.
    let _ = tokio::time::timeout(GRACE, ended).await;
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, impl Send + use<>) {
    // Never closed, so that there is a permit in time.
    let place = places.clone().acquire_owned().await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                debug!(%error, "no connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse<B: Backend>(
    stream: TcpStream,
    gateway: Arc<Gateway<B>>,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    // Answers go out whole; what is to wait for more says so.
    stream.set_nodelay(true)?;
    let Ended::Handed(handed) = front::converse(stream, &gateway, &limits, &stop).await? else {
        return Ok(());
    };
    let Handed { stream, read, answer } = *handed;
    let stream = Patient { stream, read, stall: limits.stall, stalled: None };
    let answer = Mutex::new(answer);
    let service = service_fn(|request| answered(&gateway, &answer, request));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

/// The answer that the front has already, for the first request; from then on, what the gateway says.
async fn answered<B: Backend>(
    gateway: &Gateway<B>,
    answer: &Mutex<Option<Response<Body>>>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Body>, Infallible> {
    let first = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(response) = first {
        return Ok(response);
    }
    let (head, _) = request.into_parts();
    Ok(gateway.answer(&head).await)
}

/// A connection some bytes of which were read already, that ends when nobody reads what is sent.
#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    read: BytesMut,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let length = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..length]);
        self.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Patient {
    /// Lets a write through, or counts for how long it has not gone.
    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
