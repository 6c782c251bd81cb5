//! What we keep for others: peers that were announced to us, and the tokens without which nobody may announce (BEP 5).

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, RngExt};
use sha1::{Digest, Sha1};

use crate::hash::SwarmHash;

/// An announce is kept this long.
const KEPT_FOR: Duration = Duration::from_secs(30 * 60);

/// A token is good for one to two of these (BEP 5: "up to ten minutes").
const SECRET_LIFE: Duration = Duration::from_secs(5 * 60);

/// Swarms kept; the one that was announced to longest ago makes room.
const SWARMS_MAX: usize = 2_000;

/// Peers kept of a swarm; the oldest makes room.
const PEERS_MAX: usize = 200;

/// Peers kept of a host in a swarm: several may share an address behind one router, and none of them is to crowd out the others.
const PEERS_OF_HOST_MAX: usize = 4;

/// Peers in a reply, of one family: they fit a datagram.
const VALUES_MAX: usize = 40;

#[derive(Debug)]
pub(super) struct Store {
    swarms: HashMap<SwarmHash, VecDeque<(SocketAddr, Instant)>>,
    secrets: [[u8; 16]; 2],
    changed: Instant,
}

impl Store {
    pub(super) fn new(now: Instant, random: &mut StdRng) -> Self {
        Self { swarms: HashMap::new(), secrets: [random.random(), random.random()], changed: now }
    }

    /// What a host must show to announce.
    pub(super) fn token(&mut self, now: Instant, ip: IpAddr, random: &mut StdRng) -> Vec<u8> {
        if now - self.changed >= SECRET_LIFE {
            // A long pause makes both old secrets worthless.
            let previous =
                if now - self.changed < SECRET_LIFE * 2 { self.secrets[0] } else { secret(random) };
            self.secrets = [secret(random), previous];
            self.changed = now;
        }
        token(&self.secrets[0], ip)
    }

    /// Whether a host has such a token from us.
    pub(super) fn accepts(&self, ip: IpAddr, shown: &[u8]) -> bool {
        self.secrets.iter().any(|secret| token(secret, ip) == shown)
    }

    /// Keeps an announce.
    pub(super) fn announce(&mut self, now: Instant, swarm: SwarmHash, peer: SocketAddr) {
        if self.swarms.len() >= SWARMS_MAX && !self.swarms.contains_key(&swarm) {
            let newest = |peers: &VecDeque<(SocketAddr, Instant)>| peers.back().map(|(_, at)| *at);
            let oldest = self.swarms.iter().min_by_key(|(_, peers)| newest(peers)).map(|(swarm, _)| *swarm);
            oldest.and_then(|swarm| self.swarms.remove(&swarm));
        }
        let peers = self.swarms.entry(swarm).or_default();
        peers.retain(|(known, at)| *known != peer && now - *at < KEPT_FOR);
        // On this machine there may be a whole network of tests.
        let of_host =
            |(known, _): &(SocketAddr, Instant)| known.ip() == peer.ip() && !peer.ip().is_loopback();
        if peers.iter().filter(|entry| of_host(entry)).count() >= PEERS_OF_HOST_MAX
            && let Some(oldest) = peers.iter().position(of_host)
        {
            peers.remove(oldest);
        }
        peers.push_back((peer, now));
        if peers.len() > PEERS_MAX {
            peers.pop_front();
        }
    }

    /// Some peers of a swarm, at random.
    pub(super) fn peers(
        &self,
        now: Instant,
        swarm: SwarmHash,
        ipv6: bool,
        random: &mut StdRng,
    ) -> Vec<SocketAddr> {
        let peers = self.swarms.get(&swarm).into_iter().flatten();
        let fresh = peers.filter(|(peer, at)| peer.is_ipv6() == ipv6 && now - *at < KEPT_FOR);
        fresh.map(|(peer, _)| *peer).sample(random, VALUES_MAX)
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        self.swarms.retain(|_, peers| {
            peers.retain(|(_, at)| now - *at < KEPT_FOR);
            !peers.is_empty()
        });
    }
}

fn secret(random: &mut impl Rng) -> [u8; 16] {
    random.random()
}

fn token(secret: &[u8; 16], ip: IpAddr) -> Vec<u8> {
    let mut hash = Sha1::new();
    hash.update(secret);
    match ip {
        IpAddr::V4(ip) => hash.update(ip.octets()),
        IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    hash.finalize().iter().take(8).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn store() -> (Store, StdRng, Instant) {
        let (mut random, now) = (StdRng::seed_from_u64(1), Instant::now());
        (Store::new(now, &mut random), random, now)
    }

    fn host(number: u32) -> IpAddr {
        IpAddr::V4((0x0800_0000 + number).into())
    }

    /// BEP 5: tokens are bound to the address and good for five minutes to ten.
    #[test]
    fn tokens_are_bound_to_the_host_and_expire() {
        let (mut store, mut random, now) = store();
        let token = store.token(now, host(1), &mut random);
        assert!(store.accepts(host(1), &token));
        assert!(!store.accepts(host(2), &token));
        assert!(!store.accepts(host(1), b""));
        store.token(now + SECRET_LIFE, host(1), &mut random);
        assert!(store.accepts(host(1), &token), "the last secret still counts");
        store.token(now + SECRET_LIFE * 2, host(1), &mut random);
        assert!(!store.accepts(host(1), &token));
    }

    #[test]
    fn announces_are_kept_for_a_while_by_family() {
        let (mut store, mut random, now) = store();
        let (swarm, v6) = (SwarmHash([1; 20]), "[2001:db8::1]:1".parse().unwrap());
        store.announce(now, swarm, (host(1), 1).into());
        store.announce(now, swarm, (host(1), 1).into());
        store.announce(now, swarm, v6);
        assert_eq!(store.peers(now, swarm, false, &mut random), [(host(1), 1).into()]);
        assert_eq!(store.peers(now, swarm, true, &mut random), [v6]);
        assert_eq!(store.peers(now, SwarmHash([2; 20]), true, &mut random), []);
        assert_eq!(store.peers(now + KEPT_FOR, swarm, true, &mut random), []);
        store.expire(now + KEPT_FOR);
        assert!(store.swarms.is_empty());
    }

    #[test]
    fn two_clients_behind_one_router_are_both_kept_and_a_host_has_few_places() {
        let (mut store, mut random, now) = store();
        let swarm = SwarmHash([1; 20]);
        for port in [1, 2] {
            store.announce(now, swarm, (host(1), port).into());
        }
        store.announce(now, swarm, (host(2), 7).into());
        assert_eq!(store.peers(now, swarm, false, &mut random).len(), 3);
        for port in 3..100 {
            store.announce(now, swarm, (host(1), port).into());
        }
        let mut kept: Vec<u16> =
            store.peers(now, swarm, false, &mut random).iter().map(SocketAddr::port).collect();
        kept.sort_unstable();
        assert_eq!(kept, [7, 96, 97, 98, 99]);
    }

    #[test]
    fn strangers_cannot_fill_memory() {
        let (mut store, mut random, now) = store();
        for number in 0..3_000 {
            store.announce(now, SwarmHash([0; 20]), (host(number), 1).into());
            let mut swarm = [1; 20];
            swarm[..4].copy_from_slice(&number.to_be_bytes());
            store.announce(now + Duration::from_millis(number.into()), SwarmHash(swarm), (host(1), 1).into());
        }
        assert!(store.swarms.len() <= SWARMS_MAX);
        assert!(store.swarms.values().all(|peers| peers.len() <= PEERS_MAX));
        assert!(store.peers(now, SwarmHash([0; 20]), false, &mut random).len() <= VALUES_MAX);
    }
}
