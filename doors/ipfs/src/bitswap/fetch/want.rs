//! One block that is wanted, and who is known to have it.

use std::cmp::Reverse;

use cid::Cid;

use super::{Fetch, PeerKey, SessionKey};
use crate::bitswap::message::Entry;

/// A place among the wants of a session: by priority, then in the order they were wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) Reverse<i32>, pub(super) u64);

/// A block that is wanted.
#[derive(Debug)]
pub(super) struct Want {
    /// The session that gets it.
    pub(super) lead: SessionKey,
    pub(super) place: Place,
    /// Sessions that get it, too, and their priorities.
    pub(super) followers: Vec<(SessionKey, i32)>,
    pub(super) state: State,
    /// What peers said of it; of a peer that is not in this list nothing is known.
    known: Vec<(PeerKey, Knows)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In its session's `pending`.
    Pending,
    /// In this peer's `asked`.
    Asked(PeerKey),
    /// In its session's `hunts`.
    Hunted,
    /// In its session's `lost`: to be hunted when there is room.
    Lost,
}

/// What is known of a peer and a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knows {
    /// It was asked whether it has it.
    Unsaid,
    Has,
    Lacks,
}

impl Want {
    pub(super) fn knows(&self, peer: PeerKey) -> Option<Knows> {
        self.known.iter().find(|(known, _)| *known == peer).map(|&(_, knows)| knows)
    }

    pub(super) fn learn(&mut self, peer: PeerKey, knows: Knows) {
        match self.known.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, known)) => *known = knows,
            None => self.known.push((peer, knows)),
        }
    }

    /// Forgets what peers said: it may have changed.
    pub(super) fn unlearn(&mut self) {
        self.known.clear();
    }

    /// Whether somebody who is here was asked whether it has it, and has not answered.
    pub(super) fn is_unsaid(&self, is_here: impl Fn(PeerKey) -> bool) -> bool {
        self.known.iter().any(|&(peer, knows)| knows == Knows::Unsaid && is_here(peer))
    }
}

impl Fetch {
    /// A session wants a block.
    pub(super) fn want(&mut self, key: SessionKey, cid: Cid, priority: i32) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.wants.insert(cid) {
            return;
        }
        if let Some(want) = self.wants.get_mut(&cid) {
            want.followers.push((key, priority));
            return;
        }
        let place = self.next_place(priority);
        let want = Want { lead: key, place, followers: Vec::new(), state: State::Pending, known: Vec::new() };
        self.wants.insert(cid, want);
        self.make_pending(&cid);
    }

    fn next_place(&mut self, priority: i32) -> Place {
        self.places += 1;
        Place(Reverse(priority), self.places)
    }

    /// A session does not want a block any more.
    pub(super) fn unwant(&mut self, key: SessionKey, cid: &Cid) {
        if let Some(session) = self.sessions.get_mut(&key)
            && session.wants.remove(cid)
        {
            self.release(key, cid);
        }
    }

    /// Nobody wants what this session wanted.
    pub(super) fn on_closed(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let wants = std::mem::take(&mut session.wants);
        wants.iter().for_each(|cid| self.release(key, cid));
        if let Some(session) = self.sessions.remove(&key) {
            for partner in session.partners.keys() {
                if let Some(peer) = self.peers.get_mut(partner) {
                    peer.sessions.retain(|session| *session != key);
                }
            }
        }
        self.offering.remove(&key);
        self.hunting.remove(&key);
    }

    /// A session has no part in a want any more: it goes on for the next, or ends.
    fn release(&mut self, key: SessionKey, cid: &Cid) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        if want.lead != key {
            want.followers.retain(|(follower, _)| *follower != key);
            return;
        }
        if want.followers.is_empty() {
            self.withdraw(cid, None);
            return;
        }
        let (heir, priority) = want.followers.remove(0);
        self.unlist(cid);
        let place = self.next_place(priority);
        let Some(want) = self.wants.get_mut(cid) else { return };
        (want.lead, want.place) = (heir, place);
        if !matches!(want.state, State::Asked(_)) {
            self.make_pending(cid);
        }
    }

    /// A block is there. Returns who wanted it.
    pub(super) fn finish(&mut self, cid: &Cid, from: PeerKey) -> Vec<SessionKey> {
        let Some(want) = self.withdraw(cid, Some(from)) else { return Vec::new() };
        let owners: Vec<_> =
            std::iter::once(want.lead).chain(want.followers.iter().map(|&(key, _)| key)).collect();
        for owner in &owners {
            if let Some(session) = self.sessions.get_mut(owner) {
                session.wants.remove(cid);
            }
        }
        owners
    }

    /// Ends a want, and tells everybody whose ledger has it, but for the one who answered it.
    fn withdraw(&mut self, cid: &Cid, but: Option<PeerKey>) -> Option<Want> {
        self.unlist(cid);
        let want = self.wants.remove(cid)?;
        if let State::Asked(asked) = want.state
            && Some(asked) != but
        {
            self.cancel(asked, cid);
        }
        for &(peer, knows) in &want.known {
            // Who said that it has it has answered, and does not think of it any more.
            if knows != Knows::Has && Some(peer) != but && State::Asked(peer) != want.state {
                self.cancel(peer, cid);
            }
        }
        Some(want)
    }

    /// Takes a want back from a peer. Should the block be on its way, it is not held against the peer.
    pub(super) fn cancel(&mut self, key: PeerKey, cid: &Cid) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.forget(cid);
            peer.withdrawn.insert(*cid);
            peer.post(Entry::cancel(*cid));
            self.unsent.insert(key);
            self.hungry.insert(key);
        }
    }

    /// Takes a want out of the lists of its session.
    fn unlist(&mut self, cid: &Cid) {
        let Some(want) = self.wants.get(cid) else { return };
        let Some(session) = self.sessions.get_mut(&want.lead) else { return };
        match want.state {
            State::Pending => session.pending.remove(&want.place).map(drop),
            State::Lost => session.lost.remove(&want.place).map(drop),
            State::Hunted => session.hunts.remove(&want.place).map(|_| {
                self.hunted -= 1;
                // There is room for another.
                self.hunting.insert(want.lead);
            }),
            State::Asked(_) => None,
        };
    }

    /// Nobody is asked for the block any more, or not yet: whoever may have it may draw it.
    pub(super) fn make_pending(&mut self, cid: &Cid) {
        self.unlist(cid);
        let Some(want) = self.wants.get_mut(cid) else { return };
        let Some(session) = self.sessions.get_mut(&want.lead) else { return };
        want.state = State::Pending;
        session.pending.insert(want.place, *cid);
        for (&peer, partner) in &mut session.partners {
            partner.may_have(want.place, want.knows(peer));
        }
        self.offering.insert(want.lead);
        self.check_hope(cid);
    }

    /// Lets a pending want be hunted if no partner may have it.
    pub(super) fn check_hope(&mut self, cid: &Cid) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        let Some(session) = self.sessions.get_mut(&want.lead) else { return };
        if want.state != State::Pending {
            return;
        }
        if session.partners.is_empty() {
            // Whoever has the first has the others: a few are hunted, the rest waits where it is.
            self.hunting.insert(want.lead);
            return;
        }
        let peers = &self.peers;
        let rests = |peer: &PeerKey| peers.get(peer).is_none_or(|peer| peer.rests_until.is_some());
        let hope =
            session.partners.keys().any(|peer| want.knows(*peer) != Some(Knows::Lacks) && !rests(peer));
        if !hope {
            session.pending.remove(&want.place);
            session.lost.insert(want.place, *cid);
            want.state = State::Lost;
            self.hunting.insert(want.lead);
        }
    }
}
