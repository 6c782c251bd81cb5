//! Blocks that were hashed where they arrived, by one source or several.

use proptest::prelude::*;

use super::*;
use crate::Arrivals;

impl Download {
    fn source(&self) -> Arrivals {
        Arrivals::new(Arc::clone(&self.truth), Workers::new(2))
    }

    /// Gives a block as `source` received it, with a byte flipped if it is `bad`.
    fn give_from(&mut self, source: &mut Arrivals, block: Block, bad: bool) {
        while self.pool.usage().0 == self.pool.usage().1 {
            std::thread::yield_now();
        }
        let mut data = self.content.buf(&self.pool, block);
        data[0] ^= u8::from(bad);
        self.intake.accept(source.take(block, data, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whoever brings which block, in whatever order, some of them twice: it comes out right.
    #[test]
    fn several_sources_make_one_content(
        shape in 0..3_u8,
        in_order: bool,
        dealt in prop::collection::vec((0..4_usize, 0..12_u8), 1..64),
    ) {
        let (content, hashes) = match shape {
            0 => (padded(4 * BLOCK_LENGTH), Hashes::V1),
            1 => (padded(128 * BLOCK_LENGTH), Hashes::Both),
            _ => (per_file(4 * BLOCK_LENGTH), Hashes::V2),
        };
        let mut download = Download::new(content, hashes, 256);
        let mut sources = [(); 3].map(|()| download.source());
        let blocks = download.content.blocks();
        let blocks = if in_order { blocks } else { shuffled(blocks) };
        let mut before = None;
        for (block, (source, twice)) in blocks.into_iter().zip(dealt.into_iter().cycle()) {
            let same_piece = before.filter(|before: &Block| before.piece == block.piece);
            if let Some(again) = same_piece.filter(|_| twice == 0) {
                download.give_from(&mut sources[0], again, false);
            }
            // The fourth does not hash.
            match sources.get_mut(source) {
                Some(source) => download.give_from(source, block, false),
                None => download.give(block),
            }
            before = Some(block);
        }
        download.store.finish().unwrap();
        download.assert_complete();
    }
}

#[test]
fn what_one_source_hashed_is_not_believed_of_anothers_blocks() {
    let content = Content::single(8 * BLOCK, 8 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V1, 64);
    let (mut liar, mut honest) = (download.source(), download.source());
    let blocks = download.content.blocks();
    for (index, block) in blocks[..5].iter().enumerate() {
        download.give_from(&mut liar, *block, index == 2);
    }
    // The first five come too late and are dropped, but the honest source's hash goes over them.
    for block in &blocks {
        download.give_from(&mut honest, *block, false);
    }
    assert!(matches!(download.event(), IntakeEvent::Corrupt { piece: 0, .. }));
    download.give_all(blocks);
    download.assert_complete();
}

#[test]
fn what_was_hashed_on_arrival_is_not_hashed_again() {
    for hashes in [Hashes::V1, Hashes::V2, Hashes::Both] {
        let content = Content::single(128 * BLOCK, 128 * BLOCK_LENGTH);
        let mut download = Download::new(content, hashes, 256);
        let mut source = download.source();
        for block in download.content.blocks() {
            let data = download.content.buf(&download.pool, block);
            let mut arrived = source.take(block, data, false);
            // Seen by whoever hashes from here on.
            arrived.data.fill(0);
            download.intake.accept(arrived);
        }
        download.verified(1);
    }
}

#[test]
fn one_source_leaves_hashing_to_idle_workers_when_it_falls_behind() {
    let content = Content::single(8 * BLOCK, 2 * BLOCK_LENGTH);
    let download = Download::new(content, Hashes::Both, 64);
    let workers = Workers::new(4);
    let source = || Arrivals::new(Arc::clone(&download.truth), workers.clone());
    let (mut first, mut second) = (source(), source());
    // The first block of a piece decides for all of it.
    let is_hashed = |source: &mut Arrivals, piece, behind: bool| {
        let blocks = download.piece_blocks(piece);
        let [began, went_on] = [(blocks[0], behind), (blocks[1], !behind)].map(|(block, behind)| {
            let arrived = source.take(block, download.content.buf(&download.pool, block), behind);
            assert_eq!(arrived.leaf.is_some(), arrived.chained.is_some());
            arrived.leaf.is_some()
        });
        assert_eq!(began, went_on);
        began
    };
    assert!(is_hashed(&mut first, 0, false));
    while !workers.would_help() {
        std::thread::yield_now();
    }
    assert!(!is_hashed(&mut first, 1, true));
    // With two sources, each has half of the cores.
    assert!(is_hashed(&mut second, 0, true));
    assert!(is_hashed(&mut first, 2, true));
    second.rest();
    assert!(!is_hashed(&mut first, 3, true));
}
