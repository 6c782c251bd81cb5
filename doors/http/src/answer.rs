//! The few kinds of answer that all others are made of.

use std::io;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LOCATION,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::body::{Body, Coming, Kind};
use crate::tree::Sink;
use crate::{Refusal, headers};

/// Parts of an answer that may wait for whoever reads them.
const PARTS_WAITING: usize = 2;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer whose bytes are made by a task, which ends when nobody reads them.
pub(crate) fn stream<F>(length: Option<u64>, pour: impl FnOnce(Sink) -> F) -> Body
where
    F: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (sender, parts) = mpsc::channel(PARTS_WAITING);
    let pouring = pour(Sink(sender.clone()));
    let task = tokio::spawn(async move {
        if let Err(refusal) = pouring.await {
            debug!(%refusal, "an answer is cut off");
            // The status is gone already: whoever reads finds the connection cut.
            let _ = sender.send(Err(io::Error::other(refusal))).await;
        }
    });
    Kind::Stream(Coming::new(parts, length, AbortOnDropHandle::new(task))).into()
}

pub(crate) fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// An answer that never changes.
pub(crate) fn tagged(status: StatusCode, tag: &str, body: Body) -> Response<Body> {
    let mut response = with_status(status, body);
    headers::set(response.headers_mut(), ETAG, tag);
    headers::set(response.headers_mut(), CACHE_CONTROL, headers::IMMUTABLE);
    response
}

/// Whoever asks has it already.
pub(crate) fn unchanged(tag: &str) -> Response<Body> {
    tagged(StatusCode::NOT_MODIFIED, tag, Body::default())
}

/// It is elsewhere.
pub(crate) fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = line(status, format!("it is at {location}"));
    headers::set(response.headers_mut(), LOCATION, location);
    response
}

/// It cannot be had, and why.
pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = line(refusal.status, refusal.message.clone());
    let all = response.headers_mut();
    if let Some(seconds) = refusal.retry_after {
        all.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(length) = refusal.complete_length {
        headers::set(all, CONTENT_RANGE, &format!("bytes */{length}"));
    }
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        all.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    response
}

/// A line for people.
fn line(status: StatusCode, message: String) -> Response<Body> {
    let mut response = with_status(status, Body::from(message + "\n"));
    let all = response.headers_mut();
    all.insert(CONTENT_TYPE, TEXT);
    all.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The same answer without its body, if only the head was asked for.
pub(crate) fn for_method(mut response: Response<Body>, method: &Method) -> Response<Body> {
    if let Some(length) = response.body().length()
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    if *method == Method::HEAD { response.map(|_| Body::default()) } else { response }
}
