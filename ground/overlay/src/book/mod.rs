//! The peers that were seen, and where: so that a node finds its network again without asking the same few hosts every time.
//!
//! The [`Book`] is bounded and has no clock; the behaviour around it learns from connections and helps when a peer is dialled.

mod behaviour;

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId};

pub(crate) use self::behaviour::Behaviour;
use crate::address::without_peer;
use crate::storage::Provider;

/// Peers that are remembered; beyond, those not seen for the longest time are forgotten.
const PEERS_MAX: usize = 4096;
/// Addresses of one peer.
const ADDRESSES_MAX: usize = 8;
/// A peer not seen for so long is not looked for any more, seconds.
const AGE_MAX: u64 = 30 * 24 * 3600;
/// Of a peer that others told of and that was not met yet: the first to be forgotten.
const NEVER: u64 = 0;

#[derive(Debug, Default)]
pub(crate) struct Book(HashMap<PeerId, Entry>);

#[derive(Debug)]
struct Entry {
    /// Seconds since 1970.
    seen: u64,
    /// What worked last comes first.
    addresses: Vec<Multiaddr>,
}

impl Book {
    /// Reads what [`Book::rows`] gave, without what is too old by now.
    pub(crate) fn from_rows(rows: Vec<(Vec<u8>, Provider)>, now: u64) -> Self {
        let mut book = Self::default();
        for (peer, row) in rows {
            let Ok(peer) = PeerId::from_bytes(&peer) else { continue };
            let addresses = row.addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok());
            let addresses: Vec<_> = addresses.take(ADDRESSES_MAX).collect();
            // A clock that was wrong may have dated it later than now.
            let seen = row.expires.min(now);
            if now - seen <= AGE_MAX && !addresses.is_empty() && book.0.len() < PEERS_MAX {
                book.0.insert(peer, Entry { seen, addresses });
            }
        }
        book
    }

    /// The peers that were met.
    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, Provider)> {
        let row = |entry: &Entry| Provider {
            expires: entry.seen,
            addresses: entry.addresses.iter().map(Multiaddr::to_vec).collect(),
        };
        let met = self.0.iter().filter(|(_, entry)| entry.seen != NEVER);
        met.map(|(peer, entry)| (peer.to_bytes(), row(entry))).collect()
    }

    /// Somebody told where a peer is: remembered behind what is known to work, and not for longer than this run.
    pub(crate) fn told(&mut self, peer: PeerId, address: Multiaddr) {
        let entry = self.entry(peer);
        let address = without_peer(address);
        if !entry.addresses.contains(&address) && entry.addresses.len() < ADDRESSES_MAX {
            entry.addresses.push(address);
        }
    }

    /// A peer was reached here.
    pub(crate) fn worked(&mut self, peer: PeerId, address: Multiaddr, now: u64) {
        let entry = self.entry(peer);
        let address = without_peer(address);
        entry.seen = now;
        entry.addresses.retain(|known| *known != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(ADDRESSES_MAX);
    }

    /// A peer was not reached here: its last address is kept, the network may be to blame.
    pub(crate) fn failed(&mut self, peer: &PeerId, address: Multiaddr) {
        let address = without_peer(address);
        if let Some(entry) = self.0.get_mut(peer)
            && entry.addresses.len() > 1
        {
            entry.addresses.retain(|known| *known != address);
        }
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.0.get(peer).map_or(&[], |entry| &entry.addresses)
    }

    /// The peers that were met last.
    pub(crate) fn latest(&self, count: usize) -> Vec<PeerId> {
        let met = self.0.iter().filter(|(_, entry)| entry.seen != NEVER);
        let mut peers: Vec<_> = met.map(|(peer, entry)| (entry.seen, *peer)).collect();
        peers.sort_unstable_by(|a, b| b.cmp(a));
        peers.into_iter().take(count).map(|(_, peer)| peer).collect()
    }

    fn entry(&mut self, peer: PeerId) -> &mut Entry {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&peer) {
            self.make_room();
        }
        self.0.entry(peer).or_insert(Entry { seen: NEVER, addresses: Vec::new() })
    }

    /// A sixteenth at a time, so that it is not looked for at every new peer.
    fn make_room(&mut self) {
        let mut seen: Vec<u64> = self.0.values().map(|entry| entry.seen).collect();
        let (_, &mut oldest, _) = seen.select_nth_unstable(PEERS_MAX / 16);
        let mut left = PEERS_MAX / 16;
        self.0.retain(|_, entry| {
            let goes = left > 0 && entry.seen <= oldest;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn what_worked_comes_first_and_what_failed_goes() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        (1..=20).for_each(|port| book.told(peer, address(port)));
        assert_eq!(book.addresses(&peer).len(), ADDRESSES_MAX);
        book.worked(peer, address(99), 2);
        book.worked(peer, address(3).with_p2p(peer).unwrap(), 3);
        assert_eq!(book.addresses(&peer)[..3], [address(3), address(99), address(1)]);
        assert_eq!(book.addresses(&peer).len(), ADDRESSES_MAX);
        (1..100).for_each(|port| book.failed(&peer, address(port)));
        assert_eq!(book.addresses(&peer).len(), 1, "the last one stays");
    }

    #[test]
    fn it_is_bounded_and_forgets_who_was_not_seen_for_long() {
        let (mut book, friend) = (Book::default(), PeerId::random());
        book.worked(friend, address(1), 1_000_000);
        for _ in 0..2 * PEERS_MAX {
            book.told(PeerId::random(), address(2));
        }
        assert!(book.0.len() <= PEERS_MAX);
        assert_eq!(book.latest(1), [friend]);
        assert_eq!(book.addresses(&friend), [address(1)]);
    }

    #[test]
    fn it_survives_as_rows_without_the_aged() {
        let (mut book, old, new) = (Book::default(), PeerId::random(), PeerId::random());
        book.worked(old, address(1), 1);
        book.worked(new, address(2), AGE_MAX + 2);
        book.told(PeerId::random(), address(3));
        let again = Book::from_rows(book.rows(), AGE_MAX + 2);
        assert_eq!(again.latest(10), [new]);
        assert_eq!(again.addresses(&new), [address(2)]);
        let before = Book::from_rows(book.rows(), 1);
        let mut met = before.latest(10);
        met.sort_unstable();
        let mut both = [old, new];
        both.sort_unstable();
        assert_eq!(met, both, "a clock that went back forgets nobody");
    }
}
