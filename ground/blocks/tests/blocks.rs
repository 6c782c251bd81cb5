//! Blocks in files and in the store: found, kept, pinned, collected.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use peerage_blocks::{Blocks, BlocksError, Collected, ContentId, Dag, InPlace, LeafSet, PinMode};
use peerage_content::{
    Alignment, Entry, EntryKind, FilePool, HashPlan, HashedFile, Layout, LeafFrame, LeafPlan, PieceSet,
    Place, RelPath, Store, hash,
};
use peerage_dag::pb::{Link, Node};
use peerage_dag::{Cid, Codec, Profile, sha2_256};

/// A folder of files on disk, hashed as a share is.
struct Shared {
    folder: tempfile::TempDir,
    leaves: LeafSet,
    dag: Dag,
    store: Arc<Store>,
}

const ONE: ContentId = ContentId(1);
const DEFAULT: &str = "unixfs-v1-2025";

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index / 7) as u8 ^ (index >> 9) as u8 ^ seed).collect()
}

fn shared(files: &[(&str, Vec<u8>)], profile: &str) -> Shared {
    let folder = tempfile::tempdir().unwrap();
    let entry = |(name, bytes): &(&str, Vec<u8>)| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
        let path = RelPath::from_components(name.split('/')).unwrap();
        Entry { path, length: bytes.len() as u64, kind: EntryKind::File { executable: false }, offset: 0 }
    };
    let entries = files.iter().map(entry).collect();
    let layout = Layout::new(entries, 1 << 16, Alignment::PerFile).unwrap();
    let profile: Profile = profile.parse().unwrap();
    let frame = frames(&profile);
    let hashed = |entry: &Entry| {
        Some(HashedFile { path: folder.path().join(entry.path.as_path()), length: entry.length })
    };
    let plan = HashPlan {
        layout: &layout,
        files: layout.entries().iter().map(hashed).collect(),
        v1: false,
        v2: true,
        leaves: Some(LeafPlan { length: profile.chunk_size(), frame: &frame }),
        threads: 1,
    };
    let hashed = hash(&plan, &|_| true).unwrap();
    let leaves = LeafSet { profile, leaves: hashed.leaves.unwrap() };
    let dag = leaves.build(&layout, false).unwrap();
    let full = PieceSet::full(layout.piece_count());
    let place = Place::InPlace(folder.path().to_owned());
    let store = Arc::new(Store::new(Arc::new(layout), place, FilePool::new(8), full, hashed.stamps));
    Shared { folder, leaves, dag, store }
}

fn frames(profile: &Profile) -> impl Fn(u32) -> LeafFrame + Send + Sync + 'static {
    let profile = profile.clone();
    move |length| {
        let frame = profile.leaf_frame(length);
        LeafFrame { prefix: frame.prefix, suffix: frame.suffix }
    }
}

impl Shared {
    fn source(&self) -> Arc<InPlace> {
        let profile = &self.leaves.profile;
        Arc::new(InPlace::new(self.store.clone(), profile.chunk_size(), frames(profile)))
    }

    fn add_to(&self, blocks: &Blocks, id: ContentId) {
        blocks.add_content(id, &self.leaves, &self.dag, self.source()).unwrap();
    }
}

/// A raw block.
fn raw(text: &str) -> (Cid, Bytes) {
    (sha2_256(Codec::Raw, text.as_bytes()), Bytes::copy_from_slice(text.as_bytes()))
}

/// A node that links to others.
fn node(links: &[Cid]) -> (Cid, Bytes) {
    let links = links.iter().map(|&cid| Link { cid, name: None, tsize: None }).collect();
    let block = Node { links, data: None }.encode();
    (sha2_256(Codec::DagPb, &block), block.into())
}

/// All blocks at and below `root`, each verified.
fn walked(blocks: &Blocks, root: Cid) -> HashSet<Cid> {
    let (mut seen, mut waiting) = (HashSet::new(), vec![root]);
    while let Some(cid) = waiting.pop() {
        let block = blocks.get(&cid).unwrap().unwrap_or_else(|| panic!("{cid} is not here"));
        peerage_dag::verify(&cid, &block).unwrap();
        assert_eq!(blocks.length(&cid).unwrap(), Some(block.len()));
        if seen.insert(cid) {
            waiting.extend(peerage_dag::links(&cid, &block).unwrap());
        }
    }
    seen
}

fn some_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a", bytes(100, 1)),
        ("empty", Vec::new()),
        ("sub/b", bytes(200_000, 2)),
        ("sub/c", bytes(1 << 16, 3)),
        ("z", bytes((3 << 16) + 1, 4)),
    ]
}

#[test]
fn every_block_of_shared_files_is_read_where_it_lies() {
    for profile in [
        "unixfs-v1-2025",
        "unixfs-v1-2025,chunk-size=65536,width=2",
        "unixfs-v0-2015,chunk-size=1000,width=3",
    ] {
        let shared = shared(&some_files(), profile);
        let blocks = Blocks::in_memory().unwrap();
        shared.add_to(&blocks, ONE);
        let all = walked(&blocks, shared.dag.root);
        let named: HashSet<_> = shared.leaves.places().map(|(cid, _)| cid).collect();
        assert!(named.is_subset(&all), "{profile}");
        // The same digest under another codec is the same block.
        let other = Cid::new_v1(Codec::Raw as u64, *shared.dag.root.hash());
        assert_eq!(blocks.get(&other).unwrap(), blocks.get(&shared.dag.root).unwrap());
        for (cid, entry) in &shared.dag.files {
            assert_eq!(blocks.file(cid).unwrap().map(|file| file.entry), Some(*entry as usize));
        }
    }
}

#[test]
fn a_leaf_in_two_contents_is_read_from_the_one_that_still_has_it() {
    let (one, two) = (shared(&[("x", bytes(500, 9))], DEFAULT), shared(&[("y", bytes(500, 9))], DEFAULT));
    let blocks = Blocks::in_memory().unwrap();
    one.add_to(&blocks, ONE);
    two.add_to(&blocks, ContentId(2));
    let leaf = one.dag.files[0].0;
    std::fs::write(one.folder.path().join("x"), "changed").unwrap();
    assert_eq!(blocks.get(&leaf).unwrap().unwrap(), bytes(500, 9));
    std::fs::write(two.folder.path().join("y"), "changed").unwrap();
    assert!(matches!(blocks.get(&leaf), Err(BlocksError::InPlace(_))));
    blocks.rest(ONE);
    blocks.rest(ContentId(2));
    assert_eq!(blocks.get(&leaf).unwrap(), None);
}

#[test]
fn content_that_is_forgotten_is_gone() {
    let shared = shared(&some_files(), DEFAULT);
    let blocks = Blocks::in_memory().unwrap();
    shared.add_to(&blocks, ONE);
    assert_eq!(blocks.root_of(ONE).unwrap(), Some(shared.dag.root));
    assert_eq!(blocks.contents().unwrap(), [ONE]);
    blocks.remove_content(ONE).unwrap();
    assert_eq!(blocks.root_of(ONE).unwrap(), None);
    let leaf = shared.leaves.places().next().unwrap().0;
    assert_eq!(blocks.get(&leaf).unwrap(), None);
    assert_eq!(blocks.get(&shared.dag.root).unwrap(), None);
    assert_eq!((blocks.kept_bytes().unwrap(), blocks.contents().unwrap()), (0, vec![]));
}

#[test]
fn what_two_contents_share_stays_with_the_other() {
    let (one, two) = (shared(&some_files(), DEFAULT), shared(&some_files()[1..], DEFAULT));
    let blocks = Blocks::in_memory().unwrap();
    one.add_to(&blocks, ONE);
    two.add_to(&blocks, ContentId(2));
    blocks.remove_content(ONE).unwrap();
    walked(&blocks, two.dag.root);
    assert_eq!(blocks.get(&one.dag.root).unwrap(), None);
    // The number of a content that is gone may be given to another one.
    one.add_to(&blocks, ContentId(2));
    walked(&blocks, one.dag.root);
    assert_eq!(blocks.get(&two.dag.root).unwrap(), None);
    blocks.remove_content(ContentId(2)).unwrap();
    assert_eq!(blocks.kept_bytes().unwrap(), 0);
}

#[test]
fn the_nodes_of_content_that_is_pinned_stay() {
    let shared = shared(&some_files(), DEFAULT);
    let blocks = Blocks::in_memory().unwrap();
    shared.add_to(&blocks, ONE);
    blocks.pin(&shared.dag.root, PinMode::Direct, "").unwrap();
    blocks.remove_content(ONE).unwrap();
    blocks.collect(0).unwrap();
    assert!(blocks.get(&shared.dag.root).unwrap().is_some());
}

#[test]
fn only_what_the_cid_names_is_kept() {
    let blocks = Blocks::in_memory().unwrap();
    let (cid, _) = raw("true");
    let refused = blocks.put([raw("other"), (cid, Bytes::from_static(b"false"))]);
    assert!(matches!(refused, Err(BlocksError::Mismatch(_))), "{refused:?}");
    assert_eq!(blocks.get(&raw("other").0).unwrap(), None, "nothing of it is kept");
    let long = Bytes::from(vec![0; (2 << 20) + 1]);
    let refused = blocks.put([(sha2_256(Codec::Raw, &long), long)]);
    assert!(matches!(refused, Err(BlocksError::TooLong { .. })), "{refused:?}");
    let identity: Cid = "bafkqabtimvwgy3yk".parse().unwrap();
    assert_eq!(blocks.get(&identity).unwrap().unwrap(), "hello\n");
    assert_eq!(blocks.length(&identity).unwrap(), Some(6));
}

#[test]
fn a_pin_needs_all_that_is_below_it() {
    let blocks = Blocks::in_memory().unwrap();
    let (leaf, top) = (raw("leaf"), node(&[raw("leaf").0]));
    blocks.put([top.clone()]).unwrap();
    match blocks.pin(&top.0, PinMode::Recursive, "mine") {
        Err(BlocksError::Incomplete { root, missing }) => assert_eq!((*root, *missing), (top.0, leaf.0)),
        other => panic!("{other:?}"),
    }
    assert!(blocks.pins().unwrap().is_empty());
    blocks.pin(&top.0, PinMode::Direct, "").unwrap();
    blocks.put([leaf.clone()]).unwrap();
    blocks.pin(&top.0, PinMode::Recursive, "mine").unwrap();
    let pins = blocks.pins().unwrap();
    assert_eq!((pins.len(), pins[0].mode, pins[0].name.as_str()), (1, PinMode::Recursive, "mine"));
    assert!(blocks.unpin(&top.0).unwrap() && !blocks.unpin(&top.0).unwrap());
}

#[test]
fn the_oldest_of_what_nothing_keeps_goes_first() {
    let blocks = Blocks::in_memory().unwrap();
    let shared = shared(&some_files(), DEFAULT);
    shared.add_to(&blocks, ONE);
    let kept = blocks.kept_bytes().unwrap();
    let pinned = [raw("pinned leaf"), node(&[raw("pinned leaf").0])];
    blocks.put(pinned.clone()).unwrap();
    blocks.pin(&pinned[1].0, PinMode::Recursive, "").unwrap();
    let direct = node(&[raw("below").0]);
    blocks.put([direct.clone(), raw("below")]).unwrap();
    blocks.pin(&direct.0, PinMode::Direct, "").unwrap();
    let loose = ["1", "2", "3", "4"].map(raw);
    blocks.put(loose.clone()).unwrap();
    // Whoever puts a block again needs it.
    blocks.put([loose[0].clone()]).unwrap();

    let target = blocks.kept_bytes().unwrap() - 7;
    assert_eq!(blocks.collect(target).unwrap(), Collected { blocks: 3, bytes: 7 });
    let here = |cid: &Cid| blocks.get(cid).unwrap().is_some();
    assert!(!here(&raw("below").0) && !here(&loose[1].0) && !here(&loose[2].0));
    assert!(here(&loose[0].0) && here(&loose[3].0));

    assert_eq!(blocks.collect(0).unwrap().blocks, 2);
    assert!(pinned.iter().all(|(cid, _)| here(cid)) && here(&direct.0));
    walked(&blocks, shared.dag.root);
    blocks.unpin(&pinned[1].0).unwrap();
    blocks.unpin(&direct.0).unwrap();
    assert_eq!(blocks.collect(0).unwrap().blocks, 3);
    assert_eq!(blocks.kept_bytes().unwrap(), kept);
}

#[test]
fn what_is_put_under_a_hold_stays_while_it_lasts() {
    let blocks = Blocks::in_memory().unwrap();
    blocks.put([raw("before")]).unwrap();
    let hold = blocks.hold().unwrap();
    let second = blocks.hold().unwrap();
    blocks.put([raw("during")]).unwrap();
    drop(hold);
    assert_eq!(blocks.collect(0).unwrap().blocks, 1);
    assert!(blocks.get(&raw("during").0).unwrap().is_some());
    drop(second);
    assert_eq!(blocks.collect(0).unwrap().blocks, 1);
    assert_eq!(blocks.get(&raw("during").0).unwrap(), None);
}

#[test]
fn a_damaged_node_ends_the_collection() {
    let blocks = Blocks::in_memory().unwrap();
    let bad = Bytes::from_static(b"\xff\xff");
    let cid = sha2_256(Codec::DagPb, &bad);
    blocks.put([(cid, bad), raw("loose")]).unwrap();
    blocks.pin(&cid, PinMode::Direct, "").unwrap();
    assert_eq!(blocks.collect(0).unwrap().blocks, 1, "alone it needs no links");
    let top = node(&[cid]);
    blocks.put([top.clone()]).unwrap();
    assert!(matches!(blocks.pin(&top.0, PinMode::Recursive, ""), Err(BlocksError::Malformed { .. })));
}

#[test]
fn the_next_run_finds_all_of_it() {
    let shared = shared(&some_files(), DEFAULT);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks");
    let blocks = Blocks::open(&path).unwrap();
    match Blocks::open(&path) {
        Err(BlocksError::InUse { path: named }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
    shared.add_to(&blocks, ONE);
    blocks.put([raw("pinned")]).unwrap();
    blocks.pin(&raw("pinned").0, PinMode::Recursive, "p").unwrap();
    let before = blocks.clone();
    blocks.close();
    assert!(matches!(before.get(&shared.dag.root), Err(BlocksError::Closed)));

    let blocks = Blocks::open(&path).unwrap();
    assert_eq!(blocks.root_of(ONE).unwrap(), Some(shared.dag.root));
    assert_eq!(blocks.pins().unwrap().len(), 1);
    let leaf = shared.leaves.places().next().unwrap().0;
    assert_eq!(blocks.get(&leaf).unwrap(), None, "nobody can read the file yet");
    blocks.collect(0).unwrap();
    blocks.revive(ONE, shared.source());
    walked(&blocks, shared.dag.root);
    assert!(blocks.get(&raw("pinned").0).unwrap().is_some());
}

#[test]
fn a_store_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks");
    std::fs::write(&path, "something else that is long enough to be looked at ".repeat(100)).unwrap();
    assert!(matches!(Blocks::open(&path), Err(BlocksError::Store { .. })));
    assert!(Blocks::open(Path::new("/nowhere/at/all")).is_err());
}

#[test]
fn small_files_cost_little() {
    const FILES: usize = 10_000;
    let names: Vec<_> = (0..FILES).map(|index| format!("{:03}/{index:05}.jpg", index / 100)).collect();
    let files: Vec<_> =
        names.iter().enumerate().map(|(index, name)| (name.as_str(), index.to_le_bytes().to_vec())).collect();
    let shared = shared(&files, DEFAULT);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks");
    let blocks = Blocks::open(&path).unwrap();
    shared.add_to(&blocks, ONE);
    drop(blocks);
    let stored = std::fs::metadata(&path).unwrap().len() + shared.leaves.to_bytes().len() as u64;
    assert!(stored / (FILES as u64) < 300, "{} bytes a file", stored / FILES as u64);
}

#[test]
fn leaves_are_read_back_and_nothing_else_is_believed() {
    let one = shared(&some_files(), "unixfs-v0-2015,chunk-size=1000");
    let layout = one.store.layout();
    let bytes = one.leaves.to_bytes();
    assert_eq!(LeafSet::parse(&bytes, layout).unwrap(), one.leaves);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(LeafSet::parse(&damaged, layout).is_err(), "{at}");
    }
    for length in 0..40.min(bytes.len()) {
        assert!(LeafSet::parse(&bytes[..length], layout).is_err());
    }
    let other = shared(&[("a", bytes[..5].to_vec())], DEFAULT);
    assert!(LeafSet::parse(&bytes, other.store.layout()).is_err());
}
