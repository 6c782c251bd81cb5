//! qBittorrent dials us. The rest of what it does with us is in `matrix.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::{Place, Program, QBittorrent, Role};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone};

#[test]
fn they_dial_and_get_a_hybrid_folder() {
    alone(|| {
        let room = Room::new();
        sample::odd_folder(&room.path("ours/odd"));
        let args = ["odd", "--torrent", "../x.torrent", "--no-dht", "--no-lan", "--listen", "10.77.0.1:0"];
        let mut share = Peerage::share(&room.path("ours"), &args);
        let address = share.address();
        share.metadata();
        let theirs = Place::new("10.77.0.6", 6903);
        let mut leech =
            QBittorrent::start(&theirs, Role::Leech, &room.text("x.torrent"), &room.path("theirs"));
        leech.add_peer(&address);
        leech.complete();
        sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));
    });
}
