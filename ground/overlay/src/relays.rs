//! Which relays to ask, when others can't reach this node.
//!
//! Decides and does nothing: it is told of peers that relay, of what others could reach, and of the time, and says where to listen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// A relay that refused is not asked again before.
const PAUSE: Duration = Duration::from_secs(120);
/// Relays at a time: one may vanish.
const RESERVATIONS: usize = 2;
/// Relays that are remembered.
const KNOWN_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Relays {
    /// Somebody who tries to reach this node needs seconds.
    not_before: Instant,
    reachable: bool,
    known: HashMap<PeerId, Known>,
    reserved: HashMap<ListenerId, PeerId>,
}

#[derive(Debug)]
struct Known {
    address: Multiaddr,
    not_before: Instant,
}

impl Relays {
    pub(crate) fn new(not_before: Instant) -> Self {
        Self { not_before, reachable: false, known: HashMap::new(), reserved: HashMap::new() }
    }

    /// A peer that is connected relays for others.
    pub(crate) fn offered(&mut self, relay: PeerId, address: Multiaddr, now: Instant) {
        if self.known.len() < KNOWN_MAX || self.known.contains_key(&relay) {
            self.known.entry(relay).or_insert(Known { address, not_before: now });
        }
    }

    /// The last connection to a peer is gone.
    pub(crate) fn gone(&mut self, relay: &PeerId) {
        self.known.remove(relay);
    }

    /// Whether others reach this node without a relay.
    pub(crate) fn reachable(&mut self, directly: bool) {
        self.reachable = directly;
    }

    /// Where to listen next, through which relay.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(PeerId, Multiaddr)> {
        if self.reachable || now < self.not_before || self.reserved.len() >= RESERVATIONS {
            return None;
        }
        let taken: Vec<PeerId> = self.reserved.values().copied().collect();
        let mut free =
            self.known.iter_mut().filter(|(relay, known)| known.not_before <= now && !taken.contains(relay));
        let (relay, known) = free.next()?;
        known.not_before = now + PAUSE;
        let address = known.address.clone().with_p2p(*relay).ok()?;
        Some((*relay, address.with(Protocol::P2pCircuit)))
    }

    /// It is listened through a relay.
    pub(crate) fn listening(&mut self, relay: PeerId, listener: ListenerId) {
        self.reserved.insert(listener, relay);
    }

    /// It is not any more.
    pub(crate) fn ended(&mut self, listener: ListenerId) {
        self.reserved.remove(&listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn address() -> Multiaddr {
        "/ip4/8.8.8.8/tcp/4001".parse().unwrap()
    }

    fn listener() -> ListenerId {
        ListenerId::next()
    }

    #[test]
    fn a_node_that_nobody_reaches_asks_two_relays_and_not_at_once() {
        let start = Instant::now();
        let mut relays = Relays::new(start + PATIENCE);
        (0..5).for_each(|_| relays.offered(PeerId::random(), address(), start));
        assert_eq!(relays.next(start), None);
        let later = start + PATIENCE;
        let (first, at) = relays.next(later).unwrap();
        assert_eq!(at.to_string(), format!("{}/p2p/{first}/p2p-circuit", address()));
        let listeners = [listener(), listener()];
        relays.listening(first, listeners[0]);
        let (second, _) = relays.next(later).unwrap();
        assert_ne!(first, second);
        relays.listening(second, listeners[1]);
        assert_eq!(relays.next(later), None);
        relays.ended(listeners[0]);
        let (third, _) = relays.next(later).unwrap();
        assert!(third != first && third != second, "who just ended it is not asked again at once");
    }

    #[test]
    fn a_node_that_is_reached_asks_none() {
        let start = Instant::now();
        let mut relays = Relays::new(start + PATIENCE);
        relays.offered(PeerId::random(), address(), start);
        relays.reachable(true);
        assert_eq!(relays.next(start + PATIENCE), None);
        relays.reachable(false);
        assert!(relays.next(start + PATIENCE).is_some());
    }

    #[test]
    fn a_relay_that_refused_is_asked_again_later_and_one_that_left_is_not() {
        let start = Instant::now();
        let mut relays = Relays::new(start + PATIENCE);
        let relay = PeerId::random();
        relays.offered(relay, address(), start);
        let later = start + PATIENCE;
        assert!(relays.next(later).is_some());
        assert_eq!(relays.next(later), None);
        assert!(relays.next(later + PAUSE).is_some());
        relays.gone(&relay);
        assert_eq!(relays.next(later + 2 * PAUSE), None);
    }
}
