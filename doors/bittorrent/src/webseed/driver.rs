//! Asks web seeds: one range at a time, at the caller's pace.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderName, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, redirect};
use url::Url;

use super::answer::{AnswerHead, WebSeedFailure, judge};
use super::assembly::Cursor;
use super::plan::{Fetch, Part};
use crate::address::reach;
use crate::lookup::lookup;
use crate::web;

/// Redirects followed: mirrors need one or two.
const REDIRECTS_MAX: usize = 5;

/// For a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Between two pieces of an answer, its head included.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Idle connections are kept this long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The HTTP client for all web seeds of the process; cheap to clone.
#[derive(Clone, Debug)]
pub struct WebSeedClient {
    client: Client,
}

impl WebSeedClient {
    /// A client that connects from `bind` if given. The program has installed the TLS provider before.
    ///
    /// # Errors
    /// [`reqwest::Error`], when no client can be set up.
    pub fn new(bind: Option<IpAddr>, user_agent: &str) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .local_address(bind)
                .user_agent(user_agent)
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(KEEP_ALIVE)
                // A stream among many over one HTTP/2 connection gains nothing for bulk data, and costs flow control.
                .http1_only()
        };
        Ok(Self { client: web::client(builder)?.client })
    }

    /// Asks for a range of the file at `url` and reads the answer's head.
    ///
    /// # Errors
    /// [`WebSeedFailure`], to be told to [`WebSeed::handle_failure`](super::WebSeed::handle_failure).
    pub async fn fetch(&self, url: Url, fetch: &Fetch) -> Result<Download, WebSeedFailure> {
        let response = timely(self.follow(url, fetch)).await?;
        let text = |name: HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let head = AnswerHead {
            status: response.status().as_u16(),
            content_range: text(CONTENT_RANGE),
            content_length: response.content_length(),
            retry_after: text(RETRY_AFTER),
            encoded: text(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity"),
        };
        let body = judge(fetch, &head)?;
        Ok(Download { response, skip: body.skip, chunk: Bytes::new(), cursor: Cursor::new(fetch) })
    }

    async fn follow(&self, mut url: Url, fetch: &Fetch) -> Result<Response, WebSeedFailure> {
        let mut reached = None;
        for _ in 0..=REDIRECTS_MAX {
            let request = self.client.get(url.clone());
            let request = request.header(RANGE, fetch.range_header()).header(ACCEPT_ENCODING, "identity");
            let response = request.send().await.map_err(unreachable)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let target = location.and_then(|location| url.join(location).ok());
            url = target.ok_or(WebSeedFailure::Redirect("to nowhere"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(WebSeedFailure::Redirect("to no HTTP address"));
            }
            // Whoever is outside may not send us to what is inside.
            let asked = reached.or(response.remote_addr().map(|address| reach(address.ip())));
            let next =
                lookup(&url).await.map_err(|error| WebSeedFailure::Unreachable(error.to_string()))?.nearest();
            if next < asked {
                return Err(WebSeedFailure::Redirect("into this network"));
            }
            reached = asked;
        }
        Err(WebSeedFailure::Redirect("in circles"))
    }
}

/// An answer that is being read. Dropping it closes the connection unless all was read.
#[derive(Debug)]
pub struct Download {
    response: Response,
    /// Bytes to throw away before those that were asked for.
    skip: u64,
    /// Bytes that have arrived and are not handed out yet.
    chunk: Bytes,
    cursor: Cursor,
}

impl Download {
    /// The next bytes: the part they belong to, where in it they begin, and the bytes, as [`Assembly::fill`](super::Assembly::fill) takes them. `None`
    /// when all that was asked for has arrived. Reads from the network only when it is called; cancel-safe.
    ///
    /// # Errors
    /// [`WebSeedFailure`]; what was handed out before is good.
    pub async fn next(&mut self) -> Result<Option<(Part, u32, Bytes)>, WebSeedFailure> {
        if self.cursor.is_done() {
            return Ok(None);
        }
        while self.chunk.is_empty() {
            let read = async { self.response.chunk().await.map_err(unreachable) };
            self.chunk = timely(read).await?.ok_or(WebSeedFailure::Cut)?;
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.chunk.len());
            self.chunk.advance(skipped);
            self.skip -= skipped as u64;
        }
        let Some((part, skip, taken)) = self.cursor.next(self.chunk.len()) else { return Ok(None) };
        Ok(Some((part, skip, self.chunk.split_to(taken))))
    }
}

async fn timely<T>(step: impl Future<Output = Result<T, WebSeedFailure>>) -> Result<T, WebSeedFailure> {
    tokio::time::timeout(SILENCE_MAX, step).await.map_err(|_| WebSeedFailure::Stalled(SILENCE_MAX))?
}

/// The innermost cause is what helps; the URL in reqwest's own words may hold a secret.
fn unreachable(error: reqwest::Error) -> WebSeedFailure {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    WebSeedFailure::Unreachable(cause.to_string())
}
