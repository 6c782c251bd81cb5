//! A DHT node among hosts that answer what they like: it goes on, and does not flood.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::fuzzing::dht_node;

fuzz_target!(|input: (bool, Vec<(u16, &[u8])>)| {
    let (ipv6, mut datagrams) = input;
    datagrams.truncate(200);
    let from = if ipv6 { "[2a00:1::1]:6881" } else { "45.1.2.3:6881" };
    let sent = dht_node(from.parse().unwrap(), &datagrams);
    // An answer may name as many nodes as one lookup asks; each datagram leads to a few queries at most.
    assert!(sent <= 400 + 32 * datagrams.len(), "{sent} datagrams for {}", datagrams.len());
});
