//! Whose turn it is: deficit round robin by bytes.
//!
//! In every round a peer may have [`QUANTUM`] bytes; what a block is larger than that it saves up over rounds. Within a round those
//! come first who took the least for what they gave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::PeerKey;
use super::ledger::Ledger;

/// Bytes a round.
const QUANTUM: usize = 256 * 1024;

/// The peers that have something to be read, and room for it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: BTreeSet<PeerKey>,
    round: VecDeque<PeerKey>,
    /// Bytes that a peer may still have in this round.
    credit: BTreeMap<PeerKey, usize>,
}

impl Turns {
    /// A peer has something to be read.
    pub(super) fn insert(&mut self, peer: PeerKey) {
        self.waiting.insert(peer);
    }

    /// A peer has nothing to be read, or no room: it saves nothing up.
    pub(super) fn remove(&mut self, peer: PeerKey) {
        self.waiting.remove(&peer);
        self.credit.remove(&peer);
    }

    /// The peer whose turn it is: [`Turns::pay`] for it.
    pub(super) fn next(&mut self, peers: &BTreeMap<PeerKey, Ledger>) -> Option<PeerKey> {
        loop {
            match self.round.pop_front() {
                Some(peer) if self.waiting.contains(&peer) => return Some(peer),
                Some(_) => {}
                None if self.waiting.is_empty() => return None,
                None => self.begin_round(peers),
            }
        }
    }

    /// Takes the price of a block out of a peer's credit, after which it is the same peer's turn again. False if it has too little: then it is the next one's.
    pub(super) fn pay(&mut self, peer: PeerKey, size: usize) -> bool {
        let credit = self.credit.entry(peer).or_default();
        let pays = *credit >= size;
        if pays {
            *credit -= size;
            self.round.push_front(peer);
        }
        pays
    }

    /// It stays this peer's turn.
    pub(super) fn put_back(&mut self, peer: PeerKey) {
        self.round.push_front(peer);
    }

    fn begin_round(&mut self, peers: &BTreeMap<PeerKey, Ledger>) {
        let debt = |peer: &PeerKey| peers.get(peer).map_or(0.0, Ledger::debt);
        let mut round: Vec<PeerKey> = self.waiting.iter().copied().collect();
        round.sort_by(|a, b| debt(a).total_cmp(&debt(b)));
        for &peer in &round {
            *self.credit.entry(peer).or_default() += QUANTUM;
        }
        self.round = round.into();
    }
}
