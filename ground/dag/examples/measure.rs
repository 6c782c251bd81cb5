//! What trees cost, without the hashing of files: `cargo run --release -p peerage-dag --example measure`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::collections::HashMap;
use std::time::Instant;

use peerage_dag::{Built, FileWalk, Listing, Profile, Tree, file};
use sha2::{Digest, Sha256};

const FILES: u64 = 100_000;
const TERABYTE: u64 = 1 << 40;

fn main() {
    let profile = Profile::default();
    folders(&profile);
    large_file(&profile);
}

/// A tree of many files, in one directory and in a thousand.
fn folders(profile: &Profile) {
    for (what, per_folder) in [("one folder", FILES), ("folders of 100", 100)] {
        let before = resident();
        let start = Instant::now();
        let mut tree = Tree::new();
        for n in 0..FILES {
            let digest: [u8; 32] = Sha256::digest(n.to_le_bytes()).into();
            let built = Built { cid: profile.leaf_cid(&digest), tsize: 4096, size: 4096 };
            let path = [format!("folder {}", n / per_folder), format!("file with number {n}")];
            tree.add(path.iter().skip(usize::from(per_folder == FILES)), &built).unwrap();
        }
        let bytes = resident().saturating_sub(before) / FILES;
        let added = start.elapsed();
        let (mut blocks, mut block_bytes) = (HashMap::new(), 0);
        let root = tree.build(profile, &mut |cid, block| {
            block_bytes += block.len() as u64;
            blocks.insert(cid, block);
        });
        println!(
            "{FILES} files in {what}: added in {added:?}, {bytes} more bytes of memory a file; built in {:?}, {} blocks, {} bytes of them a file",
            start.elapsed() - added,
            blocks.len(),
            block_bytes / FILES
        );
        let start = Instant::now();
        let mut listing = Listing::new(root.unwrap().cid);
        let mut entries = 0;
        loop {
            while listing.next().unwrap().is_some() {
                entries += 1;
            }
            let Some(cid) = listing.need().copied() else { break };
            listing.feed(&cid, &blocks[&cid]).unwrap();
        }
        println!("{entries} entries of its root listed in {:?}", start.elapsed());
    }
}

/// The nodes above the leaves of a terabyte.
fn large_file(profile: &Profile) {
    let leaves = vec![[7; 32]; usize::try_from(profile.leaf_count(TERABYTE)).unwrap()];
    let mut blocks = HashMap::new();
    let start = Instant::now();
    let built = file::build(profile, TERABYTE, &leaves, &mut |cid, block| drop(blocks.insert(cid, block)));
    println!("nodes above {} leaves of a file built in {:?}", leaves.len(), start.elapsed());
    let start = Instant::now();
    let mut walk = FileWalk::new(built.cid, 0..TERABYTE);
    let mut runs = 0;
    loop {
        while walk.next().unwrap().is_some() {
            runs += 1;
        }
        let Some(cid) = walk.need().copied() else { break };
        walk.feed(&cid, &blocks[&cid]).unwrap();
    }
    println!("walked, {runs} runs, in {:?}", start.elapsed());
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
