//! The addresses behind a tracker's name.

use std::net::SocketAddr;
use std::time::Duration;

use super::{TrackerError, TrackerUrl};
use crate::address::canonical;

/// For the system's resolver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// One address of each family that a host has, the one that the resolver prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v4: Option<SocketAddr>,
    pub(super) v6: Option<SocketAddr>,
}

impl Addresses {
    pub(super) fn of(&self, ipv6: bool) -> Option<SocketAddr> {
        if ipv6 { self.v6 } else { self.v4 }
    }
}

/// Resolves a tracker's host.
pub(super) async fn lookup(tracker: &TrackerUrl) -> Result<Addresses, TrackerError> {
    let (host, port) = (tracker.host(), tracker.port());
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host.as_str(), port)))
        .await
        .map_err(|_| TrackerError::Lookup(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())))?
        .map_err(|error| TrackerError::Lookup(error.to_string()))?;
    let mut addresses = Addresses::default();
    for address in found.map(canonical) {
        let family = if address.is_ipv4() { &mut addresses.v4 } else { &mut addresses.v6 };
        family.get_or_insert(address);
    }
    Ok(addresses)
}
