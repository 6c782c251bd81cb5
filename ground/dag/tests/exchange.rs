//! Trees go to and come from the packages of IPFS in JavaScript, in CARs.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod node;

use std::collections::{BTreeMap, HashMap};

use peerage_dag::car::{self, CarItem, CarReader};
use peerage_dag::{Cid, FileWalk, Listing, Profile, Resolver, Tree, VerifyError, file, verify};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Files of a tree with a large directory, small ones, and names that are not ASCII.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for n in 0..300 {
        files.insert(format!("large/ąę {n}"), format!("text {n}"));
    }
    files.insert("small/deep/file".to_owned(), (0..700).map(|n| format!("{n} ")).collect());
    files.insert("empty".to_owned(), String::new());
    files
}

/// Our tree of these files as a CAR.
fn packed(profile: &Profile, files: &BTreeMap<String, String>) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut tree = Tree::new();
    for (path, text) in files {
        let mut leaves = Vec::new();
        let chunks: Vec<_> = text.as_bytes().chunks(profile.chunk_size() as usize).collect();
        for chunk in if chunks.is_empty() { vec![&[][..]] } else { chunks } {
            let frame = profile.leaf_frame(chunk.len() as u32);
            let block = [&frame.prefix, chunk, &frame.suffix].concat();
            leaves.push(Sha256::digest(&block).into());
            blocks.push((profile.leaf_cid(leaves.last().unwrap()), block));
        }
        let built =
            file::build(profile, text.len() as u64, &leaves, &mut |cid, block| blocks.push((cid, block)));
        tree.add(path.split('/'), &built).unwrap();
    }
    let root = tree.build(profile, &mut |cid, block| blocks.push((cid, block))).unwrap();
    let mut car = car::header(&[root.cid]);
    for (cid, block) in blocks {
        car.extend(car::section(&cid, block.len()));
        car.extend(block);
    }
    car
}

#[test]
fn what_we_build_is_read_by_the_exporter() {
    let files = files();
    for profile in
        ["unixfs-v1-2025", "unixfs-v0-2015", "chunk-size=100,width=3,threshold-bytes=1000", "leaves=dag-pb"]
    {
        let paths = ["large/ąę 7", "large/ąę 299", "small/deep/file", "empty", "large", "small"];
        let found = node::lines(&node::run(
            "car.mjs",
            &[&["cat"], &paths[..]].concat(),
            packed(&profile.parse().unwrap(), &files),
        ));
        for (path, found) in paths[..4].iter().zip(&found) {
            assert_eq!(found["text"], files[*path], "{profile} {path}");
        }
        let mut names: Vec<_> =
            found[4]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        names.sort_unstable();
        let expected: Vec<_> = files.keys().filter_map(|path| path.strip_prefix("large/")).collect();
        assert_eq!(names, expected, "{profile}");
        assert_eq!(found[5]["names"], json!(["deep"]), "{profile}");
    }
}

#[test]
fn what_the_importer_builds_is_read_by_us() {
    let files = files();
    let input: String =
        files.iter().map(|(path, text)| format!("{}\n", json!({"path": path, "text": text}))).collect();
    for layout in ["balanced", "trickle"] {
        let (root, blocks) = unpacked(&node::run("car.mjs", &["pack", layout], input.clone().into_bytes()));
        for (path, text) in &files {
            assert_eq!(read(&blocks, resolve(&blocks, root, path)), text.as_bytes(), "{layout} {path}");
        }
        let mut names = list(&blocks, resolve(&blocks, root, "large"));
        names.sort_unstable();
        let expected: Vec<_> = files.keys().filter_map(|path| path.strip_prefix("large/")).collect();
        assert_eq!(names, expected, "{layout}");
    }
}

type Blocks = HashMap<Cid, Vec<u8>>;

fn unpacked(car: &[u8]) -> (Cid, Blocks) {
    let mut reader = CarReader::new();
    let (mut roots, mut blocks) = (Vec::new(), Blocks::new());
    for piece in car.chunks(1000) {
        reader.push(piece);
        while let Some(item) = reader.next().unwrap() {
            match item {
                CarItem::Roots(found) => roots = found,
                CarItem::Block(cid, block) => {
                    assert_eq!(verify(&cid, &block), Ok::<_, VerifyError>(()));
                    blocks.insert(cid, block.to_vec());
                }
            }
        }
    }
    reader.finish().unwrap();
    (roots[0], blocks)
}

fn resolve(blocks: &Blocks, root: Cid, path: &str) -> Cid {
    let mut resolver = Resolver::new(root, path.as_bytes()).unwrap();
    loop {
        if let Some(resolved) = resolver.next().unwrap() {
            return resolved.cid;
        }
        let cid = *resolver.need().unwrap();
        resolver.feed(&cid, &blocks[&cid]).unwrap();
    }
}

fn read(blocks: &Blocks, root: Cid) -> Vec<u8> {
    let mut walk = FileWalk::new(root, 0..u64::MAX);
    let mut bytes = Vec::new();
    loop {
        while let Some(extent) = walk.next().unwrap() {
            bytes.extend(extent.of(&blocks[&extent.cid]).unwrap());
        }
        let Some(cid) = walk.need().copied() else { return bytes };
        walk.feed(&cid, &blocks[&cid]).unwrap();
    }
}

fn list(blocks: &Blocks, root: Cid) -> Vec<String> {
    let mut listing = Listing::new(root);
    let mut names = Vec::new();
    loop {
        while let Some(entry) = listing.next().unwrap() {
            names.push(String::from_utf8(entry.name).unwrap());
        }
        let Some(cid) = listing.need().copied() else { return names };
        listing.feed(&cid, &blocks[&cid]).unwrap();
    }
}
