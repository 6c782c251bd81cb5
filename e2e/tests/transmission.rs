//! With transmission-daemon 3.00, both directions. It knows v1 only, and takes peers from nobody but trackers: we dial.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use peerage_e2e::peers::Transmission;
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};

/// Where it listens.
const HOST: &str = "10.77.0.5";
const PORT: u16 = 6902;

/// What every node of ours is told: transmission and nobody else.
const ALONE: [&str; 6] = ["--no-dht", "--no-lan", "--listen", "10.77.0.1:0", "--peer", "10.77.0.5:6902"];

/// What transmission-create leaves out of a torrent: hidden and empty files.
const NOT_MADE: [&str; 3] =
    ["empty", "Größe/nothing either.txt", ".hidden/deep/er/still/file.with.many.dots"];

/// What transmission does not make while it downloads: empty files.
const NOT_FETCHED: [&str; 2] = ["empty", "Größe/nothing either.txt"];

/// Its levels of encryption.
const PREFERRED: u8 = 1;
const REQUIRED: u8 = 2;

fn put(room: &Room, owner: &str, what: &str) {
    let path = room.path(&format!("{owner}/{what}"));
    if what == "odd" { sample::odd_folder(&path) } else { sample::file(&path, 7, 5_000_001) }
}

/// That all of `from` is in `to`, but for what transmission leaves out.
#[track_caller]
fn assert_same_but(from: &Path, to: &Path, left_out: &[&str]) {
    let mut expected = sample::digests(from);
    expected.retain(|name, _| !left_out.contains(&name.as_str()));
    assert_eq!(expected, sample::digests(to));
}

/// They made the torrent and seed.
#[track_caller]
fn they_seed(what: &str, encryption: u8) {
    let room = Room::new();
    put(&room, "theirs", what);
    let (files, torrent) = (room.path(&format!("theirs/{what}")), room.path("x.torrent"));
    Transmission::make(&files, &torrent);
    let seed = Transmission::start(HOST, PORT, &room.path("theirs"), encryption);
    seed.add(&room.text("x.torrent"));
    seed.complete();
    let mut get = Peerage::get(&room.path("ours"), &[&["../x.torrent"][..], &ALONE].concat());
    get.complete();
    assert_same_but(&files, &room.path(&format!("ours/{what}")), &NOT_MADE);
}

/// We made the torrent and share.
#[track_caller]
fn they_get(what: &str, encryption: u8) {
    let room = Room::new();
    put(&room, "ours", what);
    peerage::objects(&room.path("ours"), &["hash", what, "--v1-only", "--torrent", "../x.torrent"]);
    let leech = Transmission::start(HOST, PORT, &room.path("theirs"), encryption);
    leech.add(&room.text("x.torrent"));
    let _share = Peerage::share(&room.path("ours"), &[&[what, "--as", "../x.torrent"][..], &ALONE].concat());
    leech.complete();
    let theirs = room.path(&format!("theirs/{what}"));
    assert_same_but(&room.path(&format!("ours/{what}")), &theirs, &NOT_FETCHED);
}

#[test]
fn they_seed_a_file() {
    alone(|| they_seed("film.mkv", PREFERRED));
}

#[test]
fn they_seed_a_folder() {
    alone(|| they_seed("odd", PREFERRED));
}

#[test]
fn they_get_a_file() {
    alone(|| they_get("film.mkv", PREFERRED));
}

#[test]
fn they_get_a_folder() {
    alone(|| they_get("odd", PREFERRED));
}

#[test]
fn they_seed_to_encrypted_peers_only() {
    alone(|| they_seed("film.mkv", REQUIRED));
}

#[test]
fn they_get_from_encrypted_peers_only() {
    alone(|| they_get("film.mkv", REQUIRED));
}

/// The link must be of a v1 torrent: transmission 3.00 cannot read the `file tree` of hybrids, whoever made them.
#[test]
fn they_start_from_our_v1_link() {
    alone(|| {
        let room = Room::new();
        put(&room, "ours", "odd");
        let hash = &peerage::objects(&room.path("ours"), &["hash", "odd", "--v1-only"])[0];
        let leech = Transmission::start(HOST, PORT, &room.path("theirs"), PREFERRED);
        leech.add(hash["magnet"].as_str().unwrap());
        let _share = Peerage::share(&room.path("ours"), &[&["odd", "--v1-only"][..], &ALONE].concat());
        leech.complete();
        assert_same_but(&room.path("ours/odd"), &room.path("theirs/odd"), &NOT_FETCHED);
    });
}

#[test]
fn we_start_from_a_link() {
    alone(|| {
        let room = Room::new();
        put(&room, "theirs", "odd");
        Transmission::make(&room.path("theirs/odd"), &room.path("x.torrent"));
        let seed = Transmission::start(HOST, PORT, &room.path("theirs"), PREFERRED);
        seed.add(&room.text("x.torrent"));
        seed.complete();
        let shown = &peerage::objects(&room.path("ours"), &["inspect", "../x.torrent"])[0];
        let hash = shown["info_hash_v1"].as_str().unwrap();
        let mut get = Peerage::get(&room.path("ours"), &[&[hash][..], &ALONE].concat());
        get.complete();
        assert_same_but(&room.path("theirs/odd"), &room.path("ours/odd"), &NOT_MADE);
    });
}
