//! Torrents that transmission makes, and links to them. The rest of what it does with us is in `matrix.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::{Place, Program, Role, Transmission, transmission};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};

const THEIRS: Place<'_> = Place::new("10.77.0.5", 6902);

/// They made the torrent and seed; we start from the torrent or its hash.
#[track_caller]
fn they_seed(source: impl FnOnce(&Room) -> String) {
    let room = Room::new();
    sample::odd_folder(&room.path("theirs/odd"));
    transmission::make(&room.path("theirs/odd"), &room.path("x.torrent"));
    let mut seed = Transmission::start(&THEIRS, Role::Seed, &room.text("x.torrent"), &room.path("theirs"));
    seed.complete();
    let args = ["--no-dht", "--no-lan", "--listen", "10.77.0.1:0", "--peer", "10.77.0.5:6902"];
    let mut get = Peerage::get(&room.path("ours"), &[&[&*source(&room)][..], &args].concat());
    get.complete();
    let mut expected = sample::digests(&room.path("theirs/odd"));
    expected.retain(|name, _| !transmission::NOT_MADE.contains(&name.as_str()));
    assert_eq!(expected, sample::digests(&room.path("ours/odd")));
}

#[test]
fn they_seed_a_folder_of_their_torrent() {
    alone(|| they_seed(|room| room.text("x.torrent")));
}

#[test]
fn they_seed_a_folder_of_which_we_know_the_hash() {
    alone(|| {
        they_seed(|room| {
            let shown = &peerage::objects(&room.path("ours"), &["inspect", "../x.torrent"])[0];
            shown["info_hash_v1"].as_str().unwrap().to_owned()
        });
    });
}
