//! What is the same for all transfers at a moment: where we can be reached, and how large the DHT is. Found out once for many views.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Inner;

/// How long our addresses are believed: interfaces change seldom, and finding them takes a dozen system calls.
const ADDRESSES_KEPT: Duration = Duration::from_secs(5);

/// The addresses as they were found last.
#[derive(Debug, Default)]
pub(super) struct Surroundings(Mutex<Option<(Instant, Arc<[SocketAddr]>)>>);

/// How things are around the transfers.
#[derive(Clone, Debug)]
pub(super) struct Around {
    /// Our listeners as another machine may reach them.
    pub(super) listening: Arc<[SocketAddr]>,
    /// Nodes in the DHT's routing table; `None`: it is off.
    pub(super) dht_nodes: Option<u32>,
}

impl Inner {
    /// How things are now.
    pub(super) async fn around(&self) -> Around {
        Around {
            listening: self.surroundings.addresses(self.door.listening()),
            dht_nodes: self.dht_nodes().await,
        }
    }

    async fn dht_nodes(&self) -> Option<u32> {
        let status = self.door.dht()?.status().await?;
        Some(u32::try_from(status.nodes).unwrap_or(u32::MAX))
    }
}

impl Surroundings {
    fn addresses(&self, listening: &[SocketAddr]) -> Arc<[SocketAddr]> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((found, addresses)) if found.elapsed() < ADDRESSES_KEPT => addresses.clone(),
            _ => {
                let addresses: Arc<[_]> = for_others(listening).into();
                *kept = Some((Instant::now(), addresses.clone()));
                addresses
            }
        }
    }
}

/// Listeners as another machine may reach them.
fn for_others(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut reachable = Vec::new();
    for address in listening {
        if !address.ip().is_unspecified() {
            reachable.push(*address);
            continue;
        }
        for interface in &interfaces {
            let ip = interface.ip();
            let link_local = match ip {
                IpAddr::V4(ip) => ip.is_link_local(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            let on_this_machine = interface.is_loopback() || interface.name == "lo";
            if !on_this_machine && !link_local && ip.is_ipv4() == address.is_ipv4() {
                reachable.push(SocketAddr::new(ip, address.port()));
            }
        }
    }
    reachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_is_named_with_its_own_port() {
        let listening: Vec<SocketAddr> =
            ["192.0.2.7:7001", "[2001:db8::7]:7002"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(for_others(&listening), listening);
        let everywhere: Vec<SocketAddr> =
            ["0.0.0.0:7001", "[::]:7002"].iter().map(|text| text.parse().unwrap()).collect();
        let is_right = |address: &SocketAddr| address.port() == if address.is_ipv4() { 7001 } else { 7002 };
        assert!(for_others(&everywhere).iter().all(is_right));
    }
}
