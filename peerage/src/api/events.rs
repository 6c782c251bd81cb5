//! Streams of events as newline-delimited JSON.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use tokio::io::{AsyncWriteExt, duplex};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use crate::control::Updates;
use crate::model::Event;

/// Bytes that wait for a slow client; after that the updates wait, and then the node's broadcast drops the oldest.
const WAITING: usize = 64 * 1024;

/// The answer that lasts: a line an event, until the updates end, the client goes or the server stops.
pub(super) fn response(mut updates: Updates, stop: CancellationToken) -> Response {
    let (reader, mut writer) = duplex(WAITING);
    tokio::spawn(async move {
        loop {
            let update = tokio::select! {
                () = stop.cancelled() => return,
                update = updates.recv() => update,
            };
            let event = match update {
                None => return,
                Some(Ok(event)) => event,
                Some(Err(problem)) => Event::Error { problem },
            };
            let Ok(mut line) = serde_json::to_vec(&event) else { return };
            line.push(b'\n');
            let sent = tokio::select! {
                () = stop.cancelled() => return,
                sent = writer.write_all(&line) => sent,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Body::from_stream(ReaderStream::new(reader)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
