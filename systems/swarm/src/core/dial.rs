//! Whom to connect to: the book of known addresses.
//!
//! The book is bounded, whatever trackers and peers send: when it is full, the worst entry goes. It knows which entries
//! are connected or being dialled, and spaces retries. Fresh addresses come first, then those that failed least; among equals
//! the canonical priority (BEP 40) decides when our own address is known, else chance.
//! Addresses that must not be dialled never enter.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::Found;
use super::priority::canonical_priority;

/// First pause after a failed dial; it doubles with every further failure.
const BACK_OFF: Duration = Duration::from_secs(30);
/// The same for an address that the user or the local network named, and the pause after it left: the other side may be about to start.
const BACK_OFF_NEAR: Duration = Duration::from_secs(5);
/// The longest pause for such an address.
const BACK_OFF_NEAR_MAX: Duration = Duration::from_secs(30);
/// The longest pause for any other.
const BACK_OFF_MAX: Duration = Duration::from_secs(3_600);
/// Pause after a connection that ended: it was a peer, so it is worth another try.
const RECONNECT: Duration = Duration::from_secs(60);
/// Pause after two peers found that neither has anything for the other.
const NO_GAIN: Duration = Duration::from_secs(1_800);
/// Failures after which an address is forgotten, unless the user gave it.
const FAILURES_MAX: u8 = 5;

/// What the book knows about an address.
#[derive(Clone, Debug)]
struct Known {
    found: Found,
    failures: u8,
    state: State,
    /// Nothing was wanted of it when it left.
    idle: bool,
    /// Lower is dialled sooner: the inverse of BEP 40's priority, or chance.
    turn: u32,
}

impl Known {
    /// The user or the local network named it.
    fn is_near(&self) -> bool {
        self.found.0 & (Found::GIVEN.0 | Found::LAN.0) != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// May be dialled.
    Ready,
    /// Not before that time.
    Waiting(Instant),
    Dialling,
    Connected,
}

/// Order of dialling: fewest failures first, then the user's own addresses, then by turn.
type Rank = (u8, bool, u32, SocketAddr);

/// The known addresses of one transfer.
#[derive(Debug, Default)]
pub(super) struct Book {
    known: BTreeMap<SocketAddr, Known>,
    ready: BTreeSet<Rank>,
    waiting: BTreeSet<(Instant, SocketAddr)>,
    banned: BTreeSet<IpAddr>,
    dialling: usize,
}

/// Hosts remembered as banned; beyond it the lowest address is forgotten and would have to prove itself bad again.
const BANNED_MAX: usize = 4_096;

impl Book {
    /// Addresses known, connected or not.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Where an address was learnt.
    pub(super) fn found(&self, address: SocketAddr) -> Found {
        self.known.get(&canonical(address)).map(|known| known.found).unwrap_or_default()
    }

    /// Dials under way.
    pub(super) fn dialling(&self) -> usize {
        self.dialling
    }

    /// Hosts that are banned.
    pub(super) fn banned(&self) -> usize {
        self.banned.len()
    }

    pub(super) fn is_banned(&self, host: IpAddr) -> bool {
        !self.banned.is_empty() && self.banned.contains(&host.to_canonical())
    }

    /// Learns an address. When the book holds `known_max` already, the worst entry makes room, if it is worse than a fresh one.
    pub(super) fn learn(
        &mut self,
        address: SocketAddr,
        found: Found,
        own: Option<SocketAddr>,
        known_max: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        let address = canonical(address);
        if !may_be_dialled(address) || own.map(canonical) == Some(address) || self.is_banned(address.ip()) {
            return;
        }
        if let Some(known) = self.known.get_mut(&address) {
            let rank = known.rank(address);
            known.found.0 |= found.0;
            if known.state == State::Ready {
                let better = known.rank(address);
                self.ready.remove(&rank);
                self.ready.insert(better);
            }
            return;
        }
        let turn = match own {
            Some(own) => !canonical_priority(canonical(own), address),
            None => rng.random(),
        };
        let known = Known { found, failures: 0, state: State::Ready, idle: false, turn };
        if self.known.len() >= known_max.max(1) && !self.make_room(known.rank(address)) {
            return;
        }
        self.ready.insert(known.rank(address));
        self.known.insert(address, known);
    }

    /// The next address to dial; it counts as being dialled from now on.
    pub(super) fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        while let Some(&(at, address)) = self.waiting.first() {
            if at > now {
                break;
            }
            self.set(address, State::Ready);
        }
        let &(.., address) = self.ready.first()?;
        self.set(address, State::Dialling);
        Some(address)
    }

    /// When an address that waits may be dialled; `None` when none waits.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.first().map(|&(at, _)| at)
    }

    /// A dial led nowhere.
    pub(super) fn failed(&mut self, address: SocketAddr, now: Instant) {
        let address = canonical(address);
        let Some(known) = self.known.get_mut(&address) else { return };
        if known.state != State::Dialling {
            return;
        }
        known.failures += 1;
        if known.failures >= FAILURES_MAX && known.found.0 & Found::GIVEN.0 == 0 {
            self.forget(address);
            return;
        }
        let (first, longest) =
            if known.is_near() { (BACK_OFF_NEAR, BACK_OFF_NEAR_MAX) } else { (BACK_OFF, BACK_OFF_MAX) };
        let doubled = first * (1 << u32::from(known.failures - 1).min(10));
        known.failures = known.failures.min(FAILURES_MAX);
        self.set(address, State::Waiting(now + doubled.min(longest)));
    }

    /// A dial was not tried: it is as if it had not been asked for.
    pub(super) fn put_back(&mut self, address: SocketAddr) {
        let address = canonical(address);
        if self.known.get(&address).is_some_and(|known| known.state == State::Dialling) {
            self.set(address, State::Ready);
        }
    }

    /// Whether an address may be dialled now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A peer is connected whose listener is at this address.
    pub(super) fn connected(&mut self, address: SocketAddr) {
        let address = canonical(address);
        // First the state: while it is ready, its place in the order depends on the failures.
        self.set(address, State::Connected);
        if let Some(known) = self.known.get_mut(&address) {
            known.failures = 0;
            known.idle = false;
        }
    }

    /// The peer whose listener is at this address is gone.
    pub(super) fn left(&mut self, address: SocketAddr, now: Instant, parting: Parting) {
        let address = canonical(address);
        let Some(known) = self.known.get_mut(&address) else { return };
        if known.state != State::Connected {
            return;
        }
        let pause = match parting {
            Parting::Plain | Parting::Idle if known.is_near() => BACK_OFF_NEAR,
            Parting::Plain | Parting::Idle => RECONNECT,
            Parting::Useless => NO_GAIN,
        };
        // One that always connects and at once leaves must not come before those that were never tried.
        known.failures = 1;
        known.idle = parting != Parting::Plain;
        self.set(address, State::Waiting(now + pause));
    }

    /// Something is wanted again, or served: those who left because nothing was may be dialled at once.
    pub(super) fn reconsider(&mut self) {
        let idle =
            |(_, known): &(&SocketAddr, &Known)| known.idle && matches!(known.state, State::Waiting(_));
        let again: Vec<SocketAddr> = self.known.iter().filter(idle).map(|(address, _)| *address).collect();
        for address in again {
            self.set(address, State::Ready);
        }
    }

    /// Never again.
    pub(super) fn ban(&mut self, host: IpAddr) {
        let host = host.to_canonical();
        if self.banned.len() >= BANNED_MAX {
            self.banned.pop_first();
        }
        self.banned.insert(host);
        let theirs: Vec<SocketAddr> =
            self.known.keys().filter(|address| address.ip() == host).copied().collect();
        for address in theirs {
            self.forget(address);
        }
    }

    /// Throws out the worst entry that is neither connected nor being dialled nor named by the user, if a newcomer of that rank is
    /// better.
    fn make_room(&mut self, newcomer: Rank) -> bool {
        // Those that failed wait; of these the one that waits longest is the least likely to be missed.
        let waiting = self.waiting.iter().rev().map(|&(_, address)| address);
        let ready =
            self.ready.iter().rev().take_while(|&&rank| rank > newcomer).map(|&(.., address)| address);
        let worst = waiting.chain(ready).find(|address| !self.is_given(*address));
        worst.map(|address| self.forget(address)).is_some()
    }

    /// Whether the user named an address.
    fn is_given(&self, address: SocketAddr) -> bool {
        self.known.get(&address).is_some_and(|known| known.found.0 & Found::GIVEN.0 != 0)
    }

    fn forget(&mut self, address: SocketAddr) {
        if let Some(known) = self.known.remove(&address) {
            self.unlist(address, &known);
        }
    }

    fn set(&mut self, address: SocketAddr, state: State) {
        let Some(mut known) = self.known.get(&address).cloned() else { return };
        self.unlist(address, &known);
        known.state = state;
        match state {
            State::Ready => {
                self.ready.insert(known.rank(address));
            }
            State::Waiting(at) => {
                self.waiting.insert((at, address));
            }
            State::Dialling => self.dialling += 1,
            State::Connected => {}
        }
        self.known.insert(address, known);
    }

    fn unlist(&mut self, address: SocketAddr, known: &Known) {
        match known.state {
            State::Ready => {
                self.ready.remove(&known.rank(address));
            }
            State::Waiting(at) => {
                self.waiting.remove(&(at, address));
            }
            State::Dialling => self.dialling -= 1,
            State::Connected => {}
        }
    }
}

/// How a peer left, as far as dialling it again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// It or we closed the connection.
    Plain,
    /// The same while nothing was wanted of it.
    Idle,
    /// Neither had anything for the other, for the time being.
    Useless,
}

impl Known {
    fn rank(&self, address: SocketAddr) -> Rank {
        (self.failures, self.found.0 & Found::GIVEN.0 == 0, self.turn, address)
    }
}

/// One address has one form: an IPv4 address mapped into IPv6 is the same host.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether an address can be a listener at all. Private and loopback addresses may be: LANs and tests live there.
pub(super) fn may_be_dialled(address: SocketAddr) -> bool {
    let host = address.ip();
    let broadcast = matches!(host, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    address.port() != 0 && !host.is_unspecified() && !host.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn rng() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(1)
    }

    fn address(n: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4((0x0a00_0001 + n).into()), 6881)
    }

    fn learn(book: &mut Book, addresses: impl IntoIterator<Item = SocketAddr>, max: usize) {
        for address in addresses {
            book.learn(address, Found::TRACKER, None, max, &mut rng());
        }
    }

    #[test]
    fn what_must_not_be_dialled_never_enters() {
        let mut book = Book::default();
        let bad = [
            "0.0.0.0:1",
            "0.1.2.3:5",
            "255.255.255.255:9",
            "239.1.1.1:6881",
            "10.0.0.1:0",
            "[::]:1",
            "[ff02::1]:2",
        ];
        learn(&mut book, bad.map(|text| text.parse().unwrap()), 10);
        assert_eq!(book.len(), 0);
        let own = address(7);
        book.learn(own, Found::EXCHANGE, Some(own), 10, &mut rng());
        assert_eq!(book.len(), 0, "our own address");
    }

    #[test]
    fn an_address_is_dialled_once_and_again_after_a_growing_pause() {
        let now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, [address(1), address(1), "[::ffff:10.0.0.2]:6881".parse().unwrap()], 10);
        assert_eq!(book.len(), 1, "the mapped form is the same address");
        assert_eq!(book.next(now), Some(address(1)));
        assert_eq!((book.next(now), book.dialling()), (None, 1));
        book.failed(address(1), now);
        assert_eq!((book.next(now), book.next_at()), (None, Some(now + BACK_OFF)));
        let later = now + BACK_OFF;
        assert_eq!(book.next(later), Some(address(1)));
        book.failed(address(1), later);
        assert_eq!(book.next_at(), Some(later + 2 * BACK_OFF));
    }

    #[test]
    fn the_never_tried_come_before_those_that_failed_or_left() {
        let now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, [address(1)], 10);
        book.next(now);
        book.connected(address(1));
        assert_eq!(book.dialling(), 0);
        book.left(address(1), now, Parting::Plain);
        learn(&mut book, [address(2)], 10);
        let later = now + RECONNECT;
        assert_eq!(
            [book.next(later), book.next(later), book.next(later)],
            [Some(address(2)), Some(address(1)), None]
        );
    }

    #[test]
    fn a_peer_that_the_user_named_is_dialled_again_soon_after_it_left() {
        let now = Instant::now();
        let mut book = Book::default();
        book.learn(address(1), Found::GIVEN, None, 10, &mut rng());
        book.next(now);
        book.connected(address(1));
        book.left(address(1), now, Parting::Plain);
        assert_eq!(book.next_at(), Some(now + BACK_OFF_NEAR));
        assert_eq!(book.next(now + BACK_OFF_NEAR), Some(address(1)));
    }

    #[test]
    fn a_peer_that_was_of_no_use_is_dialled_at_once_when_something_is_wanted_again() {
        let now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, [address(1), address(2)], 10);
        for _ in 0..2 {
            book.next(now);
        }
        book.connected(address(1));
        book.connected(address(2));
        book.left(address(1), now, Parting::Useless);
        book.left(address(2), now, Parting::Plain);
        assert_eq!(book.next(now), None);
        book.reconsider();
        assert_eq!((book.next(now), book.next(now)), (Some(address(1)), None));
    }

    #[test]
    fn an_address_that_never_answers_is_forgotten_unless_the_user_gave_it() {
        let mut now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, [address(1)], 10);
        book.learn(address(2), Found::GIVEN, None, 10, &mut rng());
        for _ in 0..20 {
            now += BACK_OFF_MAX;
            while let Some(address) = book.next(now) {
                book.failed(address, now);
            }
        }
        assert_eq!(book.len(), 1);
        assert!(book.next_at().is_some());
    }

    #[test]
    fn a_full_book_drops_those_that_failed_first_and_stays_bounded() {
        let now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, [address(0)], 100);
        book.next(now);
        book.failed(address(0), now);
        learn(&mut book, (1..100_000).map(address), 100);
        assert_eq!(book.len(), 100);
        assert_eq!(book.next_at(), None, "the failed one made room");
        assert_eq!(book.ready.len(), 100);
    }

    #[test]
    fn addresses_that_the_user_named_are_never_thrown_out() {
        let now = Instant::now();
        let mut book = Book::default();
        (0..2).for_each(|n| book.learn(address(n), Found::GIVEN, None, 3, &mut rng()));
        learn(&mut book, [address(9)], 3);
        for _ in 0..3 {
            let next = book.next(now).unwrap();
            book.failed(next, now);
        }
        learn(&mut book, (10..20).map(address), 3);
        assert_eq!(book.len(), 3);
        assert!((0..2).all(|n| book.is_given(address(n))), "the third made room");
    }

    #[test]
    fn a_dial_that_was_not_tried_leaves_no_mark() {
        let now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, [address(1)], 3);
        for _ in 0..=FAILURES_MAX {
            assert_eq!(book.next(now), Some(address(1)));
            book.put_back(address(1));
        }
        assert_eq!((book.len(), book.dialling(), book.has_ready()), (1, 0, true));
    }

    #[test]
    fn connected_entries_are_never_thrown_out() {
        let now = Instant::now();
        let mut book = Book::default();
        learn(&mut book, (0..3).map(address), 3);
        while let Some(address) = book.next(now) {
            book.connected(address);
        }
        learn(&mut book, (10..20).map(address), 3);
        assert_eq!((book.len(), book.next(now)), (3, None));
    }

    #[test]
    fn canonical_priority_orders_the_dials_when_our_address_is_known() {
        let own = address(500);
        let mut book = Book::default();
        for n in 0..50 {
            book.learn(address(n * 70_000), Found::DHT, Some(own), 100, &mut rng());
        }
        let order: Vec<u32> = std::iter::from_fn(|| book.next(Instant::now()))
            .map(|peer| canonical_priority(own, peer))
            .collect();
        assert_eq!(order.len(), 50);
        assert!(order.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_ban_covers_every_port_of_the_host() {
        let mut book = Book::default();
        let other_port = SocketAddr::new(address(1).ip(), 7000);
        learn(&mut book, [address(1), other_port, address(2)], 10);
        book.ban(address(1).ip());
        learn(&mut book, [address(1)], 10);
        assert_eq!(book.len(), 1);
        assert!(book.is_banned("::ffff:10.0.0.2".parse().unwrap()));
    }
}
