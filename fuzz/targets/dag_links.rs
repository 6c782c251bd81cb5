//! The links of any block, of any codec: as many as fit into it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_dag::{Codec, links, sha2_256};

fuzz_target!(|block: &[u8]| {
    for codec in [Codec::DagPb, Codec::DagCbor, Codec::DagJson] {
        if let Ok(links) = links(&sha2_256(codec, b""), block) {
            assert!(links.len() * 4 <= block.len());
        }
    }
});
