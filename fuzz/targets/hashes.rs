//! Any hash request is rejected or answered with what belongs to it, and no answer but a true one completes a layer.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::proof::{LayerFetch, PieceLayer, Question, Received, Tree, leaf_request, leaves};
use peerage_bittorrent::wire::HashRequest;
use peerage_content::{BLOCK_LENGTH, merkle_root};
use peerage_swarm::core::PeerKey;

fuzz_target!(|input: (u16, u8, [u32; 4], Vec<[u8; 32]>, Option<(u8, u8)>)| {
    let (blocks, piece_layer, [base, index, count, proofs], hashes, spoil) = input;
    let blocks = usize::from(blocks) % 3000 + 1;
    let piece_layer = u32::from(piece_layer) % 6;
    let sample: Vec<[u8; 32]> = (0..blocks).map(|at| [at as u8 ^ (at >> 8) as u8; 32]).collect();
    let root = merkle_root(&sample, 0, [0; 32]);
    let tree = Tree::new(root, blocks as u64 * u64::from(BLOCK_LENGTH), BLOCK_LENGTH << piece_layer).unwrap();
    let per_piece = 1 << piece_layer;
    let layer = sample.chunks(per_piece).map(|piece| merkle_root(piece, per_piece, [0; 32]));
    let layer: Box<[_]> = if tree.pieces() == 1 { Box::new([root]) } else { layer.collect() };
    let known = PieceLayer::new(tree, layer.clone()).unwrap();

    let request = HashRequest { root, base, index, count, proofs };
    if let Ok(question) = Question::new(&tree, &request) {
        let needed = question.needs_leaves().map_or(0..0, |pieces| {
            pieces.start as usize * per_piece..(pieces.end as usize * per_piece).min(blocks)
        });
        let answer = question.answer(Some(&known), &sample[needed]).unwrap();
        assert!(answer.len() >= count as usize && answer.len() <= count as usize + 64);
        let _ = question.answer(Some(&known), &hashes);
    }
    if let Some(request) = leaf_request(&tree, index) {
        let _ = leaves(&tree, index, &request, &hashes);
    }
    let _ = leaves(&tree, index, &request, &hashes);

    let mut fetch = LayerFetch::new();
    fetch.want(0, tree);
    let (now, peer) = (Instant::now(), PeerKey(1));
    assert_eq!(fetch.hashes(now, peer, &request, &hashes), Received::Unrequested);
    while let Some(request) = fetch.poll_request(now, peer, |_, _| true) {
        let mut answer = Question::new(&tree, &request).unwrap().answer(Some(&known), &[]).unwrap();
        let mut lie = false;
        if let Some((at, mask)) = spoil
            && mask != 0
        {
            let at = usize::from(at) % answer.len();
            answer[at][0] ^= mask;
            lie = true;
        }
        match fetch.hashes(now, peer, &request, &answer) {
            Received::Lie => assert!(lie),
            Received::Complete { layer: fetched, .. } => assert_eq!(fetched, layer),
            received => assert_eq!(received, Received::Taken),
        }
        assert!(!lie || !fetch.is_done());
    }
});
