//! Finding somebody who has a block that no partner has: all connected peers are asked, then providers are sought.

use std::time::{Duration, Instant};

use cid::Cid;

use super::want::{Knows, Place, State};
use super::{Fetch, Output, PeerKey, SessionKey};
use crate::bitswap::message::{Entry, Protocol};

/// Wants that are hunted at once for a session of which nobody has anything: who has one has the others.
const HUNTS_FIRST: usize = 8;
/// Wants that are hunted at once for a session with partners.
const HUNTS_MAX: usize = 64;
/// How long connected peers may think before providers are sought.
const SEEK_AFTER: Duration = Duration::from_millis(500);
/// Time until everybody is asked again, and providers are sought again; doubled each time.
const SEEK_AGAIN: Duration = Duration::from_secs(30);
/// Times that it is doubled.
const DOUBLINGS_MAX: u32 = 5;

/// A want that everybody was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hunt {
    pub(super) cid: Cid,
    /// When providers are sought (again).
    pub(super) due: Instant,
    /// Times that they were.
    rounds: u32,
}

impl Fetch {
    /// Begins to hunt as much as a session may at once.
    pub(super) fn hunt(&mut self, key: SessionKey) {
        while let Some((place, cid)) = self.next_hunted(key) {
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            let Some(session) = self.sessions.get_mut(&key) else { return };
            want.state = State::Hunted;
            self.hunted += 1;
            let due = self.now + SEEK_AFTER;
            session.hunts.insert(place, Hunt { cid, due, rounds: 0 });
            self.next_hunt = Some(self.next_hunt.map_or(due, |next| next.min(due)));
            self.ask_everybody(place, &cid);
            self.seek_if_hopeless(&cid);
        }
    }

    fn next_hunted(&mut self, key: SessionKey) -> Option<(Place, Cid)> {
        let session = self.sessions.get_mut(&key)?;
        let alone = session.partners.is_empty();
        if session.hunts.len() >= if alone { HUNTS_FIRST } else { HUNTS_MAX } {
            return None;
        }
        session.lost.pop_first().or_else(|| alone.then(|| session.pending.pop_first()).flatten())
    }

    /// Asks every connected peer of which it is not known whether it has a block.
    fn ask_everybody(&mut self, place: Place, cid: &Cid) {
        let peers: Vec<PeerKey> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.ask_whether(peer, place, cid));
    }

    fn ask_whether(&mut self, key: PeerKey, place: Place, cid: &Cid) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if want.knows(key).is_some() {
            return;
        }
        want.learn(key, Knows::Unsaid);
        // An old peer can only be asked for the block itself.
        let entry = if peer.is_legacy() { Entry::block(*cid) } else { Entry::have(*cid) };
        peer.post(Entry { priority: place.0.0, ..entry });
        peer.scout(self.now, *cid);
        self.owed = true;
        self.unsent.insert(key);
    }

    /// A peer has come: it is asked for what is hunted.
    pub(super) fn on_joined(&mut self, key: PeerKey, protocol: Protocol) {
        if self.peers.contains_key(&key) {
            return;
        }
        self.peers.insert(key, super::peer::Peer::new(self.now, protocol));
        let hunts = self.sessions.values().flat_map(|session| &session.hunts);
        let hunts: Vec<(Place, Cid)> = hunts.map(|(&place, hunt)| (place, hunt.cid)).collect();
        hunts.iter().for_each(|(place, cid)| self.ask_whether(key, *place, cid));
    }

    /// Seeks providers at once if everybody has said that they lack a hunted block.
    pub(super) fn seek_if_hopeless(&mut self, cid: &Cid) {
        let Some(want) = self.wants.get(cid) else { return };
        let waits = want.is_unsaid(|peer| self.peers.contains_key(&peer));
        if want.state != State::Hunted || waits {
            return;
        }
        let (key, place) = (want.lead, want.place);
        let hunt = self.sessions.get(&key).and_then(|session| session.hunts.get(&place));
        if hunt.is_some_and(|hunt| hunt.rounds == 0) {
            self.seek(key, place);
        }
    }

    /// Seeks what is due.
    pub(super) fn hunt_due(&mut self) {
        if self.next_hunt.is_none_or(|next| self.now < next) {
            return;
        }
        let due: Vec<(SessionKey, Place)> = self
            .sessions
            .iter()
            .flat_map(|(&key, session)| {
                session.hunts.iter().map(move |(&place, hunt)| (key, place, hunt.due))
            })
            .filter(|&(_, _, due)| due <= self.now)
            .map(|(key, place, _)| (key, place))
            .collect();
        due.into_iter().for_each(|(key, place)| self.seek(key, place));
        self.next_hunt =
            self.sessions.values().flat_map(|session| session.hunts.values()).map(|hunt| hunt.due).min();
    }

    /// Has providers sought, and from the second time on everybody asked again.
    fn seek(&mut self, key: SessionKey, place: Place) {
        let hunt = self.sessions.get_mut(&key).and_then(|session| session.hunts.get_mut(&place));
        let Some(hunt) = hunt else { return };
        let again = hunt.rounds > 0;
        hunt.due = self.now + SEEK_AGAIN * (1 << hunt.rounds.min(DOUBLINGS_MAX));
        hunt.rounds += 1;
        let cid = hunt.cid;
        self.outputs.push_back(Output::Seek { session: key, cid });
        if again {
            if let Some(want) = self.wants.get_mut(&cid) {
                want.unlearn();
            }
            self.ask_everybody(place, &cid);
        }
    }
}
