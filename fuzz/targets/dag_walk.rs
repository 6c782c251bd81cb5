//! A walk over a file of any blocks gives runs that follow each other inside the range, in a bounded number of steps.
#![no_main]

#[path = "parts/blocks.rs"]
mod blocks;

use blocks::Blocks;
use libfuzzer_sys::fuzz_target;
use peerage_dag::{Codec, FileWalk, sha2_256};

/// Runs that are looked at. A few blocks can hold any number.
const RUNS: usize = 10_000;

fuzz_target!(|input: (u32, u32, &[u8])| {
    let (start, span, bytes) = input;
    let range = u64::from(start)..u64::from(start) + u64::from(span);
    let mut walk = FileWalk::new(sha2_256(Codec::DagPb, b""), range.clone());
    let mut blocks = Blocks::new(bytes);
    let mut end = range.start;
    for _ in 0..RUNS {
        match walk.next() {
            Err(_) => return,
            Ok(Some(extent)) => {
                assert!(extent.length > 0 && extent.offset == end);
                assert!(extent.block_offset + extent.length <= extent.block_len);
                end += extent.length;
                assert!(end <= range.end && end <= walk.size().unwrap());
            }
            Ok(None) => {
                let Some(&cid) = walk.need() else {
                    assert_eq!(end, range.end.min(walk.size().unwrap()).max(range.start));
                    return;
                };
                let Some(block) = blocks.next() else { return };
                if walk.feed(&cid, block).is_err() {
                    return;
                }
            }
        }
    }
});
