//! Asks HTTP trackers, with everything bounded: the time, the redirects, the length of the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Client, Response, redirect};
use url::Url;

use super::{announce_url, parse_announce, parse_scrape, scrape_url};
use crate::address::{Reach, reach};
use crate::hash::SwarmHash;
use crate::lookup::{Addresses, lookup};
use crate::tracker::{AnnounceRequest, AnnounceResponse, Scrape, TrackerError, TrackerUrl};

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
    v4: Option<Client>,
    v6: Option<Client>,
}

impl HttpTrackers {
    /// Clients that connect from the addresses in `bind`, or from any of both families if it is empty. The program has
    /// installed the TLS provider before.
    ///
    /// # Errors
    /// [`reqwest::Error`], when no client can be set up: there are no certificates to trust.
    pub fn new(bind: &[IpAddr], user_agent: &str) -> Result<Self, reqwest::Error> {
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let mut clients = Self { v4: None, v6: None };
        for ip in if bind.is_empty() { &everywhere } else { bind } {
            let client = Client::builder()
                // Binding to a family is what keeps a client to it.
                .local_address(*ip)
                .user_agent(user_agent)
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(KEEP_ALIVE)
                .pool_max_idle_per_host(2)
                // Who answers decides which peers we believe: a proxy would answer for everybody.
                .no_proxy()
                .build()?;
            *(if ip.is_ipv4() { &mut clients.v4 } else { &mut clients.v6 }) = Some(client);
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
        let (body, from) = self.get(announce_url(tracker.url(), request), addresses, ipv6).await?;
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
        let client = if ipv6 { &self.v6 } else { &self.v4 };
        let client =
            client.as_ref().ok_or_else(|| TrackerError::Unreachable("no such address family".to_owned()))?;
        let mut nearest = None;
        for _ in 0..=REDIRECTS_MAX {
            let reached = check_target(&url, addresses, ipv6)?;
            if *nearest.get_or_insert(reached) > reached {
                return Err(TrackerError::Redirect("into this network"));
            }
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

/// A torrent can name any URL as its tracker; on this machine, only what looks like a tracker is asked, so that a torrent cannot
/// push buttons on the local services of whoever opens it.
fn check_target(url: &Url, addresses: Addresses, ipv6: bool) -> Result<Reach, TrackerError> {
    let address = addresses
        .of(ipv6)
        .ok_or_else(|| TrackerError::Unreachable("no address of that family".to_owned()))?;
    let reached = reach(address.ip());
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    if reached == Reach::Machine && !last.starts_with("announce") && !last.starts_with("scrape") {
        return Err(TrackerError::NotATracker);
    }
    Ok(reached)
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

/// The innermost cause is what helps; the URL in reqwest's own words may hold a passkey.
fn unreachable(error: reqwest::Error) -> TrackerError {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    TrackerError::Unreachable(cause.to_string())
}
