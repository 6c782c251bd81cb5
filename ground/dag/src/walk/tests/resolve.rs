use super::*;
use crate::directory::symlink;
use crate::unixfs::{Data, Kind, Metadata};
use crate::{Cid, Codec, Profile, Resolved, ResolvedKind, Resolver, Tree, WalkError, sha2_256};

fn resolve(blocks: &Blocks, root: Cid, path: &str) -> Result<Resolved, WalkError> {
    let mut resolver = Resolver::new(root, path.as_bytes())?;
    loop {
        if let Some(resolved) = resolver.next()? {
            assert_eq!(resolver.need(), None);
            return Ok(resolved);
        }
        let cid = *resolver.need().unwrap();
        resolver.feed(&cid, blocks.get(&cid))?;
    }
}

/// A tree with a sharded directory of a thousand names beside small ones.
fn tree(settings: &str) -> (Blocks, Cid, Cid) {
    let profile: Profile = settings.parse().unwrap();
    let mut blocks = Blocks::default();
    let file = blocks.file(&profile, b"hello");
    let link = symlink(&profile, b"../file", &Metadata::NONE, &mut |cid, block| blocks.put(cid, block));
    let mut tree = Tree::new();
    tree.add(["file"], &file).unwrap();
    tree.add(["folder", "link"], &link).unwrap();
    for n in 0..1000 {
        tree.add(["folder".to_owned(), "large".to_owned(), format!("{n}.txt")], &file).unwrap();
    }
    let built = tree.build(&profile, &mut |cid, block| blocks.put(cid, block)).unwrap();
    (blocks, built.cid, file.cid)
}

#[test]
fn paths_lead_through_directories_of_both_kinds() {
    for settings in [
        "unixfs-v1-2025",
        "threshold-bytes=0",
        "threshold-bytes=0,fanout=8",
        "unixfs-v0-2015,threshold-bytes=2000",
    ] {
        let (blocks, root, file) = tree(settings);
        for path in [
            "file",
            "/file/",
            "folder/large/470.txt",
            "folder/large/999.txt",
            "./folder/../file",
            "folder//large/./0.txt",
        ] {
            let resolved = resolve(&blocks, root, path).unwrap();
            assert_eq!((resolved.cid, &resolved.kind), (file, &ResolvedKind::Block), "{settings} {path}");
            assert_eq!(resolved.roots.first(), Some(&root));
            assert_eq!(resolved.roots.last(), Some(&file));
        }
        assert_eq!(resolve(&blocks, root, "folder/large/5.txt").unwrap().roots.len(), 4);
        for (path, why) in [
            ("nothing", WalkError::NotFound("nothing".to_owned())),
            ("folder/large/1000.txt", WalkError::NotFound("1000.txt".to_owned())),
            ("..", WalkError::Climbs),
            ("folder/../../file", WalkError::Climbs),
        ] {
            assert_eq!(resolve(&blocks, root, path), Err(why), "{settings}");
        }
        assert!(matches!(resolve(&blocks, root, "file/x"), Err(WalkError::NotADirectory(_))));
    }
}

#[test]
fn no_path_leads_to_the_root_unasked() {
    let root = sha2_256(Codec::Raw, b"nobody has this");
    let resolved = resolve(&Blocks::default(), root, "/").unwrap();
    assert_eq!((resolved.cid, resolved.roots), (root, vec![root]));
}

#[test]
fn a_link_in_the_middle_is_reported_with_what_is_left() {
    let (blocks, root, _) = tree("unixfs-v1-2025");
    let resolved = resolve(&blocks, root, "folder/link/rest/of it").unwrap();
    assert_eq!(resolved.kind, ResolvedKind::Symlink(b"../file".to_vec()));
    assert_eq!(resolved.remainder, [b"rest".to_vec(), b"of it".to_vec()]);
    // At the end, it is a block like any other.
    assert_eq!(resolve(&blocks, root, "folder/link").unwrap().kind, ResolvedKind::Block);
}

#[test]
fn a_path_goes_from_ipld_data_into_directories_and_back() {
    let (mut blocks, root, file) = tree("unixfs-v1-2025");
    let json = format!(r#"{{"deep":{{"tree":{{"/":"{root}"}},"n":5}}}}"#).into_bytes();
    let document = sha2_256(Codec::DagJson, &json);
    blocks.put(document, json);
    let top = blocks.node(&Data::new(Kind::Directory), &[("document", document)]);
    let resolved = resolve(&blocks, top, "document/deep/tree/folder/large/1.txt").unwrap();
    assert_eq!((resolved.cid, resolved.kind), (file, ResolvedKind::Block));
    let value = resolve(&blocks, top, "document/deep/n").unwrap();
    assert_eq!((value.cid, value.kind), (document, ResolvedKind::Value));
    assert_eq!(value.remainder, [b"deep".to_vec(), b"n".to_vec()]);
    assert_eq!(resolve(&blocks, top, "document/shallow"), Err(WalkError::NotFound("shallow".to_owned())));
}

#[test]
fn a_path_ends_at_shards_whose_number_of_buckets_changes() {
    let shard = |fanout| Data { hash_type: Some(0x22), fanout: Some(fanout), ..Data::new(Kind::HamtShard) };
    let fanout = crate::hamt::Fanout::new(8).unwrap();
    let bucket = fanout.prefix(fanout.bucket(crate::hamt::hash(b"name"), 0).unwrap());
    let mut blocks = Blocks::default();
    let file = blocks.raw(b"a");
    let below = blocks.node(&shard(1024), &[("000name", file)]);
    let root = blocks.node(&shard(8), &[(&bucket, below)]);
    assert_eq!(resolve(&blocks, root, "name"), Err(WalkError::Shard("the number of buckets changes")));
}
