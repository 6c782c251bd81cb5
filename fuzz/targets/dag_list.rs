//! A listing of a directory of any blocks ends when they do, and gives only names that can be components of a path.
#![no_main]

#[path = "parts/blocks.rs"]
mod blocks;

use blocks::Blocks;
use libfuzzer_sys::fuzz_target;
use peerage_dag::directory::is_name;
use peerage_dag::{Codec, Listing, sha2_256};

fuzz_target!(|bytes: &[u8]| {
    let mut listing = Listing::new(sha2_256(Codec::DagPb, b""));
    let mut blocks = Blocks::new(bytes);
    let mut named = 0;
    loop {
        match listing.next() {
            Err(_) => return,
            Ok(Some(entry)) => {
                assert!(is_name(&entry.name));
                named += entry.name.len();
                assert!(named <= bytes.len());
            }
            Ok(None) => {
                let Some(&cid) = listing.need() else { return };
                let Some(block) = blocks.next() else { return };
                if listing.feed(&cid, block).is_err() {
                    return;
                }
            }
        }
    }
});
