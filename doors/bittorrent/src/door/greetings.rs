//! Accepted connections that have not greeted yet.
//!
//! Whoever connects costs a place until it has said what it wants. A host that takes many of them without a word keeps out nobody but
//! itself: its oldest gives way to its newest.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Of one host at a time.
pub(super) const HOST_MAX: usize = 24;

/// All that are under way, by host.
#[derive(Debug, Default)]
pub(super) struct Greetings(Mutex<HashMap<IpAddr, VecDeque<CancellationToken>>>);

/// One that is under way; over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    greetings: Arc<Greetings>,
    host: IpAddr,
    gone: CancellationToken,
}

impl Greetings {
    /// One more of this address begins.
    pub(super) fn begin(self: &Arc<Self>, address: IpAddr) -> Turn {
        let host = host_of(address);
        let gone = CancellationToken::new();
        let mut hosts = self.hosts();
        let own = hosts.entry(host).or_default();
        if own.len() >= HOST_MAX
            && let Some(oldest) = own.pop_front()
        {
            oldest.cancel();
        }
        own.push_back(gone.clone());
        Turn { greetings: self.clone(), host, gone }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<IpAddr, VecDeque<CancellationToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Greets, unless it has to give way.
    pub(super) async fn greet<T>(&self, greeting: impl Future<Output = T>) -> Option<T> {
        self.gone.run_until_cancelled(greeting).await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // So that this one is told from the others, which are under way.
        self.gone.cancel();
        let mut hosts = self.greetings.hosts();
        if let Some(own) = hosts.get_mut(&self.host) {
            own.retain(|turn| !turn.is_cancelled());
            if own.is_empty() {
                hosts.remove(&self.host);
            }
        }
    }
}

/// Over IPv6 a host has a network of its own.
fn host_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_oldest_of_a_host_gives_way_and_nobody_elses() {
        let greetings = Arc::new(Greetings::default());
        let other = greetings.begin(ip("192.0.2.2"));
        let turns: Vec<Turn> = (0..=HOST_MAX).map(|_| greetings.begin(ip("192.0.2.1"))).collect();
        let mut gone = Vec::new();
        for turn in [&other, &turns[0], &turns[1], &turns[HOST_MAX]] {
            gone.push(turn.greet(std::future::ready(())).await.is_none());
        }
        assert_eq!(gone, [false, true, false, false]);
        drop((turns, other));
        assert!(greetings.hosts().is_empty());
    }

    #[test]
    fn the_addresses_of_an_ipv6_host_count_together() {
        assert_eq!(host_of(ip("2001:db8::1")), host_of(ip("2001:db8::ffff:1")));
        assert_ne!(host_of(ip("2001:db8::1")), host_of(ip("2001:db8:0:1::1")));
    }
}
