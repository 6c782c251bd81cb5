//! With qbittorrent-nox 4.5, both directions: v1 and hybrids.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::QBittorrent;
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};

/// Where it listens.
const HOST: &str = "10.77.0.6";
const PORT: u16 = 6903;
const THEIRS: &str = "10.77.0.6:6903";

/// What every node of ours is told: found by address alone.
const ALONE: [&str; 4] = ["--no-dht", "--no-lan", "--listen", "10.77.0.1:0"];

fn put(room: &Room, owner: &str, what: &str) {
    let path = room.path(&format!("{owner}/{what}"));
    if what == "odd" { sample::odd_folder(&path) } else { sample::file(&path, 7, 5_000_001) }
}

#[track_caller]
fn they_seed(what: &str, kind: &str) {
    let room = Room::new();
    put(&room, "theirs", what);
    peerage::objects(&room.path("theirs"), &["hash", what, kind, "--torrent", "../x.torrent"]);
    let seed = QBittorrent::start(HOST, PORT, &room.text("x.torrent"), &room.path("theirs"));
    seed.complete();
    let mut get =
        Peerage::get(&room.path("ours"), &[&["../x.torrent", "--peer", THEIRS][..], &ALONE].concat());
    get.complete();
    sample::assert_same(&room.path(&format!("theirs/{what}")), &room.path(&format!("ours/{what}")));
}

#[track_caller]
fn they_get(what: &str, kind: &str) {
    let room = Room::new();
    put(&room, "ours", what);
    let args = [&[what, kind, "--torrent", "../x.torrent"][..], &ALONE].concat();
    let mut share = Peerage::share(&room.path("ours"), &args);
    let address = share.address();
    share.metadata();
    let leech = QBittorrent::start(HOST, PORT, &room.text("x.torrent"), &room.path("theirs"));
    leech.add_peer(&address);
    leech.complete();
    sample::assert_same(&room.path(&format!("ours/{what}")), &room.path(&format!("theirs/{what}")));
}

#[test]
fn they_seed_a_v1_file() {
    alone(|| they_seed("film.mkv", "--v1-only"));
}

#[test]
fn they_seed_a_v1_folder() {
    alone(|| they_seed("odd", "--v1-only"));
}

#[test]
fn they_seed_a_hybrid_folder() {
    alone(|| they_seed("odd", "--hybrid"));
}

#[test]
fn they_get_a_v1_file() {
    alone(|| they_get("film.mkv", "--v1-only"));
}

#[test]
fn they_get_a_v1_folder() {
    alone(|| they_get("odd", "--v1-only"));
}

#[test]
fn they_get_a_hybrid_folder() {
    alone(|| they_get("odd", "--hybrid"));
}
