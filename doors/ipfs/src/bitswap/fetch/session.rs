//! What one task wants, and who probably has it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

use cid::Cid;

use super::hunt::Hunt;
use super::want::{Knows, Place, State};
use super::{Fetch, PeerKey, SessionKey};
use crate::bitswap::message::Entry;

/// Partners of one session that were not found by asking for a block: providers, and who sent what it was not asked for.
const PARTNERS_MAX: usize = 64;
/// How much of what a partner is asked for it must have, to be asked for blocks of which nothing is known.
const TRUSTED: f32 = 0.85;
/// The weight of the last answer in that measure.
const LAST_ANSWER: f32 = 1.0 / 16.0;
/// Questions ahead of the requests, at a partner that has only a part.
const SCOUT_AHEAD: usize = 32;
/// Times that a partner may say that it has a block and then not give it.
const BROKEN_MAX: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Session {
    /// Everything it wants, also what another session leads.
    pub(super) wants: HashSet<Cid>,
    /// What nobody is asked for.
    pub(super) pending: BTreeMap<Place, Cid>,
    /// What everybody is asked for.
    pub(super) hunts: BTreeMap<Place, Hunt>,
    /// What is to be hunted when there is room.
    pub(super) lost: BTreeMap<Place, Cid>,
    pub(super) partners: BTreeMap<PeerKey, Partner>,
}

/// What a session knows of a peer.
#[derive(Debug)]
pub(super) struct Partner {
    /// Pending wants up to this place were considered for it.
    cursor: Option<Place>,
    /// Pending wants that it has. Here and in `maybe` may be some that are not pending any more.
    has: BTreeSet<Place>,
    /// Pending wants up to the cursor of which nothing is known.
    maybe: BTreeSet<Place>,
    /// How much it has of what it was asked for, lately.
    share: f32,
    /// Times that it did not give what it said it had.
    broken: u32,
}

impl Partner {
    fn new() -> Self {
        Self { cursor: None, has: BTreeSet::new(), maybe: BTreeSet::new(), share: 1.0, broken: 0 }
    }

    /// A want is pending.
    pub(super) fn may_have(&mut self, place: Place, knows: Option<Knows>) {
        match knows {
            Some(Knows::Has) => self.has.insert(place),
            None if self.cursor.is_some_and(|cursor| place <= cursor) => self.maybe.insert(place),
            _ => false,
        };
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.share >= TRUSTED
    }

    fn had(&mut self, it_had: bool) {
        let answer = if it_had { 1.0 } else { 0.0 };
        self.share += (answer - self.share) * LAST_ANSWER;
    }

    /// The first pending want that it has.
    fn next_has(&mut self, pending: &BTreeMap<Place, Cid>) -> Option<Place> {
        first_pending(&mut self.has, pending)
    }

    /// The first pending want of which nothing is known, as `knows` tells.
    fn next_unknown(
        &mut self,
        pending: &BTreeMap<Place, Cid>,
        knows: impl Fn(&Cid) -> Option<Knows>,
    ) -> Option<Place> {
        loop {
            let maybe = first_pending(&mut self.maybe, pending);
            let after = match self.cursor {
                Some(cursor) => (Bound::Excluded(cursor), Bound::Unbounded),
                None => (Bound::Unbounded, Bound::Unbounded),
            };
            let fresh = pending.range(after).next().map(|(&place, _)| place);
            let place = [maybe, fresh].into_iter().flatten().min()?;
            match pending.get(&place).and_then(&knows) {
                None => return Some(place),
                Some(Knows::Has) => {
                    self.pass(place);
                    self.has.insert(place);
                }
                Some(_) => self.pass(place),
            }
        }
    }

    /// A want that was unknown was considered for it.
    fn pass(&mut self, place: Place) {
        if !self.maybe.remove(&place) {
            self.cursor = self.cursor.max(Some(place));
        }
    }
}

/// The first place that is pending; those before it are dropped.
fn first_pending(places: &mut BTreeSet<Place>, pending: &BTreeMap<Place, Cid>) -> Option<Place> {
    while let Some(&place) = places.first() {
        if pending.contains_key(&place) {
            return Some(place);
        }
        places.pop_first();
    }
    None
}

/// What a peer can be told for a session.
enum Draw {
    Ask(Place, Cid),
    Scout(Place, Cid),
}

impl Fetch {
    /// A peer probably has what a session wants.
    pub(super) fn add_partner(&mut self, key: SessionKey, peer: PeerKey) {
        let full = self.sessions.get(&key).is_some_and(|session| session.partners.len() >= PARTNERS_MAX);
        if !full {
            self.befriend(key, peer);
        }
    }

    /// A peer has something that a session wants.
    pub(super) fn befriend(&mut self, key: SessionKey, peer: PeerKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if session.partners.contains_key(&peer) {
            return;
        }
        session.partners.insert(peer, Partner::new());
        state.sessions.push(key);
        self.hungry.insert(peer);
        // Of what nobody had it may have all.
        let again: Vec<Cid> = session.lost.values().copied().collect();
        again.iter().for_each(|cid| self.make_pending(cid));
        self.offering.insert(key);
    }

    /// A session expects nothing of a peer any more.
    pub(super) fn drop_partner(&mut self, key: SessionKey, peer: PeerKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.partners.remove(&peer).is_none() {
            return;
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.sessions.retain(|session| *session != key);
        }
        self.check_all_hope(key);
    }

    /// Looks for pending wants of a session that no partner may have.
    pub(super) fn check_all_hope(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        if session.partners.is_empty() {
            self.hunting.insert(key);
            return;
        }
        let pending: Vec<Cid> = session.pending.values().copied().collect();
        pending.iter().for_each(|cid| self.check_hope(cid));
    }

    /// Counts whether a partner had what it was asked for.
    pub(super) fn partner_had(&mut self, key: SessionKey, peer: PeerKey, it_had: bool) {
        if let Some(partner) = self.sessions.get_mut(&key).and_then(|session| session.partners.get_mut(&peer))
        {
            partner.had(it_had);
        }
    }

    /// A partner said that it has a block, and then did not give it.
    pub(super) fn partner_broke(&mut self, key: SessionKey, peer: PeerKey) {
        let partner = self.sessions.get_mut(&key).and_then(|session| session.partners.get_mut(&peer));
        let Some(partner) = partner else { return };
        partner.broken += 1;
        if partner.broken >= BROKEN_MAX {
            self.drop_partner(key, peer);
        }
    }

    /// Lets the partners of a session draw, the nearest first.
    pub(super) fn offer(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        let mut partners: Vec<_> = session
            .partners
            .keys()
            .filter_map(|peer| Some((self.peers.get(peer)?.pace.latency(), *peer)))
            .collect();
        partners.sort();
        for (_, peer) in partners {
            self.hungry.remove(&peer);
            self.draw(peer);
        }
    }

    /// Lets a peer draw as much as it has room for.
    pub(super) fn draw(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        // Sessions take turns; who was served goes to the end.
        let mut idle = 0;
        let mut sessions: std::collections::VecDeque<SessionKey> = peer.sessions.iter().copied().collect();
        while let Some(session) = sessions.pop_front() {
            sessions.push_back(session);
            match self.next_draw(key, session) {
                Some(draw) => {
                    idle = 0;
                    self.carry_out(key, session, draw);
                }
                None => idle += 1,
            }
            if idle >= sessions.len() {
                break;
            }
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.sessions = sessions.into();
        }
        while self.steal(key) {}
    }

    fn next_draw(&mut self, key: PeerKey, session: SessionKey) -> Option<Draw> {
        let peer = self.peers.get(&key)?;
        let session = self.sessions.get_mut(&session)?;
        let partner = session.partners.get_mut(&key)?;
        let room = peer.room();
        if room == 0 || session.pending.is_empty() {
            return None;
        }
        let wants = &self.wants;
        let unknown =
            partner.next_unknown(&session.pending, |cid| wants.get(cid).and_then(|want| want.knows(key)));
        let has = partner.next_has(&session.pending);
        let trusted = partner.is_trusted() || peer.is_legacy();
        let ask = if trusted { [has, unknown].into_iter().flatten().min() } else { has };
        let cid = |place: Place| session.pending.get(&place).copied();
        // What it has is asked for when it has been found out what comes next.
        let scouts = !trusted && peer.unsaid.len() < SCOUT_AHEAD + room;
        if let Some(place) = unknown.filter(|_| scouts) {
            return Some(Draw::Scout(place, cid(place)?));
        }
        let place = ask?;
        Some(Draw::Ask(place, cid(place)?))
    }

    fn carry_out(&mut self, key: PeerKey, session: SessionKey, draw: Draw) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let Some(partner) = session.partners.get_mut(&key) else { return };
        match draw {
            Draw::Scout(place, cid) => {
                partner.pass(place);
                if let Some(want) = self.wants.get_mut(&cid) {
                    want.learn(key, Knows::Unsaid);
                }
                peer.scout(self.now, cid);
                peer.post(Entry { priority: place.0.0, ..Entry::have(cid) });
            }
            Draw::Ask(place, cid) => {
                if !partner.has.remove(&place) {
                    partner.pass(place);
                }
                session.pending.remove(&place);
                if let Some(want) = self.wants.get_mut(&cid) {
                    want.state = State::Asked(key);
                }
                peer.ask(self.now, cid);
                peer.post(Entry { priority: place.0.0, ..Entry::block(cid) });
            }
        }
        self.owed = true;
        self.unsent.insert(key);
    }
}
