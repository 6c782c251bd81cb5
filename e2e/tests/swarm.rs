//! More than two: peers of several kinds exchange with each other, web servers take part, a file is larger than the memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::peers::{Libtorrent, Program, WebServer};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};
use serde_json::json;

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
        sample::assert_same(&file, &room.path("back/big.img"));
    });
}

/// A knows B alone, B knows C, and only C has it: A hears of C from B (BEP 11), and its part from B is none.
#[track_caller]
fn introduced_by_one_who_has_nothing(go_between: impl FnOnce(&Room) -> Libtorrent) {
    let room = Room::new();
    sample::file(&room.path("c/film.mkv"), 5, 3_000_001);
    let flags = ["--torrent", "../x.torrent", "--v1-only", "--listen", "10.77.0.3:6883"];
    let mut c = Peerage::share(&room.path("c"), &[&["film.mkv"][..], &flags, &ALONE].concat());
    c.metadata();
    let mut b = go_between(&room);
    b.find("that B knows C", |event| event["peers"].as_array().is_some_and(|peers| !peers.is_empty()));
    let flags = ["--listen", "10.77.0.1:6881", "--peer", "10.77.0.2:6882"];
    let mut a = Peerage::get(&room.path("a"), &[&["../x.torrent"][..], &flags, &ALONE].concat());
    a.complete();
    sample::assert_same(&room.path("c/film.mkv"), &room.path("a/film.mkv"));
    let given = b.events().iter().filter_map(|event| event["uploaded"].as_u64()).max();
    assert_eq!(given, Some(0), "B gave some of it");
}

#[test]
fn libtorrent_introduces_us_to_each_other() {
    alone(|| {
        introduced_by_one_who_has_nothing(|room| {
            Libtorrent::run(&json!({
                "listen": "10.77.0.2:6882", "torrent": room.path("x.torrent"), "save": room.path("b"),
                "peers": ["10.77.0.3:6883"], "upload_mode": true,
            }))
        });
    });
}

/// The same with Peerage in the middle: B wants nothing of it, and holds C and A together.
#[test]
fn we_introduce_others_to_each_other() {
    alone(|| {
        let room = Room::new();
        sample::odd_folder(&room.path("c/odd"));
        let hash = peerage::objects(&room.path("c"), &["hash", "odd", "--torrent", "../x.torrent"]);
        assert!(hash[0]["info_hash_v2"].is_string());
        let flags = ["--listen", "10.77.0.2:6882", "--only", "one byte", "--seed"];
        let mut b = Peerage::get(&room.path("b"), &[&["../x.torrent"][..], &flags, &ALONE].concat());
        b.metadata();
        let _c = Libtorrent::run(&json!({
            "listen": "10.77.0.3:6883", "torrent": room.path("x.torrent"), "save": room.path("c"),
            "peers": ["10.77.0.2:6882"],
        }));
        b.complete();
        let mut a = Libtorrent::run(&json!({
            "listen": "10.77.0.4:6884", "torrent": room.path("x.torrent"), "save": room.path("a"),
            "peers": ["10.77.0.2:6882"],
        }));
        a.complete();
        sample::assert_same(&room.path("c/odd"), &room.path("a/odd"));
    });
}
