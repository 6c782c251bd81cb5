//! Peer exchange (BEP 11): what to tell a peer about others, and what to believe of what it tells.
//!
//! One [`Tell`] and one [`Listen`] for each connection. Neither sends, dials or reads a clock. Private torrents (BEP 27) do not
//! exchange peers: do not offer `ut_pex` there, and make none of these.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::address::{DialRules, Origin, canonical, reach};
use crate::wire::extended::{PexFlags, PexMessage, PexPeer};

/// The time between two messages: BEP 11 allows one a minute.
const INTERVAL: Duration = Duration::from_secs(60);
/// Peers added in one message, and peers dropped: what BEP 11 allows.
const TOLD_MAX: usize = 50;
/// Addresses believed of one message, the rest is ignored. Twice what BEP 11 allows, which is what libtorrent sends.
const BELIEVED_MAX: usize = 100;
/// Messages that may come at once before a peer counts as flooding: clocks differ, and congestion bunches messages.
const BURST: u32 = 4;

/// What one peer was told.
#[derive(Debug)]
pub struct Tell {
    told: BTreeSet<SocketAddr>,
    next: Instant,
}

impl Tell {
    /// A peer that was told nothing yet; it can be at once.
    pub fn new(now: Instant) -> Self {
        Self { told: BTreeSet::new(), next: now }
    }

    /// When to call [`Tell::poll`] again.
    pub fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// The message that is due for the peer at `to`, if there is anything new. `connected` are the peers of the swarm that we
    /// are connected to and whose listening address is known. The peer itself is left out, and so are addresses that mean
    /// nothing where it is: those of our own network are not told to the internet.
    pub fn poll(
        &mut self,
        now: Instant,
        to: SocketAddr,
        connected: impl IntoIterator<Item = PexPeer>,
    ) -> Option<PexMessage> {
        if now < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        let to = canonical(to);
        let mut gone = std::mem::take(&mut self.told);
        let mut message = PexMessage::default();
        for PexPeer { address, flags } in connected {
            let address = canonical(address);
            if gone.remove(&address) {
                self.told.insert(address);
            } else if message.added.len() < TOLD_MAX
                && address != to
                && address.port() != 0
                && reach(address.ip()) >= reach(to.ip())
                && self.told.insert(address)
            {
                message.added.push(PexPeer { address, flags });
            }
        }
        // What does not fit is dropped the next time.
        let later = gone.iter().skip(TOLD_MAX).copied().collect::<Vec<_>>();
        message.dropped = gone.into_iter().take(TOLD_MAX).collect();
        self.told.extend(later);
        (!message.added.is_empty() || !message.dropped.is_empty()).then_some(message)
    }
}

/// A peer that sends more messages than BEP 11 allows, beyond all tolerance: its message is not read. Send it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer exchange messages come more often than once a minute")]
pub struct Flood;

/// What one peer may tell us.
#[derive(Debug)]
pub struct Listen {
    /// Messages it may send at once.
    credit: u32,
    /// When the credit grows next.
    grows: Instant,
}

impl Listen {
    /// A peer that has told nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { credit: BURST, grows: now + INTERVAL }
    }

    /// The addresses worth remembering in a message from the peer at `from`: at most 100, distinct, none that must not be
    /// dialled. Whoever is `seeding` gains nothing from those that will download nothing.
    ///
    /// # Errors
    /// [`Flood`].
    pub fn receive(
        &mut self,
        now: Instant,
        from: IpAddr,
        message: &PexMessage,
        rules: &DialRules,
        seeding: bool,
    ) -> Result<Vec<SocketAddr>, Flood> {
        while self.credit < BURST && now >= self.grows {
            self.credit += 1;
            self.grows += INTERVAL;
        }
        if self.credit == BURST {
            self.grows = now + INTERVAL;
        }
        self.credit = self.credit.checked_sub(1).ok_or(Flood)?;
        let useful =
            message.added.iter().filter(|peer| !seeding || !peer.flags.contains(PexFlags::UPLOAD_ONLY));
        Ok(rules.keep(useful.map(|peer| peer.address), Origin::Host(from), BELIEVED_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(host: u16) -> PexPeer {
        let [high, low] = host.to_be_bytes();
        PexPeer { address: ([5, 6, high, low], 6881).into(), flags: PexFlags::REACHABLE }
    }

    fn peers(hosts: std::ops::Range<u16>) -> Vec<PexPeer> {
        hosts.map(peer).collect()
    }

    fn public() -> SocketAddr {
        ([9, 9, 9, 9], 6881).into()
    }

    #[test]
    fn only_what_changed_is_told_once_a_minute() {
        let start = Instant::now();
        let mut tell = Tell::new(start);
        let first = tell.poll(start, public(), peers(0..3)).unwrap();
        assert_eq!((first.added, first.dropped.len()), (peers(0..3), 0));
        assert_eq!(tell.poll(start + INTERVAL / 2, public(), peers(0..9)), None, "too early");
        assert_eq!(tell.poll_timeout(), start + INTERVAL);
        let second = tell.poll(start + INTERVAL, public(), peers(1..4)).unwrap();
        assert_eq!(second.added, [peer(3)]);
        assert_eq!(second.dropped, [peer(0).address]);
        assert_eq!(tell.poll(start + INTERVAL * 2, public(), peers(1..4)), None, "nothing new");
    }

    #[test]
    fn a_message_has_at_most_50_of_each_and_the_rest_follows() {
        let start = Instant::now();
        let mut tell = Tell::new(start);
        let mut told = Vec::new();
        for minute in 0..3 {
            told.extend(tell.poll(start + INTERVAL * minute, public(), peers(0..120)).unwrap().added);
        }
        assert_eq!(told, peers(0..120));
        let mut dropped = Vec::new();
        for minute in 3..6 {
            let message = tell.poll(start + INTERVAL * minute, public(), []).unwrap();
            assert!(message.dropped.len() <= 50);
            dropped.extend(message.dropped);
        }
        assert_eq!(dropped.len(), 120);
        assert_eq!(tell.poll(start + INTERVAL * 6, public(), []), None);
    }

    #[test]
    fn nobody_is_told_of_itself_nor_of_what_it_cannot_reach() {
        let now = Instant::now();
        let lan = PexPeer { address: ([192, 168, 1, 2], 6881).into(), flags: PexFlags::default() };
        let own = PexPeer { address: ([127, 0, 0, 1], 6881).into(), flags: PexFlags::default() };
        let itself = PexPeer { address: public(), flags: PexFlags::default() };
        let portless = PexPeer { address: ([5, 6, 7, 8], 0).into(), flags: PexFlags::default() };
        let all = [lan, own, itself, portless, peer(1)];
        assert_eq!(Tell::new(now).poll(now, public(), all).unwrap().added, [peer(1)]);
        let inside = ([192, 168, 1, 9], 1).into();
        assert_eq!(Tell::new(now).poll(now, inside, all).unwrap().added, [lan, itself, peer(1)]);
    }

    #[test]
    fn more_than_a_message_a_minute_is_a_flood() {
        let start = Instant::now();
        let (mut listen, rules) = (Listen::new(start), DialRules::new());
        let message = PexMessage { added: peers(0..1), ..PexMessage::default() };
        let mut at = |now| listen.receive(now, public().ip(), &message, &rules, false).is_ok();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|second| at(start + Duration::from_secs(second))),
            [true, true, true, true, false]
        );
        assert!(at(start + INTERVAL));
        assert!(!at(start + INTERVAL));
        for minute in 2..100 {
            assert!(at(start + INTERVAL * minute), "an honest pace never ends");
        }
    }

    #[test]
    fn addresses_are_bounded_distinct_and_dialable() {
        let now = Instant::now();
        let hear = |added: Vec<PexPeer>, seeding| {
            let message = PexMessage { added, ..PexMessage::default() };
            Listen::new(now).receive(now, public().ip(), &message, &DialRules::new(), seeding).unwrap()
        };
        assert_eq!(hear(peers(0..400), false).len(), BELIEVED_MAX);
        let lan = PexPeer { address: ([192, 168, 1, 1], 6881).into(), flags: PexFlags::default() };
        let seed = PexPeer { flags: PexFlags::UPLOAD_ONLY, ..peer(2) };
        assert_eq!(hear(vec![peer(1), lan, peer(1), seed], false), [peer(1).address, seed.address]);
        assert_eq!(hear(vec![peer(1), seed], true), [peer(1).address]);
    }

    proptest! {
        /// Whoever adds up the messages knows whom we were connected to at the last one, but for what did not fit.
        #[test]
        fn messages_add_up(turns in prop::collection::vec(prop::collection::btree_set(0_u16..80, 0..45), 1..12)) {
            let start = Instant::now();
            let mut tell = Tell::new(start);
            let mut known = BTreeSet::new();
            for (minute, hosts) in turns.iter().enumerate() {
                let connected = hosts.iter().map(|&host| peer(host));
                if let Some(message) = tell.poll(start + INTERVAL * minute as u32, public(), connected) {
                    for address in message.dropped {
                        prop_assert!(known.remove(&address));
                    }
                    for peer in message.added {
                        prop_assert!(known.insert(peer.address));
                    }
                }
                let expected: BTreeSet<_> = hosts.iter().map(|&host| peer(host).address).collect();
                prop_assert_eq!(&known, &expected);
            }
        }
    }
}
