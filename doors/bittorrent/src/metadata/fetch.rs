//! Whom to ask for what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerage_swarm::core::PeerKey;

use super::METADATA_SIZE_MAX;
use super::assembly::{Assembly, piece_count, piece_length};
use crate::hash::InfoHashes;

/// Requests on their way to one peer: enough to hide a round trip, few enough to spread the load.
const PIPELINE: usize = 4;
/// After this time another peer is asked for the same piece, too: a magnet link is waited for by a person.
const HEDGE_AFTER: Duration = Duration::from_secs(3);
/// After this time a request is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a peer is left alone that did not answer, or would not, while there are others to ask.
const REST: Duration = Duration::from_secs(60);
/// The same while there is nobody else.
const REST_ALONE: Duration = Duration::from_secs(4);
/// Bytes held of all assemblies. When liars make it more, the largest is dropped.
const BUFFERED_MAX: usize = 2 * METADATA_SIZE_MAX as usize;

/// The search for one metadata among the peers of a swarm.
///
/// Contract: times never go back. After every call, drain [`Fetch::poll_request`]; call it again at
/// [`Fetch::poll_timeout`]. Calls about peers that are not (or no longer) here are ignored.
#[derive(Debug)]
pub struct Fetch {
    wanted: InfoHashes,
    peers: BTreeMap<PeerKey, Peer>,
    /// By size: what the peers that claim it have delivered together.
    shared: BTreeMap<u32, Assembly>,
    /// Sizes whose shared assembly had the wrong hash: their peers deliver alone.
    spoilt: BTreeSet<u32>,
}

#[derive(Debug)]
struct Peer {
    size: u32,
    asked: Vec<Asked>,
    /// Pieces that were asked for and given up: they may still come.
    late: BTreeSet<u32>,
    /// Left alone since then.
    rests: Option<Instant>,
    /// It delivered what is not true, and is never asked again.
    liar: bool,
    /// What it delivered when it must deliver all.
    alone: Assembly,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    piece: u32,
    at: Instant,
}

/// What a part of the metadata led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It was kept, or somebody was quicker.
    Taken,
    /// It was not asked for: dropped.
    Unrequested,
    /// The peer delivers what cannot be true. It is never asked again; send it away.
    Lie,
    /// All parts were there, several peers had delivered them, and the whole is not what is wanted. Everything is fetched
    /// anew, from each of them alone.
    Mismatch,
    /// The metadata, proven by its info hash. The search is over.
    Complete(Bytes),
}

impl Fetch {
    /// A search for the `info` dictionary with these hashes: all that are given must match.
    pub fn new(wanted: InfoHashes) -> Self {
        Self { wanted, peers: BTreeMap::new(), shared: BTreeMap::new(), spoilt: BTreeSet::new() }
    }

    /// A peer understands `ut_metadata` and claims a size; again, when it claims another one. False when the size is out of
    /// bounds (0 or above [`METADATA_SIZE_MAX`]): it is not asked.
    pub fn joined(&mut self, peer: PeerKey, size: u32) -> bool {
        if size == 0 || size > METADATA_SIZE_MAX {
            return false;
        }
        let liar = match self.peers.get(&peer) {
            Some(known) if known.size == size => return true,
            Some(known) => known.liar,
            None => false,
        };
        // What was there of the size that it claimed before may be nobody's now.
        self.left(peer);
        let (asked, late, alone) = (Vec::new(), BTreeSet::new(), Assembly::default());
        let fresh = Peer { size, asked, late, rests: None, liar, alone };
        self.peers.insert(peer, fresh);
        true
    }

    /// A peer is gone.
    pub fn left(&mut self, peer: PeerKey) {
        let Some(gone) = self.peers.remove(&peer) else { return };
        if !self.peers.values().any(|peer| peer.size == gone.size) {
            // Nobody can complete it; whoever claims the size later starts anew.
            self.shared.remove(&gone.size);
            self.spoilt.remove(&gone.size);
        }
    }

    /// The next request to send, until `None`.
    pub fn poll_request(&mut self, now: Instant) -> Option<(PeerKey, u32)> {
        self.expire(now);
        let (key, piece) =
            self.peers.iter().find_map(|(&key, peer)| Some((key, self.next_piece(key, peer, now)?)))?;
        self.peers.get_mut(&key)?.asked.push(Asked { piece, at: now });
        Some((key, piece))
    }

    /// When to call [`Fetch::poll_request`] if nothing happens before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let asked = self.peers.values().flat_map(|peer| &peer.asked);
        let due = asked.flat_map(|asked| [asked.at + HEDGE_AFTER, asked.at + REQUEST_TIMEOUT]);
        let rest = self.rest();
        let resting = self.peers.values().filter(|peer| !peer.liar).filter_map(|peer| peer.rests);
        let rested = resting.map(|since| since + rest);
        due.chain(rested).filter(|&at| at > now).min()
    }

    /// A part has arrived ([`crate::wire::extended::MetadataMessage::Data`]).
    pub fn data(&mut self, now: Instant, key: PeerKey, piece: u32, total_size: u32, data: &[u8]) -> Received {
        self.expire(now);
        let Some(peer) = self.peers.get_mut(&key) else { return Received::Unrequested };
        match peer.asked.iter().position(|asked| asked.piece == piece) {
            Some(at) => drop(peer.asked.swap_remove(at)),
            None if peer.late.remove(&piece) => {}
            None => return Received::Unrequested,
        }
        // It answers after all.
        peer.rests = None;
        let size = peer.size;
        let other_size = total_size != 0 && total_size != size;
        if other_size || data.len() != piece_length(size, piece) {
            return self.lied(key);
        }
        let alone = self.spoilt.contains(&size);
        let assembly = if alone { &mut peer.alone } else { self.shared.entry(size).or_default() };
        if !assembly.has(piece) {
            assembly.insert(piece, data, key);
        }
        if !assembly.is_complete(size) {
            self.drop_excess(now);
            return Received::Taken;
        }
        if let Some(info) = assembly.verify(&self.wanted) {
            self.peers.clear();
            self.shared.clear();
            return Received::Complete(info);
        }
        let contributors = std::mem::take(assembly).contributors;
        self.shared.remove(&size);
        if contributors.len() > 1 {
            self.spoilt.insert(size);
            return Received::Mismatch;
        }
        self.lied(key)
    }

    /// A peer will not deliver a part ([`crate::wire::extended::MetadataMessage::Reject`]).
    pub fn rejected(&mut self, now: Instant, peer: PeerKey, piece: u32) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        if let Some(at) = peer.asked.iter().position(|asked| asked.piece == piece) {
            peer.asked.swap_remove(at);
            peer.rests = Some(now);
        }
    }

    /// Bytes that are there and bytes of the whole, of the assembly that is furthest; for people who wait.
    pub fn progress(&self) -> Option<(usize, u32)> {
        let shared = self.shared.iter().map(|(&size, assembly)| (assembly.buffered, size));
        let alone = self.peers.values().map(|peer| (peer.alone.buffered, peer.size));
        shared.chain(alone).max()
    }

    /// What to ask a peer for.
    fn next_piece(&self, key: PeerKey, peer: &Peer, now: Instant) -> Option<u32> {
        if peer.liar || peer.rests.is_some() || peer.asked.len() >= PIPELINE {
            return None;
        }
        let is_asked = |peer: &Peer, piece| peer.asked.iter().any(|asked| asked.piece == piece);
        let mut pieces = 0..piece_count(peer.size);
        if self.spoilt.contains(&peer.size) {
            return pieces.find(|&piece| !peer.alone.has(piece) && !is_asked(peer, piece));
        }
        let there = self.shared.get(&peer.size);
        let mut missing = pieces.filter(|&piece| !there.is_some_and(|assembly| assembly.has(piece)));
        // Requests that are young enough to wait for, whoever they went to.
        let others = self.peers.iter().filter(|&(&other, known)| other != key && known.size == peer.size);
        let asked = others.flat_map(|(_, other)| &other.asked);
        let waiting: BTreeSet<u32> =
            asked.filter(|asked| now < asked.at + HEDGE_AFTER).map(|asked| asked.piece).collect();
        missing.find(|piece| !waiting.contains(piece) && !is_asked(peer, *piece))
    }

    /// Gives up old requests, and ends rests.
    fn expire(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            let before = peer.asked.len();
            let old = |asked: &Asked| now >= asked.at + REQUEST_TIMEOUT;
            peer.late.extend(peer.asked.iter().filter(|asked| old(asked)).map(|asked| asked.piece));
            peer.asked.retain(|asked| !old(asked));
            if peer.asked.len() < before {
                peer.rests = Some(now);
            }
        }
        let rest = self.rest();
        for peer in self.peers.values_mut() {
            peer.rests = peer.rests.filter(|&since| now < since + rest);
        }
    }

    /// How long peers rest.
    fn rest(&self) -> Duration {
        let others = self.peers.values().any(|peer| !peer.liar && peer.rests.is_none());
        if others { REST } else { REST_ALONE }
    }

    fn lied(&mut self, key: PeerKey) -> Received {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.liar = true;
            peer.asked.clear();
            peer.late.clear();
            peer.alone = Assembly::default();
        }
        Received::Lie
    }

    /// Keeps the sum of what is buffered within bounds: true metadata is not larger than a liar's for long.
    fn drop_excess(&mut self, now: Instant) {
        let shared = self.shared.values().map(|assembly| assembly.buffered).sum::<usize>();
        let alone = self.peers.values().map(|peer| peer.alone.buffered).sum::<usize>();
        if shared + alone <= BUFFERED_MAX {
            return;
        }
        let assemblies = self.shared.values_mut().chain(self.peers.values_mut().map(|peer| &mut peer.alone));
        let Some(largest) = assemblies.max_by_key(|assembly| assembly.buffered) else { return };
        for contributor in std::mem::take(largest).contributors {
            if let Some(peer) = self.peers.get_mut(&contributor) {
                peer.rests = Some(now);
            }
        }
    }
}
