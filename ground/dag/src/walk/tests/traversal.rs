use std::collections::HashSet;

use super::*;
use crate::unixfs::{Data, Kind};
use crate::{Codec, Traversal, WalkError, sha2_256};

#[test]
fn every_block_comes_before_those_below_it_and_once_if_the_rest_is_skipped() {
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"a"), blocks.raw(b"b"));
    let inner = blocks.node(&Data::new(Kind::Directory), &[("a", a), ("b", b)]);
    let root = blocks.node(&Data::new(Kind::Directory), &[("a", a), ("x", inner), ("y", inner)]);

    let mut traversal = Traversal::new(root);
    let mut order = Vec::new();
    while let Some(&cid) = traversal.need() {
        order.push(cid);
        traversal.feed(&cid, blocks.get(&cid)).unwrap();
    }
    assert_eq!(order, [root, a, inner, a, b, inner, a, b]);

    let mut traversal = Traversal::new(root);
    let mut seen = HashSet::new();
    let mut order = Vec::new();
    while let Some(&cid) = traversal.need() {
        if seen.insert(cid) {
            order.push(cid);
            traversal.feed(&cid, blocks.get(&cid)).unwrap();
        } else {
            traversal.skip();
        }
    }
    assert_eq!(order, [root, a, inner, b]);
}

#[test]
fn what_comes_is_foretold() {
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"a"), blocks.raw(b"b"));
    let root = blocks.node(&Data::new(Kind::Directory), &[("a", a), ("b", b)]);
    let mut traversal = Traversal::new(root);
    traversal.feed(&root, blocks.get(&root)).unwrap();
    assert_eq!((traversal.need(), traversal.upcoming().copied().collect()), (Some(&a), vec![b]));
    assert_eq!(traversal.feed(&b, b"b"), Err(WalkError::NotAsked));
}

#[test]
fn depth_and_width_are_bounded() {
    let chain = |traversal: &mut Traversal, block: &[u8]| {
        let cid = *traversal.need().unwrap();
        traversal.feed(&cid, block)
    };
    // Blocks of a stranger who does not have to find a hash: this walk does not verify.
    let mut blocks = Blocks::default();
    let root = sha2_256(Codec::DagPb, b"");
    let one = blocks.node(&Data::new(Kind::Directory), &[("a", root)]);
    let mut traversal = Traversal::new(root);
    for _ in 0..1024 {
        chain(&mut traversal, blocks.get(&one)).unwrap();
    }
    assert_eq!(chain(&mut traversal, blocks.get(&one)), Err(WalkError::TooDeep));

    let many = blocks.node(&Data::new(Kind::Directory), &vec![("", root); 40_000]);
    let mut traversal = Traversal::new(root);
    let refused = (0..100).find_map(|_| chain(&mut traversal, blocks.get(&many)).err());
    assert_eq!(refused, Some(WalkError::TooWide));
}
