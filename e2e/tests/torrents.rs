//! Torrents that lie: each is refused with what is wrong and where, and nothing is written outside the folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use peerage_e2e::alone;
use peerage_e2e::faults::ALONE;
use peerage_e2e::faults::bencode::{bytes, dict, int, list, text};
use peerage_e2e::peerage::output;

/// A file of a v1 list.
fn file(length: i64, path: &[&[u8]]) -> Vec<u8> {
    dict(&[("length", int(length)), ("path", list(path.iter().map(|part| bytes(part))))])
}

/// A v1 torrent of 40 bytes whose `info` has these further keys.
fn torrent(info: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let usual: [(&str, Vec<u8>); 4] = [
        ("length", int(40)),
        ("name", text("film.mkv")),
        ("piece length", int(16_384)),
        ("pieces", bytes(&[7; 20])),
    ];
    let usual = usual.into_iter().filter(|(key, _)| info.iter().all(|(other, _)| other != key));
    let present = |(_, value): &(&str, Vec<u8>)| !value.is_empty();
    let mut all: Vec<_> = usual.chain(info.iter().cloned()).filter(present).collect();
    all.sort();
    dict(&[("info", dict(&all))])
}

/// A v1 torrent of several files, 40 bytes together.
fn folder(files: &[Vec<u8>]) -> Vec<u8> {
    torrent(&[("length", Vec::new()), ("files", list(files.iter().cloned()))])
}

/// A v2 torrent with this tree.
fn v2(tree: Vec<u8>) -> Vec<u8> {
    torrent(&[("length", Vec::new()), ("pieces", Vec::new()), ("meta version", int(2)), ("file tree", tree)])
}

/// A v2 file: length and root.
fn leaf(length: i64, root: &[u8]) -> Vec<u8> {
    dict(&[("", dict(&[("length", int(length)), ("pieces root", bytes(root))]))])
}

/// Torrents that must be refused, with words that must be said: the place and the reason.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let deep = [b"l".repeat(100_000), b"e".repeat(100_000)].concat();
    let huge = [&b"d4:info99999999999:"[..], &[b'x'; 100]].concat();
    vec![
        ("empty", Vec::new(), &["not a torrent"]),
        ("html", b"<html>not found</html>".to_vec(), &["not a torrent"]),
        ("nested", deep, &["not a torrent"]),
        ("huge string", huge, &["not a torrent"]),
        ("no info", dict(&[("announce", text("http://t/"))]), &["info", "missing"]),
        ("info is a number", dict(&[("info", int(3))]), &["info", "not"]),
        ("no name", torrent(&[("name", Vec::new())]), &["info.name", "missing"]),
        ("no piece length", torrent(&[("piece length", Vec::new())]), &["info.piece length", "missing"]),
        ("piece length of zero", torrent(&[("piece length", int(0))]), &["piece length"]),
        ("negative piece length", torrent(&[("piece length", int(-16_384))]), &["piece length", "negative"]),
        ("negative length", torrent(&[("length", int(-1))]), &["info.length", "negative"]),
        ("huge length", torrent(&[("length", int(i64::MAX))]), &["info"]),
        ("too many hashes", torrent(&[("pieces", bytes(&[7; 40]))]), &["info.pieces", "2 hashes for 1"]),
        ("too few hashes", torrent(&[("length", int(40_000))]), &["info.pieces", "1 hashes for 3"]),
        ("half a hash", torrent(&[("pieces", bytes(&[7; 30]))]), &["info.pieces", "30 bytes"]),
        ("no files", folder(&[]), &["info.files", "no files"]),
        ("sum of lengths", folder(&[file(i64::MAX, &[b"a"]), file(i64::MAX, &[b"b"])]), &["info"]),
        ("climbs", folder(&[file(40, &[b"..", b"x"])]), &["info.files[0].path"]),
        ("climbs later", folder(&[file(40, &[b"a", b"..", b"..", b"x"])]), &["info.files[0].path[1]"]),
        ("slash", folder(&[file(40, &[b"a/../../x"])]), &["info.files[0].path[0]"]),
        ("absolute", folder(&[file(40, &[b"/etc/x"])]), &["info.files[0].path[0]"]),
        ("zero byte", folder(&[file(40, &[b"a\0b"])]), &["info.files[0].path[0]"]),
        ("empty path", folder(&[file(40, &[])]), &["info.files[0].path", "names nothing"]),
        ("same path", folder(&[file(20, &[b"a"]), file(20, &[b"a"])]), &["info.files[1]", "same path"]),
        (
            "through a file",
            folder(&[file(20, &[b"a"]), file(20, &[b"a", b"b"])]),
            &["info.files[1]", "not a folder"],
        ),
        ("name climbs", torrent(&[("name", text("../x"))]), &["info.name"]),
        ("name is dots", torrent(&[("name", text(".."))]), &["info.name"]),
        ("v2 of another version", torrent(&[("meta version", int(3))]), &["meta version", "3"]),
        ("v2 short root", v2(dict(&[("a", leaf(40, &[1; 31]))])), &["pieces root", "31"]),
        ("v2 climbs", v2(dict(&[("..", leaf(40, &[1; 32]))])), &["file tree"]),
        ("v2 negative", v2(dict(&[("a", leaf(-5, &[1; 32]))])), &["length", "negative"]),
        (
            "link out of the folder",
            folder(&[
                dict(&[
                    ("attr", text("l")),
                    ("length", int(0)),
                    ("path", list([text("door")])),
                    ("symlink path", list([text(".."), text(".."), text("etc")])),
                ]),
                file(40, &[b"door", b"x"]),
            ]),
            &["info.files"],
        ),
    ]
}

#[test]
fn a_malformed_torrent_is_refused_with_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let mut silent = Vec::new();
    for (name, torrent, words) in refused() {
        let path = folder.path().join("bad.torrent");
        fs::write(&path, torrent).unwrap();
        let out = output(folder.path(), &["inspect", "bad.torrent"]);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.code() != Some(1) || words.iter().any(|word| !told.contains(word)) {
            silent.push(format!("{name}: {:?} {told}", out.status));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn a_malformed_torrent_is_not_fetched_and_nothing_is_written() {
    alone(|| {
        let mut wrong = Vec::new();
        for (name, torrent, words) in refused() {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("bad.torrent");
            fs::write(&path, torrent).unwrap();
            let args = [&["get", "bad.torrent", "-o", "deep/er/out", "--json"], &ALONE[..]].concat();
            let out = output(home.path(), &args);
            let told = String::from_utf8_lossy(&out.stdout).into_owned();
            if out.status.code() != Some(1) || words.iter().any(|word| !told.contains(word)) {
                wrong.push(format!("{name}: {:?} {told}", out.status));
            }
            let written = names_below(home.path());
            let strange: Vec<_> =
                written.iter().filter(|path| *path != "bad.torrent" && !path.starts_with(".local")).collect();
            // An empty folder may have been made, but nothing in it and nothing beside it.
            assert!(
                strange.iter().all(|path| "deep/er/out".starts_with(path.as_str())),
                "{name}: {strange:?}"
            );
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// The paths of everything in a folder.
fn names_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    names
}

#[test]
fn a_link_that_is_none_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for (link, word) in [
        ("magnet:?dn=nothing", "xt"),
        ("magnet:?xt=urn:btih:12345", "v1 info hash"),
        ("magnet:?xt=urn:btmh:1220abcd", "v2 info hash"),
        ("0123456789", "neither"),
        ("nowhere.torrent", "nowhere.torrent"),
    ] {
        let out = output(home.path(), &["inspect", link]);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{link}: {told}");
        assert!(told.contains(word), "{link}: {told}");
    }
}
