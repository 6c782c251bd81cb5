//! Bytes of a known length, wherever they are, as an answer: whole, in part, in parts, or not again.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use peerage_content::ReadError;

use crate::Refusal;
use crate::answer::{stream, tagged, unchanged};
use crate::ask::{Conditions, Part};
use crate::backend::{Backend, InPlace};
use crate::blocks::Blocks;
use crate::body::{Body, Span};
use crate::headers::{self, Verdict};
use crate::tree::{self, Sink};

/// Where bytes are.
#[derive(Debug)]
pub(crate) enum Source<B> {
    /// In memory.
    Memory(Bytes),
    /// In a file on this disk.
    InPlace(Arc<dyn InPlace>),
    /// In blocks below this one.
    Tree {
        /// Where blocks come from, as long as the answer lasts.
        blocks: Blocks<B>,
        root: Cid,
        length: u64,
    },
}

impl<B: Backend> Source<B> {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::InPlace(file) => file.length(),
            Self::Tree { length, .. } => *length,
        }
    }

    /// The first bytes. `blocks` are waited for no longer than the answer may take to begin.
    ///
    /// # Errors
    /// A block that is missing or malformed; a file that changed.
    pub(crate) async fn start(&self, blocks: &Blocks<B>, wanted: u64) -> Result<Bytes, Refusal> {
        let wanted = wanted.min(self.length());
        match self {
            // Within the bytes, so it fits.
            Self::Memory(bytes) => Ok(bytes.slice(..wanted as usize)),
            Self::InPlace(file) => {
                self.check()?;
                let mut span = Span { file: file.clone(), range: 0..wanted };
                span.read().map_err(|error| Refusal::not_found(error.to_string()))
            }
            Self::Tree { root, .. } => tree::some(blocks, root, 0..wanted).await.map(Bytes::from),
        }
    }

    /// Waits for the first block of what is asked for, if it is in blocks: until then nothing is promised, and it can still be said that it
    /// is missing.
    ///
    /// # Errors
    /// As [`start`](Self::start); 412, 416.
    pub(crate) async fn begin(
        &self,
        blocks: &Blocks<B>,
        conditions: &Conditions,
        tag: &str,
    ) -> Result<(), Refusal> {
        let Self::Tree { root, length, .. } = self else { return Ok(()) };
        let first = match headers::judge(conditions, tag, *length)? {
            Verdict::Unchanged => return Ok(()),
            Verdict::Send(Part::Whole) => 0,
            Verdict::Send(Part::Range(range)) => range.start,
            Verdict::Send(Part::Ranges(ranges)) => ranges.first().map_or(0, |range| range.start),
        };
        if first < *length {
            tree::some(blocks, root, first..first + 1).await?;
        }
        Ok(())
    }

    /// The answer to whoever asks under these conditions.
    ///
    /// # Errors
    /// 404: the file on disk is something else by now; 412, 416; 503: it is about to be hashed.
    pub(crate) fn answer(
        self,
        conditions: &Conditions,
        tag: &str,
        media: &str,
    ) -> Result<Response<Body>, Refusal> {
        let length = self.length();
        let part = match headers::judge(conditions, tag, length)? {
            Verdict::Unchanged => return Ok(unchanged(tag)),
            Verdict::Send(part) => part,
        };
        self.check()?;
        let mut response = match part {
            Part::Whole => tagged(StatusCode::OK, tag, self.body(0..length)),
            Part::Range(range) => {
                let said = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let mut response = tagged(StatusCode::PARTIAL_CONTENT, tag, self.body(range));
                headers::set(response.headers_mut(), CONTENT_RANGE, &said);
                response
            }
            Part::Ranges(ranges) => return Ok(self.multipart(ranges, tag, media)),
        };
        headers::set(response.headers_mut(), CONTENT_TYPE, media);
        Ok(with_length(response))
    }

    /// Finds out whether a file is what it was, before anything is promised.
    fn check(&self) -> Result<(), Refusal> {
        let Self::InPlace(file) = self else { return Ok(()) };
        if file.length() == 0 {
            return Ok(());
        }
        file.sending(0, 1).map(drop).map_err(|error| match error {
            // It is about to be hashed again.
            ReadError::Touched { .. } | ReadError::InDoubt { .. } => {
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(1)
            }
            error => Refusal::not_found(error.to_string()),
        })
    }

    fn body(self, range: Range<u64>) -> Body {
        match self {
            Self::Memory(bytes) => slice(&bytes, range).into(),
            Self::InPlace(file) => Body::file(file, range),
            Self::Tree { .. } if range.is_empty() => Body::default(),
            source => {
                let length = range.end - range.start;
                stream(Some(length), |out| async move { source.pour(range, &out).await })
            }
        }
    }

    /// Sends a range.
    async fn pour(&self, range: Range<u64>, out: &Sink) -> Result<(), Refusal> {
        match self {
            Self::Memory(bytes) => out.send(slice(bytes, range)).await,
            Self::InPlace(file) => {
                let mut span = Span { file: file.clone(), range };
                while !span.range.is_empty() {
                    out.send(span.read().map_err(|error| Refusal::not_found(error.to_string()))?).await;
                }
            }
            Self::Tree { blocks, root, .. } => tree::pour(blocks, root, range, out).await?,
        }
        Ok(())
    }

    /// More than one range (RFC 9110, section 14.6).
    fn multipart(self, ranges: Vec<Range<u64>>, tag: &str, media: &str) -> Response<Body> {
        let boundary = boundary();
        let whole = self.length();
        let head = |range: &Range<u64>| {
            let (first, last) = (range.start, range.end - 1);
            format!(
                "\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: bytes {first}-{last}/{whole}\r\n\r\n"
            )
        };
        let parts: Vec<_> = ranges.into_iter().map(|range| (head(&range), range)).collect();
        let end = format!("\r\n--{boundary}--\r\n");
        let bytes =
            parts.iter().map(|(head, range)| head.len() as u64 + range.end - range.start).sum::<u64>();
        let length = bytes + end.len() as u64;
        let body = stream(Some(length), |out| async move {
            for (head, range) in parts {
                out.send(head).await;
                self.pour(range, &out).await?;
            }
            out.send(end).await;
            Ok(())
        });
        let mut response = tagged(StatusCode::PARTIAL_CONTENT, tag, body);
        let media = format!("multipart/byteranges; boundary={boundary}");
        headers::set(response.headers_mut(), CONTENT_TYPE, &media);
        with_length(response)
    }
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    // Within the bytes, so it fits.
    bytes.slice(range.start as usize..range.end as usize)
}

fn with_length(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().length();
    let all = response.headers_mut();
    all.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(length) = length {
        all.insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// A line that no content can be made to hold, since nobody knows it before.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", random(), random())
}
