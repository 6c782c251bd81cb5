//! A path through any blocks ends when they do, or at the end of the path.
#![no_main]

#[path = "parts/blocks.rs"]
mod blocks;

use blocks::Blocks;
use libfuzzer_sys::fuzz_target;
use peerage_dag::{Codec, Resolver, sha2_256};

// The codec of the first block, the path to the end of its line, the blocks.
fuzz_target!(|input: &[u8]| {
    let Some((&codec, rest)) = input.split_first() else { return };
    let codec = [Codec::DagPb, Codec::DagCbor, Codec::DagJson, Codec::Raw][usize::from(codec % 4)];
    let line = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (path, bytes) = rest.split_at(line);
    let bytes = bytes.get(1..).unwrap_or_default();
    let components = path.split(|&byte| byte == b'/').count();
    let Ok(mut resolver) = Resolver::new(sha2_256(codec, b""), path) else { return };
    let mut blocks = Blocks::new(bytes);
    loop {
        match resolver.next() {
            Err(_) => return,
            Ok(Some(resolved)) => {
                assert!(resolved.roots.len() + resolved.remainder.len() <= components + 1);
                return;
            }
            Ok(None) => {
                let cid = *resolver.need().unwrap();
                let Some(block) = blocks.next() else { return };
                if resolver.feed(&cid, block).is_err() {
                    return;
                }
            }
        }
    }
});
