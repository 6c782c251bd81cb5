//! What is asked of a peer, and what it is charged with.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use cid::Cid;

use super::SessionKey;
use super::pace::Pace;
use crate::bitswap::message::{Entry, Protocol};

/// Blocks that nobody asked for, until their sender is dismissed.
const STRIKES_MAX: u32 = 3;
/// Blocks that were wanted, for which one that was not is forgiven.
const FORGIVEN_AFTER: u32 = 64;
/// Blocks that are not wanted any more but may be on their way.
const WITHDRAWN_MAX: usize = 2048;
/// How long a peer is left alone that was silent; doubled each time in a row.
const REST: Duration = Duration::from_secs(1);
/// Times that it is doubled.
const DOUBLINGS_MAX: u32 = 6;

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    protocol: Protocol,
    /// Whose partner it is; the first has its turn.
    pub(super) sessions: Vec<SessionKey>,
    /// Blocks that it was asked for, the oldest first.
    pub(super) asked: VecDeque<Asked>,
    /// Blocks of which it was asked whether it has them, the oldest first.
    pub(super) unsaid: VecDeque<(Instant, Cid)>,
    /// Blocks that it may send though they are not wanted any more.
    pub(super) withdrawn: Recent,
    /// Entries to be sent.
    pub(super) outbox: Vec<Entry>,
    /// Entries are being sent.
    pub(super) sending: bool,
    pub(super) pace: Pace,
    /// The last block that it was asked for came then.
    answered: Instant,
    /// Something came from it then.
    pub(super) heard: Instant,
    /// It is left alone until then.
    pub(super) rests_until: Option<Instant>,
    /// Times in a row that it was silent.
    stalls: u32,
    strikes: u32,
    good: u32,
}

/// A block that a peer was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) cid: Cid,
    pub(super) at: Instant,
    mark: u64,
}

impl Peer {
    pub(super) fn new(now: Instant, protocol: Protocol) -> Self {
        Self {
            protocol,
            sessions: Vec::new(),
            asked: VecDeque::new(),
            unsaid: VecDeque::new(),
            withdrawn: Recent::default(),
            outbox: Vec::new(),
            sending: false,
            pace: Pace::new(now),
            answered: now,
            heard: now,
            rests_until: None,
            stalls: 0,
            strikes: 0,
            good: 0,
        }
    }

    /// Whether it cannot say what it has.
    pub(super) fn is_legacy(&self) -> bool {
        !self.protocol.has_presences()
    }

    /// How many more blocks to ask of it.
    pub(super) fn room(&self) -> usize {
        let window = match (self.rests_until, self.stalls) {
            (Some(_), _) => 0,
            (None, 0) => self.pace.window(),
            // Once silent, it has to deliver one block first.
            (None, _) => 1,
        };
        window.saturating_sub(self.asked.len())
    }

    /// Since when the block is waited for that comes next.
    pub(super) fn waited_since(&self) -> Option<Instant> {
        self.asked.front().map(|oldest| oldest.at.max(self.answered))
    }

    /// Whether time may change something.
    pub(super) fn owes(&self) -> bool {
        !self.asked.is_empty() || !self.unsaid.is_empty() || self.rests_until.is_some()
    }

    pub(super) fn post(&mut self, entry: Entry) {
        self.outbox.push(entry);
    }

    /// It is asked for a block.
    pub(super) fn ask(&mut self, now: Instant, cid: Cid) {
        if self.asked.is_empty() {
            self.heard = now;
        }
        self.asked.push_back(Asked { cid, at: now, mark: self.pace.mark() });
    }

    /// It is asked whether it has a block.
    pub(super) fn scout(&mut self, now: Instant, cid: Cid) {
        self.unsaid.push_back((now, cid));
    }

    /// It owes no block and no answer for this any more.
    pub(super) fn forget(&mut self, cid: &Cid) {
        self.take_asked(cid);
        self.answered_whether(cid);
    }

    /// It said whether it has a block.
    pub(super) fn answered_whether(&mut self, cid: &Cid) {
        if let Some(at) = self.unsaid.iter().position(|(_, unsaid)| unsaid == cid) {
            self.unsaid.remove(at);
        }
    }

    fn take_asked(&mut self, cid: &Cid) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.cid == *cid)?;
        self.asked.remove(at)
    }

    /// A wanted block has come from it.
    pub(super) fn delivered(&mut self, now: Instant, cid: &Cid, size: usize) {
        self.heard = now;
        self.stalls = 0;
        self.rests_until = None;
        self.good += 1;
        if self.good.is_multiple_of(FORGIVEN_AFTER) {
            self.strikes = self.strikes.saturating_sub(1);
        }
        self.answered_whether(cid);
        if let Some(asked) = self.take_asked(cid) {
            self.pace.delivered(now, asked.at, asked.mark, self.answered, size);
            self.answered = now;
        } else {
            self.withdrawn.remove(cid);
        }
    }

    /// It sent a block that nobody asked for. True if that was once too often.
    pub(super) fn strike(&mut self) -> bool {
        self.strikes += 1;
        self.strikes == STRIKES_MAX
    }

    /// It was silent for too long: it rests. Returns how many times in a row that was.
    pub(super) fn stall(&mut self, now: Instant) -> u32 {
        self.rests_until = Some(now + REST * (1 << self.stalls.min(DOUBLINGS_MAX)));
        self.stalls += 1;
        self.stalls
    }
}

/// The last few blocks that were asked for and are not wanted any more, each as often as it may still come.
#[derive(Debug, Default)]
pub(super) struct Recent {
    times: HashMap<Cid, u32>,
    order: VecDeque<Cid>,
}

impl Recent {
    pub(super) fn insert(&mut self, cid: Cid) {
        *self.times.entry(cid).or_default() += 1;
        self.order.push_back(cid);
        if self.order.len() > WITHDRAWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(&oldest);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Cid> {
        self.order.iter()
    }

    /// Once less. False if it was not there.
    pub(super) fn remove(&mut self, cid: &Cid) -> bool {
        let Some(times) = self.times.get_mut(cid) else { return false };
        *times -= 1;
        if *times == 0 {
            self.times.remove(cid);
        }
        true
    }
}
