//! Any bytes are a torrent or a refusal; a torrent keeps its hashes when it is written again, and no path leaves its folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::metainfo::Metainfo;

#[path = "parts/checks.rs"]
mod checks;

fuzz_target!(|bytes: &[u8]| {
    let Ok(torrent) = Metainfo::parse(bytes) else { return };
    checks::info(&torrent.info);
    torrent.truth().unwrap();
    let again = Metainfo::parse(&torrent.to_bytes()).unwrap();
    assert_eq!(again.info.raw, torrent.info.raw);
    assert_eq!(again.info.hashes, torrent.info.hashes);
    assert_eq!(again.trackers, torrent.trackers);
    assert_eq!(again.web_seeds, torrent.web_seeds);
    assert_eq!(again.nodes, torrent.nodes);
    assert_eq!(again.piece_layers, torrent.piece_layers);
});
