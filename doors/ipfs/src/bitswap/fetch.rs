//! Gets blocks from others, without IO.
//!
//! Contract of [`Fetch`]: call [`Fetch::handle`] (and [`Fetch::receive`] for blocks) with a time that never goes back, then drain
//! [`Fetch::poll_output`] until it is `None`, then sleep until the next input or [`Fetch::poll_timeout`]. Inputs about peers and
//! sessions that are gone are ignored.
//!
//! A session is what one task wants, such as the blocks of one file. Who has one block of it probably has the others: such a peer is
//! a partner of the session. A want is in one of three states (`want`):
//! - pending: nobody is asked for it. Partners draw from what is pending (`session`), each as much as its `pace` allows: a fast
//!   one more, a near one first. So a block is asked of one peer at a time.
//! - asked: one partner was asked for the block. It is pending again when the partner does not have it, leaves, or takes longer
//!   than it ever did (`look`), or when another is idle that is much faster (`steal`); then its request is cancelled.
//! - hunted: no partner has it. Every connected peer is asked whether it has it, then providers are sought (`hunt`). Who says yes
//!   becomes a partner.
//!
//! A partner that has everything so far is asked for blocks straight away. One that has not is first asked what it has, ahead of
//! its requests, so that they are not wasted.
//!
//! What a peer sends is charged to it (`peer`): who sends three blocks that nobody asked it for, which is what bad blocks look like, is
//! dismissed. Who stays silent is left alone for a while.

mod hunt;
mod look;
mod pace;
mod peer;
mod session;
mod steal;
#[cfg(test)]
mod tests;
mod want;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use cid::Cid;

use super::PeerKey;
use super::message::{Entry, Presence, Protocol};
use peer::{Peer, Recent};
use session::Session;
use want::Want;

/// Time between two looks at peers that owe us answers.
const LOOK: Duration = Duration::from_millis(250);

/// Entries in one message.
const ENTRIES_MAX: usize = 4096;

/// A session, by a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing but time has passed.
    Tick,
    /// A peer is connected.
    Joined {
        /// Which.
        peer: PeerKey,
        /// What it speaks.
        protocol: Protocol,
    },
    /// A peer is gone.
    Left {
        /// Which.
        peer: PeerKey,
    },
    /// Somebody begins to want blocks.
    Opened {
        /// Under this key.
        session: SessionKey,
    },
    /// Nobody wants what this session wanted.
    Closed {
        /// Which.
        session: SessionKey,
    },
    /// Blocks are wanted.
    Want {
        /// By whom.
        session: SessionKey,
        /// Which; the first one first.
        cids: Vec<Cid>,
        /// Greater is sooner.
        priority: i32,
    },
    /// Blocks are not wanted any more.
    Unwant {
        /// By whom.
        session: SessionKey,
        /// Which.
        cids: Vec<Cid>,
    },
    /// A peer probably has what a session wants.
    Provider {
        /// Which session.
        session: SessionKey,
        /// Who; it has joined.
        peer: PeerKey,
    },
    /// A peer says what it has and has not.
    Presences {
        /// Who.
        peer: PeerKey,
        /// What.
        presences: Vec<(Cid, Presence)>,
    },
    /// Something is arriving from a peer that is not there as a whole yet.
    Heard {
        /// Who.
        peer: PeerKey,
    },
    /// A peer sent a block that has no name.
    Nameless {
        /// Who.
        peer: PeerKey,
    },
    /// The last [`Output::Send`] to a peer has been written.
    Sent {
        /// To whom.
        peer: PeerKey,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send wants and cancels to a peer. There is no other before [`Input::Sent`].
    Send {
        /// To whom.
        peer: PeerKey,
        /// The wants.
        entries: Vec<Entry>,
    },
    /// Find peers that provide a block, connect to them, and tell them by [`Input::Provider`].
    Seek {
        /// For whom.
        session: SessionKey,
        /// The block.
        cid: Cid,
    },
    /// Close the connection: the peer sends what nobody wants.
    Dismiss {
        /// Who.
        peer: PeerKey,
    },
}

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is for these sessions, which do not want it any more.
    Wanted(Vec<SessionKey>),
    /// It was asked for, and came when it was not wanted any more.
    Late,
    /// The peer was never asked for it.
    Unrequested,
}

/// Numbers for whoever looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks that were wanted.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that came too late.
    pub late: u64,
    /// Their bytes.
    pub late_bytes: u64,
    /// Blocks that nobody asked for.
    pub unrequested: u64,
}

/// The state machine that fetches.
#[derive(Debug)]
pub struct Fetch {
    sessions: BTreeMap<SessionKey, Session>,
    peers: BTreeMap<PeerKey, Peer>,
    wants: HashMap<Cid, Want>,
    /// Wants so far: the place of the next in its session.
    places: u64,
    /// What peers that are gone were asked for.
    departed: Recent,
    outputs: VecDeque<Output>,
    stats: Stats,
    now: Instant,
    next_look: Instant,
    /// Somebody owes something, so that looking is worth it.
    owed: bool,
    /// When the next hunt is due, or earlier.
    next_hunt: Option<Instant>,
    /// Wants that are hunted.
    hunted: usize,

    // Work left for the end of an input, so that it is done once however often an input gives cause for it.
    /// Peers with something to be sent.
    unsent: BTreeSet<PeerKey>,
    /// Peers that may have room for requests.
    hungry: BTreeSet<PeerKey>,
    /// Sessions with something that partners may be asked for.
    offering: BTreeSet<SessionKey>,
    /// Sessions with wants to be hunted.
    hunting: BTreeSet<SessionKey>,
}

impl Fetch {
    /// Nothing is wanted yet.
    pub fn new(now: Instant) -> Self {
        Self {
            sessions: BTreeMap::new(),
            peers: BTreeMap::new(),
            wants: HashMap::new(),
            places: 0,
            departed: Recent::default(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            now,
            next_look: now + LOOK,
            owed: false,
            next_hunt: None,
            hunted: 0,
            unsent: BTreeSet::new(),
            hungry: BTreeSet::new(),
            offering: BTreeSet::new(),
            hunting: BTreeSet::new(),
        }
    }

    /// Takes an event in.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {}
            Input::Joined { peer, protocol } => self.on_joined(peer, protocol),
            Input::Left { peer } => self.on_left(peer),
            Input::Opened { session } => {
                self.sessions.entry(session).or_default();
            }
            Input::Closed { session } => self.on_closed(session),
            Input::Want { session, cids, priority } => {
                cids.into_iter().for_each(|cid| self.want(session, cid, priority));
            }
            Input::Unwant { session, cids } => cids.iter().for_each(|cid| self.unwant(session, cid)),
            Input::Provider { session, peer } => self.add_partner(session, peer),
            Input::Presences { peer, presences } => self.on_presences(peer, &presences),
            Input::Heard { peer } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.heard = self.now;
                }
            }
            Input::Nameless { peer } => self.on_unrequested(peer),
            Input::Sent { peer } => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.sending = false;
                    self.unsent.insert(peer);
                }
            }
        }
        self.settle();
    }

    /// A block has arrived. Its name was computed from its bytes ([`super::verify::name`]).
    pub fn receive(&mut self, now: Instant, peer: PeerKey, cid: &Cid, size: usize) -> Received {
        self.now = self.now.max(now);
        let received = match self.wants.contains_key(cid) {
            true => self.on_wanted(peer, cid, size),
            false => self.on_unwanted(peer, cid, size),
        };
        self.settle();
        received
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        while self.outputs.is_empty() {
            let key = self.unsent.pop_first()?;
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            if !peer.sending && !peer.outbox.is_empty() {
                peer.sending = true;
                let count = peer.outbox.len().min(ENTRIES_MAX);
                let entries = peer.outbox.drain(..count).collect();
                self.outputs.push_back(Output::Send { peer: key, entries });
            }
        }
        self.outputs.pop_front()
    }

    /// When to call [`Input::Tick`] if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hunt = self.next_hunt.filter(|_| self.hunted > 0);
        [self.owed.then_some(self.next_look), hunt].into_iter().flatten().min()
    }

    /// Blocks that are wanted.
    pub fn wants(&self) -> usize {
        self.wants.len()
    }

    /// Numbers since the beginning.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// A block that is wanted, whoever sent it.
    fn on_wanted(&mut self, key: PeerKey, cid: &Cid, size: usize) -> Received {
        self.stats.blocks += 1;
        self.stats.bytes += size as u64;
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.delivered(self.now, cid, size);
            self.hungry.insert(key);
        }
        if let Some(want) = self.wants.get(cid) {
            let lead = want.lead;
            self.add_partner(lead, key);
            self.partner_had(lead, key, true);
        }
        Received::Wanted(self.finish(cid, key))
    }

    fn on_unwanted(&mut self, key: PeerKey, cid: &Cid, size: usize) -> Received {
        let withdrawn = self.peers.get_mut(&key).is_some_and(|peer| peer.withdrawn.remove(cid));
        let late = withdrawn || self.departed.remove(cid);
        if late {
            self.stats.late += 1;
            self.stats.late_bytes += size as u64;
            return Received::Late;
        }
        self.on_unrequested(key);
        Received::Unrequested
    }

    fn on_unrequested(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        self.stats.unrequested += 1;
        if peer.strike() {
            self.outputs.push_back(Output::Dismiss { peer: key });
        }
    }

    /// Does what the input left to be done, and what time made due.
    fn settle(&mut self) {
        let now = self.now;
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look();
        }
        self.hunt_due();
        // Asking changes no state but that of what is asked: this ends.
        loop {
            if let Some(session) = self.hunting.pop_first() {
                self.hunt(session);
            } else if let Some(session) = self.offering.pop_first() {
                self.offer(session);
            } else if let Some(peer) = self.hungry.pop_first() {
                self.draw(peer);
            } else {
                return;
            }
        }
    }
}
