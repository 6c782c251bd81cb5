//! What an answer carries.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::backend::InPlace;

/// Bytes that are read at a time where `sendfile` does not reach.
const READ: usize = 128 << 10;

/// The body of an answer. While it lives, it takes one of the places for requests.
#[derive(Debug, Default)]
pub struct Body {
    pub(crate) kind: Kind,
    _place: Option<OwnedSemaphorePermit>,
}

/// Where its bytes are.
#[derive(Debug, Default)]
pub(crate) enum Kind {
    /// There are none.
    #[default]
    Empty,
    /// In memory.
    Bytes(Bytes),
    /// In a file.
    File(Span),
    /// They come.
    Stream(Coming),
}

/// A span of a file.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) file: Arc<dyn InPlace>,
    pub(crate) range: Range<u64>,
}

/// Bytes that come from a task, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Coming {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    /// How many there will be, where that is known.
    remaining: Option<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Span {
    /// The next bytes of it, read; empty at its end.
    pub(crate) fn read(&mut self) -> io::Result<Bytes> {
        if self.range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = (self.range.end - self.range.start).min(READ as u64);
        let mut sending = self.file.sending(self.range.start, length).map_err(io::Error::other)?;
        // No more than was asked for, so it fits.
        let mut bytes = BytesMut::zeroed(sending.remaining() as usize);
        let mut filled = 0;
        while filled < bytes.len() {
            filled += sending.copy(&mut bytes[filled..])?;
        }
        self.range.start += filled as u64;
        Ok(bytes.freeze())
    }
}

impl Coming {
    pub(crate) fn new(
        parts: mpsc::Receiver<io::Result<Bytes>>,
        length: Option<u64>,
        task: AbortOnDropHandle<()>,
    ) -> Self {
        Self { parts, remaining: length, _task: task }
    }
}

impl Body {
    pub(crate) fn file(file: Arc<dyn InPlace>, range: Range<u64>) -> Self {
        Kind::File(Span { file, range }).into()
    }

    /// Keeps a place until the body is gone.
    pub(crate) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Bytes of it, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty => Some(0),
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::File(span) => Some(span.range.end - span.range.start),
            Kind::Stream(coming) => coming.remaining,
        }
    }
}

impl From<Kind> for Body {
    fn from(kind: Kind) -> Self {
        Self { kind, _place: None }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Kind::Bytes(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let part = match &mut self.kind {
            Kind::Empty => None,
            Kind::Bytes(bytes) => Some(Ok(std::mem::take(bytes))),
            Kind::File(span) => Some(span.read()),
            Kind::Stream(coming) => match ready!(coming.parts.poll_recv(context)) {
                Some(Ok(part)) => Some(take(&mut coming.remaining, part)),
                Some(Err(error)) => Some(Err(error)),
                None if coming.remaining.is_some_and(|left| left > 0) => {
                    Some(Err(io::ErrorKind::UnexpectedEof.into()))
                }
                None => None,
            },
        };
        Poll::Ready(
            part.filter(|part| part.as_ref().is_ok_and(|bytes| !bytes.is_empty()) || part.is_err())
                .map(|part| part.map(Frame::data)),
        )
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// Counts a part off; more than was promised is an error.
fn take(remaining: &mut Option<u64>, part: Bytes) -> io::Result<Bytes> {
    if let Some(left) = remaining {
        *left = left.checked_sub(part.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(part)
}
