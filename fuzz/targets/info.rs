//! Any bytes are the dictionary of a torrent, as a peer hands it over, or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::metainfo::Info;

#[path = "parts/checks.rs"]
mod checks;

fuzz_target!(|bytes: &[u8]| {
    let Ok(info) = Info::parse(bytes.to_vec().into()) else { return };
    assert_eq!(info.raw, bytes);
    checks::info(&info);
    info.truth(&Default::default()).unwrap();
});
