//! With aria2 1.36, both directions. It knows v1 only, and takes peers from nobody but trackers: we dial.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::Aria2;
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};

/// Where aria2 listens.
const THEIRS: &str = "10.77.0.4:6901";

/// What every node of ours is told: aria2 and nobody else.
const ALONE: [&str; 6] = ["--no-dht", "--no-lan", "--listen", "10.77.0.1:0", "--peer", THEIRS];

fn put(room: &Room, owner: &str, what: &str) {
    let path = room.path(&format!("{owner}/{what}"));
    if what == "odd" { sample::odd_folder(&path) } else { sample::file(&path, 7, 5_000_001) }
}

#[track_caller]
fn they_seed(what: &str, more: &[&str]) {
    let room = Room::new();
    put(&room, "theirs", what);
    peerage::objects(&room.path("theirs"), &["hash", what, "--v1-only", "--torrent", "../x.torrent"]);
    let _seed = Aria2::seed(THEIRS, &room.path("x.torrent"), &room.path("theirs"), more);
    let mut get = Peerage::get(&room.path("ours"), &[&["../x.torrent"][..], &ALONE].concat());
    get.complete();
    sample::assert_same(&room.path(&format!("theirs/{what}")), &room.path(&format!("ours/{what}")));
}

#[track_caller]
fn they_get(what: &str, more: &[&str]) {
    let room = Room::new();
    put(&room, "ours", what);
    peerage::objects(&room.path("ours"), &["hash", what, "--v1-only", "--torrent", "../x.torrent"]);
    let mut leech = Aria2::fetch(THEIRS, &room.text("x.torrent"), &room.path("theirs"), more);
    let _share = Peerage::share(&room.path("ours"), &[&[what, "--as", "../x.torrent"][..], &ALONE].concat());
    leech.complete();
    sample::assert_same(&room.path(&format!("ours/{what}")), &room.path(&format!("theirs/{what}")));
}

#[test]
fn they_seed_a_file() {
    alone(|| they_seed("film.mkv", &[]));
}

#[test]
fn they_seed_a_folder() {
    alone(|| they_seed("odd", &[]));
}

#[test]
fn they_get_a_file() {
    alone(|| they_get("film.mkv", &[]));
}

#[test]
fn they_get_a_folder() {
    alone(|| they_get("odd", &[]));
}

#[test]
fn they_seed_to_encrypted_peers_only() {
    alone(|| they_seed("film.mkv", &["--bt-force-encryption=true"]));
}

#[test]
fn they_get_from_encrypted_peers_only() {
    alone(|| they_get("film.mkv", &["--bt-force-encryption=true"]));
}

/// The link must be of a v1 torrent: aria2 1.36 computes a wrong info hash for hybrids, whoever made them.
#[test]
fn they_start_from_our_v1_link() {
    alone(|| {
        let room = Room::new();
        put(&room, "ours", "odd");
        let hash = &peerage::objects(&room.path("ours"), &["hash", "odd", "--v1-only"])[0];
        let link = hash["magnet"].as_str().unwrap();
        let mut leech = Aria2::fetch(THEIRS, link, &room.path("theirs"), &[]);
        let _share = Peerage::share(&room.path("ours"), &[&["odd", "--v1-only"][..], &ALONE].concat());
        leech.complete();
        sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));
    });
}

#[test]
fn we_start_from_a_link() {
    alone(|| {
        let room = Room::new();
        put(&room, "theirs", "odd");
        let made = peerage::objects(
            &room.path("theirs"),
            &["hash", "odd", "--v1-only", "--torrent", "../x.torrent"],
        );
        let link = made[0]["magnet"].as_str().unwrap();
        let _seed = Aria2::seed(THEIRS, &room.path("x.torrent"), &room.path("theirs"), &[]);
        let mut get = Peerage::get(&room.path("ours"), &[&[link][..], &ALONE].concat());
        get.complete();
        sample::assert_same(&room.path("theirs/odd"), &room.path("ours/odd"));
    });
}
