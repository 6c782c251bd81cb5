//! Any bytes are an announcement on the local network or nothing; what is taken of it is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::fuzzing::lan;

fuzz_target!(|datagram: &[u8]| {
    if let Some((port, swarms)) = lan(datagram) {
        assert!(port != 0 && (1..=64).contains(&swarms));
    }
});
