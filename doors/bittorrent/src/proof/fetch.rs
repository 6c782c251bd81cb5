//! Whom to ask for which part of the piece layers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use peerage_content::Hash32;
use peerage_swarm::core::PeerKey;

use super::tree::Tree;
use super::{SPAN, root_of};
use crate::wire::HashRequest;

/// Requests on their way to one peer.
const PIPELINE: usize = 4;
/// After this time another peer is asked for the same span, too.
const HEDGE_AFTER: Duration = Duration::from_secs(5);
/// After this time a request is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer is left alone that did not answer, or would not.
const REST: Duration = Duration::from_secs(30);
/// Missing spans of one file that are looked at for one peer, so that a huge file costs no more than others.
const LOOK_AHEAD: usize = 64;

/// The piece layers that a transfer lacks.
///
/// Contract: times never go back. For each peer that speaks v2, drain [`LayerFetch::poll_request`] when it gets a piece, when
/// an answer came, and at [`LayerFetch::poll_timeout`]. Its memory is proportional to what was received and proven.
#[derive(Debug, Default)]
pub struct LayerFetch {
    files: BTreeMap<Hash32, File>,
    peers: BTreeMap<PeerKey, Peer>,
}

#[derive(Debug)]
struct File {
    /// Files with the same bytes have the same tree.
    entries: Vec<usize>,
    tree: Tree,
    /// What is there, by number of the span.
    spans: BTreeMap<u32, Box<[Hash32]>>,
    /// All spans before this one are there.
    first_missing: u32,
}

#[derive(Debug, Default)]
struct Peer {
    asked: Vec<Asked>,
    rests: Option<Instant>,
    liar: bool,
}

#[derive(Debug)]
struct Asked {
    request: HashRequest,
    at: Instant,
}

/// What an answer led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It was kept, or somebody was quicker.
    Taken,
    /// It was not asked for, or so long ago that it had been given up: dropped.
    Unrequested,
    /// It does not lead to the file's root. The peer is never asked again; send it away.
    Lie,
    /// A layer is complete: give it to `peerage_content::Truth::set_layer`.
    Complete {
        /// Layout entries of the files it belongs to.
        entries: Vec<usize>,
        /// One hash a piece.
        layer: Box<[Hash32]>,
    },
}

impl LayerFetch {
    /// Nothing is missing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The piece layer of a file is missing. A file of one piece needs none and is ignored.
    pub fn want(&mut self, entry: usize, tree: Tree) {
        if tree.pieces() < 2 {
            return;
        }
        let fresh = || File { entries: Vec::new(), tree, spans: BTreeMap::new(), first_missing: 0 };
        let file = self.files.entry(tree.root()).or_insert_with(fresh);
        // Two files that claim one root and differ in shape cannot both be true: the first is believed.
        if file.tree == tree && !file.entries.contains(&entry) {
            file.entries.push(entry);
        }
    }

    /// The piece layer of the tree with this root is known from elsewhere.
    pub fn known(&mut self, root: &Hash32) {
        self.files.remove(root);
    }

    /// Whether nothing is missing (any more).
    pub fn is_done(&self) -> bool {
        self.files.is_empty()
    }

    /// The next request to send to a peer, until `None`. `has` says whether the peer has any of these pieces of an entry
    /// (numbers from the start of the file), and so must be able to answer (BEP 52).
    pub fn poll_request(
        &mut self,
        now: Instant,
        key: PeerKey,
        has: impl Fn(usize, Range<u32>) -> bool,
    ) -> Option<HashRequest> {
        if self.files.is_empty() {
            return None;
        }
        self.expire(now);
        let peer = self.peers.entry(key).or_default();
        if peer.liar || peer.rests.is_some() || peer.asked.len() >= PIPELINE {
            return None;
        }
        let request = self.files.values().find_map(|file| {
            let requests =
                file.missing().take(LOOK_AHEAD).filter_map(|span| Some((span, file.request(span)?)));
            let able = |span| file.entries.iter().any(|&entry| has(entry, file.pieces_of(span)));
            requests.filter(|(_, request)| self.is_free(now, key, request)).find(|&(span, _)| able(span))
        });
        let (_, request) = request?;
        self.peers.entry(key).or_default().asked.push(Asked { request, at: now });
        Some(request)
    }

    /// When to call [`LayerFetch::poll_request`] for all peers if nothing happens before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let asked = self.peers.values().flat_map(|peer| &peer.asked);
        let due = asked.flat_map(|asked| [asked.at + HEDGE_AFTER, asked.at + REQUEST_TIMEOUT]);
        let rested = self.peers.values().filter(|peer| !peer.liar).filter_map(|peer| peer.rests);
        due.chain(rested).filter(|&at| at > now && !self.files.is_empty()).min()
    }

    /// An answer has arrived.
    pub fn hashes(
        &mut self,
        now: Instant,
        key: PeerKey,
        request: &HashRequest,
        hashes: &[Hash32],
    ) -> Received {
        self.expire(now);
        let Some(peer) = self.peers.get_mut(&key) else { return Received::Unrequested };
        let Some(at) = peer.asked.iter().position(|asked| asked.request == *request) else {
            return Received::Unrequested;
        };
        peer.asked.swap_remove(at);
        // Completed with somebody else's help.
        let Some(file) = self.files.get_mut(&request.root) else { return Received::Taken };
        if root_of(request, hashes) != Some(request.root) {
            peer.liar = true;
            peer.asked.clear();
            return Received::Lie;
        }
        let span = request.index / SPAN;
        let real = file.pieces_of(span).len();
        file.spans.entry(span).or_insert_with(|| hashes.iter().take(real).copied().collect());
        while file.spans.contains_key(&file.first_missing) {
            file.first_missing += 1;
        }
        if file.first_missing < file.span_count() {
            return Received::Taken;
        }
        match self.files.remove(&request.root) {
            Some(File { entries, spans, .. }) => {
                Received::Complete { entries, layer: spans.into_values().flatten().collect() }
            }
            None => Received::Taken,
        }
    }

    /// A peer will not answer. False when it was not asked.
    pub fn rejected(&mut self, now: Instant, key: PeerKey, request: &HashRequest) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else { return false };
        let Some(at) = peer.asked.iter().position(|asked| asked.request == *request) else { return false };
        peer.asked.swap_remove(at);
        peer.rests = Some(now + REST);
        true
    }

    /// A peer is gone.
    pub fn left(&mut self, peer: PeerKey) {
        self.peers.remove(&peer);
    }

    /// Whether nobody is being waited for with this request.
    fn is_free(&self, now: Instant, key: PeerKey, request: &HashRequest) -> bool {
        !self.peers.iter().any(|(&other, peer)| {
            let young = |asked: &Asked| other == key || now < asked.at + HEDGE_AFTER;
            peer.asked.iter().any(|asked| asked.request == *request && young(asked))
        })
    }

    /// Gives up old requests, and ends rests.
    fn expire(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.rests = peer.rests.filter(|&until| now < until);
            let before = peer.asked.len();
            peer.asked.retain(|asked| now < asked.at + REQUEST_TIMEOUT);
            if peer.asked.len() < before {
                peer.rests = Some(now + REST);
            }
        }
    }
}

impl File {
    fn span_count(&self) -> u32 {
        self.tree.pieces().div_ceil(SPAN)
    }

    fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (self.first_missing..self.span_count()).filter(|span| !self.spans.contains_key(span))
    }

    /// The pieces that a span has the hashes of.
    fn pieces_of(&self, span: u32) -> Range<u32> {
        let start = span * SPAN;
        start..start.saturating_add(SPAN).min(self.tree.pieces())
    }

    /// The request for a span, with the proof up to the root. The last one asks for no more than it needs, as libtorrent does
    /// too, but for two at least (BEP 52).
    fn request(&self, span: u32) -> Option<HashRequest> {
        let pieces = self.pieces_of(span);
        let count = u32::try_from(pieces.len()).ok()?.next_power_of_two().max(2);
        let base = self.tree.piece_layer();
        let proofs = self.tree.height().checked_sub(base + 1)?;
        Some(HashRequest { root: self.tree.root(), base, index: pieces.start, count, proofs })
    }
}
