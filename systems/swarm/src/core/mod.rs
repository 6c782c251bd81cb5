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
//! - `dial` whom to connect to, by `priority` (BEP 40); `blame` whom to ban, and `inquiry` whom to ask for proof.
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
mod inquiry;
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

use peerage_content::{Block, Layout, PieceIndex, PieceSet};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use blame::Blame;
use choke::Choker;
use dial::Book;
use inquiry::Inquiries;
use peer::Peer;
use picker::Picker;
use rate::Rate;
use superseed::{Reveal, SuperSeed};
use wishes::Wishes;

/// Time between two looks at peers that owe us blocks.
const LOOK: Duration = Duration::from_secs(1);
/// How long nothing is dialled when the process has no room for another connection.
const NO_ROOM: Duration = Duration::from_secs(5);

/// The state machine of one transfer.
#[derive(Debug)]
pub struct Swarm {
    config: Config,
    layout: Arc<Layout>,
    picker: Picker,
    peers: BTreeMap<PeerKey, Peer>,
    book: Book,
    blame: Blame,
    inquiries: Inquiries,
    choker: Choker,
    super_seed: Option<Box<SuperSeed>>,
    reveal: Option<Reveal>,
    rng: Xoshiro256PlusPlus,
    outputs: VecDeque<Output>,

    fetching: bool,
    serving: bool,
    finished: bool,
    throttled: Throttled,
    /// Nothing is dialled before this time.
    no_room_until: Option<Instant>,
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
            inquiries: Inquiries::default(),
            choker: Choker::new(now),
            super_seed: None,
            reveal: None,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            outputs: VecDeque::new(),
            fetching: true,
            serving: true,
            finished: false,
            throttled: Throttled::default(),
            no_room_until: None,
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
            Input::NoRoom { address } => {
                self.book.put_back(address);
                self.no_room_until = Some(now + NO_ROOM);
            }
            Input::Throttled(throttled) => self.throttled = throttled,
            Input::Joined { peer, caps } => self.on_joined(now, peer, caps),
            Input::Caps { peer, requests_max, listen_address } => {
                self.on_caps(now, peer, requests_max, listen_address);
            }
            Input::Left { peer } => {
                let parting = if self.finished { dial::Parting::Idle } else { dial::Parting::Plain };
                self.on_left(now, peer, parting);
            }
            Input::Has { peer, availability } => self.on_has(now, peer, availability),
            Input::Have { peer, piece } => self.on_have(now, peer, piece),
            Input::DontHave { peer, piece } => self.on_dont_have(now, peer, piece),
            Input::Choked { peer, choked } => self.on_choked(now, peer, choked),
            Input::Interest { peer, interested } => self.on_interest(now, peer, interested),
            Input::UploadOnly { peer, upload_only } => self.on_upload_only(now, peer, upload_only),
            Input::AllowedFast { peer, piece } => self.on_allowed_fast(peer, piece),
            Input::Rejected { peer, blocks } => self.on_rejected(now, peer, blocks),
            Input::Sent { peer, bytes, padding } => self.on_sent(now, peer, bytes, padding),
            Input::Verified { piece } => self.on_verified(now, piece),
            Input::Corrupt { piece, bad, kept } => self.on_corrupt(now, piece, bad, kept),
            Input::Proves { peer } => self.on_proves(peer),
            Input::Unproven { peer, piece } => self.on_unproven(peer, piece),
            Input::Lost { piece } => self.on_lost(now, piece),
            Input::Knowable { pieces, known } => self.on_knowable(now, pieces, known),
            Input::Flow { fetching, serving } => self.on_flow(now, fetching, serving),
            Input::Prioritise { ranges } => self.on_prioritise(now, ranges),
            Input::Deadline { reader, piece, at } => self.on_deadline(now, reader, piece, at),
            Input::ClearDeadlines { reader } => self.on_reader_gone(now, reader),
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
        let looks = fetches || self.someone_waits && self.serving || self.reveal.is_some();
        let look = looks.then_some(self.next_look);
        let round = (!self.peers.is_empty()).then(|| self.choker.next_round());
        let ready = self.no_room_until.filter(|_| self.book.has_ready());
        let dial = ready.or(self.book.next_at().max(self.no_room_until)).filter(|_| self.may_dial());
        [look, round, dial, self.inquiries.timeout()].into_iter().flatten().min()
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
            self.reveal_some();
            self.slot_free |= self.someone_waits;
        }
        self.seeking |= self.book.next_at().is_some_and(|at| at <= now);
        if self.no_room_until.take_if(|until| *until <= now).is_some() {
            self.seeking = true;
        }
        if self.choker.is_due(now) {
            self.choke_round(now);
        }
        self.inquire(now);
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
            self.no_longer_finished();
        }
        self.now_wanted(piece);
        // Those who had nothing left to offer have this piece.
        self.picker.epoch += 1;
    }

    fn on_knowable(&mut self, now: Instant, pieces: Range<PieceIndex>, known: bool) {
        for piece in self.picker.wishes.clamp(pieces) {
            self.change_wish(now, piece, |wishes| wishes.set_known(piece, known));
        }
        self.picker.wishes.tidy();
    }

    fn on_prioritise(&mut self, now: Instant, ranges: &[(Range<PieceIndex>, Priority)]) {
        let wishes = &self.picker.wishes;
        let before: Vec<Priority> =
            (0..self.layout.piece_count()).map(|piece| wishes.priority(piece)).collect();
        let mut after = before.clone();
        for (pieces, priority) in ranges {
            let pieces = wishes.clamp(pieces.clone());
            after[pieces.start as usize..pieces.end.max(pieces.start) as usize].fill(*priority);
        }
        for (piece, (before, after)) in (0..).zip(before.into_iter().zip(after)) {
            if before != after {
                self.change_wish(now, piece, |wishes| wishes.set_priority(piece, after));
            }
        }
        self.picker.wishes.tidy();
        self.check_finished(now);
    }

    /// A reader waits for a piece.
    fn on_deadline(&mut self, now: Instant, reader: ReaderId, piece: PieceIndex, at: Instant) {
        if piece < self.layout.piece_count() && !self.picker.have.contains(piece) {
            self.change_wish(now, piece, |wishes| wishes.set_deadline(reader, piece, at));
            self.picker.epoch += 1;
        }
    }

    fn on_reader_gone(&mut self, now: Instant, reader: ReaderId) {
        for piece in self.picker.wishes.awaited_by(reader) {
            self.change_wish(now, piece, |wishes| wishes.forget_deadline(reader, piece));
        }
        self.check_finished(now);
    }

    /// Changes what is wished of a piece, and lets everything follow that is counted or begun by it.
    fn change_wish(&mut self, now: Instant, piece: PieceIndex, change: impl FnOnce(&mut Wishes)) {
        let picker = &mut self.picker;
        let (wanted, fetched, rank) =
            (picker.wishes.is_wanted(piece), picker.wants(piece), picker.wishes.rank(piece));
        change(&mut picker.wishes);
        let wanted_now = picker.wishes.is_wanted(piece);
        // Listed under its rank: it is listed anew under the next.
        let listed_anew = rank != picker.wishes.rank(piece);
        if listed_anew {
            picker.index.unlist(piece);
        }
        if wanted != wanted_now && !picker.have.contains(piece) {
            let bytes = self.wanted_bytes(piece);
            if wanted_now {
                self.picker.wanted_left += 1;
                self.left += bytes;
                self.no_longer_finished();
            } else {
                self.picker.wanted_left -= 1;
                self.left -= bytes;
            }
        }
        match (fetched, self.picker.wants(piece)) {
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
        if listed_anew {
            self.picker.list(piece, &mut self.rng);
        }
    }

    /// Something is wanted again: those who left because nothing was are worth another dial.
    fn no_longer_finished(&mut self) {
        if std::mem::take(&mut self.finished) {
            self.book.reconsider();
            self.seeking = true;
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

    fn on_flow(&mut self, now: Instant, fetching: bool, serving: bool) {
        if self.fetching != fetching {
            self.fetching = fetching;
            if !fetching {
                self.take_back(now, |_| true);
                self.forgive_all();
            }
            self.picker.epoch += 1;
            self.tell_all_interest();
        }
        if self.serving != serving {
            self.serving = serving;
            self.choke_round(now);
            if serving {
                self.book.reconsider();
            }
        }
        if self.is_paused() {
            self.part_from_all(now);
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
        self.forgive_all();
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
        self.layout.content_of(whole).into()
    }
}
