//! The addresses behind the name in a URL.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::{Host, Url};

use crate::address::canonical;

/// For the system's resolver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// What was found counts for this long.
const RECENT: Duration = Duration::from_secs(60);
/// Hosts that are remembered.
const RECENT_MAX: usize = 256;

/// One address of each family that a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Option<SocketAddr>,
    pub(crate) v6: Option<SocketAddr>,
}

/// A name that does not lead anywhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("no answer within {} s", LOOKUP_TIMEOUT.as_secs())]
    TimedOut,
    #[error("no host or port in the URL")]
    NoHost,
}

impl Addresses {
    pub(crate) fn of(&self, ipv6: bool) -> Option<SocketAddr> {
        if ipv6 { self.v6 } else { self.v4 }
    }

    /// Those of some families.
    pub(crate) fn only(self, is_wanted: impl Fn(bool) -> bool) -> Self {
        Self { v4: self.v4.filter(|_| is_wanted(false)), v6: self.v6.filter(|_| is_wanted(true)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

/// Lookups for those who ask again and again: a web seed with every range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Arc<Mutex<HashMap<String, (Instant, Addresses)>>>);

impl Recent {
    /// As [`lookup`], or what it found less than [`RECENT`] ago.
    pub(crate) async fn lookup(&self, url: &Url) -> Result<Addresses, LookupError> {
        let known = self.known().get(&host_of(url)).copied();
        if let Some((_, addresses)) = known.filter(|(at, _)| at.elapsed() < RECENT) {
            return Ok(addresses);
        }
        let addresses = lookup(url).await?;
        self.keep(url, addresses);
        Ok(addresses)
    }

    /// Remembers what a lookup found.
    pub(crate) fn keep(&self, url: &Url, addresses: Addresses) {
        let mut known = self.known();
        if known.len() >= RECENT_MAX {
            known.retain(|_, (at, _)| at.elapsed() < RECENT);
        }
        if known.len() < RECENT_MAX {
            known.insert(host_of(url), (Instant::now(), addresses));
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Instant, Addresses)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a lookup depends on.
fn host_of(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Resolves a URL's host, with the port of the URL or of its scheme, to the addresses that the resolver prefers.
pub(crate) async fn lookup(url: &Url) -> Result<Addresses, LookupError> {
    lookup_again(url, 0).await
}

/// As [`lookup`] after so many failures in a row: of several addresses, one may work that is not the first.
pub(crate) async fn lookup_again(url: &Url, failures: u32) -> Result<Addresses, LookupError> {
    let host = match url.host().ok_or(LookupError::NoHost)? {
        // Without the brackets of the URL, as a resolver takes it.
        Host::Ipv6(ip) => ip.to_string(),
        host => host.to_string(),
    };
    let port = url.port_or_known_default().ok_or(LookupError::NoHost)?;
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| LookupError::TimedOut)??;
    Ok(choose(&found.map(canonical).collect::<Vec<_>>(), failures))
}

fn choose(found: &[SocketAddr], failures: u32) -> Addresses {
    let of = |ipv6: bool| {
        let family: Vec<SocketAddr> =
            found.iter().filter(|address| address.is_ipv6() == ipv6).copied().collect();
        family.get(failures as usize % family.len().max(1)).copied()
    };
    Addresses { v4: of(false), v6: of(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_is_tried_after_a_failure() {
        let found = ["192.0.2.1:80", "[2001:db8::1]:80", "192.0.2.2:80"].map(|text| text.parse().unwrap());
        let v4 = [0, 1, 2].map(|failures| choose(&found, failures).v4);
        assert_eq!(v4, [Some(found[0]), Some(found[2]), Some(found[0])]);
        assert!((0..3).all(|failures| choose(&found, failures).v6 == Some(found[1])));
        assert_eq!(choose(&[], 5), Addresses::default());
    }
}
