//! Pieces that failed their v2 hash: good blocks stay, bad ones are named.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::Hash32;

impl Download {
    /// Gives a whole piece, with these blocks spoilt.
    fn give_spoilt(&mut self, piece: PieceIndex, spoilt: &[u32]) -> Vec<Block> {
        let blocks = self.piece_blocks(piece);
        for (index, &block) in (0..).zip(&blocks) {
            if spoilt.contains(&index) { self.give_bad(block) } else { self.give(block) }
        }
        blocks
    }

    fn give_bad(&mut self, block: Block) {
        while self.pool.usage().0 == self.pool.usage().1 {
            std::thread::yield_now();
        }
        let data = self.spoilt(block);
        self.accept(block, data);
    }

    fn spoilt(&self, block: Block) -> BlockBuf {
        let mut data = self.content.buf(&self.pool, block);
        data[0] ^= 1;
        data
    }

    /// Has the leaves of a piece of the first file, of `width` blocks a piece, become known.
    fn prove(&self, piece: PieceIndex, width: usize) {
        let leaves: Vec<Hash32> = self.content.leaves(0);
        let first = piece as usize * width;
        let end = (first + width).min(leaves.len());
        self.truth.set_leaves(piece, leaves[first..end].into()).unwrap();
    }
}

#[test]
fn only_bad_blocks_of_a_kept_piece_have_to_come_again() {
    // Of one run, of several, and of several with fewer buffers than blocks.
    for (width, buffers) in [(4, 64), (128, 512), (128, 16)] {
        for hashes in [Hashes::V2, Hashes::Both] {
            let content = Content::single(2 * width * BLOCK - 3, width as u32 * BLOCK_LENGTH);
            let mut download = Download::new(content, hashes, buffers);
            let blocks = download.give_spoilt(1, &[0, 2]);
            let kept = download.corrupt(1).unwrap();
            assert_eq!(download.intake.keep(kept), Some(Vec::new()), "nothing is known yet");
            assert_eq!(download.pool.usage().0, 0, "no buffer waits for the proof");
            assert_eq!(download.intake.pending(), 1);

            download.prove(1, width as usize);
            assert_eq!(download.intake.convict(1), [blocks[0], blocks[2]]);
            assert_eq!(download.intake.convict(1), [], "once is enough");
            download.give_all([blocks[2], blocks[0]]);
            download.verified(1);
            assert!(download.store.is_verified(1));
            assert_eq!(download.truth.leaves(1), None, "kept no longer than needed");

            let blocks = download.piece_blocks(0);
            download.give_all(blocks);
            download.verified(1);
            download.content.assert_at(download.dir.path());
        }
    }
}

#[test]
fn a_block_that_comes_again_bad_is_refuted_or_kept_again() {
    let content = Content::single(4 * BLOCK, 4 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::Both, 64);
    let blocks = download.give_spoilt(0, &[1]);
    let kept = download.corrupt(0).unwrap();
    download.intake.keep(kept);
    download.prove(0, 4);
    assert_eq!(download.intake.convict(0), [blocks[1]]);

    let again = Arrived::new(blocks[1], download.spoilt(blocks[1]));
    assert!(download.intake.refutes(&again));
    // Whoever gives it all the same learns the same.
    download.intake.accept(again);
    let kept = download.corrupt(0).unwrap();
    assert_eq!(download.intake.keep(kept), Some(vec![blocks[1]]));

    let good = Arrived::new(blocks[1], download.content.buf(&download.pool, blocks[1]));
    assert!(!download.intake.refutes(&good));
    download.intake.accept(good);
    download.verified(1);
    download.content.assert_at(download.dir.path());
}

/// A leaf ends with its file; what a hybrid pads it with is no part of it.
#[test]
fn blocks_are_checked_as_they_come_once_the_leaves_are_known() {
    let length = 2 * BLOCK + 7;
    let padding = pad(4 * BLOCK - length);
    let content = Content::new(vec![file("a", length), padding], 4 * BLOCK_LENGTH, Alignment::Stream);
    let download = Download::new(content, Hashes::Both, 64);
    let blocks = download.piece_blocks(0);
    let spoilt: Vec<Arrived> =
        blocks.iter().map(|&block| Arrived::new(block, download.spoilt(block))).collect();
    assert!(spoilt.iter().all(|arrived| !download.intake.refutes(arrived)), "nothing is known yet");
    download.prove(0, 4);
    assert!(spoilt.iter().all(|arrived| download.intake.refutes(arrived)));
    let good = |&block: &Block| Arrived::new(block, download.content.buf(&download.pool, block));
    assert!(blocks.iter().all(|block| !download.intake.refutes(&good(block))));
}

#[test]
fn a_kept_piece_that_was_discarded_starts_anew() {
    let content = Content::single(4 * BLOCK, 4 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V2, 64);
    // Discarded while the verdict was on its way.
    download.give_spoilt(0, &[1]);
    let kept = download.corrupt(0).unwrap();
    download.intake.discard(0);
    assert_eq!(download.intake.keep(kept), None);
    // Discarded while it was kept.
    download.give_spoilt(0, &[1]);
    let kept = download.corrupt(0).unwrap();
    assert_eq!(download.intake.keep(kept), Some(Vec::new()));
    download.intake.discard(0);
    download.prove(0, 4);
    assert_eq!(download.intake.convict(0), []);
    let blocks = download.piece_blocks(0);
    download.give_all(blocks);
    download.assert_complete();
}

#[test]
fn an_intake_that_is_stopped_names_what_was_kept() {
    let content = Content::single(4 * BLOCK, 4 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V2, 64);
    download.give_spoilt(0, &[1]);
    let kept = download.corrupt(0).unwrap();
    download.intake.keep(kept);
    let (sender, _events) = channel(1);
    let (store, truth) = (Arc::clone(&download.store), Arc::clone(&download.truth));
    let next = Intake::new(store, truth, Workers::new(2), download.pool.clone(), sender);
    let stopping = std::mem::replace(&mut download.intake, next).stop();
    assert_eq!(stopping.dropped, [0]);
}

/// The bytes of a hybrid that only its v1 hash is about: the leaves say nothing of them.
#[test]
fn a_piece_with_spoilt_padding_is_not_kept() {
    let length = 2 * BLOCK + 7;
    let padding = pad(4 * BLOCK - length);
    let content = Content::new(vec![file("a", length), padding], 4 * BLOCK_LENGTH, Alignment::Stream);
    let mut download = Download::new(content, Hashes::Both, 64);
    for block in download.piece_blocks(0) {
        let mut data = download.content.buf(&download.pool, block);
        if block.begin == 2 * BLOCK_LENGTH {
            data[9] ^= 1;
        }
        download.accept(block, data);
    }
    assert!(download.corrupt(0).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However often it is lied to, and in whatever order blocks come: exactly the bad blocks have to come again, and in the end all is true.
    #[test]
    fn exactly_the_bad_blocks_have_to_come_again(
        rounds in prop::collection::vec(prop::collection::btree_set(0_u32..128, 0..9), 1..4),
        width in prop::sample::select(vec![2_u32, 4, 128]),
        hashes in prop::sample::select(vec![Hashes::V2, Hashes::Both]),
        backwards: bool,
        known: bool,
    ) {
        let content = Content::single(u64::from(width) * BLOCK - 3, width * BLOCK_LENGTH);
        let mut download = Download::new(content, hashes, 256);
        if known {
            download.prove(0, width as usize);
        }
        let mut missing = download.piece_blocks(0);
        for spoilt in rounds {
            let is_spoilt = |block: &Block| spoilt.contains(&(block.begin / BLOCK_LENGTH));
            if backwards {
                missing.reverse();
            }
            missing.iter().for_each(|block| match is_spoilt(block) {
                true => download.give_bad(*block),
                false => download.give(*block),
            });
            missing.retain(is_spoilt);
            if missing.is_empty() {
                break;
            }
            let kept = download.corrupt(0).unwrap();
            let mut bad = download.intake.keep(kept).unwrap();
            if bad.is_empty() {
                download.prove(0, width as usize);
                bad = download.intake.convict(0);
            }
            prop_assert_eq!(BTreeSet::from_iter(bad), BTreeSet::from_iter(missing.iter().copied()));
        }
        download.give_all(missing);
        download.verified(1);
        download.content.assert_at(download.dir.path());
    }
}
