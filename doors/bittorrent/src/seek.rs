//! Whom to dial while the metadata of a torrent is sought, without IO.
//!
//! Every address has its own time: one that was not up yet is tried again although others are talked to, and a peer that is talked
//! to holds no place of those that are dialled. What was learnt goes to the transfer once there is one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;

/// Dials under way.
pub(crate) const DIALS_MAX: usize = 16;
/// Addresses kept.
pub(crate) const KNOWN_MAX: usize = 1_000;
/// Before an address is tried again; doubles with every further failure up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_secs(15);
/// Between attempts at an address, at most.
const AGAIN_MAX: Duration = Duration::from_secs(5 * 60);
/// The same for an address that the user or the local network named: the other side may be about to start.
const AGAIN_NEAR: Duration = Duration::from_secs(1);
/// Between attempts at such an address, at most.
const AGAIN_NEAR_MAX: Duration = Duration::from_secs(15);

/// Whose word an address is; the last keeps its place before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Strangers,
    Lan,
    User,
}

#[derive(Debug)]
struct Known {
    found: Found,
    failures: u32,
    /// When to dial it; `None` while it is dialled or talked to.
    due: Option<Instant>,
}

impl Known {
    fn word(&self) -> Word {
        let has = |found: Found| self.found.0 & found.0 != 0;
        match (has(Found::GIVEN), has(Found::LAN)) {
            (true, _) => Word::User,
            (false, true) => Word::Lan,
            (false, false) => Word::Strangers,
        }
    }

    fn pause(&self) -> Duration {
        let (first, most) = match self.word() {
            Word::Strangers => (AGAIN, AGAIN_MAX),
            Word::Lan | Word::User => (AGAIN_NEAR, AGAIN_NEAR_MAX),
        };
        (first * 2_u32.pow(self.failures.saturating_sub(1).min(10))).min(most)
    }
}

/// The addresses of one search.
#[derive(Debug, Default)]
pub(crate) struct Seek {
    known: HashMap<SocketAddr, Known>,
    due: BTreeSet<(Instant, SocketAddr)>,
    dialling: usize,
}

impl Seek {
    /// Addresses that were named.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// An address was named.
    pub(crate) fn learn(&mut self, now: Instant, address: SocketAddr, found: Found) {
        if let Some(known) = self.known.get_mut(&address) {
            known.found.0 |= found.0;
            return;
        }
        let new = Known { found, failures: 0, due: Some(now) };
        if self.known.len() >= KNOWN_MAX && !self.make_room(new.word()) {
            return;
        }
        self.known.insert(address, new);
        self.due.insert((now, address));
    }

    /// Forgets the address that is worth least: one of a lesser word, or of the same one that has failed. What the user named is never
    /// forgotten.
    fn make_room(&mut self, word: Word) -> bool {
        let gives_way = |known: &Known| match known.word() {
            Word::User => false,
            other => other < word || (other == word && known.failures > 0),
        };
        let waiting = self.known.iter().filter_map(|(address, known)| Some((*address, known, known.due?)));
        let worst = waiting
            .filter(|(_, known, _)| gives_way(known))
            .min_by_key(|(_, known, _)| (known.word(), Reverse(known.failures)));
        let Some((address, _, due)) = worst else { return false };
        self.due.remove(&(due, address));
        self.known.remove(&address);
        true
    }

    /// The next address to dial; its end is told to [`Seek::ended`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<(SocketAddr, Found)> {
        if !self.is_due(now) {
            return None;
        }
        let (_, address) = self.due.pop_first()?;
        let known = self.known.get_mut(&address)?;
        known.due = None;
        self.dialling += 1;
        Some((address, known.found))
    }

    /// Whether there is somebody to dial, and a place for it.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.dialling < DIALS_MAX && self.due.first().is_some_and(|(due, _)| *due <= now)
    }

    /// When to call [`Seek::next`] if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due).filter(|_| self.dialling < DIALS_MAX)
    }

    /// A dial led to a peer: it is talked to, and others are dialled.
    pub(crate) fn greeted(&mut self) {
        self.dialling = self.dialling.saturating_sub(1);
    }

    /// A dial came to nothing, or (`greeted`) the conversation is over: it had no metadata for us, so it counts as a failure, too.
    pub(crate) fn ended(&mut self, now: Instant, address: SocketAddr, greeted: bool) {
        if !greeted {
            self.dialling = self.dialling.saturating_sub(1);
        }
        let Some(known) = self.known.get_mut(&address) else { return };
        known.failures += 1;
        let due = now + known.pause();
        known.due = Some(due);
        self.due.insert((due, address));
    }

    /// Everything that was learnt of those that are neither dialled nor talked to.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (SocketAddr, Found)> {
        let idle = self.known.iter().filter(|(_, known)| known.due.is_some());
        idle.map(|(address, known)| (*address, known.found))
    }

    /// What was learnt of one.
    pub(crate) fn known(&self, address: SocketAddr) -> Option<(SocketAddr, Found)> {
        Some((address, self.known.get(&address)?.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, (number >> 8) as u8, number as u8], 6881))
    }

    fn all(seek: &mut Seek, now: Instant) -> Vec<SocketAddr> {
        std::iter::from_fn(|| seek.next(now)).map(|(address, _)| address).collect()
    }

    /// Sixteen peers that greet and then say nothing must not keep the one that has the metadata waiting.
    #[test]
    fn quiet_peers_hold_no_place() {
        let (mut seek, now) = (Seek::default(), Instant::now());
        (0..40).for_each(|number| seek.learn(now, address(number), Found::DHT));
        let first = all(&mut seek, now);
        assert_eq!(first.len(), DIALS_MAX);
        assert_eq!(seek.poll_timeout(), None);
        first.iter().for_each(|_| seek.greeted());
        assert_eq!(all(&mut seek, now).len(), DIALS_MAX);
    }

    /// A peer of the link that is not up yet is tried again, whatever the others do.
    #[test]
    fn every_address_has_its_own_time() {
        let (mut seek, now) = (Seek::default(), Instant::now());
        seek.learn(now, address(1), Found::DHT);
        seek.learn(now, address(2), Found::GIVEN);
        assert_eq!(all(&mut seek, now).len(), 2);
        seek.greeted();
        seek.ended(now, address(2), false);
        assert_eq!(seek.poll_timeout(), Some(now + AGAIN_NEAR));
        assert_eq!(seek.next(now + AGAIN_NEAR), Some((address(2), Found::GIVEN)));
        for _ in 0..20 {
            seek.ended(now, address(2), false);
            seek.next(now + AGAIN_NEAR_MAX).unwrap();
        }
        seek.ended(now, address(1), true);
        assert_eq!(seek.poll_timeout(), Some(now + AGAIN));
    }

    #[test]
    fn an_address_that_was_learnt_twice_keeps_both_origins() {
        let (mut seek, now) = (Seek::default(), Instant::now());
        seek.learn(now, address(1), Found::DHT);
        seek.learn(now, address(1), Found::TRACKER);
        let both = Found(Found::DHT.0 | Found::TRACKER.0);
        assert_eq!(seek.idle().collect::<Vec<_>>(), [(address(1), both)]);
        assert_eq!(seek.next(now), Some((address(1), both)));
        assert_eq!(seek.idle().count(), 0, "it is dialled");
        assert_eq!(seek.known(address(1)), Some((address(1), both)));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_leaves_room_for_the_users() {
        let (mut seek, now) = (Seek::default(), Instant::now());
        (0..3_000).for_each(|number| seek.learn(now, address(number), Found::EXCHANGE));
        assert_eq!(seek.known.len(), KNOWN_MAX);
        seek.learn(now, address(5_000), Found::GIVEN);
        assert_eq!(seek.known.len(), KNOWN_MAX);
        assert!(seek.known.contains_key(&address(5_000)));
        assert_eq!(seek.due.len(), KNOWN_MAX);
    }

    /// Whoever is on the local network can say that a thousand neighbours are in the swarm.
    #[test]
    fn a_local_network_full_of_neighbours_leaves_room_for_the_users() {
        let (mut seek, now) = (Seek::default(), Instant::now());
        seek.learn(now, address(0), Found::DHT);
        (1..3_000).for_each(|number| seek.learn(now, address(number), Found::LAN));
        assert!(!seek.known.contains_key(&address(0)), "the stranger gave way first");
        for number in [5_000, 5_001] {
            seek.learn(now, address(number), Found::GIVEN);
            assert!(seek.known.contains_key(&address(number)));
        }
        assert_eq!((seek.known.len(), seek.due.len()), (KNOWN_MAX, KNOWN_MAX));

        (6_000..9_000).for_each(|number| seek.learn(now, address(number), Found::GIVEN));
        assert_eq!((seek.known.len(), seek.due.len()), (KNOWN_MAX, KNOWN_MAX), "the user's are bounded, too");
        assert!(seek.known.contains_key(&address(5_000)), "and none of them is forgotten");
    }
}
