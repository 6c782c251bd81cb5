use proptest::prelude::*;

use super::*;
use crate::unixfs::{Data, Kind};
use crate::verify::Codec;
use crate::{Cid, Extent, FileWalk, Profile, WalkError, sha2_256};

/// Walks a range: the bytes, and how many blocks had to be fed.
fn walk(blocks: &Blocks, root: Cid, range: std::ops::Range<u64>) -> Result<(Vec<u8>, usize), WalkError> {
    let mut walk = FileWalk::new(root, range);
    let (mut bytes, mut fed, mut next) = (Vec::new(), 0, None);
    loop {
        while let Some(extent) = walk.next()? {
            assert_eq!(*next.get_or_insert(extent.offset), extent.offset, "runs follow each other");
            next = Some(extent.offset + extent.length);
            let block = crate::inlined(&extent.cid).unwrap_or_else(|| blocks.get(&extent.cid));
            bytes.extend_from_slice(extent.of(block)?);
        }
        let Some(cid) = walk.need().copied() else { return Ok((bytes, fed)) };
        walk.feed(&cid, blocks.get(&cid))?;
        fed += 1;
    }
}

fn error(blocks: &Blocks, root: Cid) -> WalkError {
    walk(blocks, root, 0..u64::MAX).unwrap_err()
}

/// A part of a file with these sizes below its links.
fn part(blocksizes: &[u64]) -> Data<'static> {
    let filesize = blocksizes.iter().copied().reduce(u64::wrapping_add);
    Data { filesize, blocksizes: blocksizes.to_vec(), ..Data::new(Kind::File) }
}

proptest! {
    #[test]
    fn a_range_is_the_slice(
        length in 0..700_usize,
        start in 0..800_u64,
        span in 0..800_u64,
        profile in prop::sample::select(vec![
            "chunk-size=10,width=3", "chunk-size=10,width=2,leaves=dag-pb", "unixfs-v0-2015,chunk-size=7,width=5", "unixfs-v1-2025",
        ]),
    ) {
        let profile: Profile = profile.parse().unwrap();
        let bytes: Vec<u8> = (0..length).map(|at| at as u8 ^ (at >> 8) as u8).collect();
        let mut blocks = Blocks::default();
        let built = blocks.file(&profile, &bytes);
        let (found, _) = walk(&blocks, built.cid, start..start + span).unwrap();
        let clip = |at: u64| (at as usize).min(length);
        prop_assert_eq!(found, &bytes[clip(start)..clip(start + span)]);
    }
}

#[test]
fn raw_leaves_are_not_needed_and_nodes_beside_the_range_neither() {
    let profile: Profile = "chunk-size=10,width=4".parse().unwrap();
    let mut blocks = Blocks::default();
    let built = blocks.file(&profile, &[7; 640]);
    assert_eq!(walk(&blocks, built.cid, 0..640).unwrap().1, 1 + 4 + 16);
    assert_eq!(walk(&blocks, built.cid, 155..165).unwrap().1, 1 + 2 + 2);
    assert_eq!(walk(&blocks, built.cid, 0..0).unwrap().1, 1);
}

#[test]
fn the_size_is_known_from_the_root_and_what_comes_after_is_foretold() {
    let profile: Profile = "chunk-size=10,width=4".parse().unwrap();
    let mut blocks = Blocks::default();
    let built = blocks.file(&profile, &[7; 160]);
    let mut walk = FileWalk::new(built.cid, 45..u64::MAX);
    assert_eq!((walk.next(), walk.size()), (Ok(None), None));
    walk.feed(&built.cid, blocks.get(&built.cid)).unwrap();
    assert_eq!(walk.size(), Some(160));
    assert_eq!(walk.next(), Ok(None));
    assert_eq!(walk.upcoming().count(), 2); // beside the node that is needed now
    assert_eq!(walk.feed(&built.cid, &[]), Err(WalkError::NotAsked));
    let second = *walk.need().unwrap();
    walk.feed(&second, blocks.get(&second)).unwrap();
    let extent = walk.next().unwrap().unwrap();
    assert_eq!((extent.offset, extent.length, extent.block_offset, extent.block_len), (45, 5, 5, 10));
}

#[test]
fn bytes_in_inner_nodes_come_before_those_below() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"world");
    let data = Data { data: Some(b"hello "), filesize: Some(11), ..part(&[5]) };
    let root = blocks.node(&data, &[("", leaf)]);
    assert_eq!(walk(&blocks, root, 0..11).unwrap().0, b"hello world");
    assert_eq!(walk(&blocks, root, 3..8).unwrap().0, b"lo wo");
}

#[test]
fn blocks_in_their_own_names_are_never_asked_for() {
    let mut blocks = Blocks::default();
    let leaf =
        crate::pb::Node { links: Vec::new(), data: Some(&Data { data: Some(b"b"), ..part(&[]) }.encode()) }
            .encode();
    let root =
        blocks.node(&part(&[1, 1]), &[("", inline(Codec::Raw, b"a")), ("", inline(Codec::DagPb, &leaf))]);
    assert_eq!(walk(&blocks, root, 0..2).unwrap(), (b"ab".to_vec(), 1));
    assert_eq!(walk(&blocks, inline(Codec::Raw, b"a"), 0..2).unwrap(), (b"a".to_vec(), 0));
}

#[test]
fn a_size_that_is_left_out_is_computed() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"abc");
    let root = blocks.node(&Data { filesize: None, ..part(&[3]) }, &[("", leaf)]);
    assert_eq!(walk(&blocks, root, 0..9).unwrap().0, b"abc");
}

#[test]
fn sizes_that_do_not_add_up_are_refused() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"abc");
    let inner = blocks.node(&part(&[3]), &[("", leaf)]);
    for (data, links) in [
        (Data { filesize: Some(4), ..part(&[3]) }, vec![("", leaf)]),
        (part(&[3, 3]), vec![("", leaf)]),
        (part(&[]), vec![("", leaf)]),
        (part(&[1 << 62, 1 << 62]), vec![("", inner), ("", inner)]),
        (part(&[u64::MAX, u64::MAX]), vec![("", inner), ("", inner)]),
        (part(&[4]), vec![("", inner)]),
        (part(&[4]), vec![("", leaf)]),
        (part(&[2]), vec![("", leaf)]),
    ] {
        let root = blocks.node(&data, &links);
        assert_eq!(error(&blocks, root), WalkError::Sizes, "{data:?}");
    }
}

#[test]
fn a_few_blocks_may_claim_an_exabyte_but_are_only_walked_as_far_as_asked() {
    let mut blocks = Blocks::default();
    let mut root = blocks.raw(&[0; 1024]);
    for level in 0..50 {
        let size = 1024 << level;
        root = blocks.node(&part(&[size, size]), &[("", root), ("", root)]);
    }
    let (bytes, fed) = walk(&blocks, root, (1 << 59) - 1..(1 << 59) + 1).unwrap();
    assert_eq!((bytes.len(), fed), (2, 50 + 49));
}

#[test]
fn parts_without_bytes_are_not_visited() {
    let mut blocks = Blocks::default();
    let missing = sha2_256(Codec::DagPb, b"nobody has this");
    let leaf = blocks.raw(b"abc");
    let links = [missing, leaf, missing, leaf, missing].map(|cid| ("", cid));
    let root = blocks.node(&part(&[0, 3, 0, 3, 0]), &links);
    assert_eq!(walk(&blocks, root, 0..9).unwrap(), (b"abcabc".to_vec(), 1));
}

#[test]
fn depth_is_bounded() {
    let mut blocks = Blocks::default();
    let mut root = blocks.raw(b"abc");
    for _ in 0..64 {
        root = blocks.node(&part(&[3]), &[("", root)]);
    }
    assert_eq!(walk(&blocks, root, 0..3).unwrap().0, b"abc");
    root = blocks.node(&part(&[3]), &[("", root)]);
    assert_eq!(error(&blocks, root), WalkError::TooDeep);
}

#[test]
fn width_is_bounded() {
    let mut blocks = Blocks::default();
    let leaf = inline(Codec::Raw, b"a");
    let (many, mut root) = (60_000, leaf);
    for level in 0..3 {
        let mut sizes = vec![1; many];
        let mut links = vec![("", leaf); many];
        (sizes[0], links[0]) = (1 + level * (many as u64 - 1), ("", root));
        root = blocks.node(&part(&sizes), &links);
    }
    assert_eq!(error(&blocks, root), WalkError::TooWide);
}

/// A block in its own name.
fn inline(codec: Codec, bytes: &[u8]) -> Cid {
    Cid::new_v1(codec as u64, cid::multihash::Multihash::wrap(0, bytes).unwrap())
}

#[test]
fn what_is_no_part_of_a_file_is_refused() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"abc");
    let directory = blocks.node(&Data::new(Kind::Directory), &[]);
    let named = blocks.node(&part(&[3]), &[("name", leaf)]);
    let cbor = sha2_256(Codec::DagCbor, &[0xa0]);
    blocks.put(cbor, vec![0xa0]);
    let bare = sha2_256(Codec::DagPb, b"");
    blocks.put(bare, Vec::new());
    for (child, why) in [
        (directory, WalkError::NotAFile(Kind::Directory)),
        (named, WalkError::NamedPart),
        (cbor, WalkError::Codec(0x71)),
        (bare, WalkError::UnixFs(crate::unixfs::UnixFsError::NoData)),
    ] {
        assert_eq!(error(&blocks, child), why);
        let root = blocks.node(&part(&[3]), &[("", child)]);
        assert_eq!(error(&blocks, root), why);
    }
}

#[test]
fn a_block_beyond_the_limit_is_refused_unread() {
    let root = sha2_256(Codec::Raw, b"");
    let mut walk = FileWalk::new(root, 0..1);
    assert_eq!(walk.feed(&root, &vec![0; crate::BLOCK_LEN_MAX + 1]), Err(WalkError::TooLarge));
}

#[test]
fn a_run_is_taken_only_out_of_a_block_of_the_length_foretold() {
    let extent =
        Extent { cid: sha2_256(Codec::Raw, b""), block_len: 4, block_offset: 1, offset: 100, length: 2 };
    assert_eq!(extent.of(b"abcd"), Ok(&b"bc"[..]));
    assert_eq!(extent.of(b"abc"), Err(WalkError::Sizes));
    assert_eq!(extent.of(b"abcde"), Err(WalkError::Sizes));
}
