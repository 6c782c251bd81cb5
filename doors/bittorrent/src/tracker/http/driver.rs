//! Asks HTTP trackers, with everything bounded: the time, the redirects, the length of the answer.
//!
//! Where a name leads is judged before a connection is made, and the connection goes nowhere else ([`JudgedClients`]). Nor does it go
//! through a proxy: who answers decides which peers we believe, and a proxy would answer for everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Client, ClientBuilder, Response, redirect};
use url::Url;

use super::{announce_url, parse_announce, parse_scrape, scrape_url};
use crate::address::{Reach, reach};
use crate::hash::SwarmHash;
use crate::lookup::{Addresses, lookup};
use crate::tracker::{AnnounceRequest, AnnounceResponse, Scrape, TrackerError, TrackerUrl};
use crate::web::{JudgedClients, NO_ROOTS, cause};

/// Bytes of an answer. An honest one with [`PEERS_MAX`](crate::tracker::announce::PEERS_MAX) peers in the most verbose form has a quarter of this.
const BODY_MAX: usize = 1 << 20;

/// Redirects followed.
const REDIRECTS_MAX: usize = 4;

/// For a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections are kept this long for the next transfer that announces to the same tracker.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The HTTP clients of the process, one a family: a tracker that has both is told of both our addresses (BEP 7).
#[derive(Clone, Debug)]
pub struct HttpTrackers {
    v4: Option<JudgedClients>,
    v6: Option<JudgedClients>,
}

impl HttpTrackers {
    /// Clients that connect from the addresses in `bind`, or from any of both families if it is empty. The program has
    /// installed the TLS provider before.
    ///
    /// # Errors
    /// [`reqwest::Error`], when no client can be set up.
    pub fn new(bind: &[IpAddr], user_agent: &str) -> Result<Self, reqwest::Error> {
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let mut clients = Self { v4: None, v6: None };
        for &local in if bind.is_empty() { &everywhere } else { bind } {
            let user_agent = user_agent.to_owned();
            let family = JudgedClients::new(move || builder(local, &user_agent))?;
            if !family.has_roots() {
                tracing::warn!("{NO_ROOTS}");
            }
            *(if local.is_ipv4() { &mut clients.v4 } else { &mut clients.v6 }) = Some(family);
        }
        Ok(clients)
    }

    /// Announces over one family to a tracker with these addresses. Also says at which address the tracker was found, since that decides which peers it may name.
    ///
    /// # Errors
    /// [`TrackerError`]; time-outs are the caller's.
    pub(in crate::tracker) async fn announce(
        &self,
        tracker: &TrackerUrl,
        addresses: Addresses,
        ipv6: bool,
        request: &AnnounceRequest,
    ) -> Result<(AnnounceResponse, SocketAddr), TrackerError> {
        let (body, from) = self.get(announce_url(tracker.url(), request, ipv6), addresses, ipv6).await?;
        Ok((parse_announce(&body)?, from))
    }

    /// Asks for the sizes of swarms; those that the tracker does not know are missing in the answer.
    ///
    /// # Errors
    /// [`TrackerError`]; time-outs are the caller's.
    pub(in crate::tracker) async fn scrape(
        &self,
        tracker: &TrackerUrl,
        addresses: Addresses,
        ipv6: bool,
        swarms: &[SwarmHash],
    ) -> Result<Vec<(SwarmHash, Scrape)>, TrackerError> {
        let url = scrape_url(tracker.url(), swarms).ok_or(TrackerError::Unsupported("scrape"))?;
        let (body, _) = self.get(url, addresses, ipv6).await?;
        parse_scrape(&body, swarms)
    }

    async fn get(
        &self,
        mut url: Url,
        mut addresses: Addresses,
        ipv6: bool,
    ) -> Result<(Vec<u8>, SocketAddr), TrackerError> {
        let family = if ipv6 { &self.v6 } else { &self.v4 };
        let family =
            family.as_ref().ok_or_else(|| TrackerError::Unreachable("no such address family".to_owned()))?;
        let mut nearest = None;
        for _ in 0..=REDIRECTS_MAX {
            let address = check_target(&url, addresses, ipv6)?;
            let reached = reach(address.ip());
            if *nearest.get_or_insert(reached) > reached {
                return Err(TrackerError::Redirect("into this network"));
            }
            if url.scheme() == "https" && !family.has_roots() {
                return Err(TrackerError::Unreachable(NO_ROOTS.to_owned()));
            }
            let client = family.client_for(&url, address).map_err(unreachable)?;
            let response = client.get(url.clone()).send().await.map_err(unreachable)?;
            if !response.status().is_redirection() {
                return read(response).await;
            }
            url = redirected(&url, &response)?;
            addresses = lookup(&url).await?;
        }
        Err(TrackerError::Redirect("in circles"))
    }
}

fn builder(local: IpAddr, user_agent: &str) -> ClientBuilder {
    Client::builder()
        // Binding to a family is what keeps a client to it.
        .local_address(local)
        .user_agent(user_agent)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(2)
}

/// A torrent can name any URL as its tracker; on this machine, only what looks like a tracker is asked, so that a torrent cannot
/// push buttons on the local services of whoever opens it.
fn check_target(url: &Url, addresses: Addresses, ipv6: bool) -> Result<SocketAddr, TrackerError> {
    let address = addresses
        .of(ipv6)
        .ok_or_else(|| TrackerError::Unreachable("no address of that family".to_owned()))?;
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    if reach(address.ip()) == Reach::Machine && !last.starts_with("announce") && !last.starts_with("scrape") {
        return Err(TrackerError::NotATracker);
    }
    Ok(address)
}

fn redirected(from: &Url, response: &Response) -> Result<Url, TrackerError> {
    let nowhere = TrackerError::Redirect("to nowhere");
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let url = location.and_then(|location| from.join(location).ok()).ok_or(nowhere)?;
    match (from.scheme(), url.scheme()) {
        ("http", "http" | "https") | ("https", "https") => Ok(url),
        ("https", "http") => Err(TrackerError::Redirect("from HTTPS to plain HTTP")),
        _ => Err(TrackerError::Redirect("to no HTTP address")),
    }
}

async fn read(mut response: Response) -> Result<(Vec<u8>, SocketAddr), TrackerError> {
    let from = response
        .remote_addr()
        .ok_or_else(|| TrackerError::Unreachable("the connection has no remote address".to_owned()))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(TrackerError::TooLong(BODY_MAX));
        }
        body.extend_from_slice(&chunk);
    }
    let status = response.status();
    if status.is_success() {
        return Ok((body, from));
    }
    // Some trackers explain themselves in the body of an error.
    match parse_announce(&body) {
        Err(refused @ TrackerError::Refused(_)) => Err(refused),
        _ => Err(TrackerError::Status(status.as_u16())),
    }
}

fn unreachable(error: reqwest::Error) -> TrackerError {
    TrackerError::Unreachable(cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name leads elsewhere; the connection goes to the address that was judged.
    #[tokio::test]
    async fn a_client_for_the_inside_is_tied_to_the_address() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = server.accept().await.unwrap();
            let _ = socket.read(&mut [0; 1024]).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde").await.unwrap();
        });
        let clients = HttpTrackers::new(&["127.0.0.1".parse().unwrap()], "test").unwrap();
        let url = Url::parse(&format!("http://tracker.invalid:{}/announce", address.port())).unwrap();
        let addresses = Addresses { v4: Some(address), ..Addresses::default() };
        let (body, from) = clients.get(url, addresses, false).await.unwrap();
        assert_eq!((body.as_slice(), from), (&b"de"[..], address));
    }
}
