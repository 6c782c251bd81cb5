//! Any bytes are a tracker's answer to an announce or a scrape, or a refusal; what is taken of them is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::tracker::TrackerError;
use peerage_bittorrent::tracker::announce::{PEERS_MAX, TEXT_MAX};
use peerage_bittorrent::tracker::http::{parse_announce, parse_scrape};

fuzz_target!(|body: &[u8]| {
    match parse_announce(body) {
        Ok(answer) => {
            assert!(answer.peers.len() <= PEERS_MAX);
            assert!(answer.tracker_id.is_none_or(|id| id.len() <= 256));
            assert!(answer.warning.is_none_or(|text| text.chars().count() <= TEXT_MAX));
        }
        Err(TrackerError::Refused(text)) => assert!(text.chars().count() <= TEXT_MAX),
        Err(_) => {}
    }
    // As in the seeds, and whatever the fuzzer makes of them.
    let asked = [SwarmHash(*b"aaaaaaaaaaaaaaaaaaaa"), SwarmHash([0xff; 20])];
    if let Ok(sizes) = parse_scrape(body, &asked) {
        assert!(sizes.len() <= asked.len());
        assert!(sizes.iter().all(|(swarm, _)| asked.contains(swarm)));
    }
});
