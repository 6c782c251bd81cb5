//! More than two: peers of several kinds exchange with each other, web servers take part, a file is larger than the memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::{Libtorrent, Program, WebServer};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};
use serde_json::{Value, json};

/// Nobody but the peers named.
const ALONE: [&str; 2] = ["--no-dht", "--no-lan"];

/// A slow seed, a leech of ours and one of theirs: both finish, and each had part of it from the other.
#[test]
fn leeches_of_both_kinds_exchange() {
    alone(|| {
        let room = Room::new();
        sample::file(&room.path("seed/film.mkv"), 5, 12_000_000);
        let flags = ["--torrent", "../x.torrent", "--listen", "10.77.0.1:0", "--limit-up", "1500k"];
        let mut share = Peerage::share(&room.path("seed"), &[&["film.mkv"][..], &flags, &ALONE].concat());
        let seed = share.address();
        share.metadata();
        let mut theirs = Libtorrent::run(&json!({
            "listen": "10.77.0.3:6900", "torrent": room.path("x.torrent"), "save": room.path("theirs"), "peers": [seed],
        }));
        let flags = ["--listen", "10.77.0.2:0", "--peer", &seed, "--peer", "10.77.0.3:6900", "--seed"];
        let mut ours = Peerage::get(&room.path("ours"), &[&["../x.torrent"][..], &flags, &ALONE].concat());
        let complete = ours.complete();
        theirs.complete();
        let film = room.path("seed/film.mkv");
        sample::assert_same(&film, &room.path("ours/film.mkv"));
        sample::assert_same(&film, &room.path("theirs/film.mkv"));
        let we_gave = complete["transfer"]["uploaded"].as_u64().unwrap();
        let they_gave = theirs.events().iter().filter_map(|event| event["uploaded"].as_u64()).max().unwrap();
        assert!(we_gave > 0 && they_gave > 0, "we gave them {we_gave}, they gave us {they_gave}");
    });
}

/// A torrent of libtorrent whose only source is a web server.
#[track_caller]
fn web_seed(what: &str, kind: &str) {
    let room = Room::new();
    let files = room.path(&format!("web/{what}"));
    // A file is at the URL itself, a folder's files are below it.
    let url = if what == "odd" {
        sample::odd_folder(&files);
        "http://10.77.0.7:8000/".to_owned()
    } else {
        sample::file(&files, 9, 4_000_001);
        format!("http://10.77.0.7:8000/{what}")
    };
    Libtorrent::make(&files, &room.path("x.torrent"), kind, json!({ "web_seeds": [url] }));
    let server = WebServer::start("10.77.0.7", 8000, &room.path("web"));
    let args = [&["../x.torrent", "--listen", "10.77.0.1:0"][..], &ALONE].concat();
    let mut get = Peerage::get(&room.path("ours"), &args);
    get.complete();
    sample::assert_same(&files, &room.path(&format!("ours/{what}")));
    let requests = server.requests();
    assert!(requests.iter().any(|request| request["status"] == 206), "{requests:?}");
    assert!(requests.iter().all(|request| request["status"] != 404), "{requests:?}");
}

#[test]
fn a_web_seed_is_enough_for_a_file() {
    alone(|| web_seed("film.mkv", "v1"));
}

#[test]
fn a_web_seed_is_enough_for_a_folder() {
    alone(|| web_seed("odd", "v1"));
}

#[test]
fn a_web_seed_is_enough_for_a_hybrid() {
    alone(|| web_seed("odd", "hybrid"));
}

#[test]
fn a_web_seed_is_enough_for_a_v2_torrent() {
    alone(|| web_seed("odd", "v2"));
}

/// libtorrent takes our torrent from the web server that `--web-seed` named.
#[test]
fn they_use_the_web_seed_of_our_torrent() {
    alone(|| {
        let room = Room::new();
        sample::odd_folder(&room.path("web/odd"));
        let url = "http://10.77.0.7:8000/";
        let args = ["hash", "odd", "--web-seed", url, "--torrent", "../x.torrent"];
        peerage::objects(&room.path("web"), &args);
        let _server = WebServer::start("10.77.0.7", 8000, &room.path("web"));
        let mut leech = Libtorrent::run(
            &json!({ "listen": "10.77.0.3:6900", "torrent": room.path("x.torrent"), "save": room.path("theirs") }),
        );
        leech.complete();
        sample::assert_same(&room.path("web/odd"), &room.path("theirs/odd"));
    });
}

/// There and back: offsets beyond 32 bits, and a file much larger than what may be kept in memory.
#[test]
fn a_sparse_file_of_5_gib_goes_there_and_back() {
    alone(|| {
        let room = Room::new();
        let file = room.path("ours/big.img");
        sample::sparse(&file);
        let flags = ["--torrent", "../x.torrent", "--listen", "10.77.0.1:0"];
        let mut share = Peerage::share(&room.path("ours"), &[&["big.img"][..], &flags, &ALONE].concat());
        let address = share.address();
        share.metadata();
        let mut theirs = Libtorrent::run(&json!({
            "listen": "10.77.0.3:6900", "torrent": room.path("x.torrent"), "save": room.path("theirs"), "peers": [address],
        }));
        theirs.complete();
        drop(share);
        let flags = ["--listen", "10.77.0.2:0", "--peer", "10.77.0.3:6900"];
        let mut back = Peerage::get(&room.path("back"), &[&["../x.torrent"][..], &flags, &ALONE].concat());
        back.complete();
        drop(theirs);
        sample::assert_sparse(&room.path("back/big.img"));
    });
}

/// Of this, whoever takes 10 kB a second has less than half when patience ends.
const INTRODUCED: usize = 3_000_001;

/// A knows B alone, B knows C, and only C has it all: A must have heard of C from B (BEP 11), who is too slow to give it.
#[test]
fn libtorrent_introduces_us_to_each_other() {
    alone(|| {
        let room = Room::new();
        sample::file(&room.path("c/film.mkv"), 5, INTRODUCED);
        let flags = ["--torrent", "../x.torrent", "--v1-only", "--listen", "10.77.0.3:6883"];
        let mut c = Peerage::share(&room.path("c"), &[&["film.mkv"][..], &flags, &ALONE].concat());
        c.metadata();
        let _b = Libtorrent::run(&json!({
            "listen": "10.77.0.2:6882", "torrent": room.path("x.torrent"), "save": room.path("b"),
            "peers": ["10.77.0.3:6883"], "down": 10_000,
        }));
        let flags = ["--listen", "10.77.0.1:6881", "--peer", "10.77.0.2:6882"];
        let mut a = Peerage::get(&room.path("a"), &[&["../x.torrent"][..], &flags, &ALONE].concat());
        a.complete();
        sample::assert_same(&room.path("c/film.mkv"), &room.path("a/film.mkv"));
    });
}

/// The same with Peerage as B.
#[test]
fn we_introduce_others_to_each_other() {
    alone(|| {
        let room = Room::new();
        sample::file(&room.path("c/film.mkv"), 5, INTRODUCED);
        peerage::objects(&room.path("c"), &["hash", "film.mkv", "--v1-only", "--torrent", "../x.torrent"]);
        let _c = Libtorrent::seed("10.77.0.3:6883", &room.path("x.torrent"), &room.path("c"), Value::Null);
        let flags = ["--listen", "10.77.0.2:6882", "--peer", "10.77.0.3:6883", "--limit-down", "10k"];
        let mut b = Peerage::get(&room.path("b"), &[&["../x.torrent"][..], &flags, &ALONE].concat());
        b.metadata();
        let mut a = Libtorrent::run(&json!({
            "listen": "10.77.0.4:6884", "torrent": room.path("x.torrent"), "save": room.path("a"),
            "peers": ["10.77.0.2:6882"],
        }));
        a.complete();
        sample::assert_same(&room.path("c/film.mkv"), &room.path("a/film.mkv"));
    });
}
