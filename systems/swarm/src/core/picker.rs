//! Which block to ask of a peer next.
//!
//! In this order:
//! 1. pieces that a reader waits for, the most urgent first ([deadlines](super::Input::Deadline));
//! 2. a piece that is much rarer than those that have been begun, because the swarm waits for its few holders;
//! 3. pieces that have been begun (strict piece completion: only whole pieces can be served);
//! 4. a new piece: the rarest of the highest priority, ties at random; the first of all at random, to have something
//!    to trade soon; or the lowest, when fetching in sequence.
//!
//! The end game, when nothing of this is left, is decided in `endgame`, since it compares peers.

use std::collections::BTreeMap;
use std::time::Instant;

use peerage_content::{Layout, PieceIndex, PieceSet};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::availability::{AvailabilityIndex, Buckets};
use super::blame::Blame;
use super::partial::{Partial, Partials};
use super::peer::{Asked, Peer};
use super::wishes::Wishes;
use super::{Availability, Config, PeerKey, Priority};

/// What is missing, who has it, and what has been begun.
#[derive(Debug)]
pub(super) struct Picker {
    pub(super) have: PieceSet,
    pub(super) wishes: Wishes,
    pub(super) index: AvailabilityIndex,
    pub(super) partials: Partials,
    /// Pieces that are wanted, whose hash is known, and that are not here.
    pub(super) fetchable: u32,
    /// Pieces that are wanted and not here.
    pub(super) wanted_left: u32,
    /// Whether the content has padding at all.
    pads: bool,
    /// No missing piece lies before this one.
    cursor: PieceIndex,
    /// Grows whenever something can be asked for that could not before.
    pub(super) epoch: u64,
    /// A new piece was not begun because too much is buffered.
    pub(super) is_full: bool,
}

/// A piece with so many times fewer copies than another is much rarer.
const MUCH_RARER: u32 = 2;

/// A late piece is left to peers that are expected to be so many times sooner.
const MUCH_SOONER: u32 = 2;

/// What a choice depends on besides the picker.
pub(super) struct Choice<'a> {
    pub(super) now: Instant,
    pub(super) layout: &'a Layout,
    pub(super) config: &'a Config,
    pub(super) blame: &'a Blame,
    pub(super) peers: &'a BTreeMap<PeerKey, Peer>,
    /// Peers that do not choke us.
    pub(super) servers: usize,
    pub(super) rng: &'a mut Xoshiro256PlusPlus,
}

impl Picker {
    pub(super) fn new(layout: &Layout, have: PieceSet) -> Self {
        let pieces = layout.piece_count();
        let missing = pieces - have.count();
        Self {
            have,
            wishes: Wishes::new(pieces),
            index: AvailabilityIndex::default(),
            partials: Partials::default(),
            fetchable: missing,
            wanted_left: missing,
            pads: layout.entries().iter().any(|entry| entry.kind == peerage_content::EntryKind::Pad),
            cursor: 0,
            epoch: 0,
            is_full: false,
        }
    }

    /// Whether the piece is to be fetched.
    pub(super) fn wants(&self, piece: PieceIndex) -> bool {
        self.wishes.is_fetchable(piece) && !self.have.contains(piece)
    }

    /// Lists all pieces that may be begun, when the first peer comes that has any.
    pub(super) fn prepare(&mut self, rng: &mut Xoshiro256PlusPlus) {
        if self.index.buckets.is_some() || self.fetchable == 0 {
            return;
        }
        self.index.buckets = Some(Box::new(Buckets::new(self.have.len())));
        for piece in 0..self.have.len() {
            self.list(piece, rng);
        }
    }

    /// Lists a piece as one that may be begun, if it is.
    pub(super) fn list(&mut self, piece: PieceIndex, rng: &mut Xoshiro256PlusPlus) {
        if self.wants(piece) && self.partials.get(piece).is_none() {
            self.index.list(piece, self.wishes.rank(piece), rng);
            self.cursor = self.cursor.min(piece);
            self.epoch += 1;
        }
    }

    /// Picks up to `room` blocks for a peer and marks them as asked of it.
    pub(super) fn pick(&mut self, peer: &Peer, room: usize, choice: &mut Choice<'_>) -> Vec<Asked> {
        let mut picked = Vec::new();
        while picked.len() < room {
            let Some(piece) = self.next_piece(peer, picked.len(), choice) else { break };
            while picked.len() < room
                && let Some(index) = self.partials.ask_next(piece, peer.key)
            {
                picked.push(Asked { piece, index });
            }
        }
        picked
    }

    /// An open piece to ask this peer for; begun if need be. `ahead` requests were picked for it already.
    fn next_piece(&mut self, peer: &Peer, ahead: usize, choice: &mut Choice<'_>) -> Option<PieceIndex> {
        if let Some(piece) = self.most_urgent(peer, ahead, choice) {
            return Some(piece);
        }
        let Some(open) = self.most_wanted_open(peer, choice) else { return self.new_piece(peer, choice) };
        self.much_rarer(open, peer, choice).or(Some(open))
    }

    /// Begins a piece that is much rarer than one that has been begun. It comes before strict completion, for its few holders are
    /// what the whole swarm waits for, and should not spend their uplink on what others could send. So that pieces are completed
    /// all the same, no more are open than peers serve us, but for pieces that nobody but this peer has.
    fn much_rarer(&mut self, open: PieceIndex, peer: &Peer, choice: &mut Choice<'_>) -> Option<PieceIndex> {
        if choice.config.sequential
            || peer.choking_us
            || self.partials.buffered() >= choice.config.buffered_max
        {
            return None;
        }
        let crowded = self.partials.open().count() >= choice.servers;
        let most = if crowded { 1 } else { self.index.copies.total(open) / MUCH_RARER };
        let most = most
            .min(self.index.copies.total(open).saturating_sub(1))
            .checked_sub(self.index.copies.seeds())?;
        let buckets = self.index.buckets.as_ref()?;
        let piece =
            buckets.within(peer.least_copies()..=most, choice.rng).find(|&piece| peer.may_request(piece))?;
        self.begin(piece, peer, choice).then_some(piece)
    }

    /// The most urgent piece that this peer has, but for those that another would bring much sooner.
    fn most_urgent(&mut self, peer: &Peer, ahead: usize, choice: &mut Choice<'_>) -> Option<PieceIndex> {
        if !self.wishes.has_deadlines() {
            return None;
        }
        let wait = peer.time_to_answer(peer.requests.len() + ahead, choice.now);
        let is_better = |other: &Peer, piece| {
            other.may_request(piece)
                && MUCH_SOONER * other.time_to_answer(other.requests.len(), choice.now) < wait
        };
        let due = self.wishes.deadlines().find(|&(at, piece)| {
            peer.may_request(piece)
                && match self.partials.get(piece) {
                    Some(partial) => partial.is_open() && may_share(partial, peer),
                    None => self.index.buckets.as_ref().is_some_and(|buckets| buckets.contains(piece)),
                }
                && (choice.now + wait <= at || !choice.peers.values().any(|other| is_better(other, piece)))
        });
        let (_, piece) = due?;
        (self.partials.get(piece).is_some() || self.begin(piece, peer, choice)).then_some(piece)
    }

    fn most_wanted_open(&self, peer: &Peer, choice: &Choice<'_>) -> Option<PieceIndex> {
        self.partials
            .open()
            .map(|partial| (partial, partial.piece))
            .filter(|(partial, piece)| peer.may_request(*piece) && may_share(partial, peer))
            .min_by_key(|&(_, piece)| {
                let rarity = if choice.config.sequential { 0 } else { self.index.copies.partial(piece) };
                (std::cmp::Reverse(self.wishes.rank(piece)), rarity, piece)
            })
            .map(|(_, piece)| piece)
    }

    fn new_piece(&mut self, peer: &Peer, choice: &mut Choice<'_>) -> Option<PieceIndex> {
        if self.partials.buffered() >= choice.config.buffered_max {
            self.is_full = true;
            return None;
        }
        // A piece of nothing but padding cannot be begun: it has left the list, look again.
        loop {
            let piece = self.candidate(peer, choice)?;
            if self.begin(piece, peer, choice) {
                return Some(piece);
            }
        }
    }

    fn candidate(&mut self, peer: &Peer, choice: &mut Choice<'_>) -> Option<PieceIndex> {
        let buckets = self.index.buckets.as_ref()?;
        if peer.choking_us {
            let mut allowed = peer.allowed_fast.iter().copied();
            allowed.find(|&piece| buckets.contains(piece) && peer.has(piece))
        } else if choice.config.sequential {
            self.lowest(peer)
        } else if self.have.is_empty() && self.partials.is_empty() {
            random_first(buckets, peer, choice.rng)
        } else {
            self.rarest(peer, choice.rng)
        }
    }

    /// The lowest listed piece of the highest priority.
    fn lowest(&mut self, peer: &Peer) -> Option<PieceIndex> {
        while self.cursor < self.have.len() && !self.wants(self.cursor) {
            self.cursor += 1;
        }
        let buckets = self.index.buckets.as_ref()?;
        let mut best: Option<(Priority, PieceIndex)> = None;
        for piece in self.cursor..self.have.len() {
            if let Some(priority) = buckets.priority(piece)
                && best.is_none_or(|(found, _)| found < priority)
                && peer.may_request(piece)
            {
                best = Some((priority, piece));
                if priority == buckets.highest() {
                    break;
                }
            }
        }
        best.map(|(_, piece)| piece)
    }

    /// The rarest listed piece of the highest priority.
    fn rarest(&self, peer: &Peer, rng: &mut Xoshiro256PlusPlus) -> Option<PieceIndex> {
        let buckets = self.index.buckets.as_ref()?;
        if let Availability::Some(set) = &peer.availability
            && set.count() < buckets.len() / 4
        {
            // It has so few that looking through them is quicker than looking for them.
            return set
                .iter()
                .filter_map(|piece| Some((buckets.priority(piece)?, piece)))
                .map(|(priority, piece)| {
                    let tie: u32 = rng.random();
                    (std::cmp::Reverse(priority), self.index.copies.partial(piece), tie, piece)
                })
                .min()
                .map(|(.., piece)| piece);
        }
        buckets.rarest_first(peer.least_copies(), rng).find(|&piece| peer.may_request(piece))
    }

    fn begin(&mut self, piece: PieceIndex, peer: &Peer, choice: &mut Choice<'_>) -> bool {
        self.index.unlist(piece);
        if !self.partials.begin(choice.layout, piece, self.pads) {
            return false;
        }
        if peer.on_parole || choice.blame.wants_alone(piece) {
            self.partials.set_owner(piece, Some(peer.key));
        }
        true
    }

    /// Begins a piece for a block that came late, without asking for the rest yet; false when it may not be begun.
    pub(super) fn reopen(&mut self, layout: &Layout, piece: PieceIndex) -> bool {
        let listed = self.index.buckets.as_ref().is_some_and(|buckets| buckets.contains(piece));
        if listed {
            self.index.unlist(piece);
            self.epoch += 1;
        }
        listed && self.partials.begin(layout, piece, self.pads)
    }

    /// New pieces may be begun again, if they could not be because too much was buffered.
    pub(super) fn drain(&mut self, buffered_max: u64) {
        if self.is_full && self.partials.buffered() < buffered_max {
            self.is_full = false;
            self.epoch += 1;
        }
    }

    /// Nobody is connected: gives back what is in proportion to the pieces. What was gathered of pieces stays.
    pub(super) fn rest(&mut self) {
        self.index.forget_counts();
        self.index.buckets = None;
        if self.partials.is_empty() {
            self.partials = Partials::default();
        }
    }

    /// Whether everything that somebody has was asked for: what remains are blocks that are on their way.
    pub(super) fn is_end_game(&self) -> bool {
        self.index.obtainable() == 0
            && self.partials.open().all(|partial| self.index.copies.total(partial.piece) == 0)
            && !self.partials.is_empty()
    }
}

/// Whether a peer may send blocks of a piece that has been begun: anyone of an ordinary piece, but for suspects, and only the owner
/// of one that is fetched alone.
pub(super) fn may_share(partial: &Partial, peer: &Peer) -> bool {
    match partial.owner {
        Some(owner) => owner == peer.key,
        None => !peer.on_parole,
    }
}

/// Any listed piece of the highest priority that the peer has, each as likely as the other.
fn random_first(buckets: &Buckets, peer: &Peer, rng: &mut Xoshiro256PlusPlus) -> Option<PieceIndex> {
    let highest = buckets.highest();
    let pieces = buckets.pieces();
    let start = rng.random_range(0..pieces.max(1));
    (start..pieces)
        .chain(0..start)
        .find(|&piece| buckets.priority(piece) == Some(highest) && peer.may_request(piece))
        .or_else(|| buckets.rarest_first(peer.least_copies(), rng).find(|&piece| peer.may_request(piece)))
}
