//! The addresses behind the name in a URL.

use std::net::SocketAddr;
use std::time::Duration;

use url::{Host, Url};

use crate::address::{Reach, canonical, reach};

/// For the system's resolver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// One address of each family that a host has, the one that the resolver prefers.
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

    /// How near the nearest of them is.
    pub(crate) fn nearest(&self) -> Option<Reach> {
        self.v4.into_iter().chain(self.v6).map(|address| reach(address.ip())).min()
    }
}

/// Resolves a URL's host, with the port of the URL or of its scheme.
pub(crate) async fn lookup(url: &Url) -> Result<Addresses, LookupError> {
    let host = match url.host().ok_or(LookupError::NoHost)? {
        // Without the brackets of the URL, as a resolver takes it.
        Host::Ipv6(ip) => ip.to_string(),
        host => host.to_string(),
    };
    let port = url.port_or_known_default().ok_or(LookupError::NoHost)?;
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| LookupError::TimedOut)??;
    let mut addresses = Addresses::default();
    for address in found.map(canonical) {
        let family = if address.is_ipv4() { &mut addresses.v4 } else { &mut addresses.v6 };
        family.get_or_insert(address);
    }
    Ok(addresses)
}
