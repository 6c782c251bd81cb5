//! Torrents that libtorrent made (`fixtures/make.py`) read as libtorrent reads them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod metainfo_view;

use std::path::{Path, PathBuf};

use metainfo_view::view;
use peerage_bittorrent::metainfo::{Info, Metainfo};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "torrent"))
        .collect();
    found.sort();
    assert_eq!(found.len(), 7);
    found
}

#[test]
fn fixtures_read_as_libtorrent_reads_them() {
    for path in fixtures() {
        let torrent = Metainfo::parse(&std::fs::read(&path).unwrap()).unwrap();
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        assert_eq!(view(&torrent), expected, "{}", path.display());
        assert!(torrent.truth().unwrap().missing_layers().is_empty());
        let info = &torrent.info;
        assert_eq!(info.v1_hashes().is_some(), info.hashes.v1.is_some());
        assert_eq!(info.v1_hashes(), Info::parse(info.raw.clone()).unwrap().v1_hashes());
    }
}

#[test]
fn fixtures_are_written_as_libtorrent_wrote_them() {
    for path in fixtures() {
        let bytes = std::fs::read(&path).unwrap();
        let torrent = Metainfo::parse(&bytes).unwrap();
        let again = Metainfo::parse(&torrent.to_bytes()).unwrap();
        assert_eq!(view(&again), view(&torrent));
        assert_eq!(again.piece_layers, torrent.piece_layers);
        assert_eq!(again.info.raw, torrent.info.raw);
        // The dictionary alone, as peers send it, is the same torrent.
        let info = Info::parse(torrent.info.raw.clone()).unwrap();
        assert_eq!(view(&info.into()).lines().next(), view(&torrent).lines().next());
    }
}
