//! Asks web seeds: one range at a time, at the caller's pace.

use std::net::{IpAddr, SocketAddr};
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
use crate::address::{Reach, reach};
use crate::lookup::Recent;
use crate::web::{JudgedClients, cause};

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
    clients: JudgedClients,
    lookups: Recent,
    bind: Option<IpAddr>,
}

impl WebSeedClient {
    /// A client that connects from `bind` if given. The program has installed the TLS provider before.
    ///
    /// # Errors
    /// [`reqwest::Error`], when no client can be set up.
    pub fn new(bind: Option<IpAddr>, user_agent: &str) -> Result<Self, reqwest::Error> {
        let user_agent = user_agent.to_owned();
        let builder = move || {
            Client::builder()
                .local_address(bind)
                .user_agent(&user_agent)
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(KEEP_ALIVE)
                // A stream among many over one HTTP/2 connection gains nothing for bulk data, and costs flow control.
                .http1_only()
        };
        Ok(Self { clients: JudgedClients::new(builder)?, lookups: Recent::default(), bind })
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
        let mut nearest = None;
        for _ in 0..=REDIRECTS_MAX {
            let address = self.locate(&url).await?;
            let reached = reach(address.ip());
            // Whoever is outside may not send us to what is inside.
            if *nearest.get_or_insert(reached) > reached {
                return Err(WebSeedFailure::Redirect("into this network"));
            }
            if reached == Reach::Machine && url.query().is_some() {
                return Err(WebSeedFailure::LocalQuery);
            }
            let request = self.clients.client_for(&url, address).map_err(unreachable)?.get(url.clone());
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
        }
        Err(WebSeedFailure::Redirect("in circles"))
    }

    /// Where the host of a URL is, as far as we can connect to it. Of several addresses the nearest counts.
    async fn locate(&self, url: &Url) -> Result<SocketAddr, WebSeedFailure> {
        let found = self.lookups.lookup(url).await;
        let found = found.map_err(|error| WebSeedFailure::Unreachable(error.to_string()))?;
        let ours = |address: &SocketAddr| self.bind.is_none_or(|own| own.is_ipv4() == address.is_ipv4());
        let nearest = found.v4.into_iter().chain(found.v6).filter(ours).min_by_key(|at| reach(at.ip()));
        nearest.ok_or_else(|| WebSeedFailure::Unreachable("no address of our family".to_owned()))
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

fn unreachable(error: reqwest::Error) -> WebSeedFailure {
    WebSeedFailure::Unreachable(cause(error))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::lookup::Addresses;

    const FETCH: Fetch = Fetch { entry: 0, offset: 0, length: 2, file_length: 2, parts: Vec::new() };

    /// What comes of a fetch by this name from a server on this machine; the lookup of the name found what `found` makes of its address.
    async fn fetch_by_name(
        name: &str,
        path: &str,
        found: impl Fn(SocketAddr) -> SocketAddr,
    ) -> Result<(), WebSeedFailure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = server.accept().await.unwrap();
            let _ = socket.read(&mut [0; 1024]).await.unwrap();
            let answer = b"HTTP/1.1 206 x\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nab";
            socket.write_all(answer).await.unwrap();
        });
        let client = WebSeedClient::new(Some("127.0.0.1".parse().unwrap()), "test").unwrap();
        let url = Url::parse(&format!("http://{name}:{}/{path}", address.port())).unwrap();
        client.lookups.keep(&url, Addresses { v4: Some(found(address)), v6: None });
        client.fetch(url, &FETCH).await.map(drop)
    }

    #[tokio::test]
    async fn a_name_that_was_judged_public_does_not_lead_inside_afterwards() {
        let public = |inside: SocketAddr| SocketAddr::from(([192, 0, 2, 1], inside.port()));
        let fetched = fetch_by_name("localhost", "x", public).await;
        assert!(matches!(fetched, Err(WebSeedFailure::Unreachable(_))), "{fetched:?}");
    }

    #[tokio::test]
    async fn a_name_inside_is_tied_to_the_address_that_was_judged() {
        assert_eq!(fetch_by_name("seed.invalid", "x", |inside| inside).await, Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_pushes_no_buttons() {
        let fetched = fetch_by_name("seed.invalid", "set?volume=11", |inside| inside).await;
        assert_eq!(fetched, Err(WebSeedFailure::LocalQuery));
    }
}
