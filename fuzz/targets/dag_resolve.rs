//! A path through any blocks ends when they do, or at the end of the path.
#![no_main]

#[path = "parts/blocks.rs"]
mod blocks;

use blocks::Blocks;
use libfuzzer_sys::fuzz_target;
use peerage_dag::{Codec, Resolver, sha2_256};

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (codec, path, bytes) = input;
    let codec = [Codec::DagPb, Codec::DagCbor, Codec::DagJson, Codec::Raw][usize::from(codec % 4)];
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
