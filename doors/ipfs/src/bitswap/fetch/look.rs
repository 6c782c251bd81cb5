//! What peers say, and what becomes of those who say nothing.

use std::time::{Duration, Instant};

use cid::Cid;

use super::want::{Knows, State};
use super::{Fetch, PeerKey, SessionKey};
use crate::bitswap::message::{Entry, Presence};

/// How long a peer may think whether it has a block. After that it counts as one that does not.
const SAY_PATIENCE: Duration = Duration::from_secs(5);
/// How long one block may take beside others that come, and beyond the time that they take.
const BLOCK_PATIENCE: Duration = Duration::from_secs(20);
/// Times in a row that a partner may be silent.
const STALLS_MAX: u32 = 3;

impl Fetch {
    /// A peer says what it has.
    pub(super) fn on_presences(&mut self, key: PeerKey, presences: &[(Cid, Presence)]) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.heard = self.now;
        self.hungry.insert(key);
        for (cid, presence) in presences {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.answered_whether(cid);
            }
            match presence {
                Presence::Have => self.on_have(key, cid),
                Presence::DontHave => self.on_dont_have(key, cid),
            }
        }
    }

    fn on_have(&mut self, key: PeerKey, cid: &Cid) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        let (lead, place, state) = (want.lead, want.place, want.state);
        let scouted = want.knows(key) == Some(Knows::Unsaid);
        want.learn(key, Knows::Has);
        self.befriend(lead, key);
        if scouted {
            self.partner_had(lead, key, true);
        }
        match state {
            State::Hunted | State::Lost => self.make_pending(cid),
            State::Pending => {
                let session = self.sessions.get_mut(&lead);
                if let Some(partner) = session.and_then(|session| session.partners.get_mut(&key)) {
                    partner.may_have(place, Some(Knows::Has));
                }
            }
            State::Asked(_) => {}
        }
    }

    fn on_dont_have(&mut self, key: PeerKey, cid: &Cid) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        let (lead, state, before) = (want.lead, want.state, want.knows(key));
        want.learn(key, Knows::Lacks);
        if state == State::Asked(key) {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.forget(cid);
                // Should it get the block, it is to say so, not to send it: somebody else will be asked now.
                peer.post(Entry::cancel(*cid));
                peer.post(Entry { send_dont_have: false, ..Entry::have(*cid) });
                self.unsent.insert(key);
            }
            self.partner_had(lead, key, false);
            if before == Some(Knows::Has) {
                self.partner_broke(lead, key);
            }
            self.make_pending(cid);
        } else {
            if before == Some(Knows::Unsaid) {
                self.partner_had(lead, key, false);
            }
            self.check_hope(cid);
            self.seek_if_hopeless(cid);
        }
    }

    /// A peer is gone: what it was asked for is asked of others.
    pub(super) fn on_left(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.remove(&key) else { return };
        self.unsent.remove(&key);
        self.hungry.remove(&key);
        for &session in &peer.sessions {
            if let Some(session) = self.sessions.get_mut(&session) {
                session.partners.remove(&key);
            }
        }
        // It may come again and bring what was on its way.
        peer.asked.iter().for_each(|asked| self.departed.insert(asked.cid));
        peer.withdrawn.iter().for_each(|cid| self.departed.insert(*cid));
        peer.asked.iter().for_each(|asked| self.make_pending(&asked.cid));
        peer.sessions.iter().for_each(|&session| self.check_all_hope(session));
        // Hunts that waited for its answer alone.
        peer.unsaid.iter().for_each(|(_, cid)| self.seek_if_hopeless(cid));
    }

    /// Looks after what peers owe.
    pub(super) fn look(&mut self) {
        let keys: Vec<PeerKey> =
            self.peers.iter().filter(|(_, peer)| peer.owes()).map(|(&key, _)| key).collect();
        for key in keys {
            self.end_rest(key);
            self.look_at_silence(key);
            self.look_at_oldest(key);
            self.look_at_unsaid(key);
        }
        self.look_for_loot();
        self.owed = self.peers.values().any(super::Peer::owes);
    }

    /// A peer that was left alone gets another chance, with what nobody else has.
    fn end_rest(&mut self, key: PeerKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.rests_until.take_if(|until| *until <= now).is_none() {
            return;
        }
        let sessions: Vec<SessionKey> = peer.sessions.clone();
        self.hungry.insert(key);
        for session in sessions {
            let Some(session) = self.sessions.get(&session) else { continue };
            let cids = session.hunts.values().map(|hunt| &hunt.cid).chain(session.lost.values());
            let maybe =
                |cid: &&Cid| self.wants.get(*cid).and_then(|want| want.knows(key)) != Some(Knows::Lacks);
            let again: Vec<Cid> = cids.filter(maybe).copied().collect();
            again.iter().for_each(|cid| self.make_pending(cid));
        }
    }

    /// Takes everything back from a peer that is silent.
    fn look_at_silence(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let silent = self.now.saturating_duration_since(peer.heard);
        if peer.asked.is_empty() || silent < peer.pace.patience() {
            return;
        }
        let stalls = peer.stall(self.now);
        let asked: Vec<Cid> = peer.asked.iter().map(|asked| asked.cid).collect();
        let sessions = peer.sessions.clone();
        asked.iter().for_each(|cid| self.cancel(key, cid));
        if stalls >= STALLS_MAX {
            sessions.iter().for_each(|&session| self.drop_partner(session, key));
        }
        asked.iter().for_each(|cid| self.make_pending(cid));
        sessions.iter().for_each(|&session| self.check_all_hope(session));
    }

    /// Takes back a block that does not come while others do.
    fn look_at_oldest(&mut self, key: PeerKey) {
        while let Some(peer) = self.peers.get(&key)
            && let Some(oldest) = peer.asked.front()
            && is_overdue(
                self.now,
                oldest.at,
                BLOCK_PATIENCE + 4 * peer.pace.time_for(peer.asked.len()).unwrap_or_default(),
            )
        {
            let cid = oldest.cid;
            self.cancel(key, &cid);
            if let Some(want) = self.wants.get_mut(&cid) {
                want.learn(key, Knows::Lacks);
                let lead = want.lead;
                self.partner_had(lead, key, false);
            }
            self.make_pending(&cid);
        }
    }

    /// Does not wait any longer for an answer whether a block is there.
    fn look_at_unsaid(&mut self, key: PeerKey) {
        while let Some(peer) = self.peers.get_mut(&key)
            && let Some(&(at, cid)) = peer.unsaid.front()
            && is_overdue(self.now, at, SAY_PATIENCE)
        {
            peer.unsaid.pop_front();
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            if want.knows(key) == Some(Knows::Unsaid) {
                want.learn(key, Knows::Lacks);
                self.check_hope(&cid);
                self.seek_if_hopeless(&cid);
            }
        }
    }
}

fn is_overdue(now: Instant, since: Instant, patience: Duration) -> bool {
    now.saturating_duration_since(since) >= patience
}
