//! Answers the wants of others, without IO.
//!
//! Contract of [`Server`]: call [`Server::handle`] with a time that never goes back, then drain [`Server::poll_output`] until it is
//! `None`. There are no timers. Inputs about a peer that left are ignored, and so are answers that nobody waits for.
//!
//! A want is looked up ([`Output::Look`]); what is there is queued and read when its peer's turn comes ([`Output::Read`]), what is not
//! stays in the peer's ledger, and is answered when it arrives. Turns go round by bytes (`turns`), so that a peer that asks for much
//! gets no more than one that asks for little; at most so many bytes a peer, and so many in all, are read and not yet sent.
//!
//! What a peer may cost is bounded (`ledger`): wants beyond the bound are answered with "do not have", and who goes on is dismissed.

mod ledger;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use cid::Cid;

use super::message::{Block, Entry, Message, Presence, Want, Wantlist};
use super::verify::Prefix;
use super::{BLOCK_MAX, PeerKey};
use ledger::{Ledger, State, Wanted};
use turns::Turns;

/// Messages that are being written to a peer: one on its way while the next is put together.
const MESSAGES_MAX: usize = 2;
/// Presences in one message.
const PRESENCES_MAX: usize = 4096;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Wants that are kept for a peer.
    pub wants_max: usize,
    /// Wants that are kept for all peers; beyond that a peer has [`Config::wants_least`].
    pub wants_total_max: usize,
    /// Wants that every peer has.
    pub wants_least: usize,
    /// Bytes that are read for a peer and not yet sent. One block always is.
    pub in_flight_max: usize,
    /// Bytes that are read for all peers and not yet sent.
    pub in_flight_total_max: usize,
    /// Block bytes that go into one message, if it holds more than one block.
    pub message_max: usize,
    /// Blocks up to this size are sent to those who only ask whether they are here.
    pub inline_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            wants_max: 4096,
            wants_total_max: 128 * 1024,
            wants_least: 256,
            in_flight_max: 2 * 1024 * 1024,
            in_flight_total_max: 32 * 1024 * 1024,
            message_max: 256 * 1024,
            inline_max: 1024,
        }
    }
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer is connected.
    Joined {
        /// Which.
        peer: PeerKey,
    },
    /// A peer is gone.
    Left {
        /// Which.
        peer: PeerKey,
    },
    /// A peer says what it wants.
    Wants {
        /// Who.
        peer: PeerKey,
        /// What.
        wantlist: Wantlist,
        /// What was more than a message may hold.
        left_out: usize,
    },
    /// A peer has given us this many bytes of blocks that we wanted.
    Received {
        /// Who.
        peer: PeerKey,
        /// How many.
        bytes: usize,
    },
    /// Answers [`Output::Look`].
    Looked {
        /// The block.
        cid: Cid,
        /// Its size, if it is here.
        size: Option<usize>,
    },
    /// Answers [`Output::Read`].
    Read {
        /// The block.
        cid: Cid,
        /// Its bytes, if it is still here.
        data: Option<Bytes>,
    },
    /// A block is here that was not.
    Arrived {
        /// The block.
        cid: Cid,
        /// Its size.
        size: usize,
    },
    /// The oldest [`Output::Send`] to a peer that was not told of yet has been written.
    Sent {
        /// To whom.
        peer: PeerKey,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look whether a block is here.
    Look(Cid),
    /// Read a block.
    Read(Cid),
    /// Write a message to a peer.
    Send {
        /// To whom.
        peer: PeerKey,
        /// The message.
        message: Message,
    },
    /// Close the connection: the peer asks for more than anybody may.
    Dismiss {
        /// Who.
        peer: PeerKey,
    },
}

/// The state machine that serves.
#[derive(Debug, Default)]
pub struct Server {
    config: Config,
    peers: BTreeMap<PeerKey, Ledger>,
    /// Who waits for blocks that are being looked up, or were not here.
    seekers: HashMap<Cid, Seekers>,
    /// Who waits for blocks that are being read.
    readers: HashMap<Cid, Vec<PeerKey>>,
    turns: Turns,
    /// Wants of all peers.
    wants: usize,
    /// Bytes that are being read, or were read and are not sent, of all peers.
    in_flight: usize,
    outputs: VecDeque<Output>,
    /// Peers that may have something to be sent.
    unflushed: BTreeSet<PeerKey>,
}

#[derive(Debug, Default)]
struct Seekers {
    looking: bool,
    peers: Vec<PeerKey>,
}

impl Server {
    /// Nobody is there yet.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes an event in.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Joined { peer } => {
                self.peers.entry(peer).or_insert_with(|| Ledger::new(now));
            }
            Input::Left { peer } => self.on_left(peer),
            Input::Wants { peer, wantlist, left_out } => self.on_wants(now, peer, wantlist, left_out),
            Input::Received { peer, bytes } => {
                if let Some(ledger) = self.peers.get_mut(&peer) {
                    ledger.received += bytes as u64;
                }
            }
            Input::Looked { cid, size: Some(size) } | Input::Arrived { cid, size } => {
                self.on_found(cid, size)
            }
            Input::Looked { cid, size: None } => self.on_absent(cid),
            Input::Read { cid, data } => self.on_read(cid, data),
            Input::Sent { peer } => self.on_sent(peer),
        }
        self.read();
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        while self.outputs.is_empty() {
            let peer = self.unflushed.pop_first()?;
            self.flush(peer);
        }
        self.outputs.pop_front()
    }

    /// Wants that are kept for all peers.
    pub fn wants(&self) -> usize {
        self.wants
    }

    /// Bytes that are being read, or were read and are not sent.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn on_left(&mut self, peer: PeerKey) {
        let Some(ledger) = self.peers.remove(&peer) else { return };
        self.in_flight -= ledger.in_flight;
        self.wants -= ledger.wants.len();
        for (cid, wanted) in ledger.wants {
            self.stop_waiting(peer, cid, wanted.state);
        }
        self.turns.remove(peer);
        self.unflushed.remove(&peer);
    }

    fn on_wants(&mut self, now: Instant, peer: PeerKey, wantlist: Wantlist, left_out: usize) {
        if self.peers.get(&peer).is_none_or(|ledger| ledger.dismissed) {
            return;
        }
        if wantlist.full {
            self.cancel_all_but(peer, &wantlist.entries);
        }
        let mut excess = left_out;
        for entry in wantlist.entries {
            match entry.want {
                Want::Cancel => self.cancel(peer, &entry.cid),
                _ => excess += usize::from(!self.want(peer, entry)),
            }
        }
        let Some(ledger) = self.peers.get_mut(&peer) else { return };
        if excess > 0 && ledger.charge(now, excess) {
            self.outputs.push_back(Output::Dismiss { peer });
        }
        self.unflushed.insert(peer);
    }

    /// A want. False if it is one too many.
    fn want(&mut self, peer: PeerKey, entry: Entry) -> bool {
        let Some(ledger) = self.peers.get_mut(&peer) else { return true };
        let crowded = self.wants >= self.config.wants_total_max;
        let most = if crowded { self.config.wants_least } else { self.config.wants_max };
        if let Some(wanted) = ledger.wants.get_mut(&entry.cid) {
            if wanted.repeat(&entry) {
                self.seek(peer, entry.cid);
            }
            return true;
        }
        if ledger.wants.len() >= most {
            if entry.send_dont_have && ledger.presences.len() < self.config.wants_max {
                ledger.presences.push_back((entry.cid, Presence::DontHave));
            }
            return false;
        }
        ledger.wants.insert(entry.cid, Wanted::new(&entry));
        self.wants += 1;
        self.seek(peer, entry.cid);
        true
    }

    /// Has a block looked up for a peer.
    fn seek(&mut self, peer: PeerKey, cid: Cid) {
        let seekers = self.seekers.entry(cid).or_default();
        if !seekers.peers.contains(&peer) {
            seekers.peers.push(peer);
        }
        if !std::mem::replace(&mut seekers.looking, true) {
            self.outputs.push_back(Output::Look(cid));
        }
    }

    fn cancel(&mut self, peer: PeerKey, cid: &Cid) {
        let Some(ledger) = self.peers.get_mut(&peer) else { return };
        self.in_flight -= ledger.drop_unsent(cid);
        if let Some(wanted) = ledger.wants.remove(cid) {
            self.wants -= 1;
            self.in_flight -= ledger.release(&wanted);
            self.stop_waiting(peer, *cid, wanted.state);
        }
        self.offer_turn(peer);
    }

    fn cancel_all_but(&mut self, peer: PeerKey, entries: &[Entry]) {
        let Some(ledger) = self.peers.get(&peer) else { return };
        let kept: std::collections::HashSet<&Cid> = entries.iter().map(|entry| &entry.cid).collect();
        let gone: Vec<Cid> = ledger.wants.keys().filter(|cid| !kept.contains(cid)).copied().collect();
        gone.iter().for_each(|cid| self.cancel(peer, cid));
    }

    /// A want has ended: nobody need tell this peer of the block.
    fn stop_waiting(&mut self, peer: PeerKey, cid: Cid, state: State) {
        match state {
            State::Looking | State::Absent => {
                if let Some(seekers) = self.seekers.get_mut(&cid) {
                    seekers.peers.retain(|&seeker| seeker != peer);
                    if seekers.peers.is_empty() && !seekers.looking {
                        self.seekers.remove(&cid);
                    }
                }
            }
            State::Reading { .. } => {
                if let Some(readers) = self.readers.get_mut(&cid) {
                    readers.retain(|&reader| reader != peer);
                }
            }
            State::Queued { .. } => {}
        }
    }

    /// A block is here.
    fn on_found(&mut self, cid: Cid, size: usize) {
        let Some(seekers) = self.seekers.remove(&cid) else { return };
        for peer in seekers.peers {
            let Some(ledger) = self.peers.get_mut(&peer) else { continue };
            self.wants -= ledger.found(cid, size, &self.config);
            self.unflushed.insert(peer);
            self.offer_turn(peer);
        }
    }

    /// A block is not here. Those who asked stay in the list: it may arrive.
    fn on_absent(&mut self, cid: Cid) {
        let Some(seekers) = self.seekers.get_mut(&cid) else { return };
        seekers.looking = false;
        for &peer in &seekers.peers {
            let Some(ledger) = self.peers.get_mut(&peer) else { continue };
            if ledger.absent(&cid, &self.config) {
                self.unflushed.insert(peer);
            }
        }
        if seekers.peers.is_empty() {
            self.seekers.remove(&cid);
        }
    }

    fn offer_turn(&mut self, peer: PeerKey) {
        let Some(ledger) = self.peers.get(&peer) else { return };
        match ledger.next_size().is_some_and(|size| ledger.has_room(size, &self.config)) {
            true => self.turns.insert(peer),
            false => self.turns.remove(peer),
        }
    }

    /// Begins to read what has its turn, as long as there is room.
    fn read(&mut self) {
        while self.in_flight < self.config.in_flight_total_max
            && let Some(peer) = self.turns.next(&self.peers)
        {
            let Some(ledger) = self.peers.get_mut(&peer) else { continue };
            let Some(size) = ledger.next_size() else { continue };
            if self.in_flight > 0 && self.in_flight + size > self.config.in_flight_total_max {
                self.turns.put_back(peer);
                return;
            }
            if self.turns.pay(peer, size) {
                let Some(cid) = ledger.begin_reading() else { continue };
                self.in_flight += size;
                let readers = self.readers.entry(cid).or_default();
                readers.push(peer);
                if readers.len() == 1 {
                    self.outputs.push_back(Output::Read(cid));
                }
                self.offer_turn(peer);
            }
        }
    }

    fn on_read(&mut self, cid: Cid, data: Option<Bytes>) {
        let data = data.filter(|data| data.len() <= BLOCK_MAX);
        for peer in self.readers.remove(&cid).unwrap_or_default() {
            let Some(ledger) = self.peers.get_mut(&peer) else { continue };
            let Some(&wanted) = ledger.wants.get(&cid) else { continue };
            self.in_flight -= ledger.release(&wanted);
            match &data {
                Some(data) => {
                    ledger.wants.remove(&cid);
                    self.wants -= 1;
                    self.in_flight += data.len();
                    ledger.hold(Block { prefix: Prefix::of(&cid), data: data.clone() }, cid);
                }
                // It was here, and is gone: as if it never was.
                None => {
                    ledger.reset(&cid);
                    self.seekers.entry(cid).or_default().peers.push(peer);
                    ledger.absent(&cid, &self.config);
                }
            }
            self.unflushed.insert(peer);
            self.offer_turn(peer);
        }
    }

    fn on_sent(&mut self, peer: PeerKey) {
        let Some(ledger) = self.peers.get_mut(&peer) else { return };
        let Some(bytes) = ledger.writing.pop_front() else { return };
        ledger.in_flight -= bytes;
        self.in_flight -= bytes;
        self.unflushed.insert(peer);
        self.offer_turn(peer);
    }

    /// Puts what there is for a peer into a message, if one can be written.
    fn flush(&mut self, peer: PeerKey) {
        let Some(ledger) = self.peers.get_mut(&peer) else { return };
        // What is being read may still come along, as long as something is being written.
        let worth = ledger.writing.is_empty()
            || ledger.unsent_bytes >= self.config.message_max
            || ledger.unsent_bytes > 0 && ledger.reading == 0;
        if ledger.writing.len() >= MESSAGES_MAX || !worth {
            return;
        }
        let mut message = Message::default();
        let presences = ledger.presences.len().min(PRESENCES_MAX);
        message.presences = ledger.presences.drain(..presences).collect();
        let bytes = ledger.take_blocks(self.config.message_max, &mut message.blocks);
        if message.is_empty() {
            return;
        }
        message.pending_bytes = i32::try_from(ledger.queued_bytes + ledger.unsent_bytes).unwrap_or(i32::MAX);
        ledger.writing.push_back(bytes);
        ledger.sent += bytes as u64;
        self.outputs.push_back(Output::Send { peer, message });
        self.unflushed.insert(peer);
    }
}
