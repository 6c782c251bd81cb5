//! Against trees that are laid out whole, by definition; and fetching among honest and lying peers.

use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, Hash32};
use peerage_swarm::core::PeerKey;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::wire::HashRequest;

/// A file of so many blocks, each with a hash of its own, and all layers of its tree.
struct Sample {
    tree: Tree,
    layers: Vec<Vec<Hash32>>,
    blocks: usize,
    blocks_per_piece: usize,
}

impl Sample {
    fn new(blocks: usize, piece_layer: u32) -> Self {
        let mut row: Vec<Hash32> = (0..blocks).map(|at| Sha256::digest(at.to_be_bytes()).into()).collect();
        row.resize(blocks.next_power_of_two(), [0; 32]);
        let mut layers = vec![row];
        while let Some(below) = layers.last().filter(|row| row.len() > 1) {
            let row = below.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
            layers.push(row);
        }
        let root = layers.last().unwrap()[0];
        let piece_length = BLOCK_LENGTH << piece_layer;
        // The last block is not full.
        let length = blocks as u64 * u64::from(BLOCK_LENGTH) - 1;
        let tree = Tree::new(root, length, piece_length).unwrap();
        Self { tree, layers, blocks, blocks_per_piece: 1 << piece_layer }
    }

    fn hashes_of_pieces(&self) -> Box<[Hash32]> {
        let pieces = self.blocks.div_ceil(self.blocks_per_piece);
        match self.layers.get(self.tree.piece_layer() as usize) {
            Some(row) => row[..pieces].into(),
            None => Box::new([self.tree.root()]),
        }
    }

    fn layer(&self) -> PieceLayer {
        PieceLayer::new(self.tree, self.hashes_of_pieces()).unwrap()
    }

    fn leaves_of(&self, pieces: std::ops::Range<u32>) -> &[Hash32] {
        let end = (pieces.end as usize * self.blocks_per_piece).min(self.blocks);
        &self.layers[0][pieces.start as usize * self.blocks_per_piece..end]
    }

    fn answer(&self, request: &HashRequest) -> Option<Vec<Hash32>> {
        let question = Question::new(&self.tree, request).ok()?;
        let leaves = question.needs_leaves().map_or(&[][..], |pieces| self.leaves_of(pieces));
        question.answer(Some(&self.layer()), leaves)
    }

    /// The answer as BEP 52 describes it.
    fn by_definition(&self, request: &HashRequest) -> Vec<Hash32> {
        let first = request.index as usize;
        let mut hashes = self.layers[request.base as usize][first..first + request.count as usize].to_vec();
        let mut node = first;
        for above in 1..=request.proofs {
            node /= 2;
            // A proof layer is left out if the hashes below it include the whole of its children.
            if above as usize >= request.count.trailing_zeros() as usize {
                hashes.push(self.layers[(request.base + above) as usize][node ^ 1]);
            }
        }
        hashes
    }

    fn request(&self, base: u32, index: u32, count: u32, proofs: u32) -> HashRequest {
        HashRequest { root: self.tree.root(), base, index, count, proofs }
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    (1_usize..300, 0_u32..5).prop_map(|(blocks, piece_layer)| Sample::new(blocks, piece_layer))
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} blocks, {} a piece", self.blocks, self.blocks_per_piece)
    }
}

proptest! {
    /// Every request that makes sense has the answer that BEP 52 describes, and that answer proves itself.
    #[test]
    fn answers_are_as_specified(sample in sample(), leaves: bool, count in 1_u32..6, at: prop::sample::Index, up: prop::sample::Index, top: bool) {
        let (height, piece_layer) = (sample.tree.height(), sample.tree.piece_layer());
        let base = if leaves { 0 } else { piece_layer };
        prop_assume!(base < height);
        let count = 1 << count.min(height - base);
        let index = at.index(sample.blocks.div_ceil(1 << base)) as u32 / count * count;
        let proofs = if top { height - base - 1 } else { up.index((height - base) as usize) as u32 };
        let request = sample.request(base, index, count, proofs);
        let hashes = sample.answer(&request).expect("it makes sense");
        prop_assert_eq!(&hashes, &sample.by_definition(&request));
        if top {
            prop_assert_eq!(root_of(&request, &hashes), Some(sample.tree.root()));
            let mut spoilt = hashes.clone();
            let at = at.index(hashes.len());
            spoilt[at][5] ^= 1;
            prop_assert_ne!(root_of(&request, &spoilt), Some(sample.tree.root()));
            prop_assert_eq!(root_of(&request, &hashes[1..]), None);
        }
    }

    /// Whatever is asked, it is rejected or answered with as many hashes as belong to it.
    #[test]
    fn foreign_requests_never_panic(sample in sample(), base: u32, index: u32, count: u32, proofs: u32, small: bool) {
        let request = if small {
            sample.request(base % 12, index % 400, count % 600, proofs % 12)
        } else {
            sample.request(base, index, 1 << (count % 32), proofs)
        };
        if let Some(hashes) = sample.answer(&request) {
            prop_assert_eq!(hashes.len(), (request.count + uncle_count(&request)) as usize);
        }
        let _ = root_of(&request, &[[0; 32]; 5]);
        let _ = leaves(&sample.tree, index, &request, &[[0; 32]; 4]);
    }

    #[test]
    fn leaves_of_a_piece_come_back(sample in sample(), at: prop::sample::Index) {
        let piece = at.index(sample.tree.pieces() as usize) as u32;
        let Some(request) = leaf_request(&sample.tree, piece) else {
            prop_assert!(sample.blocks == 1 || sample.blocks_per_piece == 1);
            return Ok(());
        };
        let mut hashes = sample.answer(&request).unwrap();
        let found = leaves(&sample.tree, piece, &request, &hashes).unwrap();
        prop_assert_eq!(&found[..], sample.leaves_of(piece..piece + 1));
        hashes.push([0; 32]);
        prop_assert_eq!(leaves(&sample.tree, piece, &request, &hashes), None);
    }
}

/// Layers above the first span of 512 come from a second table.
#[test]
fn large_layers_are_answered_from_both_tables() {
    let sample = Sample::new(5 * 512 + 3, 0);
    let height = sample.tree.height();
    for (index, count) in [(0, 512), (512, 512), (2560, 512), (2560, 2), (2562, 1), (6, 2)] {
        for proofs in 0..height {
            let request = sample.request(0, index, count, proofs);
            assert_eq!(
                sample.answer(&request).unwrap(),
                sample.by_definition_of_any(&request),
                "{request:?}"
            );
        }
    }
}

impl Sample {
    /// [`Sample::by_definition`], which BEP 52 has for two hashes and more; one hash has its sibling for an uncle.
    fn by_definition_of_any(&self, request: &HashRequest) -> Vec<Hash32> {
        let mut hashes = self.by_definition(request);
        if request.count == 1 {
            hashes.insert(1, self.layers[request.base as usize][request.index as usize ^ 1]);
        }
        hashes
    }
}

#[test]
fn nonsense_is_rejected_with_a_reason() {
    // 100 blocks in 25 pieces: a tree of height 7 with its piece layer at 2.
    let sample = Sample::new(100, 2);
    let reason = |request| Question::new(&sample.tree, &request).err();
    assert_eq!(reason(sample.request(2, 0, 32, 4)), None);
    assert_eq!(reason(HashRequest { root: [1; 32], ..sample.request(2, 0, 2, 0) }), Some(Nonsense::Root));
    assert_eq!(reason(sample.request(1, 0, 2, 0)), Some(Nonsense::Base(1)));
    assert_eq!(reason(sample.request(7, 0, 1, 0)), Some(Nonsense::Base(7)));
    assert_eq!(reason(sample.request(u32::MAX, 0, 1, 0)), Some(Nonsense::Base(u32::MAX)));
    for count in [0, 3, 1024, u32::MAX] {
        assert_eq!(reason(sample.request(2, 0, count, 0)), Some(Nonsense::Count(count)));
    }
    for index in [1, 30, 32, u32::MAX] {
        assert_eq!(reason(sample.request(2, index, 4, 0)), Some(Nonsense::Index(index)));
    }
    assert_eq!(reason(sample.request(2, 28, 4, 0)), Some(Nonsense::Index(28)), "nothing but padding");
    assert_eq!(reason(sample.request(2, 0, 64, 0)), Some(Nonsense::Index(0)), "more than there are");
    assert_eq!(reason(sample.request(2, 0, 2, 5)), Some(Nonsense::Proofs(5)));
}

#[test]
fn changed_bytes_are_not_answered_with() {
    let sample = Sample::new(100, 2);
    let question = Question::new(&sample.tree, &leaf_request(&sample.tree, 3).unwrap()).unwrap();
    assert_eq!(question.needs_leaves(), Some(3..4));
    let mut leaves = sample.leaves_of(3..4).to_vec();
    assert!(question.answer(Some(&sample.layer()), &leaves).is_some());
    assert_eq!(question.answer(None, &leaves), None, "nothing to check them by");
    assert_eq!(question.answer(Some(&sample.layer()), &leaves[1..]), None);
    leaves[0] = [0; 32];
    assert_eq!(question.answer(Some(&sample.layer()), &leaves), None);
}

#[test]
fn trees_that_cannot_be_are_refused() {
    assert_eq!(Tree::new([0; 32], 0, BLOCK_LENGTH), None);
    assert_eq!(Tree::new([0; 32], 1, BLOCK_LENGTH / 2), None);
    assert_eq!(Tree::new([0; 32], 1, BLOCK_LENGTH * 3), None);
    assert_eq!(Tree::new([0; 32], u64::MAX, BLOCK_LENGTH), None);
    let largest = Tree::new([0; 32], u64::from(u32::MAX) * (1 << 31), 1 << 31).unwrap();
    assert_eq!((largest.pieces(), largest.height()), (u32::MAX, 49));
    assert!(PieceLayer::new(largest, Box::new([[0; 32]])).is_none());
}

#[test]
fn peers_get_as_much_as_honest_ones_need() {
    let start = Instant::now();
    let sample = Sample::new(100, 2);
    let mut allowance = Allowance::new(start);
    let leaves = Question::new(&sample.tree, &leaf_request(&sample.tree, 0).unwrap()).unwrap();
    let spans = Question::new(&sample.tree, &sample.request(2, 0, 32, 4)).unwrap();
    let mut granted = |now, question| (0..100_000).filter(|_| allowance.grant(now, question, 0)).count();
    assert_eq!(granted(start, &leaves), 32);
    assert_eq!(granted(start, &spans), ((1 << 19) - 32 * 4) / 32);
    assert_eq!(granted(start + Duration::from_secs(60), &leaves), 32);
    let later = start + Duration::from_secs(120);
    assert!(!allowance.grant(later, &spans, 1 << 19), "a layer that has to be made ready counts");
    assert!(allowance.grant(later, &spans, 1 << 18));
    assert!(!allowance.grant(later, &spans, 1 << 18));
}

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);

fn drain(fetch: &mut LayerFetch, now: Instant, peer: PeerKey) -> Vec<HashRequest> {
    std::iter::from_fn(|| fetch.poll_request(now, peer, |_, _| true)).collect()
}

#[test]
fn layers_are_fetched_in_spans_from_several_peers() {
    let now = Instant::now();
    let sample = Sample::new(2 * (5 * 512 + 1), 1);
    let small = Sample::new(6, 1);
    let mut fetch = LayerFetch::new();
    fetch.want(4, sample.tree);
    fetch.want(5, Sample::new(2, 1).tree);
    fetch.want(6, small.tree);
    fetch.want(7, small.tree);
    let mut requests = Vec::new();
    for peer in [A, B] {
        requests.extend(drain(&mut fetch, now, peer).into_iter().map(|request| (peer, request)));
    }
    assert_eq!(requests.len(), 7, "six spans and the small file; a file of one piece needs none");
    assert!(requests.iter().all(|(_, request)| request.count <= SPAN && request.count >= 2));
    let mut completed = Vec::new();
    for (peer, request) in requests {
        let of = if request.root == small.tree.root() { &small } else { &sample };
        match fetch.hashes(now, peer, &request, &of.answer(&request).unwrap()) {
            Received::Complete { entries, layer } => {
                assert_eq!(layer, of.hashes_of_pieces());
                completed.extend(entries);
            }
            received => assert_eq!(received, Received::Taken),
        }
    }
    completed.sort_unstable();
    assert_eq!(completed, [4, 6, 7]);
    assert!(fetch.is_done());
    assert_eq!(fetch.poll_timeout(now), None);
}

#[test]
fn peers_are_asked_only_for_what_they_have() {
    let now = Instant::now();
    let sample = Sample::new(1024, 0);
    let mut fetch = LayerFetch::new();
    fetch.want(0, sample.tree);
    assert_eq!(fetch.poll_request(now, A, |_, _| false), None);
    let request = fetch.poll_request(now, A, |entry, pieces| entry == 0 && pieces.contains(&600)).unwrap();
    assert_eq!((request.index, request.count), (512, 512));
}

#[test]
fn a_lie_is_known_at_once_and_somebody_else_is_asked() {
    let now = Instant::now();
    let sample = Sample::new(7, 0);
    let mut fetch = LayerFetch::new();
    fetch.want(0, sample.tree);
    let request = drain(&mut fetch, now, A)[0];
    let mut hashes = sample.answer(&request).unwrap();
    hashes[6] = [1; 32];
    assert_eq!(fetch.hashes(now, A, &request, &hashes), Received::Lie);
    assert!(drain(&mut fetch, now, A).is_empty());
    assert_eq!(drain(&mut fetch, now, B), [request]);
    assert_eq!(fetch.hashes(now, A, &request, &hashes), Received::Unrequested);
    let answer = sample.answer(&request).unwrap();
    assert!(matches!(fetch.hashes(now, B, &request, &answer), Received::Complete { .. }));
}

#[test]
fn silence_and_rejects_send_the_request_elsewhere() {
    let start = Instant::now();
    let sample = Sample::new(7, 0);
    let mut fetch = LayerFetch::new();
    fetch.want(0, sample.tree);
    let request = drain(&mut fetch, start, A)[0];
    assert!(drain(&mut fetch, start, B).is_empty());
    let hedge = fetch.poll_timeout(start).unwrap();
    assert_eq!(hedge, start + Duration::from_secs(5));
    assert_eq!(drain(&mut fetch, hedge, B), [request]);
    assert!(fetch.rejected(hedge, B, &request));
    assert!(!fetch.rejected(hedge, B, &request));
    assert!(drain(&mut fetch, hedge, B).is_empty(), "left alone for a while");
    let given_up = start + Duration::from_secs(30);
    assert!(drain(&mut fetch, given_up, A).is_empty());
    assert_eq!(fetch.hashes(given_up, A, &request, &[]), Received::Unrequested);
    fetch.left(A);
    assert_eq!(drain(&mut fetch, given_up, A), [request], "a new connection");
}
