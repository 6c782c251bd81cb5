//! One swarm, scripted peers around it, and a referee that watches every output.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, Block, Layout, PieceIndex, PieceSet};

use super::super::partial::BlockState;
use super::super::*;

/// What the referee knows about a scripted peer.
#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) caps: PeerCaps,
    pub(super) has: BTreeSet<PieceIndex>,
    pub(super) choking: bool,
    pub(super) allowed: BTreeSet<PieceIndex>,
    /// Requests the swarm has made and not taken back; `true` once the peer was snubbed, which frees its blocks for others.
    pub(super) requests: Vec<(Block, bool)>,
    pub(super) unchoked: bool,
    pub(super) interesting: bool,
}

pub(super) struct Rig {
    pub(super) swarm: Swarm,
    pub(super) layout: Arc<Layout>,
    pub(super) now: Instant,
    pub(super) peers: BTreeMap<PeerKey, Scripted>,
    pub(super) outputs: Vec<Output>,
    /// Blocks the swarm wanted, by piece.
    pub(super) gathered: BTreeMap<PieceIndex, BTreeSet<u32>>,
    next_key: u64,
}

pub(super) fn address(host: u32) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4((0x0a00_0000 + host).into()), 6881)
}

pub(super) fn caps(host: u32) -> PeerCaps {
    PeerCaps {
        address: address(host),
        listen_address: None,
        outgoing: true,
        fast: true,
        requests_max: 500,
        serves_only: false,
    }
}

impl Rig {
    pub(super) fn new(config: Config, pieces: u32, blocks: u32) -> Self {
        let piece_length = blocks * BLOCK_LENGTH;
        let length = u64::from(pieces) * u64::from(piece_length);
        Self::over(config, Layout::of_length(length, piece_length), PieceSet::empty(pieces), 1)
    }

    pub(super) fn seed(config: Config, pieces: u32, blocks: u32) -> Self {
        let piece_length = blocks * BLOCK_LENGTH;
        let length = u64::from(pieces) * u64::from(piece_length);
        Self::over(config, Layout::of_length(length, piece_length), PieceSet::full(pieces), 1)
    }

    pub(super) fn over(config: Config, layout: Layout, have: PieceSet, seed: u64) -> Self {
        let now = Instant::now();
        let layout = Arc::new(layout);
        Self {
            swarm: Swarm::new(config, layout.clone(), have, seed, now),
            layout,
            now,
            peers: BTreeMap::new(),
            outputs: Vec::new(),
            gathered: BTreeMap::new(),
            next_key: 0,
        }
    }

    /// Time passes, with all the ticks the swarm asks for.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.swarm.poll_timeout().filter(|at| *at <= end) {
            assert!(at + Duration::from_secs(1) > self.now, "a timeout that is long past");
            self.now = self.now.max(at);
            self.input(Input::Tick);
            assert!(self.swarm.poll_timeout().is_none_or(|at| at > self.now), "a tick settles what was due");
        }
        self.now = end;
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        self.swarm.handle(self.now, input);
        self.referee();
    }

    /// A peer with everything it is said to have, unchoking us.
    pub(super) fn join(&mut self, caps: PeerCaps, has: impl IntoIterator<Item = PieceIndex>) -> PeerKey {
        let peer = self.join_silently(caps);
        let has: BTreeSet<PieceIndex> = has.into_iter().collect();
        self.has(peer, has);
        self.choke_us(peer, false);
        peer
    }

    pub(super) fn join_silently(&mut self, caps: PeerCaps) -> PeerKey {
        let peer = PeerKey(self.next_key);
        self.next_key += 1;
        let scripted = Scripted {
            choking: !caps.serves_only,
            caps: caps.clone(),
            has: BTreeSet::new(),
            allowed: BTreeSet::new(),
            requests: Vec::new(),
            unchoked: false,
            interesting: false,
        };
        self.peers.insert(peer, scripted);
        self.input(Input::Joined { peer, caps });
        peer
    }

    pub(super) fn has(&mut self, peer: PeerKey, has: BTreeSet<PieceIndex>) {
        let mut set = PieceSet::empty(self.layout.piece_count());
        has.iter().for_each(|&piece| {
            set.insert(piece);
        });
        let availability = match has.len() {
            0 => Availability::None,
            all if all == self.layout.piece_count() as usize => Availability::All,
            _ => Availability::Some(set),
        };
        if let Some(scripted) = self.peers.get_mut(&peer) {
            scripted.has = has;
        }
        self.input(Input::Has { peer, availability });
    }

    pub(super) fn choke_us(&mut self, peer: PeerKey, choked: bool) {
        if let Some(scripted) = self.peers.get_mut(&peer) {
            scripted.choking = choked;
            if choked && !scripted.caps.fast {
                scripted.requests.clear();
            }
        }
        self.input(Input::Choked { peer, choked });
    }

    pub(super) fn leave(&mut self, peer: PeerKey) {
        self.peers.remove(&peer);
        self.input(Input::Left { peer });
    }

    /// The peer answers its oldest request; what the swarm thought of it.
    pub(super) fn answer(&mut self, peer: PeerKey) -> Option<Received> {
        self.answer_at(peer, 0)
    }

    /// The peer answers the request at a place.
    pub(super) fn answer_at(&mut self, peer: PeerKey, place: usize) -> Option<Received> {
        let scripted = self.peers.get_mut(&peer)?;
        if scripted.requests.len() <= place {
            return None;
        }
        let (block, _) = scripted.requests.remove(place);
        Some(self.send(peer, block))
    }

    pub(super) fn send(&mut self, peer: PeerKey, block: Block) -> Received {
        let received = self.swarm.receive(self.now, peer, block);
        if received == Received::Wanted {
            assert!(!self.swarm.have().contains(block.piece), "wanted although verified");
            let fresh = self.gathered.entry(block.piece).or_default().insert(block.begin);
            assert!(fresh, "the same block was wanted twice: {block:?}");
        }
        self.referee();
        received
    }

    /// Pieces whose blocks were all wanted: their verdict is due.
    pub(super) fn complete(&self) -> Vec<PieceIndex> {
        self.gathered
            .iter()
            .filter(|(piece, begins)| {
                let blocks =
                    (0..self.layout.block_count(**piece)).map(|index| self.layout.block(**piece, index));
                blocks
                    .filter(|block| !self.layout.is_padding(*block))
                    .all(|block| begins.contains(&block.begin))
            })
            .map(|(piece, _)| *piece)
            .collect()
    }

    pub(super) fn verify(&mut self, piece: PieceIndex) {
        self.gathered.remove(&piece);
        self.input(Input::Verified { piece });
    }

    pub(super) fn corrupt(&mut self, piece: PieceIndex, bad: &[Block]) {
        self.gathered.remove(&piece);
        self.input(Input::Corrupt { piece, bad, kept: false });
    }

    /// The same where the other blocks are kept.
    pub(super) fn corrupt_kept(&mut self, piece: PieceIndex, bad: &[Block]) {
        if let Some(begins) = self.gathered.get_mut(&piece) {
            begins.retain(|begin| bad.iter().all(|block| block.begin != *begin));
        }
        self.input(Input::Corrupt { piece, bad, kept: true });
    }

    /// A peer that can be asked for hashes.
    pub(super) fn join_proving(
        &mut self,
        caps: PeerCaps,
        has: impl IntoIterator<Item = PieceIndex>,
    ) -> PeerKey {
        let peer = self.join(caps, has);
        self.input(Input::Proves { peer });
        peer
    }

    /// Everybody answers everything, and complete pieces are verified, until nothing moves or `steps` blocks were sent.
    pub(super) fn run(&mut self, steps: usize) -> usize {
        let mut sent = 0;
        while sent < steps {
            let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
            let before = sent;
            for key in keys {
                sent += usize::from(self.answer(key).is_some());
                for piece in self.complete() {
                    self.verify(piece);
                }
            }
            if sent == before {
                break;
            }
            self.now += Duration::from_millis(1);
        }
        sent
    }

    /// The outputs since the last call.
    pub(super) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(super) fn requests_of(&self, peer: PeerKey) -> Vec<Block> {
        self.peers
            .get(&peer)
            .map_or(Vec::new(), |peer| peer.requests.iter().map(|(block, _)| *block).collect())
    }

    /// Checks and applies what the swarm wants done.
    fn referee(&mut self) {
        for (key, peer) in &mut self.peers {
            if self
                .swarm
                .peers
                .get(key)
                .is_some_and(|peer| peer.snub.is_snubbed() && peer.requests.is_empty())
            {
                peer.requests.iter_mut().for_each(|(_, stale)| *stale = true);
            }
        }
        while let Some(output) = self.swarm.poll_output() {
            match &output {
                Output::Request { peer, blocks } => self.check_request(*peer, blocks),
                Output::Cancel { peer, blocks } => {
                    let peer = self.peers.get_mut(peer).expect("cancels go to those who are connected");
                    for block in blocks {
                        let at = peer.requests.iter().position(|(request, _)| request == block);
                        peer.requests.remove(at.expect("only requests can be cancelled"));
                    }
                }
                Output::Choke { peer, choked } => {
                    let peer = self.peers.get_mut(peer).expect("chokes go to those who are connected");
                    assert_eq!(peer.unchoked, *choked, "a choke that changes nothing");
                    peer.unchoked = !choked;
                }
                Output::Interest { peer, interested } => {
                    let peer = self.peers.get_mut(peer).expect("interest goes to those who are connected");
                    assert_ne!(peer.interesting, *interested, "an interest that changes nothing");
                    peer.interesting = *interested;
                }
                Output::Dismiss { peer, .. } => {
                    self.peers.remove(peer).expect("only those who are connected are dismissed");
                }
                Output::Discard { piece } => {
                    self.gathered.remove(piece).expect("only what was gathered is discarded");
                }
                Output::Announce { piece, .. } => assert!(self.swarm.have().contains(*piece)),
                _ => {}
            }
            self.outputs.push(output);
        }
    }

    fn check_request(&mut self, key: PeerKey, blocks: &[Block]) {
        assert!(!blocks.is_empty());
        let double_allowed = {
            let picker = &self.swarm.picker;
            picker.is_end_game() || picker.is_full || picker.wishes.has_deadlines()
        };
        for &block in blocks {
            assert_eq!(block, self.layout.block(block.piece, block.begin / BLOCK_LENGTH), "a whole block");
            assert!(!self.layout.is_padding(block), "padding is never requested");
            assert!(!self.swarm.have().contains(block.piece), "a verified block was requested");
            assert!(!self.gathered.get(&block.piece).is_some_and(|begins| begins.contains(&block.begin)));
            let others = self.peers.iter().filter(|(other, peer)| {
                **other != key && peer.requests.iter().any(|&(request, stale)| request == block && !stale)
            });
            assert!(double_allowed || others.count() == 0, "asked twice outside the end game: {block:?}");
            let peer = self.peers.get_mut(&key).expect("requests go to those who are connected");
            assert!(peer.has.contains(&block.piece), "asked of one that lacks it");
            assert!(!peer.choking || peer.allowed.contains(&block.piece), "asked of one that chokes us");
            peer.requests.retain(|&(request, stale)| request != block || !stale);
            assert!(peer.requests.iter().all(|(request, _)| *request != block), "asked the same peer twice");
            peer.requests.push((block, false));
            let outstanding = peer.requests.iter().filter(|(_, stale)| !stale).count();
            assert!(outstanding <= peer.caps.requests_max.max(1), "more than it is willing to queue");
        }
    }

    /// Recounts everything the swarm keeps as running numbers.
    pub(super) fn check(&self) {
        let swarm = &self.swarm;
        let picker = &swarm.picker;
        let pieces = self.layout.piece_count();
        let mut fetchable = 0;
        let mut wanted_left = 0;
        let mut left = 0;
        for piece in 0..pieces {
            let copies = swarm.peers.values().filter(|peer| peer.has(piece)).count();
            assert_eq!(picker.index.copies.total(piece) as usize, copies, "copies of {piece}");
            let missing = !picker.have.contains(piece);
            fetchable += u32::from(picker.wants(piece));
            if missing && picker.wishes.is_wanted(piece) {
                wanted_left += 1;
                left += swarm.wanted_bytes(piece);
            }
            if let Some(buckets) = &picker.index.buckets {
                let listed = picker.wants(piece) && picker.partials.get(piece).is_none();
                assert!(
                    buckets.contains(piece) == listed || has_only_pads(&self.layout, piece),
                    "listing of {piece}"
                );
                assert!(!listed || buckets.priority(piece).is_none_or(|at| at == picker.wishes.rank(piece)));
            }
        }
        assert_eq!((picker.fetchable, picker.wanted_left, swarm.left), (fetchable, wanted_left, left));
        assert_eq!(swarm.is_finished(), wanted_left == 0);
        for peer in swarm.peers.values() {
            if let Availability::Some(set) = &peer.availability {
                let interesting = set.iter().filter(|&piece| picker.wants(piece)).count();
                assert_eq!(peer.interesting as usize, interesting);
            }
            assert_eq!(peer.told_interested, swarm.fetching && swarm.is_interesting(peer));
            let overtaken = |request: &&peer::Request| request.overtaken.is_some();
            assert_eq!(
                peer.requests.iter().take_while(overtaken).count(),
                peer.requests.iter().filter(overtaken).count(),
                "the overtaken are at the front"
            );
            for peer::Request { asked, .. } in &peer.requests {
                let partial = picker.partials.get(asked.piece).expect("a request belongs to a piece");
                assert!(partial.is_asked_of(asked.index, peer.key));
            }
        }
        let mut buffered = 0;
        for partial in picker.partials.iter() {
            let mut asked = 0;
            let mut bytes = 0;
            for index in 0..self.layout.block_count(partial.piece) {
                match partial.state(index) {
                    Some(BlockState::Asked(peer)) => {
                        asked += 1;
                        let asked = peer::Asked { piece: partial.piece, index };
                        let waits =
                            |peer: &peer::Peer| peer.requests.iter().any(|request| request.asked == asked);
                        assert!(swarm.peers.get(&peer).is_some_and(waits), "asked of nobody");
                    }
                    Some(BlockState::Here(_)) => {
                        bytes += u64::from(self.layout.block(partial.piece, index).length)
                    }
                    _ => {}
                }
            }
            assert_eq!(asked, partial.asked());
            assert_eq!(picker.partials.open().any(|open| open.piece == partial.piece), partial.is_open());
            assert_eq!(partial.under_inquiry, swarm.inquiries.contains(partial.piece));
            assert!(!partial.under_inquiry || partial.is_complete(), "what is asked about is all here");
            let counts = !partial.under_inquiry && (asked > 0 || partial.is_complete());
            buffered += if counts { bytes } else { 0 };
        }
        assert_eq!(buffered, picker.partials.buffered());
    }
}

pub(super) fn has_only_pads(layout: &Layout, piece: PieceIndex) -> bool {
    (0..layout.block_count(piece)).all(|index| layout.is_padding(layout.block(piece, index)))
}
