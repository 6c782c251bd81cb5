use proptest::prelude::*;

use super::*;
use crate::directory::{self, Entry};
use crate::hamt::{Fanout, hash};
use crate::unixfs::{Data, Kind, Metadata};
use crate::{Cid, Listing, Profile, WalkError};

fn list(blocks: &Blocks, root: Cid) -> Result<Vec<(String, Cid)>, WalkError> {
    let mut listing = Listing::new(root);
    let mut found = Vec::new();
    loop {
        while let Some(entry) = listing.next()? {
            found.push((String::from_utf8_lossy(&entry.name).into_owned(), entry.cid));
        }
        let Some(cid) = listing.need().copied() else { return Ok(found) };
        listing.feed(&cid, blocks.get(&cid))?;
    }
}

/// The data of a shard of 256 buckets.
fn shard() -> Data<'static> {
    Data { hash_type: Some(0x22), fanout: Some(256), ..Data::new(Kind::HamtShard) }
}

/// A name's bucket, as it begins the name of its link.
fn prefix(name: &str, level: u32) -> String {
    let fanout = Fanout::new(256).unwrap();
    fanout.prefix(fanout.bucket(hash(name.as_bytes()), level).unwrap())
}

proptest! {
    #[test]
    fn what_was_built_is_listed(
        names in prop::collection::btree_set("[^/\0]{1,20}", 0..300),
        settings in prop::sample::select(vec![
            "threshold-bytes=1048576", "threshold-bytes=0", "threshold-bytes=0,fanout=8", "threshold-bytes=0,fanout=1024",
        ]),
    ) {
        let profile: Profile = settings.parse().unwrap();
        let mut blocks = Blocks::default();
        let names: Vec<_> = names.into_iter().filter(|name| directory::is_name(name.as_bytes())).collect();
        let mut entries: Vec<_> = names
            .iter()
            .map(|name| Entry::new(name.as_bytes(), &crate::sha2_256(crate::Codec::Raw, name.as_bytes()), 1).unwrap())
            .collect();
        let built = directory::build(&profile, &mut entries, &Metadata::NONE, &mut |cid, block| blocks.put(cid, block)).unwrap();
        let mut listed = list(&blocks, built.cid).unwrap();
        listed.sort();
        let expected: Vec<_> = names.into_iter().map(|name| {
            let cid = crate::sha2_256(crate::Codec::Raw, name.as_bytes());
            (name, cid)
        }).collect();
        prop_assert_eq!(listed, expected);
    }
}

#[test]
fn of_two_entries_with_one_name_the_first_counts() {
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"a"), blocks.raw(b"b"));
    let root = blocks.node(&Data::new(Kind::Directory), &[("x", a), ("x", b), ("w", b)]);
    assert_eq!(list(&blocks, root).unwrap(), [("x".to_owned(), a), ("w".to_owned(), b)]);
}

#[test]
fn names_that_climb_are_refused() {
    let mut blocks = Blocks::default();
    let file = blocks.raw(b"a");
    for name in ["..", ".", "", "a/b", "../../etc/passwd", "a\0"] {
        let root = blocks.node(&Data::new(Kind::Directory), &[(name, file)]);
        assert_eq!(list(&blocks, root), Err(WalkError::Name(name.to_owned())));
        if !name.is_empty() {
            let root = blocks.node(&shard(), &[(&(prefix(name, 0) + name), file)]);
            assert_eq!(list(&blocks, root), Err(WalkError::Name(name.to_owned())));
        }
    }
}

#[test]
fn a_file_is_no_directory() {
    let mut blocks = Blocks::default();
    let raw = blocks.raw(b"a");
    assert_eq!(list(&blocks, raw), Err(WalkError::NotADirectory(Kind::Raw)));
    let file = blocks.node(&Data::new(Kind::File), &[]);
    assert_eq!(list(&blocks, file), Err(WalkError::NotADirectory(Kind::File)));
    // A whole directory cannot stand in a bucket.
    let whole = blocks.node(&Data::new(Kind::Directory), &[("x", raw)]);
    let root = blocks.node(&shard(), &[("00", whole)]);
    assert_eq!(list(&blocks, root), Err(WalkError::NotADirectory(Kind::Directory)));
}

#[test]
fn shards_that_are_not_what_they_must_be_are_refused() {
    let mut blocks = Blocks::default();
    let file = blocks.raw(b"a");
    let right = prefix("name", 0) + "name";
    let empty = blocks.node(&shard(), &[]);
    let below = blocks.node(&shard(), &[(&(prefix("name", 1) + "name"), file)]);
    let narrow = Data { fanout: Some(8), ..shard() };
    let narrow_below = blocks.node(&narrow, &[("0", file)]);
    let wrong_bucket = if right.starts_with("00") { "01" } else { "00" };
    for (data, links, why) in [
        (Data { hash_type: Some(0x12), ..shard() }, vec![], "unknown hash function"),
        (Data { fanout: Some(1 << 40), ..shard() }, vec![], "impossible number of buckets"),
        (Data { fanout: None, ..shard() }, vec![], "impossible number of buckets"),
        (shard(), vec![("XXname", file)], "name without a bucket"),
        (shard(), vec![("0", file)], "name without a bucket"),
        (shard(), vec![(&right, file), (&right, file)], "bucket taken twice"),
        (shard(), vec![(&format!("{wrong_bucket}name"), file)], "name in a wrong bucket"),
        (shard(), vec![("00", empty)], "empty shard"),
        (shard(), vec![(wrong_bucket, below)], "name in a wrong bucket"),
        (shard(), vec![("00", narrow_below)], "the number of buckets changes"),
    ] {
        let root = blocks.node(&data, &links);
        assert_eq!(list(&blocks, root), Err(WalkError::Shard(why)));
    }
    let root = blocks.node(&shard(), &[(&prefix("name", 0), below)]);
    assert_eq!(list(&blocks, root).unwrap(), [("name".to_owned(), file)]);
}

/// A chain of shards that all stand in the first bucket, which no hash of a name could make end.
#[test]
fn shards_end_with_the_bits_of_the_hash() {
    let mut blocks = Blocks::default();
    let mut root = blocks.raw(b"a");
    for _ in 0..20 {
        root = blocks.node(&shard(), &[("00", root)]);
    }
    assert_eq!(list(&blocks, root), Err(WalkError::TooDeep));
}
