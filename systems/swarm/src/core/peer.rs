//! What the core knows about one connected peer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, PieceIndex};

use super::pipeline::Pipeline;
use super::rate::Rate;
use super::snub::Snub;
use super::{Availability, Config, Found, PeerCaps, PeerKey, PeerStats};

/// Pieces a peer may allow while choking us; BEP 6 suggests ten.
const ALLOWED_FAST_MAX: usize = 64;
/// Requests taken back that are remembered per peer, because their data may still come.
const WITHDRAWN_MAX: usize = 2_048;

/// A request for a block, by its number in the piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) piece: PieceIndex,
    pub(super) index: u32,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) asked: Asked,
    /// Since when a block that was asked for later is here. Wires answer in order, more or less: this one may have been dropped.
    pub(super) overtaken: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    pub(super) caps: PeerCaps,
    pub(super) joined: Instant,

    pub(super) availability: Availability,
    /// How often it said all that it has.
    pub(super) told_all: u8,
    /// Its pieces are counted one by one, not as a seed's: it became a seed while connected.
    pub(super) counted_singly: bool,
    /// Pieces it has that we would fetch; for a seed the transfer knows the number.
    pub(super) interesting: u32,
    pub(super) told_interested: bool,

    pub(super) choking_us: bool,
    pub(super) allowed_fast: Vec<PieceIndex>,
    /// Requests on their way, oldest first. Those that were overtaken are at the front.
    pub(super) requests: VecDeque<Request>,
    /// Requests taken back or given up, whose data may still come.
    withdrawn: VecDeque<Asked>,
    pub(super) pipeline: Pipeline,
    pub(super) snub: Snub,
    /// Nothing is asked before this time, because it refused.
    pub(super) refused_until: Option<Instant>,
    pub(super) refusals: u8,
    /// The picker's epoch at which nothing was found for it; the same epoch would find nothing again.
    pub(super) exhausted: Option<u64>,
    pub(super) download: Rate,
    /// Blocks nobody asked for, more of late than asked for.
    pub(super) unrequested: u32,
    /// Suspected of bad data: fetches pieces alone until one proves it right or wrong.
    pub(super) on_parole: bool,
    /// It can be asked for the hashes of blocks.
    pub(super) proves: bool,
    /// Questions for hashes that it left unanswered.
    pub(super) unproven: u8,

    pub(super) choked: bool,
    pub(super) interested: bool,
    pub(super) upload_only: bool,
    pub(super) upload: Rate,
    /// When it was last unchoked; `None`: never.
    pub(super) unchoked_at: Option<Instant>,
}

impl Peer {
    pub(super) fn new(key: PeerKey, caps: PeerCaps, now: Instant) -> Self {
        Self {
            key,
            joined: now,
            availability: Availability::None,
            told_all: 0,
            counted_singly: false,
            interesting: 0,
            told_interested: false,
            choking_us: !caps.serves_only,
            allowed_fast: Vec::new(),
            requests: VecDeque::new(),
            withdrawn: VecDeque::new(),
            pipeline: Pipeline::new(now),
            snub: Snub::default(),
            refused_until: None,
            refusals: 0,
            exhausted: None,
            download: Rate::new(now),
            unrequested: 0,
            on_parole: false,
            proves: false,
            unproven: 0,
            choked: true,
            interested: false,
            upload_only: caps.serves_only,
            upload: Rate::new(now),
            unchoked_at: None,
            caps,
        }
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        match &self.availability {
            Availability::All => true,
            Availability::None => false,
            Availability::Some(set) => set.contains(piece),
        }
    }

    /// Copies (seeds not counted) that every piece has which this peer has.
    pub(super) fn least_copies(&self) -> u32 {
        u32::from(self.counted_singly)
    }

    pub(super) fn is_seed(&self) -> bool {
        matches!(self.availability, Availability::All)
    }

    pub(super) fn pieces(&self, of: u32) -> u32 {
        match &self.availability {
            Availability::All => of,
            Availability::None => 0,
            Availability::Some(set) => set.count(),
        }
    }

    /// Whether a block of the piece may be requested now.
    pub(super) fn may_request(&self, piece: PieceIndex) -> bool {
        self.has(piece) && (!self.choking_us || self.allowed_fast.contains(&piece))
    }

    /// Whether requests may go out at all.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        (!self.choking_us || !self.allowed_fast.is_empty())
            && self.refused_until.is_none_or(|until| until <= now)
    }

    pub(super) fn allow_fast(&mut self, piece: PieceIndex) {
        if self.allowed_fast.len() < ALLOWED_FAST_MAX && !self.allowed_fast.contains(&piece) {
            self.allowed_fast.push(piece);
        }
    }

    /// Requests to keep on their way.
    pub(super) fn depth(&self, config: &Config) -> usize {
        if self.snub.is_snubbed() { 1 } else { self.pipeline.depth(config, self.caps.requests_max) }
    }

    /// Takes a request off the list; false when it is not on it. Blocks mostly come in the order they were asked for, so the search is short.
    pub(super) fn take_request(&mut self, asked: Asked) -> bool {
        match self.requests.iter().position(|request| request.asked == asked) {
            Some(0) => self.requests.pop_front().is_some(),
            Some(at) => self.requests.remove(at).is_some(),
            None => false,
        }
    }

    /// Takes a request off the list because its block is here; what was asked for before it has been overtaken.
    pub(super) fn take_answered(&mut self, now: Instant, asked: Asked) -> bool {
        let Some(at) = self.requests.iter().position(|request| request.asked == asked) else { return false };
        // The overtaken ones are at the front, so the first from behind that is marked ends the work.
        for request in self.requests.range_mut(..at).rev() {
            if request.overtaken.is_some() {
                break;
            }
            request.overtaken = Some(now);
        }
        self.requests.remove(at).is_some()
    }

    /// How many requests, the oldest of all, have been overtaken for so long that they are not going to be answered: a peer
    /// without the fast extension drops what it does not serve without a word.
    pub(super) fn dropped(&self, now: Instant) -> usize {
        if self.requests.front().is_none_or(|request| request.overtaken.is_none()) {
            return 0;
        }
        let patience = (DROPPED_PATIENCE * self.time_to_answer(self.requests.len(), now)).max(DROPPED_AFTER);
        let since = |at: Instant| now.saturating_duration_since(at);
        self.requests
            .iter()
            .take_while(|request| request.overtaken.is_some_and(|at| since(at) >= patience))
            .count()
    }

    /// Remembers a request that was taken back.
    pub(super) fn withdraw(&mut self, asked: Asked) {
        if self.withdrawn.len() >= WITHDRAWN_MAX {
            self.withdrawn.pop_front();
        }
        self.withdrawn.push_back(asked);
    }

    /// Forgets a request that was taken back; false when there was none.
    pub(super) fn take_withdrawn(&mut self, asked: Asked) -> bool {
        let at = self.withdrawn.iter().position(|request| *request == asked);
        at.and_then(|at| self.withdrawn.remove(at)).is_some()
    }

    /// When a request at a place in its queue will be answered, counted from now. One that was overtaken is the later the longer that was ago.
    pub(super) fn time_until(&self, request: &Request, place: usize, now: Instant) -> Duration {
        let overtaken = request.overtaken.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.time_to_answer(place, now).max(2 * overtaken)
    }

    /// When the request at a place in its queue will be answered, counted from now.
    pub(super) fn time_to_answer(&self, place: usize, now: Instant) -> Duration {
        let rate = self.download.over(now, ETA_SECONDS);
        if self.snub.is_snubbed() {
            return FOREVER;
        }
        if rate == 0 {
            // Not a byte of late: the longer it has been silent, the longer it will be.
            return 2 * self.snub.waited(now) + SILENT;
        }
        Duration::from_secs_f64((place + 1) as f64 * f64::from(BLOCK_LENGTH) / rate as f64).min(FOREVER)
    }

    /// Whether it makes use of being unchoked, or has not had the time to.
    pub(super) fn takes(&self, now: Instant) -> bool {
        let fresh = self.unchoked_at.is_some_and(|at| now.saturating_duration_since(at) < IDLE);
        fresh || self.upload.over(now, IDLE.as_secs()) > 0
    }

    pub(super) fn stats(&self, now: Instant, pieces: u32) -> PeerStats {
        PeerStats {
            peer: self.key,
            address: self.caps.address,
            found: Found::default(),
            serves_only: self.caps.serves_only,
            outgoing: self.caps.outgoing,
            downloaded: self.download.total(),
            uploaded: self.upload.total(),
            download_rate: self.download.over(now, SHOWN_SECONDS),
            upload_rate: self.upload.over(now, SHOWN_SECONDS),
            pieces: self.pieces(pieces),
            choking_us: self.choking_us,
            choked: self.choked,
            interested: self.interested,
            interesting: self.told_interested,
            requests: self.requests.len(),
            snubbed: self.snub.is_snubbed(),
            connected: now.saturating_duration_since(self.joined),
        }
    }
}

/// A request that was overtaken is given up after this many times what the peer needs to answer all that it was asked for.
const DROPPED_PATIENCE: u32 = 3;
/// And not before this time.
const DROPPED_AFTER: Duration = Duration::from_secs(5);
/// One that was unchoked and takes nothing for this long leaves its slot idle.
const IDLE: Duration = Duration::from_secs(2);
/// Seconds of the rates that people see.
pub(super) const SHOWN_SECONDS: u64 = 5;
/// Seconds of the rate that predicts when a block will come.
const ETA_SECONDS: u64 = 8;
/// What a peer that never sent anything is expected to need.
const SILENT: Duration = Duration::from_secs(2);
/// Later than anything.
const FOREVER: Duration = Duration::from_secs(86_400);
