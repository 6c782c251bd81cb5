//! The decisions of one transfer, without IO.
//!
//! Contract of [`Swarm`]: call [`Swarm::handle`] (and [`Swarm::receive`] for data) with a time that never goes back, then
//! drain [`Swarm::poll_output`] until it is `None`, then sleep until the next input or [`Swarm::poll_timeout`].
//! Inputs about a peer that left are ignored. Nothing here allocates in proportion to what a peer claims:
//! the wire has bounded it before.
//!
//! Who decides what:
//! - `picker` which block to ask of a peer, over `availability` (copies of each piece), `partial` (pieces that have been begun)
//!   and `wishes` (priorities, deadlines); `endgame` which blocks to ask for twice; `pipeline` how many; `snub` for how long.
//! - `choke` whom to serve, `superseed` what to show while super-seeding.
//! - `dial` whom to connect to, by `priority` (BEP 40); `blame` whom to ban.
//! - `fetch`, `serve` and `meet` are the three halves of [`Swarm`] that put this into effect: downloading, uploading, peers
//!   that come and go.
//!
//! An idle transfer is small: what is proportional to its pieces is made when the first peer with pieces comes, and goes
//! with the last.

mod availability;
mod blame;
mod choke;
mod dial;
mod endgame;
mod fetch;
pub mod limit;
mod meet;
mod partial;
mod peer;
mod picker;
mod pipeline;
mod priority;
pub mod rate;
mod serve;
mod snub;
mod stats;
mod superseed;
#[cfg(test)]
mod tests;
mod types;
mod wishes;

pub use priority::canonical_priority;
pub use types::*;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{Block, EntryKind, Layout, PieceIndex, PieceSet};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use blame::Blame;
use choke::Choker;
use dial::Book;
use peer::Peer;
use picker::Picker;
use rate::Rate;
use superseed::SuperSeed;

/// Time between two looks at peers that owe us blocks.
const LOOK: Duration = Duration::from_secs(1);

/// The state machine of one transfer.
#[derive(Debug)]
pub struct Swarm {
    config: Config,
    layout: Arc<Layout>,
    picker: Picker,
    peers: BTreeMap<PeerKey, Peer>,
    book: Book,
    blame: Blame,
    choker: Choker,
    super_seed: Option<Box<SuperSeed>>,
    rng: Xoshiro256PlusPlus,
    outputs: VecDeque<Output>,

    fetching: bool,
    serving: bool,
    finished: bool,
    now: Instant,
    next_look: Instant,

    // Work left for the end of an input, so that it is done once however often an input gives cause for it.
    /// Peers that may have room for requests.
    hungry: Vec<PeerKey>,
    /// The picker's epoch at which everyone was last offered work.
    offered: u64,
    /// A slot may be free.
    slot_free: bool,
    /// Somebody is interested and choked.
    someone_waits: bool,
    /// There may be someone to dial.
    seeking: bool,

    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    rate_down: Rate,
    rate_up: Rate,
    /// Wanted bytes that are not verified.
    left: u64,
}

impl Swarm {
    /// A transfer over `layout` of which `have` is verified already. `seed` feeds every random choice.
    pub fn new(config: Config, layout: Arc<Layout>, have: PieceSet, seed: u64, now: Instant) -> Self {
        let have =
            if have.len() == layout.piece_count() { have } else { PieceSet::empty(layout.piece_count()) };
        let mut swarm = Self {
            picker: Picker::new(&layout, have),
            config,
            layout,
            peers: BTreeMap::new(),
            book: Book::default(),
            blame: Blame::default(),
            choker: Choker::new(now),
            super_seed: None,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            outputs: VecDeque::new(),
            fetching: true,
            serving: true,
            finished: false,
            now,
            next_look: now + LOOK,
            hungry: Vec::new(),
            offered: 0,
            slot_free: false,
            someone_waits: false,
            seeking: false,
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            rate_down: Rate::new(now),
            rate_up: Rate::new(now),
            left: 0,
        };
        swarm.finished = swarm.picker.wanted_left == 0;
        swarm.left = if swarm.picker.have.is_empty() {
            swarm.layout.content_length()
        } else {
            (0..swarm.layout.piece_count())
                .filter(|&piece| !swarm.picker.have.contains(piece))
                .map(|piece| swarm.wanted_bytes(piece))
                .sum()
        };
        swarm.begin_super_seeding();
        swarm
    }

    /// Takes an event in.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = self.now.max(now);
        let now = self.now;
        match input {
            Input::Tick => {}
            Input::Configure(config) => self.configure(config),
            Input::Known { addresses, found } => self.on_known(addresses, found),
            Input::DialFailed { address } => {
                self.book.failed(address, now);
                self.seeking = true;
            }
            Input::Joined { peer, caps } => self.on_joined(now, peer, caps),
            Input::Left { peer } => self.on_left(now, peer, dial::Parting::Plain),
            Input::Has { peer, availability } => self.on_has(now, peer, availability),
            Input::Have { peer, piece } => self.on_have(now, peer, piece),
            Input::DontHave { peer, piece } => self.on_dont_have(now, peer, piece),
            Input::Choked { peer, choked } => self.on_choked(now, peer, choked),
            Input::Interest { peer, interested } => self.on_interest(now, peer, interested),
            Input::UploadOnly { peer, upload_only } => self.on_upload_only(now, peer, upload_only),
            Input::AllowedFast { peer, piece } => self.on_allowed_fast(peer, piece),
            Input::Rejected { peer, blocks } => self.on_rejected(now, peer, blocks),
            Input::Sent { peer, bytes } => self.on_sent(now, peer, bytes),
            Input::Verified { piece } => self.on_verified(now, piece),
            Input::Corrupt { piece, bad } => self.on_corrupt(now, piece, bad),
            Input::Lost { piece } => self.on_lost(now, piece),
            Input::Knowable { pieces, known } => self.on_knowable(now, pieces, known),
            Input::Flow { fetching, serving } => self.on_flow(now, fetching, serving),
            Input::Prioritise { pieces, priority } => self.on_prioritise(now, pieces, priority),
            Input::Deadline { piece, at } => self.on_deadline(piece, at),
            Input::ClearDeadlines => self.picker.wishes.clear_deadlines(),
        }
        self.settle(now);
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Input::Tick`] if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let fetches = self.fetching && !self.finished && !self.peers.is_empty();
        let look = (fetches || self.someone_waits && self.serving).then_some(self.next_look);
        let round = (!self.peers.is_empty()).then(|| self.choker.next_round());
        let dial = self.book.next_at().filter(|_| self.may_dial());
        [look, round, dial].into_iter().flatten().min()
    }

    /// The verified pieces.
    pub fn have(&self) -> &PieceSet {
        &self.picker.have
    }

    /// Whether every wanted piece is verified.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether blocks of a piece are on their way.
    pub fn is_requested(&self, piece: PieceIndex) -> bool {
        self.picker.partials.get(piece).is_some_and(|partial| partial.asked() > 0)
    }

    /// Does what the input left to be done, and what time made due.
    fn settle(&mut self, now: Instant) {
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look_after_requests(now);
            self.slot_free |= self.someone_waits;
        }
        self.seeking |= self.book.next_at().is_some_and(|at| at <= now);
        if self.choker.is_due(now) {
            self.choke_round(now);
        }
        self.picker.drain(self.config.buffered_max);
        // Offering work may free nothing and change no epoch: this ends.
        while self.offered != self.picker.epoch || !self.hungry.is_empty() {
            if self.offered != self.picker.epoch {
                self.offered = self.picker.epoch;
                self.hungry.clear();
                let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
                keys.into_iter().for_each(|key| self.refill(now, key));
            } else if let Some(key) = self.hungry.pop() {
                self.refill(now, key);
            }
        }
        if std::mem::take(&mut self.slot_free) {
            self.fill_slots(now);
        }
        if std::mem::take(&mut self.seeking) {
            self.dial(now);
        }
    }

    fn configure(&mut self, config: Config) {
        self.config = config;
        self.picker.epoch += 1;
        self.seeking = true;
        self.slot_free = true;
        if self.config.super_seeding { self.begin_super_seeding() } else { self.end_super_seeding() }
    }

    /// A verified piece is gone.
    fn on_lost(&mut self, now: Instant, piece: PieceIndex) {
        if piece >= self.layout.piece_count() {
            return;
        }
        if !self.picker.have.remove(piece) {
            // It could not be written: what was gathered of it is gone.
            if self.picker.partials.get(piece).is_some() {
                self.give_up(now, piece);
            }
            return;
        }
        self.end_super_seeding();
        self.outputs.push_back(Output::Retract { piece });
        if self.picker.wishes.is_wanted(piece) {
            self.picker.wanted_left += 1;
            self.left += self.wanted_bytes(piece);
            self.finished = false;
        }
        self.now_wanted(piece);
    }

    fn on_knowable(&mut self, now: Instant, pieces: Range<PieceIndex>, known: bool) {
        for piece in self.picker.wishes.clamp(pieces) {
            let before = self.picker.wants(piece);
            self.picker.wishes.set_known(piece, known);
            self.wish_changed(now, piece, before);
        }
        self.picker.wishes.tidy();
    }

    fn on_prioritise(&mut self, now: Instant, pieces: Range<PieceIndex>, priority: Priority) {
        for piece in self.picker.wishes.clamp(pieces) {
            let before = self.picker.wants(piece);
            let was_wanted = self.picker.wishes.is_wanted(piece);
            // Listed under its priority: it is listed anew under the next.
            self.picker.index.unlist(piece);
            self.picker.wishes.set_priority(piece, priority);
            let is_wanted = self.picker.wishes.is_wanted(piece);
            if was_wanted != is_wanted && !self.picker.have.contains(piece) {
                let bytes = self.wanted_bytes(piece);
                if is_wanted {
                    self.picker.wanted_left += 1;
                    self.left += bytes;
                    self.finished = false;
                } else {
                    self.picker.wanted_left -= 1;
                    self.left -= bytes;
                }
            }
            self.wish_changed(now, piece, before);
            self.picker.list(piece, &mut self.rng);
        }
        self.picker.wishes.tidy();
        self.check_finished(now);
    }

    /// Whether a piece is to be fetched may have changed; `before` is what it was.
    fn wish_changed(&mut self, now: Instant, piece: PieceIndex, before: bool) {
        match (before, self.picker.wants(piece)) {
            (false, true) => self.now_wanted(piece),
            (true, false) => {
                // A piece whose blocks are all here gets its verdict all the same.
                if self.picker.partials.get(piece).is_some_and(|partial| !partial.is_complete()) {
                    self.give_up(now, piece);
                }
                self.picker.index.unlist(piece);
                self.count_interest(piece, false);
            }
            _ => {}
        }
    }

    /// A piece is to be fetched from now on.
    fn now_wanted(&mut self, piece: PieceIndex) {
        if !self.picker.wants(piece) {
            return;
        }
        self.count_interest(piece, true);
        if self.peers.values().any(|peer| !matches!(peer.availability, Availability::None)) {
            self.picker.prepare(&mut self.rng);
        }
        self.picker.list(piece, &mut self.rng);
    }

    fn on_deadline(&mut self, piece: PieceIndex, at: Instant) {
        if self.picker.wants(piece) {
            self.picker.wishes.set_deadline(piece, at);
            self.picker.epoch += 1;
        }
    }

    fn on_flow(&mut self, now: Instant, fetching: bool, serving: bool) {
        if self.fetching != fetching {
            self.fetching = fetching;
            if !fetching {
                self.take_back(now, |_| true);
            }
            self.picker.epoch += 1;
            self.tell_all_interest();
        }
        if self.serving != serving {
            self.serving = serving;
            self.choke_round(now);
        }
        self.seeking = true;
    }

    /// The last wanted piece may have been verified.
    fn check_finished(&mut self, now: Instant) {
        if self.finished || self.picker.wanted_left > 0 {
            return;
        }
        self.finished = true;
        self.picker.index.buckets = None;
        self.picker.wishes.clear_deadlines();
        if self.picker.partials.is_empty() {
            self.picker.partials = Default::default();
        }
        self.outputs.push_back(Output::Finished);
        self.begin_super_seeding();
        self.part_from_the_sated(now);
        self.slot_free = true;
    }

    /// Bytes of a piece that are not padding.
    fn wanted_bytes(&self, piece: PieceIndex) -> u64 {
        let whole = Block { piece, begin: 0, length: self.layout.piece_size(piece) };
        self.layout
            .spans(whole)
            .filter(|span| {
                self.layout.entries().get(span.entry).is_none_or(|entry| entry.kind != EntryKind::Pad)
            })
            .map(|span| u64::from(span.length))
            .sum()
    }
}
