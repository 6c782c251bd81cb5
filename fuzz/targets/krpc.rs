//! Any bytes are a datagram of the DHT or nothing; one that is written again reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::fuzzing::krpc;

fuzz_target!(|datagram: &[u8]| {
    let to = "192.0.2.1:6881".parse().unwrap();
    let Some(again) = krpc(datagram, to) else { return };
    assert_eq!(krpc(&again, to).as_deref(), Some(again.as_slice()));
});
