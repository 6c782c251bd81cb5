//! The end of a session: who is idle takes over what waits in the queue of somebody slower.
//!
//! Only the last of a queue is taken, where that saves a multiple of what it costs; and what may be on its way already, and then comes twice,
//! only where it saves much more.

use std::time::{Duration, Instant};

use cid::Cid;

use super::peer::Peer;
use super::want::{Knows, State};
use super::{Fetch, PeerKey, SessionKey};
use crate::bitswap::message::Entry;

/// What must be saved at least, beside twice what it costs.
const GAIN_MIN: Duration = Duration::from_millis(500);
/// The same of what may be on its way already.
const GAIN_MIN_SENT: Duration = Duration::from_millis(2500);

impl Peer {
    /// How long until everything has come that it was asked for, and `more` blocks.
    fn busy_for(&self, now: Instant, more: usize) -> Duration {
        let blocks = self.asked.len() + more;
        let waited = self.waited_since().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let busy = match self.pace.time_for(blocks) {
            Some(time) => time.max(waited),
            // Of which nothing is known but that the first has not come yet.
            None => waited.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX)),
        };
        busy + self.pace.latency()
    }
}

impl Fetch {
    /// Has an idle peer asked for a block that another was asked for. False if that is worth it nowhere.
    pub(super) fn steal(&mut self, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get(&key) else { return false };
        if peer.room() == 0 {
            return false;
        }
        // As what was taken is not worth taking back, this ends.
        let worth = 2 * peer.busy_for(self.now, 1);
        let loot = peer.sessions.iter().flat_map(|&session| self.loot(key, session));
        let Some((_, victim, cid)) = loot.filter(|(gain, ..)| *gain > worth).max() else { return false };
        self.cancel(victim, &cid);
        let (Some(want), Some(peer)) = (self.wants.get_mut(&cid), self.peers.get_mut(&key)) else {
            return false;
        };
        want.state = State::Asked(key);
        peer.ask(self.now, cid);
        peer.post(Entry { priority: want.place.0.0, ..Entry::block(cid) });
        self.unsent.insert(key);
        true
    }

    /// What partners of a session will take longest for, and how much longer than is not worth a change.
    fn loot(&self, thief: PeerKey, key: SessionKey) -> impl Iterator<Item = (Duration, PeerKey, Cid)> {
        let session = self.sessions.get(&key).filter(|session| session.pending.is_empty());
        let trusted =
            session.and_then(|session| session.partners.get(&thief)).is_some_and(|own| own.is_trusted());
        session.into_iter().flat_map(|session| session.partners.keys()).filter_map(move |&victim| {
            let peer = self.peers.get(&victim).filter(|peer| victim != thief && peer.asked.len() > 1)?;
            let cid = peer.asked.back()?.cid;
            let want = self.wants.get(&cid).filter(|want| want.lead == key)?;
            let has = match want.knows(thief) {
                Some(knows) => knows == Knows::Has,
                None => trusted,
            };
            let least = if peer.pace.may_be_sent(peer.asked.len() - 1) { GAIN_MIN_SENT } else { GAIN_MIN };
            let gain = peer.busy_for(self.now, 0).checked_sub(least).filter(|_| has)?;
            Some((gain, victim, cid))
        })
    }

    /// Time has passed: those who were quick enough before may not be now.
    pub(super) fn look_for_loot(&mut self) {
        let ending = |session: &&super::Session| session.pending.is_empty() && !session.wants.is_empty();
        for session in self.sessions.values().filter(ending) {
            self.hungry.extend(session.partners.keys());
        }
    }
}
