//! The uploading half of [`Swarm`]: slots, and what is shown while super-seeding.

use std::time::Instant;

use peerage_content::PieceIndex;

use super::choke::{self, Candidate, Choker};
use super::peer::Peer;
use super::superseed::{Reveal, SuperSeed};
use super::{Output, PeerKey, Swarm};

/// As many times the slots may be unchoked, when most of those who are take nothing.
const IDLE_SLOTS: usize = 3;
/// Pieces of which peers are told at a time when super-seeding ends: wires take some thousand orders before they are taken for dead.
const REVEALED: u32 = 512;

impl Swarm {
    pub(super) fn on_sent(&mut self, now: Instant, key: PeerKey, bytes: u64, padding: u64) {
        self.uploaded += bytes.saturating_sub(padding);
        self.rate_up.add(now, bytes);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.upload.add(now, bytes);
        }
    }

    /// A peer that becomes interested is served at once when a slot is free; one that loses interest frees its slot, but stays unchoked:
    /// a good partner is soon interested again. It then takes its slot back from whoever gave less.
    pub(super) fn on_interest(&mut self, now: Instant, key: PeerKey, interested: bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.caps.serves_only || peer.interested == interested {
            return;
        }
        peer.interested = interested;
        self.slot_free |= interested == peer.choked;
        if !interested || peer.choked {
            return;
        }
        let gives = |peer: &Peer| if peer.snub.is_snubbed() { 0 } else { peer.download.per_second(now) };
        let served = || self.peers.values().filter(|peer| !peer.choked && peer.interested);
        let slots = self.slots(now);
        if served().count() > slots + choke::optimistic_slots(slots) {
            // Of those that gave nothing, the one that was unchoked last has the least to lose.
            let least = served()
                .min_by_key(|peer| (gives(peer), peer.key == key, std::cmp::Reverse(peer.unchoked_at)));
            let least =
                least.filter(|least| self.peers.get(&key).is_some_and(|back| gives(least) < gives(back)));
            self.set_choked(now, least.map_or(key, |peer| peer.key), true);
        }
    }

    /// Decides anew whom to serve.
    pub(super) fn choke_round(&mut self, now: Instant) {
        let unchoked = if self.serving {
            let slots = self.slots(now);
            let candidates = self.candidates(now);
            if self.finished {
                self.choker.round_robin(now, candidates, slots, &mut self.rng)
            } else {
                self.choker.tit_for_tat(now, candidates, slots, &mut self.rng)
            }
        } else {
            Vec::new()
        };
        let changed: Vec<(PeerKey, bool)> = self
            .peers
            .values()
            .filter(|peer| !peer.caps.serves_only)
            .map(|peer| (peer.key, !unchoked.contains(&peer.key)))
            .filter(|(key, choked)| self.peers.get(key).is_some_and(|peer| peer.choked != *choked))
            .collect();
        // First make room, then give it away.
        for wanted in [true, false] {
            for &(key, choked) in changed.iter().filter(|(_, choked)| *choked == wanted) {
                self.set_choked(now, key, choked);
            }
        }
    }

    /// Gives away free slots, between the rounds. The slot of a peer that takes nothing is free too: it may be interested in what
    /// others are sending it already.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        if !self.serving || self.peers.is_empty() {
            return;
        }
        let slots = self.slots(now);
        let slots = slots + choke::optimistic_slots(slots);
        let served = || self.peers.values().filter(|peer| !peer.choked && peer.interested);
        // While our own limit holds everyone back nobody can tell who would take more.
        let taken = served().filter(|peer| self.throttled.up || peer.takes(now)).count();
        let free = slots.saturating_sub(taken).min((IDLE_SLOTS * slots).saturating_sub(served().count()));
        self.someone_waits = self.peers.values().any(|peer| peer.choked && peer.interested);
        if free == 0 || !self.someone_waits {
            return;
        }
        let mut candidates = self.candidates(now);
        for _ in 0..free {
            let Some(key) = Choker::successor(now, &candidates, self.finished, &mut self.rng) else { return };
            candidates.retain(|candidate| candidate.peer != key);
            self.set_choked(now, key, false);
        }
    }

    fn slots(&self, now: Instant) -> usize {
        choke::slots(self.config.upload_slots, self.rate_up.per_second(now))
    }

    fn candidates(&self, now: Instant) -> Vec<Candidate> {
        self.peers
            .values()
            .filter(|peer| !peer.caps.serves_only)
            .map(|peer| Candidate {
                peer: peer.key,
                interested: peer.interested,
                choked: peer.choked,
                snubs: peer.snub.is_snubbed(),
                gives: peer.download.per_second(now),
                gave: peer.download.total() > 0,
                takes: peer.upload.per_second(now),
                joined: peer.joined,
                unchoked_at: peer.unchoked_at,
            })
            .collect()
    }

    fn set_choked(&mut self, now: Instant, key: PeerKey, choked: bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.choked = choked;
        if !choked {
            peer.unchoked_at = Some(now);
        }
        self.outputs.push_back(Output::Choke { peer: key, choked });
    }

    /// Begins to super-seed, if that is wished and everything is here. Who is connected already knows what we have and goes on as
    /// before.
    pub(super) fn begin_super_seeding(&mut self) {
        if self.config.super_seeding && self.picker.have.is_full() && self.super_seed.is_none() {
            self.super_seed = Some(Box::new(SuperSeed::new(self.layout.piece_count())));
        }
    }

    /// Those that were shown only some pieces are told about the rest from now on.
    pub(super) fn end_super_seeding(&mut self) {
        if let Some(super_seed) = self.super_seed.take() {
            self.reveal = Some(Reveal { super_seed, next: 0 });
            self.reveal_some();
        }
    }

    /// Tells those that were shown only some pieces about some more.
    pub(super) fn reveal_some(&mut self) {
        let Some(reveal) = &mut self.reveal else { return };
        let pieces = reveal.next..self.layout.piece_count().min(reveal.next + REVEALED);
        reveal.next = pieces.end;
        for key in reveal.super_seed.peers() {
            let Some(peer) = self.peers.get(&key) else { continue };
            let unseen = pieces.clone().filter(|&piece| {
                self.picker.have.contains(piece)
                    && !peer.has(piece)
                    && !reveal.super_seed.was_shown(key, piece)
            });
            self.outputs.extend(unseen.map(|piece| Output::Announce { peer: Some(key), piece }));
        }
        if pieces.end == self.layout.piece_count() {
            self.reveal = None;
        }
    }

    /// Shows a peer its next piece.
    pub(super) fn show_next(&mut self, key: PeerKey) {
        let Some(super_seed) = &mut self.super_seed else { return };
        let Some(peer) = self.peers.get(&key) else { return };
        let next = super_seed.show(key, |piece| !peer.has(piece), &self.picker.index.copies, &mut self.rng);
        if let Some(piece) = next {
            self.outputs.push_back(Output::Announce { peer: Some(key), piece });
        }
    }

    /// A peer got a piece: those that are proven to have passed it on are shown another.
    pub(super) fn pass_on(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(super_seed) = &mut self.super_seed else { return };
        let proven = super_seed.on_have(key, piece);
        for peer in proven {
            self.show_next(peer);
        }
        let Some(super_seed) = &self.super_seed else { return };
        let idle = !self.peers.keys().any(|key| super_seed.has_work(*key));
        if idle && let Some(&waiting) = super_seed.waiting().first() {
            self.show_next(waiting);
        }
    }
}
