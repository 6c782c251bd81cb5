mod arrivals;
mod kept;

use super::*;
use crate::testing::{BLOCK, Content, Hashes, TinyDisk, file, pad};
use crate::{Alignment, BLOCK_LENGTH, BlockBuf, StorageErrorKind};
use tokio::sync::mpsc::{Receiver, channel};

/// A download under test.
struct Download {
    content: Content,
    dir: tempfile::TempDir,
    store: Arc<Store>,
    truth: Arc<Truth>,
    pool: BlockPool,
    intake: Intake,
    events: Receiver<IntakeEvent>,
}

impl Download {
    fn new(content: Content, hashes: Hashes, pool: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        Self::into(content, hashes, pool, dir, &path)
    }

    fn into(
        content: Content,
        hashes: Hashes,
        pool: usize,
        dir: tempfile::TempDir,
        path: &std::path::Path,
    ) -> Self {
        let store = Arc::new(content.download(path));
        let truth = content.truth(hashes);
        let pool = BlockPool::new(pool);
        let (sender, events) = channel(1024);
        let intake =
            Intake::new(Arc::clone(&store), Arc::clone(&truth), Workers::new(2), pool.clone(), sender);
        Self { content, dir, store, truth, pool, intake, events }
    }

    /// Gives a block, waiting for the workers to free a buffer.
    fn give(&mut self, block: Block) {
        while self.pool.usage().0 == self.pool.usage().1 {
            std::thread::yield_now();
        }
        let data = self.content.buf(&self.pool, block);
        self.accept(block, data);
    }

    fn accept(&mut self, block: Block, data: BlockBuf) {
        self.intake.accept(Arrived::new(block, data));
    }

    fn give_all(&mut self, blocks: impl IntoIterator<Item = Block>) {
        blocks.into_iter().for_each(|block| self.give(block));
    }

    fn event(&mut self) -> IntakeEvent {
        self.events.blocking_recv().unwrap()
    }

    /// The verdict of a piece that failed; what is kept of it.
    fn corrupt(&mut self, piece: PieceIndex) -> Option<Kept> {
        match self.event() {
            IntakeEvent::Corrupt { piece: found, kept } if found == piece => kept,
            event => panic!("{event:?}"),
        }
    }

    fn verified(&mut self, count: u32) {
        for _ in 0..count {
            let event = self.event();
            assert!(matches!(event, IntakeEvent::Verified(_)), "{event:?}");
        }
    }

    fn piece_blocks(&self, piece: PieceIndex) -> Vec<Block> {
        self.content.blocks().into_iter().filter(|block| block.piece == piece).collect()
    }

    /// Checks that the whole content arrived, and nothing is left behind.
    fn assert_complete(mut self) {
        self.verified(self.content.layout.piece_count());
        assert!(self.store.verified().is_full());
        self.content.assert_at(self.dir.path());
        while self.intake.pending() > 0 || self.pool.usage().0 > 0 {
            std::thread::yield_now();
        }
    }
}

/// The same order in every run, and no order at all.
fn shuffled(mut blocks: Vec<Block>) -> Vec<Block> {
    blocks.sort_by_key(|block| {
        (block.begin / BLOCK_LENGTH + 1).wrapping_mul(0x9e37_79b9)
            ^ (block.piece + 1).wrapping_mul(0x85eb_ca6b)
    });
    blocks
}

/// Files that end in the middle of blocks and pieces, padded as hybrids are.
fn padded(piece_length: u32) -> Content {
    let piece = u64::from(piece_length);
    let fill = |length: u64| pad(length.next_multiple_of(piece) - length);
    let (a, b) = (2 * piece + BLOCK + 7, 5);
    let entries = vec![file("a", a), fill(a), file("b", b), fill(b), file("sub/c", 3 * piece - 1)];
    Content::new(entries, piece_length, Alignment::Stream)
}

fn per_file(piece_length: u32) -> Content {
    let piece = u64::from(piece_length);
    let entries =
        vec![file("a", 2 * piece + BLOCK + 7), file("empty", 0), file("b", 5), file("sub/c", 3 * piece - 1)];
    Content::new(entries, piece_length, Alignment::PerFile)
}

#[test]
fn everything_arrives_whatever_the_shape_the_hashes_and_the_order() {
    for piece_length in [BLOCK_LENGTH, 4 * BLOCK_LENGTH, 128 * BLOCK_LENGTH] {
        for (content, hashes) in [
            (padded(piece_length), Hashes::V1),
            (padded(piece_length), Hashes::Both),
            (per_file(piece_length), Hashes::V2),
        ] {
            for in_order in [true, false] {
                let mut download = Download::new(content.clone(), hashes, 2048);
                let blocks = download.content.blocks();
                download.give_all(if in_order { blocks } else { shuffled(blocks) });
                // Empty files are not the intake's.
                download.store.finish().unwrap();
                download.assert_complete();
            }
        }
    }
}

#[test]
fn pieces_of_odd_length_over_many_small_files() {
    let entries = (1..40).map(|number| file(&format!("{number}"), number * 997)).collect();
    let content = Content::new(entries, 50_001, Alignment::Stream);
    let mut download = Download::new(content, Hashes::V1, 256);
    let blocks = shuffled(download.content.blocks());
    download.give_all(blocks);
    download.assert_complete();
}

#[test]
fn a_small_pool_is_enough_for_many_large_pieces_at_once() {
    for hashes in [Hashes::V1, Hashes::Both] {
        let content = padded(128 * BLOCK_LENGTH);
        let mut download = Download::new(content, hashes, 16);
        let blocks = shuffled(download.content.blocks());
        download.give_all(blocks);
        download.assert_complete();
    }
}

#[test]
fn buffers_held_by_a_download_that_stalls_can_be_had_back() {
    let content = Content::single(64 * BLOCK, 32 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V1, 16);
    // Others use the pool as well.
    let blocks = download.content.blocks();
    download.give_all(blocks[..8].iter().copied());
    let others: Vec<_> = std::iter::from_fn(|| download.pool.try_take()).collect();
    download.intake.relieve();
    while download.pool.usage().0 > others.len() {
        std::thread::yield_now();
    }
    drop(others);
    download.give_all(blocks[8..].iter().copied());
    download.assert_complete();
}

#[test]
fn a_bad_piece_is_named_never_written_without_need_and_can_be_had_again() {
    for hashes in [Hashes::V1, Hashes::V2, Hashes::Both] {
        let content = Content::single(8 * BLOCK, 4 * BLOCK_LENGTH);
        let mut download = Download::new(content, hashes, 64);
        let blocks = download.piece_blocks(1);
        for (index, &block) in blocks.iter().enumerate() {
            let mut data = download.content.buf(&download.pool, block);
            data[9] ^= u8::from(index == 2);
            download.accept(block, data);
        }
        let kept = download.corrupt(1);
        let is_kept = kept.is_some();
        assert_eq!(is_kept, hashes != Hashes::V1, "leaves may tell which blocks are good");
        assert!(!download.store.is_verified(1));
        assert_eq!(download.dir.path().join("file").exists(), is_kept);
        kept.and_then(|kept| download.intake.keep(kept));
        download.intake.discard(1);
        let blocks = download.content.blocks();
        download.give_all(blocks);
        download.assert_complete();
    }
}

#[test]
fn with_leaves_the_bad_blocks_are_named() {
    let content = Content::single(8 * BLOCK - 3, 4 * BLOCK_LENGTH);
    let leaves = content.leaves(0);
    let mut download = Download::new(content, Hashes::Both, 64);
    download.truth.set_leaves(1, leaves[4..].into()).unwrap();
    let blocks = download.piece_blocks(1);
    for (index, &block) in blocks.iter().enumerate() {
        let mut data = download.content.buf(&download.pool, block);
        data[9] ^= u8::from(index == 1 || index == 3);
        download.accept(block, data);
    }
    let kept = download.corrupt(1).unwrap();
    assert_eq!(download.intake.keep(kept), Some(vec![blocks[1], blocks[3]]));
    download.give_all([blocks[1], blocks[3]]);
    download.verified(1);
    assert_eq!(download.truth.leaves(1), None, "kept no longer than needed");
}

#[test]
fn a_bad_block_in_a_piece_of_several_runs_is_found() {
    let content = Content::single(160 * BLOCK, 160 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V1, 256);
    let blocks = download.content.blocks();
    for (index, &block) in blocks.iter().enumerate() {
        let mut data = download.content.buf(&download.pool, block);
        data[0] ^= u8::from(index == 70);
        download.accept(block, data);
    }
    assert!(download.corrupt(0).is_none(), "a v1 hash says nothing of single blocks");
    download.give_all(blocks);
    download.assert_complete();
}

#[test]
fn a_discarded_piece_starts_anew() {
    let content = Content::single(256 * BLOCK, 128 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::Both, 256);
    let blocks = download.piece_blocks(0);
    // The first run goes to the workers with wrong bytes, the rest is gathered.
    for &block in &blocks[..70] {
        let mut data = download.pool.try_take().unwrap();
        data.fill(0xaa);
        download.accept(block, data);
    }
    assert_eq!(download.intake.pending(), 1);
    download.intake.discard(0);
    assert_eq!(download.intake.pending(), 0);
    let blocks = download.content.blocks();
    download.give_all(blocks);
    download.assert_complete();
}

#[test]
fn an_intake_that_was_stopped_writes_no_more_and_names_what_it_dropped() {
    let content = Content::single(256 * BLOCK, 128 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V1, 256);
    let mut blocks = download.piece_blocks(0);
    blocks.extend(&download.piece_blocks(1)[..1]);
    download.give_all(blocks[..127].iter().copied());
    download.give(blocks[128]);
    let (sender, _events) = channel(1);
    let (store, truth) = (Arc::clone(&download.store), Arc::clone(&download.truth));
    let next = Intake::new(store, truth, Workers::new(2), download.pool.clone(), sender);
    let mut stopping = std::mem::replace(&mut download.intake, next).stop();
    stopping.dropped.sort();
    assert_eq!(stopping.dropped, [0, 1]);
    stopping.wait();
    assert_eq!(download.pool.usage().0, 0, "no worker holds a block any more");
    assert!(download.events.blocking_recv().is_none(), "and none has a verdict to give");
}

#[test]
fn blocks_that_do_not_fit_or_are_here_already_are_dropped() {
    let content = Content::single(4 * BLOCK, 4 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V1, 64);
    for (piece, begin, length) in
        [(0, 1, BLOCK_LENGTH), (0, 0, 5), (9, 0, BLOCK_LENGTH), (0, 4 * BLOCK_LENGTH, 0)]
    {
        let mut data = download.pool.try_take().unwrap();
        data.set_len(length as usize);
        download.accept(Block { piece, begin, length }, data);
    }
    let blocks = download.content.blocks();
    download.give(blocks[1]);
    let mut twice = download.pool.try_take().unwrap();
    twice.fill(0);
    download.accept(blocks[1], twice);
    download.give_all([blocks[0], blocks[2], blocks[3]]);
    download.assert_complete();
}

#[test]
fn a_full_disk_fails_the_piece_and_it_can_be_had_again_when_there_is_space() {
    for pieces in [16, 160] {
        let Some(disk) = TinyDisk::new("size=192k") else { return };
        let content = Content::single(160 * BLOCK, pieces * BLOCK_LENGTH);
        let mut download =
            Download::into(content, Hashes::V1, 256, tempfile::tempdir().unwrap(), &disk.path());
        let blocks = download.piece_blocks(0);
        download.give_all(blocks.clone());
        match download.event() {
            IntakeEvent::Failed { piece: 0, error } => {
                assert_eq!(error.kind(), StorageErrorKind::NoSpace, "{error}")
            }
            event => panic!("{event:?}"),
        }
        // Blocks that came after the failure began the piece anew; whoever pauses lets go of them.
        download.intake.discard(0);
        while download.pool.usage().0 > 0 || download.intake.pending() > 0 {
            std::thread::yield_now();
        }
        // A later run may have failed as well before we let go.
        while download.events.try_recv().is_ok() {}
        disk.remount("size=8m");
        download.give_all(blocks);
        download.verified(1);
    }
}

#[test]
fn a_file_removed_between_two_runs_of_a_piece_is_not_taken_for_written() {
    let content = Content::single(160 * BLOCK, 160 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V1, 256);
    let blocks = download.content.blocks();
    download.give_all(blocks[..64].iter().copied());
    while download.pool.usage().0 > 0 {
        std::thread::yield_now();
    }
    std::fs::remove_file(download.dir.path().join("file")).unwrap();
    download.give_all(blocks[64..].iter().copied());
    match download.event() {
        IntakeEvent::Failed { error, .. } => assert_eq!(error.kind(), StorageErrorKind::Vanished, "{error}"),
        event => panic!("{event:?}"),
    }
    download.give_all(blocks);
    download.assert_complete();
}

/// What a piece of a single run wrote may be gone, too, by the time that it is whole: here its first file was moved away, and only
/// the loss of its last one is noticed.
#[test]
fn a_piece_of_one_run_believes_only_the_disk_after_a_loss() {
    let half = 2 * BLOCK;
    let mut entries = vec![file("first", 3 * half)];
    // So many that the first is closed by the time that the last is opened.
    entries.extend((0..8).map(|number| file(&format!("{number}"), 10)));
    entries.push(file("last", 3 * half - 80));
    let mut download =
        Download::new(Content::new(entries, 4 * BLOCK_LENGTH, Alignment::Stream), Hashes::V1, 64);
    let [begin, middle, end] = [0, 1, 2].map(|piece| download.piece_blocks(piece));
    download.give_all([begin, end].concat());
    download.verified(2);
    let path = |name: &str| download.dir.path().join(name);
    std::fs::rename(path("first"), path("moved")).unwrap();
    std::fs::remove_file(path("last")).unwrap();

    download.give_all(middle);
    match download.event() {
        IntakeEvent::Failed { piece: 1, error } => {
            assert_eq!(error.kind(), StorageErrorKind::Vanished, "{error}")
        }
        event => panic!("{event:?}"),
    }
    download.give_all(download.content.blocks());
    download.assert_complete();
}

#[test]
fn a_piece_without_a_known_hash_fails_in_words() {
    let content = Content::single(8 * BLOCK, 4 * BLOCK_LENGTH);
    let mut download = Download::new(content, Hashes::V2, 64);
    let mut tree = download.content.v2()[0].clone().unwrap();
    tree.layer = None;
    let truth = Arc::new(Truth::new(&download.content.layout, None, Some(vec![Some(tree)])).unwrap());
    let (sender, events) = channel(8);
    download.intake =
        Intake::new(Arc::clone(&download.store), truth, Workers::new(1), download.pool.clone(), sender);
    download.events = events;
    let blocks = download.piece_blocks(0);
    download.give_all(blocks);
    match download.event() {
        IntakeEvent::Failed { error, .. } => assert!(error.in_full().contains("no hash"), "{error}"),
        event => panic!("{event:?}"),
    }
}
