//! With libtorrent 2.0, both directions: v1, v2 and hybrids, torrents and links, encrypted, over IPv6.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::Libtorrent;
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone};
use serde_json::{Value, json};

/// Where libtorrent listens.
const THEIRS: &str = "10.77.0.3:6900";

/// What every node of ours is told: found by address alone.
const ALONE: [&str; 4] = ["--no-dht", "--no-lan", "--listen", "10.77.0.1:0"];

/// The same in a network without IPv4.
const ALONE_6: [&str; 4] = ["--no-dht", "--no-lan", "--listen", "[fd77::1]:0"];

/// The sample: `film.mkv` is one file, `odd` a folder.
fn put(room: &Room, owner: &str, what: &str) {
    let path = room.path(&format!("{owner}/{what}"));
    if what == "odd" { sample::odd_folder(&path) } else { sample::file(&path, 7, 5_000_001) }
}

/// They made the torrent, they seed, we get it; `more` are keys of their session, `flags` ours.
#[track_caller]
fn they_seed(what: &str, kind: &str, more: Value, flags: &[&str]) -> Value {
    let room = Room::new();
    put(&room, "theirs", what);
    let (files, torrent) = (room.path(&format!("theirs/{what}")), room.path("x.torrent"));
    Libtorrent::make(&files, &torrent, kind, Value::Null);
    let _seed = Libtorrent::seed(THEIRS, &torrent, &room.path("theirs"), more);
    let args = [&["../x.torrent", "--peer", THEIRS][..], &ALONE, flags].concat();
    let mut get = Peerage::get(&room.path("ours"), &args);
    let mut told = get.complete();
    assert!(get.end().success());
    sample::assert_same(&files, &room.path(&format!("ours/{what}")));
    told["transfer"].take()
}

/// We share and write the torrent, they get it; `flags` are ours, `more` keys of their session.
#[track_caller]
fn we_share(what: &str, flags: &[&str], more: Value) -> Libtorrent {
    let room = Room::new();
    put(&room, "ours", what);
    let args = [&[what, "--torrent", "../x.torrent"][..], &ALONE, flags].concat();
    let mut share = Peerage::share(&room.path("ours"), &args);
    let address = share.address();
    share.metadata();
    let mut config = json!({
        "listen": THEIRS, "torrent": room.path("x.torrent"), "save": room.path("theirs"), "peers": [address],
    });
    config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let mut leech = Libtorrent::run(&config);
    leech.complete();
    sample::assert_same(&room.path(&format!("ours/{what}")), &room.path(&format!("theirs/{what}")));
    leech
}

#[test]
fn they_seed_a_v1_file() {
    alone(|| drop(they_seed("film.mkv", "v1", Value::Null, &[])));
}

#[test]
fn they_seed_a_v1_folder() {
    alone(|| drop(they_seed("odd", "v1", Value::Null, &[])));
}

#[test]
fn they_seed_a_v2_file() {
    alone(|| drop(they_seed("film.mkv", "v2", Value::Null, &[])));
}

#[test]
fn they_seed_a_v2_folder() {
    alone(|| drop(they_seed("odd", "v2", Value::Null, &[])));
}

#[test]
fn they_seed_a_hybrid_file() {
    alone(|| drop(they_seed("film.mkv", "hybrid", Value::Null, &[])));
}

#[test]
fn they_seed_a_hybrid_folder() {
    alone(|| drop(they_seed("odd", "hybrid", Value::Null, &[])));
}

#[test]
fn they_get_a_v1_file() {
    alone(|| drop(we_share("film.mkv", &["--v1-only"], Value::Null)));
}

#[test]
fn they_get_a_v1_folder() {
    alone(|| drop(we_share("odd", &["--v1-only"], Value::Null)));
}

#[test]
fn they_get_a_v2_file() {
    alone(|| drop(we_share("film.mkv", &["--v2-only"], Value::Null)));
}

#[test]
fn they_get_a_v2_folder() {
    alone(|| drop(we_share("odd", &["--v2-only"], Value::Null)));
}

#[test]
fn they_get_a_hybrid_file() {
    alone(|| drop(we_share("film.mkv", &[], Value::Null)));
}

#[test]
fn they_get_a_hybrid_folder() {
    alone(|| drop(we_share("odd", &[], Value::Null)));
}

/// From their link to our files: metadata, and for v2 the piece layers, come from the peer.
#[track_caller]
fn we_start_from_their_link(kind: &str) {
    let room = Room::new();
    put(&room, "theirs", "odd");
    let made = Libtorrent::make(&room.path("theirs/odd"), &room.path("x.torrent"), kind, Value::Null);
    let _seed = Libtorrent::seed(THEIRS, &room.path("x.torrent"), &room.path("theirs"), Value::Null);
    let mut get =
        Peerage::get(&room.path("ours"), &[&[&*made.magnet, "--peer", THEIRS][..], &ALONE].concat());
    get.complete();
    sample::assert_same(&room.path("theirs/odd"), &room.path("ours/odd"));
}

/// From our link, and nothing else, to their files.
#[track_caller]
fn they_start_from_our_link(flags: &[&str]) {
    let room = Room::new();
    put(&room, "ours", "odd");
    let mut share = Peerage::share(&room.path("ours"), &[&["odd"][..], &ALONE, flags].concat());
    let magnet = share.metadata()["magnet"].as_str().unwrap().to_owned();
    let mut leech =
        Libtorrent::run(&json!({ "listen": THEIRS, "magnet": magnet, "save": room.path("theirs") }));
    leech.complete();
    sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));
}

#[test]
fn we_start_from_their_v1_link() {
    alone(|| we_start_from_their_link("v1"));
}

#[test]
fn we_start_from_their_v2_link() {
    alone(|| we_start_from_their_link("v2"));
}

#[test]
fn we_start_from_their_hybrid_link() {
    alone(|| we_start_from_their_link("hybrid"));
}

/// A hybrid is known by its metadata only: the names of its other half come with it.
#[test]
fn we_start_from_half_of_the_names_of_a_hybrid() {
    alone(|| {
        let room = Room::new();
        put(&room, "theirs", "odd");
        let torrent = room.path("x.torrent");
        let made = Libtorrent::make(&room.path("theirs/odd"), &torrent, "hybrid", Value::Null);
        let _seed = Libtorrent::seed(THEIRS, &torrent, &room.path("theirs"), Value::Null);
        for (home, hash) in [("one", made.v1.unwrap()), ("two", made.v2.unwrap())] {
            let args = [&[&*hash, "--peer", THEIRS][..], &ALONE].concat();
            let mut get = Peerage::get(&room.path(home), &args);
            get.complete();
            sample::assert_same(&room.path("theirs/odd"), &room.path(&format!("{home}/odd")));
        }
    });
}

#[test]
fn they_start_from_our_v1_link() {
    alone(|| they_start_from_our_link(&["--v1-only"]));
}

#[test]
fn they_start_from_our_v2_link() {
    alone(|| they_start_from_our_link(&["--v2-only"]));
}

#[test]
fn they_start_from_our_hybrid_link() {
    alone(|| they_start_from_our_link(&[]));
}

#[test]
fn they_seed_to_encrypted_peers_only() {
    alone(|| drop(they_seed("odd", "v1", json!({ "encryption": "forced" }), &[])));
}

#[test]
fn they_get_from_encrypted_peers_only() {
    alone(|| drop(we_share("odd", &[], json!({ "encryption": "forced" }))));
}

#[test]
fn we_get_from_encrypted_peers_only() {
    alone(|| drop(they_seed("odd", "hybrid", Value::Null, &["--encryption", "require"])));
}

#[test]
fn we_share_to_encrypted_peers_only() {
    alone(|| drop(we_share("odd", &["--encryption", "require"], Value::Null)));
}

#[test]
fn they_seed_over_ipv6() {
    alone(|| {
        let room = Room::new();
        put(&room, "theirs", "odd");
        let torrent = room.path("x.torrent");
        Libtorrent::make(&room.path("theirs/odd"), &torrent, "hybrid", Value::Null);
        let _seed = Libtorrent::seed("[fd77::1]:6900", &torrent, &room.path("theirs"), Value::Null);
        let args = [&["../x.torrent", "--peer", "[fd77::1]:6900"][..], &ALONE_6].concat();
        let mut get = Peerage::get(&room.path("ours"), &args);
        get.complete();
        sample::assert_same(&room.path("theirs/odd"), &room.path("ours/odd"));
    });
}

/// The link names the address, in brackets.
#[test]
fn they_get_over_ipv6() {
    alone(|| {
        let room = Room::new();
        put(&room, "ours", "odd");
        let mut share = Peerage::share(&room.path("ours"), &[&["odd"][..], &ALONE_6].concat());
        let magnet = share.metadata()["magnet"].as_str().unwrap().to_owned();
        let mut leech = Libtorrent::run(
            &json!({ "listen": "[fd77::1]:6900", "magnet": magnet, "save": room.path("theirs") }),
        );
        leech.complete();
        sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));
    });
}
