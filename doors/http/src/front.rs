//! The front of a connection: answers what is plain by itself, with `sendfile`, and leaves the rest to hyper.
//!
//! Plain is a `GET` or `HEAD` of HTTP/1.1 without a body whose answer lies in memory or in a file. The first request that is anything else
//! goes to hyper with the bytes that were read, and the connection stays there. The answers are the same: both write what
//! [`Gateway::answer`] says.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Version};
use rustix::net::SendFlags;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::body::{Body, Kind, Span};
use crate::gateway::Gateway;
use crate::server::{HEAD_MAX, HEADERS_MAX, Limits};

/// A body that goes out in one piece with its head, bytes: two system calls cost more than the copy.
const TOGETHER_MAX: u64 = 16 << 10;

/// Why the front gives a connection up.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It is over.
    Closed,
    /// The rest is for hyper.
    Handed(Box<Handed>),
}

/// A connection that the front leaves to hyper.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) stream: TcpStream,
    /// What was read of it, from the beginning of a request.
    pub(crate) read: BytesMut,
    /// The answer to that request, if there is one already.
    pub(crate) answer: Option<Response<Body>>,
}

impl Ended {
    fn handed(stream: TcpStream, read: BytesMut, answer: Option<Response<Body>>) -> io::Result<Self> {
        Ok(Self::Handed(Box::new(Handed { stream, read, answer })))
    }
}

/// What was made of the bytes that were read.
enum Head {
    /// There must come more.
    Partial,
    /// A plain request, how many bytes it took, and whether it is the last.
    Plain(Box<Parts>, usize, bool),
    /// Something else.
    Other,
}

/// Answers requests for as long as they are plain.
pub(crate) async fn converse<B: Backend>(
    mut stream: TcpStream,
    gateway: &Arc<Gateway<B>>,
    limits: &Limits,
    stop: &CancellationToken,
) -> io::Result<Ended> {
    let mut buffer = BytesMut::new();
    loop {
        let read = tokio::select! {
            biased;
            read = read_head(&mut stream, &mut buffer, limits) => read?,
            () = stop.cancelled() => return Ok(Ended::Closed),
        };
        let (parts, length, is_last) = match read {
            Some(Head::Plain(parts, length, is_last)) => (parts, length, is_last),
            Some(_) => return Ended::handed(stream, buffer, None),
            None => return Ok(Ended::Closed),
        };
        let response = tokio::select! {
            biased;
            response = gateway.answer(&parts) => response,
            () = is_gone(&stream) => return Ok(Ended::Closed),
        };
        if matches!(response.body().kind, Kind::Stream(_)) {
            return Ended::handed(stream, buffer, Some(response));
        }
        buffer.advance(length);
        send(&stream, response, is_last, limits.stall).await?;
        if is_last {
            return Ok(Ended::Closed);
        }
    }
}

/// Reads until there is a head; `None`: whoever asked is gone, or silent for too long.
async fn read_head(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    limits: &Limits,
) -> io::Result<Option<Head>> {
    let mut deadline = Instant::now() + limits.idle;
    let mut has_begun = false;
    loop {
        match parse(buffer) {
            Head::Partial if buffer.len() < HEAD_MAX => {}
            // Too long: hyper knows how to say so.
            Head::Partial => return Ok(Some(Head::Other)),
            head => return Ok(Some(head)),
        }
        if !buffer.is_empty() && !has_begun {
            has_begun = true;
            deadline = Instant::now() + limits.head;
        }
        buffer.reserve(2048);
        match timeout_at(deadline, stream.read_buf(buffer)).await {
            Ok(Ok(0)) | Err(_) => return Ok(None),
            Ok(read) => read?,
        };
    }
}

/// Takes a request apart. What is not understood here is for hyper to judge.
fn parse(buffer: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Other,
    };
    plain(&request).map_or(Head::Other, |(parts, is_last)| Head::Plain(Box::new(parts), length, is_last))
}

/// The request, and whether it is the last, if it is plain.
fn plain(request: &httparse::Request<'_, '_>) -> Option<(Parts, bool)> {
    let method = match request.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let path = request.path.filter(|path| path.starts_with('/'))?;
    if request.version != Some(1) {
        return None;
    }
    let (mut parts, ()) = Request::builder().method(method).uri(path).body(()).ok()?.into_parts();
    for header in &*request.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        parts.headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    let is_last = is_last(&parts.headers)?;
    Some((parts, is_last))
}

/// Whether the connection ends with this request; `None`: the request has a body, or wants something that is not plain.
fn is_last(headers: &HeaderMap) -> Option<bool> {
    let others = [TRANSFER_ENCODING, CONTENT_LENGTH, EXPECT, UPGRADE];
    if others.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    match headers.get(CONNECTION).map(HeaderValue::as_bytes) {
        None => Some(false),
        Some(value) if value.eq_ignore_ascii_case(b"keep-alive") => Some(false),
        Some(value) if value.eq_ignore_ascii_case(b"close") => Some(true),
        Some(_) => None,
    }
}

/// Waits until the other side is gone. Further requests are no sign of it.
async fn is_gone(stream: &TcpStream) {
    if stream.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
        std::future::pending::<()>().await;
    }
}

/// Sends an answer that lies in memory or in a file.
async fn send(
    stream: &TcpStream,
    response: Response<Body>,
    is_last: bool,
    stall: Duration,
) -> io::Result<()> {
    let (parts, mut body) = response.into_parts();
    let mut out = Vec::with_capacity(1024);
    write_head(&mut out, &parts, is_last);
    let length = body.length().unwrap_or_default();
    match &mut body.kind {
        Kind::Bytes(bytes) if length <= TOGETHER_MAX => {
            out.extend_from_slice(bytes);
            write(stream, &out, false, stall).await
        }
        Kind::Bytes(bytes) => {
            write(stream, &out, true, stall).await?;
            write(stream, bytes, false, stall).await
        }
        Kind::File(span) if length <= TOGETHER_MAX => {
            while !span.range.is_empty() {
                out.extend_from_slice(&span.read()?);
            }
            write(stream, &out, false, stall).await
        }
        Kind::File(span) => {
            write(stream, &out, true, stall).await?;
            send_file(stream, span, stall).await
        }
        Kind::Empty | Kind::Stream(_) => write(stream, &out, false, stall).await,
    }
}

fn write_head(out: &mut Vec<u8>, parts: &hyper::http::response::Parts, is_last: bool) {
    debug_assert_eq!(parts.version, Version::HTTP_11);
    let reason = parts.status.canonical_reason().unwrap_or_default();
    // Writing to memory does not fail.
    let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", parts.status.as_u16());
    let mut put = |name: &[u8], value: &[u8]| {
        [name, b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
    };
    for (name, value) in &parts.headers {
        put(name.as_str().as_bytes(), value.as_bytes());
    }
    if is_last {
        put(CONNECTION.as_str().as_bytes(), b"close");
    }
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    put(DATE.as_str().as_bytes(), now.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Sends bytes; `more` follow at once, so that both go out in one packet.
async fn write(stream: &TcpStream, mut bytes: &[u8], more: bool, stall: Duration) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | if more { SendFlags::MORE } else { SendFlags::empty() };
    while !bytes.is_empty() {
        match stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?)) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => until_writable(stream, stall).await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a span of a file from the page cache.
async fn send_file(stream: &TcpStream, span: &mut Span, stall: Duration) -> io::Result<()> {
    while !span.range.is_empty() {
        let length = span.range.end - span.range.start;
        let mut sending = span.file.sending(span.range.start, length).map_err(io::Error::other)?;
        span.range.start += u64::from(sending.remaining());
        let more = !span.range.is_empty();
        while sending.remaining() > 0 {
            match stream.try_io(Interest::WRITABLE, || sending.send(stream, more)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    until_writable(stream, stall).await?
                }
                Err(error) => return Err(error),
            }
        }
        // A reader that is as fast as memory would keep all others waiting.
        tokio::task::consume_budget().await;
    }
    Ok(())
}

/// Whoever reads nothing for too long makes room for others.
async fn until_writable(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    timeout(stall, stream.writable()).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(request: &str) -> &'static str {
        match parse(request.replace('\n', "\r\n").as_bytes()) {
            Head::Partial => "partial",
            Head::Plain(_, _, false) => "plain",
            Head::Plain(_, _, true) => "last",
            Head::Other => "other",
        }
    }

    #[test]
    fn only_what_is_plain_stays_here() {
        for (request, made) in [
            ("", "partial"),
            ("GET / HTTP/1.1\nHost: a\n", "partial"),
            ("GET / HTTP/1.1\nHost: a\n\n", "plain"),
            ("HEAD /a?b HTTP/1.1\nHost: a\nConnection: Keep-Alive\n\nGET", "plain"),
            ("GET / HTTP/1.1\nConnection: close\n\n", "last"),
            ("GET / HTTP/1.0\n\n", "other"),
            ("POST / HTTP/1.1\n\n", "other"),
            ("OPTIONS * HTTP/1.1\n\n", "other"),
            ("GET http://a/ HTTP/1.1\n\n", "other"),
            ("GET / HTTP/1.1\nContent-Length: 0\n\n", "other"),
            ("GET / HTTP/1.1\nTransfer-Encoding: chunked\n\n", "other"),
            ("GET / HTTP/1.1\nExpect: 100-continue\n\n", "other"),
            ("GET / HTTP/1.1\nConnection: upgrade\nUpgrade: websocket\n\n", "other"),
            ("GET / HTTP/1.1\nHost : a\n\n", "other"),
            ("\u{7f}\n\n", "other"),
        ] {
            assert_eq!(made_of(request), made, "{request:?}");
        }
    }
}
