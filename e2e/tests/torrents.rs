//! Torrents that lie: each is refused with what is wrong and where, and nothing is written outside the folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use peerage_e2e::alone;
use peerage_e2e::faults::ALONE;
use peerage_e2e::faults::bencode::{bytes, dict, int, list, text};
use peerage_e2e::peerage::output;
use serde_json::Value;

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

/// Torrents that must be refused, with what must be said: where it is wrong, and what is wrong there.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = [b"l".repeat(100_000), b"e".repeat(100_000)].concat();
    let huge = [&b"d4:info99999999999:"[..], &[b'x'; 100]].concat();
    vec![
        ("empty", Vec::new(), "bencode: input ends inside a value at byte 0"),
        ("html", b"<html>not found</html>".to_vec(), "bencode: no value starts with byte 0x3c at byte 0"),
        ("nested", deep, "bencode: value is nested too deep at byte 64"),
        ("huge string", huge, "bencode: string of 99999999999 bytes has only 100 left at byte 7"),
        ("no info", dict(&[("announce", text("http://t/"))]), "info: is missing"),
        ("info is a number", dict(&[("info", int(3))]), "info: is a number, not a dictionary"),
        ("no name", torrent(&[("name", Vec::new())]), "info.name: is missing"),
        ("no piece length", torrent(&[("piece length", Vec::new())]), "info.piece length: is missing"),
        (
            "piece length of zero",
            torrent(&[("piece length", int(0))]),
            "info.piece length: piece length 0 is out of bounds",
        ),
        (
            "negative piece length",
            torrent(&[("piece length", int(-16_384))]),
            "info.piece length: is negative: -16384",
        ),
        ("negative length", torrent(&[("length", int(-1))]), "info.length: is negative: -1"),
        (
            "huge length",
            torrent(&[("length", int(i64::MAX))]),
            "info.piece length: content of 9223372036854775807 bytes has too many pieces",
        ),
        (
            "too many hashes",
            torrent(&[("pieces", bytes(&[7; 40]))]),
            "info.pieces: has 2 hashes for 1 pieces",
        ),
        ("too few hashes", torrent(&[("length", int(40_000))]), "info.pieces: has 1 hashes for 3 pieces"),
        (
            "half a hash",
            torrent(&[("pieces", bytes(&[7; 30]))]),
            "info.pieces: has 30 bytes, which is no multiple of 20",
        ),
        ("no files", folder(&[]), "info.files: has no files"),
        (
            "sum of lengths",
            folder(&[file(i64::MAX, &[b"a"]), file(i64::MAX, &[b"b"])]),
            "info.piece length: content of 18446744073709551614 bytes has too many pieces",
        ),
        ("climbs", folder(&[file(40, &[b"..", b"x"])]), "info.files[0].path[0]: climbs out of the folder"),
        (
            "climbs later",
            folder(&[file(40, &[b"a", b"..", b"..", b"x"])]),
            "info.files[0].path[1]: climbs out of the folder",
        ),
        ("slash", folder(&[file(40, &[b"a/../../x"])]), "info.files[0].path[0]: contains a slash"),
        ("absolute", folder(&[file(40, &[b"/etc/x"])]), "info.files[0].path[0]: contains a slash"),
        ("zero byte", folder(&[file(40, &[b"a\0b"])]), "info.files[0].path[0]: contains a NUL byte"),
        ("empty path", folder(&[file(40, &[])]), "info.files[0].path: names nothing"),
        (
            "same path",
            folder(&[file(20, &[b"a"]), file(20, &[b"a"])]),
            "info.files[1].path: is the same path as that of files[0].path",
        ),
        (
            "through a file",
            folder(&[file(20, &[b"a"]), file(20, &[b"a", b"b"])]),
            "info.files[1].path: leads through files[0].path, which is not a folder",
        ),
        ("name climbs", torrent(&[("name", text("../x"))]), "info.name: contains a slash"),
        ("name is dots", torrent(&[("name", text(".."))]), "info.name: climbs out of the folder"),
        (
            "v2 of another version",
            torrent(&[("meta version", int(3))]),
            "info.meta version: is 3, only 2 is known",
        ),
        (
            "v2 short root",
            v2(dict(&[("a", leaf(40, &[1; 31]))])),
            r#"info.file tree."a"."".pieces root: has 31 bytes, not the 32 of a hash"#,
        ),
        (
            "v2 climbs",
            v2(dict(&[("..", leaf(40, &[1; 32]))])),
            r#"info.file tree."..": climbs out of the folder"#,
        ),
        (
            "v2 negative",
            v2(dict(&[("a", leaf(-5, &[1; 32]))])),
            r#"info.file tree."a"."".length: is negative: -5"#,
        ),
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
            "info.files[0].symlink path[0]: climbs out of the folder",
        ),
    ]
}

#[test]
fn a_malformed_torrent_is_refused_with_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    for (name, torrent, why) in refused() {
        fs::write(folder.path().join("bad.torrent"), torrent).unwrap();
        let out = output(folder.path(), &["inspect", "bad.torrent"]);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{name}: {told}");
        assert!(told.trim_end().ends_with(&format!("caused by: {why}")), "{name}: {told}");
    }
}

#[test]
fn a_malformed_torrent_is_not_fetched_and_nothing_is_written() {
    alone(|| {
        for (name, torrent, why) in refused() {
            let home = tempfile::tempdir().unwrap();
            fs::write(home.path().join("bad.torrent"), torrent).unwrap();
            let args = [&["get", "bad.torrent", "-o", "deep/er/out", "--json"], &ALONE[..]].concat();
            let out = output(home.path(), &args);
            let told = String::from_utf8(out.stdout).unwrap();
            let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
            assert_eq!(out.status.code(), Some(1), "{name}: {told}");
            let causes = told["causes"].as_array().unwrap();
            assert_eq!(
                (&told["event"], causes.last()),
                (&"error".into(), Some(&why.into())),
                "{name}: {told}"
            );
            let written = names_below(home.path());
            let strange: Vec<_> =
                written.iter().filter(|path| *path != "bad.torrent" && !path.starts_with(".local")).collect();
            // An empty folder may have been made, but nothing in it and nothing beside it.
            assert!(
                strange.iter().all(|path| "deep/er/out".starts_with(path.as_str())),
                "{name}: {strange:?}"
            );
        }
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
    for (link, why) in [
        ("magnet:?dn=nothing", "magnet link names no BitTorrent info hash (xt=urn:btih: or xt=urn:btmh:)"),
        (
            "magnet:?xt=urn:btih:12345",
            r#"v1 info hash "12345" is neither 40 hexadecimal digits nor 32 of base32"#,
        ),
        (
            "magnet:?xt=urn:btmh:1220abcd",
            r#"v2 info hash "1220abcd" is not a SHA-256 multihash: 1220 and 64 hexadecimal digits"#,
        ),
        ("0123456789", "neither a magnet link nor an info hash"),
        ("nowhere.torrent", "neither a magnet link nor an info hash"),
    ] {
        let out = output(home.path(), &["inspect", link]);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{link}: {told}");
        assert!(told.contains(&format!("caused by: {why}\n")), "{link}: {told}");
    }
}
