//! What one peer wants, and what is on its way to it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use cid::Cid;

use super::Config;
use crate::bitswap::BLOCK_MAX;
use crate::bitswap::message::{Block, Entry, Presence, Want};

/// Wants beyond the bounds that a peer may send in one [`PERIOD`].
const EXCESS_MAX: usize = 64 * 1024;
/// The time after which what a peer is charged for is forgotten.
const PERIOD: Duration = Duration::from_secs(60);
/// Blocks that are read for a peer and not yet sent, so that tiny ones are bounded, too.
const BLOCKS_MAX: usize = 1024;

/// A place in a peer's queue: by priority, then in the order that it asked.
type Place = (Reverse<i32>, u64);

/// One want.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    block: bool,
    send_dont_have: bool,
    priority: i32,
    pub(super) state: State,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Looking,
    /// Not here; the peer was told if it wanted to be.
    Absent,
    Queued {
        place: Place,
        size: usize,
    },
    Reading {
        size: usize,
    },
}

impl Wanted {
    pub(super) fn new(entry: &Entry) -> Self {
        Self {
            block: entry.want == Want::Block,
            send_dont_have: entry.send_dont_have,
            priority: entry.priority,
            state: State::Looking,
        }
    }

    /// It is asked for again. True if it is to be looked up again.
    pub(super) fn repeat(&mut self, entry: &Entry) -> bool {
        self.block |= entry.want == Want::Block;
        self.send_dont_have |= entry.send_dont_have;
        self.priority = entry.priority;
        let absent = self.state == State::Absent;
        if absent {
            self.state = State::Looking;
        }
        absent
    }
}

/// The books of one peer.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) wants: HashMap<Cid, Wanted>,
    queue: BTreeMap<Place, Cid>,
    pub(super) queued_bytes: usize,
    places: u64,
    /// Answers that are not sent.
    pub(super) presences: VecDeque<(Cid, Presence)>,
    /// Blocks that are not sent.
    unsent: VecDeque<(Cid, Block)>,
    pub(super) unsent_bytes: usize,
    /// Blocks that are being read.
    pub(super) reading: usize,
    /// Block bytes of the messages that are being written.
    pub(super) writing: VecDeque<usize>,
    /// Bytes that are being read, were read, or are being written.
    pub(super) in_flight: usize,
    /// Bytes of blocks that we gave, and got.
    pub(super) sent: u64,
    pub(super) received: u64,
    excess: usize,
    excess_since: Instant,
    /// Nothing it wants counts any more.
    pub(super) dismissed: bool,
}

impl Ledger {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            wants: HashMap::new(),
            queue: BTreeMap::new(),
            queued_bytes: 0,
            places: 0,
            presences: VecDeque::new(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            reading: 0,
            writing: VecDeque::new(),
            in_flight: 0,
            sent: 0,
            received: 0,
            excess: 0,
            excess_since: now,
            dismissed: false,
        }
    }

    /// Charges the peer for what it asked too much. True if that was once too often: it is dismissed.
    pub(super) fn charge(&mut self, now: Instant, excess: usize) -> bool {
        if now.saturating_duration_since(self.excess_since) >= PERIOD {
            (self.excess, self.excess_since) = (0, now);
        }
        self.excess += excess;
        self.dismissed = self.excess > EXCESS_MAX;
        self.dismissed
    }

    /// How much more the peer took than it gave.
    pub(super) fn debt(&self) -> f64 {
        self.sent as f64 / (self.received as f64 + BLOCK_MAX as f64)
    }

    /// A block that the peer wants is here. Returns how many wants that ended.
    pub(super) fn found(&mut self, cid: Cid, size: usize, config: &Config) -> usize {
        let Some(wanted) = self.wants.get_mut(&cid) else { return 0 };
        if !matches!(wanted.state, State::Looking | State::Absent) {
            return 0;
        }
        let answer = match wanted.block || size <= config.inline_max {
            _ if size > BLOCK_MAX => wanted.send_dont_have.then_some(Presence::DontHave),
            false => Some(Presence::Have),
            true => {
                let place = (Reverse(wanted.priority), self.places);
                self.places += 1;
                wanted.state = State::Queued { place, size };
                self.queue.insert(place, cid);
                self.queued_bytes += size;
                return 0;
            }
        };
        self.wants.remove(&cid);
        self.presences.extend(answer.map(|answer| (cid, answer)));
        1
    }

    /// A block that the peer wants is not here. True if it is to be told.
    pub(super) fn absent(&mut self, cid: &Cid, config: &Config) -> bool {
        let Some(wanted) = self.wants.get_mut(cid) else { return false };
        if wanted.state != State::Looking {
            return false;
        }
        wanted.state = State::Absent;
        let tell = wanted.send_dont_have && self.presences.len() < config.wants_max;
        if tell {
            self.presences.push_back((*cid, Presence::DontHave));
        }
        tell
    }

    /// The size of the block that is next.
    pub(super) fn next_size(&self) -> Option<usize> {
        let (_, cid) = self.queue.first_key_value()?;
        match self.wants.get(cid)?.state {
            State::Queued { size, .. } => Some(size),
            _ => None,
        }
    }

    /// Whether so many bytes more may be in flight.
    pub(super) fn has_room(&self, size: usize, config: &Config) -> bool {
        let blocks = self.reading + self.unsent.len();
        self.in_flight == 0 || self.in_flight + size <= config.in_flight_max && blocks < BLOCKS_MAX
    }

    /// The next block is being read.
    pub(super) fn begin_reading(&mut self) -> Option<Cid> {
        let (_, cid) = self.queue.pop_first()?;
        let wanted = self.wants.get_mut(&cid)?;
        if let State::Queued { size, .. } = wanted.state {
            wanted.state = State::Reading { size };
            self.queued_bytes -= size;
            self.in_flight += size;
            self.reading += 1;
        }
        Some(cid)
    }

    /// A want that is queued or being read takes nothing any more. Returns the bytes that are not in flight any more.
    pub(super) fn release(&mut self, wanted: &Wanted) -> usize {
        match wanted.state {
            State::Queued { place, size } => {
                self.queue.remove(&place);
                self.queued_bytes -= size;
                0
            }
            State::Reading { size } => {
                self.reading -= 1;
                self.in_flight -= size;
                size
            }
            State::Looking | State::Absent => 0,
        }
    }

    /// A block that was to be read is to be looked for again.
    pub(super) fn reset(&mut self, cid: &Cid) {
        if let Some(wanted) = self.wants.get_mut(cid) {
            wanted.state = State::Looking;
        }
    }

    /// A block was read.
    pub(super) fn hold(&mut self, block: Block, cid: Cid) {
        self.in_flight += block.data.len();
        self.unsent_bytes += block.data.len();
        self.unsent.push_back((cid, block));
    }

    /// A block that was read need not be sent. Returns its bytes.
    pub(super) fn drop_unsent(&mut self, cid: &Cid) -> usize {
        let Some(at) = self.unsent.iter().position(|(unsent, _)| unsent == cid) else { return 0 };
        let bytes = self.unsent.remove(at).map_or(0, |(_, block)| block.data.len());
        self.unsent_bytes -= bytes;
        self.in_flight -= bytes;
        bytes
    }

    /// Moves blocks into a message, at least one and at most `most` bytes. Returns their bytes.
    pub(super) fn take_blocks(&mut self, most: usize, blocks: &mut Vec<Block>) -> usize {
        let mut bytes = 0;
        while let Some((_, block)) = self.unsent.front() {
            if !blocks.is_empty() && bytes + block.data.len() > most {
                break;
            }
            bytes += block.data.len();
            blocks.extend(self.unsent.pop_front().map(|(_, block)| block));
        }
        self.unsent_bytes -= bytes;
        bytes
    }
}
