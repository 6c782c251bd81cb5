//! The downloading half of [`Swarm`]: requests out, data in, and what happens when requests fail.

use std::time::{Duration, Instant};

use peerage_content::{Block, PieceIndex};

use super::blame::Judgement;
use super::endgame::{self, Scope};
use super::partial::{BlockState, Released, block_index};
use super::peer::{Asked, Request};
use super::picker::{Choice, may_share};
use super::snub::Verdict;
use super::{Dismissal, Output, PeerKey, Received, Swarm};

/// Blocks nobody asked for after which a peer is sent away.
const UNREQUESTED_MAX: u32 = 32;
/// First pause after a refusal; it doubles with every further one.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);
/// Doublings of the pause.
const REFUSALS_MAX: u8 = 7;

impl Swarm {
    /// A block's data has arrived from a peer: says whether it is wanted. When [`Received::Wanted`] the caller gives the data to
    /// the content's intake; the piece's verdict comes back as [`Input::Verified`](super::Input::Verified) or
    /// [`Input::Corrupt`](super::Input::Corrupt).
    pub fn receive(&mut self, now: Instant, peer: PeerKey, block: Block) -> Received {
        self.now = self.now.max(now);
        let received = self.take_in(now, peer, block);
        match received {
            Received::Wanted => self.downloaded += u64::from(self.layout.content_of(block)),
            Received::Duplicate | Received::Unrequested => self.wasted += u64::from(block.length),
        }
        self.settle(now);
        received
    }

    fn take_in(&mut self, now: Instant, key: PeerKey, block: Block) -> Received {
        let Some(peer) = self.peers.get_mut(&key) else { return Received::Unrequested };
        let index = block_index(&self.layout, block);
        let asked = index.map(|index| Asked { piece: block.piece, index });
        let was_requested = asked.is_some_and(|asked| peer.take_answered(now, asked));
        let Some(asked) = asked.filter(|asked| was_requested || peer.take_withdrawn(*asked)) else {
            peer.unrequested += 1;
            if peer.unrequested > UNREQUESTED_MAX {
                self.dismiss(now, key, Dismissal::Unrequested);
            }
            return Received::Unrequested;
        };
        peer.unrequested = peer.unrequested.saturating_sub(1);
        peer.refusals = 0;
        peer.download.add(now, u64::from(block.length));
        if peer.snub.on_block(now, !peer.requests.is_empty()) {
            peer.pipeline.restart(now);
        }
        peer.pipeline.on_block(now, &peer.download, &self.config);
        self.rate_down.add(now, u64::from(block.length));
        let received =
            if self.accept(key, asked, block.length) { Received::Wanted } else { Received::Duplicate };
        self.refill(now, key);
        received
    }

    /// Marks a block as here; false when it is not missing, or must not come from this peer.
    fn accept(&mut self, key: PeerKey, asked: Asked, length: u32) -> bool {
        let Asked { piece, index } = asked;
        if !self.picker.wants(piece) {
            return false;
        }
        let Some(peer) = self.peers.get(&key) else { return false };
        if self.picker.partials.get(piece).is_none() {
            // Late data of a piece that was given up since: it opens the piece again, unless that piece or peer is under suspicion.
            if peer.on_parole || self.blame.wants_alone(piece) || !self.picker.reopen(&self.layout, piece) {
                return false;
            }
        }
        let Some(partial) = self.picker.partials.get(piece) else { return false };
        if matches!(partial.state(index), None | Some(BlockState::Here(_) | BlockState::Padding))
            || !(may_share(partial, peer) || partial.is_asked_of(index, key))
        {
            return false;
        }
        let block = self.layout.block(piece, index);
        for other in self.picker.partials.put(piece, index, length, key) {
            let Some(other) = self.peers.get_mut(&other) else { continue };
            if other.take_request(asked) {
                other.withdraw(asked);
                if other.requests.is_empty() {
                    other.snub.on_idle();
                }
                self.outputs.push_back(Output::Cancel { peer: other.key, blocks: vec![block] });
                self.hungry.push(other.key);
            }
        }
        true
    }

    /// Keeps a peer's queue full: asks for more when a quarter of it has been answered, so that requests go out in batches.
    pub(super) fn refill(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        if !self.fetching || !self.is_interesting(peer) || !peer.is_open(now) || !peer.snub.may_try(now) {
            return;
        }
        let depth = peer.depth(&self.config);
        let waiting = peer.requests.len();
        if waiting > 0 && waiting * 4 > depth * 3 {
            return;
        }
        let mut asked = Vec::new();
        if self.picker.wishes.has_deadlines() {
            // What a reader waits for is rescued from slower peers before anything new is begun.
            asked = self.rescue(now, key, Scope::Due);
        }
        // What was taken back just now may have made room to begin pieces, and then nothing need be asked for twice.
        self.picker.drain(self.config.buffered_max);
        let Some(peer) = self.peers.get(&key) else { return };
        if peer.exhausted != Some(self.picker.epoch) {
            let mut choice = Choice {
                now,
                layout: &self.layout,
                config: &self.config,
                blame: &self.blame,
                peers: &self.peers,
                servers: self.peers.values().filter(|peer| !peer.choking_us).count(),
                rng: &mut self.rng,
            };
            let room = (depth - waiting).saturating_sub(asked.len());
            asked.extend(self.picker.pick(peer, room, &mut choice));
        }
        let is_exhausted = asked.len() + waiting < depth;
        let is_dry = asked.is_empty() && waiting * 4 <= depth;
        if is_dry && (self.picker.is_end_game() || self.picker.is_full) {
            asked = self.rescue(now, key, Scope::All);
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if is_exhausted {
            peer.exhausted = Some(self.picker.epoch);
        }
        if asked.is_empty() {
            return;
        }
        if peer.requests.is_empty() {
            peer.pipeline.on_first_request(now);
        }
        let blocks = asked.iter().map(|asked| self.layout.block(asked.piece, asked.index)).collect();
        peer.requests.extend(asked.into_iter().map(|asked| Request { asked, overtaken: None }));
        peer.snub.on_request(now);
        self.outputs.push_back(Output::Request { peer: key, blocks });
    }

    /// Asks a peer for blocks that others were asked for and that it would bring sooner.
    fn rescue(&mut self, now: Instant, key: PeerKey, scope: Scope) -> Vec<Asked> {
        let Some(peer) = self.peers.get(&key) else { return Vec::new() };
        let asked = endgame::rescue(peer, self.peers.values(), &self.picker, &self.config, scope, now);
        for again in &asked {
            self.picker.partials.ask_again(again.piece, again.index, key);
        }
        asked
    }

    /// A request of a peer ended without data: the block is free for others.
    pub(super) fn release(&mut self, now: Instant, key: PeerKey, asked: Asked) {
        let released = self.picker.partials.release(asked.piece, asked.index, key);
        if released == Released::Unknown {
            return;
        }
        let Some(partial) = self.picker.partials.get(asked.piece) else { return };
        if partial.owner == Some(key) {
            self.blame.dropped(asked.piece);
            self.give_up(now, asked.piece);
        } else {
            self.picker.epoch += 1;
        }
    }

    /// Forgets what was gathered of a piece and takes its requests back; it may be begun anew.
    pub(super) fn give_up(&mut self, now: Instant, piece: PieceIndex) {
        let Some(partial) = self.picker.partials.end(piece) else { return };
        self.inquiries.close(piece);
        if partial.asked() > 0 {
            self.take_back(now, |asked| asked.piece == piece);
        }
        if !partial.contributors().is_empty() {
            self.outputs.push_back(Output::Discard { piece });
        }
        self.picker.partials.recycle(partial);
        self.picker.list(piece, &mut self.rng);
    }

    /// Cancels all requests, of all peers, that match.
    pub(super) fn take_back(&mut self, now: Instant, mut matches: impl FnMut(&Asked) -> bool) {
        let keys: Vec<PeerKey> =
            self.peers.values().filter(|peer| !peer.requests.is_empty()).map(|peer| peer.key).collect();
        for key in keys {
            self.take_back_from(now, key, |_, asked| matches(asked), true);
        }
    }

    /// Takes back the requests of one peer that match by place and block, and tells it if `cancel`.
    pub(super) fn take_back_from(
        &mut self,
        now: Instant,
        key: PeerKey,
        mut matches: impl FnMut(usize, &Asked) -> bool,
        cancel: bool,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let mut taken = Vec::new();
        let mut place = 0;
        peer.requests.retain(|request| {
            let take = matches(place, &request.asked);
            place += 1;
            if take {
                taken.push(request.asked);
            }
            !take
        });
        if taken.is_empty() {
            return;
        }
        taken.iter().for_each(|asked| peer.withdraw(*asked));
        if peer.requests.is_empty() {
            peer.snub.on_idle();
        }
        if cancel {
            let blocks = taken.iter().map(|asked| self.layout.block(asked.piece, asked.index)).collect();
            self.outputs.push_back(Output::Cancel { peer: key, blocks });
        }
        self.hungry.push(key);
        for asked in taken {
            self.release(now, key, asked);
        }
    }

    /// The peer will not answer these requests.
    pub(super) fn on_rejected(&mut self, now: Instant, key: PeerKey, blocks: &[Block]) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let asked: Vec<Asked> = blocks
            .iter()
            .filter_map(|block| Some(Asked { piece: block.piece, index: block_index(&self.layout, *block)? }))
            .filter(|asked| {
                let was_requested = peer.take_request(*asked);
                if !was_requested {
                    peer.take_withdrawn(*asked);
                }
                was_requested
            })
            .collect();
        if peer.requests.is_empty() {
            peer.snub.on_idle();
        }
        if peer.choking_us {
            // What it allowed it does not serve after all.
            peer.allowed_fast.retain(|piece| asked.iter().all(|asked| asked.piece != *piece));
        } else if !asked.is_empty() {
            // Asking again at once would only be refused again, for ever.
            peer.refused_until = Some(now + REFUSAL_PAUSE * (1 << peer.refusals));
            peer.refusals = (peer.refusals + 1).min(REFUSALS_MAX);
        }
        for asked in asked {
            self.release(now, key, asked);
        }
        self.hungry.push(key);
    }

    /// The peer chokes us, or no longer. Without the fast extension that rejects all requests (BEP 3).
    pub(super) fn on_choked(&mut self, now: Instant, key: PeerKey, choked: bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.choking_us == choked {
            return;
        }
        peer.choking_us = choked;
        peer.exhausted = None;
        if choked {
            peer.snub.forgive();
            if !peer.caps.fast {
                self.take_back_from(now, key, |_, _| true, false);
            } else if !peer.requests.is_empty() {
                peer.snub.on_request(now);
            }
            self.disown(now, key);
        } else {
            peer.refused_until = None;
            peer.refusals = 0;
        }
        self.hungry.push(key);
    }

    /// Looks for peers that take requests and send nothing, and lets those ask that had no reason to before.
    pub(super) fn look_after_requests(&mut self, now: Instant) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            match peer.snub.look(now, self.throttled.down) {
                Verdict::Fine => {
                    let dropped = peer.dropped(now);
                    if dropped > 0 {
                        self.take_back_from(now, key, |place, _| place < dropped, true);
                    }
                }
                // One that we serve keeps its place all the same.
                Verdict::Stalled if peer.choked || !peer.interested => {
                    self.dismiss(now, key, Dismissal::Stalled);
                }
                // The oldest may be on its way already; the rest would only come late.
                Verdict::TakeBack | Verdict::Stalled => {
                    let oldest = peer.requests.pop_front().map(|request| request.asked);
                    self.take_back_from(now, key, |_, _| true, true);
                    if let Some(asked) = oldest
                        && let Some(peer) = self.peers.get_mut(&key)
                    {
                        peer.withdraw(asked);
                        self.release(now, key, asked);
                    }
                }
            }
            self.refill(now, key);
        }
    }

    /// Nothing is asked for at present, so nobody is to blame for silence.
    pub(super) fn forgive_all(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.snub.forgive());
    }

    /// A piece is true.
    pub(super) fn on_verified(&mut self, now: Instant, piece: PieceIndex) {
        let wanted = self.picker.wants(piece);
        let counted = self.picker.wishes.is_wanted(piece);
        self.picker.index.unlist(piece);
        let partial = self.picker.partials.end(piece);
        if !self.picker.have.insert(piece) {
            return;
        }
        self.inquiries.close(piece);
        if let Some(partial) = partial {
            if partial.asked() > 0 {
                self.take_back(now, |asked| asked.piece == piece);
            }
            if let [lone] = partial.contributors()[..] {
                self.acquit(lone);
            }
            self.picker.partials.recycle(partial);
        }
        self.blame.verified(piece);
        self.picker.wishes.clear_deadline(piece);
        if counted {
            self.picker.wanted_left -= 1;
            self.left -= self.wanted_bytes(piece);
        }
        if wanted {
            self.count_interest(piece, false);
        }
        self.outputs.push_back(Output::Announce { peer: None, piece });
        self.check_finished(now);
    }

    /// One that sent a true piece alone is no suspect.
    fn acquit(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.on_parole) else { return };
        let host = peer.caps.address.ip();
        self.blame.clear(host);
        for peer in self.peers.values_mut().filter(|peer| peer.caps.address.ip() == host) {
            peer.on_parole = false;
            peer.exhausted = None;
            self.hungry.push(peer.key);
        }
    }

    /// A piece did not match its hash. Where its blocks are kept, the bad ones are fetched again, or asked about.
    pub(super) fn on_corrupt(&mut self, now: Instant, piece: PieceIndex, bad: &[Block], kept: bool) {
        if kept && !bad.is_empty() {
            self.on_proven(now, piece, bad);
        } else if !kept {
            self.on_false(now, piece, bad);
        } else if !self.begin_inquiry(now, piece) {
            self.fetch_anew(now, piece);
        }
    }

    /// Which blocks of a piece are bad cannot be found out: all are dropped.
    pub(super) fn fetch_anew(&mut self, now: Instant, piece: PieceIndex) {
        if self.picker.partials.get(piece).is_some() {
            self.outputs.push_back(Output::Discard { piece });
        }
        self.on_false(now, piece, &[]);
    }

    /// A piece is corrupt, and nothing is left of it.
    fn on_false(&mut self, now: Instant, piece: PieceIndex, bad: &[Block]) {
        let Some(partial) = self.picker.partials.end(piece) else { return };
        self.inquiries.close(piece);
        if partial.asked() > 0 {
            self.take_back(now, |asked| asked.piece == piece);
        }
        let size = u64::from(self.layout.piece_size(piece));
        self.wasted += size;
        self.downloaded = self.downloaded.saturating_sub(self.wanted_bytes(piece));
        let proven = bad
            .iter()
            .filter(|block| block.piece == piece)
            .filter_map(|block| block_index(&self.layout, *block))
            .filter_map(|index| partial.sender(index))
            .collect();
        let Judgement { ban, suspect } = self.blame.judge(piece, partial.contributors(), proven);
        self.picker.partials.recycle(partial);
        for key in suspect {
            let Some(host) = self.host_of(key) else { continue };
            self.blame.suspect(host.ip());
            for peer in self.peers.values_mut().filter(|peer| peer.caps.address.ip() == host.ip()) {
                peer.on_parole = true;
            }
        }
        for key in ban {
            self.ban(now, key);
        }
        self.picker.list(piece, &mut self.rng);
    }

    fn host_of(&self, key: PeerKey) -> Option<std::net::SocketAddr> {
        self.peers.get(&key).map(|peer| peer.caps.address).or_else(|| self.blame.address_of(key))
    }

    /// Never again talks to the host of a peer.
    pub(super) fn ban(&mut self, now: Instant, key: PeerKey) {
        let Some(address) = self.host_of(key) else { return };
        self.blame.convict(key, address.ip());
        self.book.ban(address.ip());
        self.outputs.push_back(Output::Ban { address });
        let there: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| peer.caps.address.ip() == address.ip())
            .map(|peer| peer.key)
            .collect();
        for key in there {
            self.dismiss(now, key, Dismissal::BadData);
        }
    }
}
