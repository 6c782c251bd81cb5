//! What is particular to libtorrent 2.0: torrents and links that it makes, our links that it follows, links between files and
//! executable files, encryption that it can tell of. The rest of what it does with us is in `matrix.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use peerage_e2e::faults::wire::{RawPeer, hash_bytes};
use peerage_e2e::peers::{Libtorrent, Program};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{PATIENCE, Peerage, alone, peerage, until};
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

/// They made the torrent, they seed, we get it.
#[track_caller]
fn they_seed(what: &str, kind: &str) {
    let room = Room::new();
    put(&room, "theirs", what);
    let (files, torrent) = (room.path(&format!("theirs/{what}")), room.path("x.torrent"));
    Libtorrent::make(&files, &torrent, kind, Value::Null);
    let _seed = Libtorrent::seed(THEIRS, &torrent, &room.path("theirs"), Value::Null);
    let args = [&["../x.torrent", "--peer", THEIRS][..], &ALONE].concat();
    let mut get = Peerage::get(&room.path("ours"), &args);
    get.complete();
    assert!(get.end().success());
    sample::assert_same(&files, &room.path(&format!("ours/{what}")));
}

#[test]
fn they_seed_a_v1_file() {
    alone(|| they_seed("film.mkv", "v1"));
}

#[test]
fn they_seed_a_v1_folder() {
    alone(|| they_seed("odd", "v1"));
}

#[test]
fn they_seed_a_v2_file() {
    alone(|| they_seed("film.mkv", "v2"));
}

#[test]
fn they_seed_a_v2_folder() {
    alone(|| they_seed("odd", "v2"));
}

#[test]
fn they_seed_a_hybrid_file() {
    alone(|| they_seed("film.mkv", "hybrid"));
}

#[test]
fn they_seed_a_hybrid_folder() {
    alone(|| they_seed("odd", "hybrid"));
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

/// Their link has half of the names, and nobody told them of us: our dial has to try that half, too.
#[test]
fn we_dial_one_who_knows_only_the_v2_name_of_a_hybrid() {
    alone(|| {
        let room = Room::new();
        put(&room, "ours", "odd");
        let hash = &peerage::objects(&room.path("ours"), &["hash", "odd"])[0];
        let magnet = format!("magnet:?xt=urn:btmh:1220{}", hash["info_hash_v2"].as_str().unwrap());
        let mut leech =
            Libtorrent::run(&json!({ "listen": THEIRS, "magnet": magnet, "save": room.path("theirs") }));
        let args = [&["odd", "--peer", THEIRS][..], &ALONE].concat();
        let _share = Peerage::share(&room.path("ours"), &args);
        leech.complete();
        sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));
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

/// Waits until they exchange with a peer, and says whether that connection is encrypted.
#[track_caller]
fn is_encrypted(node: &mut Libtorrent) -> bool {
    let busy = |peer: &Value| peer["downloaded"].as_u64() > Some(0) || peer["uploaded"].as_u64() > Some(0);
    let told = node
        .find("an exchange", |event| event["peers"].as_array().is_some_and(|peers| peers.iter().any(busy)));
    told["peers"].as_array().unwrap().iter().filter(|peer| busy(peer)).all(|peer| peer["encrypted"] == true)
}

/// They would talk in plain; we require encryption, as the one who dials.
#[test]
fn we_get_from_encrypted_peers_only() {
    alone(|| {
        let room = Room::new();
        put(&room, "theirs", "film.mkv");
        let torrent = room.path("x.torrent");
        Libtorrent::make(&room.path("theirs/film.mkv"), &torrent, "hybrid", Value::Null);
        let mut seed = Libtorrent::seed(THEIRS, &torrent, &room.path("theirs"), Value::Null);
        let flags = ["../x.torrent", "--peer", THEIRS, "--encryption", "require", "--limit-down", "2M"];
        let mut get = Peerage::get(&room.path("ours"), &[&flags[..], &ALONE].concat());
        assert!(is_encrypted(&mut seed));
        get.complete();
        sample::assert_same(&room.path("theirs/film.mkv"), &room.path("ours/film.mkv"));
    });
}

/// The same as the one who is dialled.
#[test]
fn we_share_to_encrypted_peers_only() {
    alone(|| {
        let room = Room::new();
        put(&room, "ours", "film.mkv");
        let flags = ["film.mkv", "--torrent", "../x.torrent", "--encryption", "require", "--limit-up", "2M"];
        let mut share = Peerage::share(&room.path("ours"), &[&flags[..], &ALONE].concat());
        let address = share.address();
        share.metadata();
        let mut leech = Libtorrent::run(&json!({
            "listen": THEIRS, "torrent": room.path("x.torrent"), "save": room.path("theirs"), "peers": [address],
        }));
        assert!(is_encrypted(&mut leech));
        leech.complete();
        sample::assert_same(&room.path("ours/film.mkv"), &room.path("theirs/film.mkv"));
    });
}

/// A peer that speaks plain alone is dialled, in cipher only, and gets nothing; another one gives everything.
#[test]
fn require_meets_a_plain_only_peer_and_nothing_moves() {
    const PLAIN: &str = "10.77.0.4:6901";
    alone(|| {
        let room = Room::new();
        put(&room, "theirs", "film.mkv");
        let torrent = room.path("x.torrent");
        Libtorrent::make(&room.path("theirs/film.mkv"), &torrent, "v1", Value::Null);
        let (told, calls) = mpsc::sync_channel(64);
        let plain = TcpListener::bind(PLAIN).unwrap();
        thread::spawn(move || {
            for mut socket in plain.incoming().flatten() {
                let mut first = [0; 20];
                socket.read_exact(&mut first).unwrap();
                let _ = told.send(first);
            }
        });
        let flags = ["../x.torrent", "--peer", PLAIN, "--peer", THEIRS, "--encryption", "require"];
        let mut get = Peerage::get(&room.path("ours"), &[&flags[..], &ALONE].concat());
        let first = calls.recv_timeout(PATIENCE).unwrap();
        assert_ne!(&first, b"\x13BitTorrent protocol");
        let _seed = Libtorrent::seed(THEIRS, &torrent, &room.path("theirs"), Value::Null);
        get.complete();
        sample::assert_same(&room.path("theirs/film.mkv"), &room.path("ours/film.mkv"));
        assert!(calls.try_iter().all(|first| first != *b"\x13BitTorrent protocol"));
    });
}

/// The same as the one who is dialled: a plain greeting is not answered.
#[test]
fn require_does_not_answer_a_plain_greeting() {
    alone(|| {
        let room = Room::new();
        put(&room, "ours", "film.mkv");
        let flags = ["film.mkv", "--v1-only", "--encryption", "require"];
        let mut share = Peerage::share(&room.path("ours"), &[&flags[..], &ALONE].concat());
        let address = share.address();
        let hash = share.metadata()["info_hash_v1"].as_str().unwrap().to_owned();
        assert!(RawPeer::greet(&address, &hash_bytes(&hash)).is_err());
        assert!(share.process.runs());
    });
}

/// A folder with an executable file, a symbolic link to a file and one to a folder.
fn folder_with_links(folder: &Path) {
    sample::file(&folder.join("bin/run.sh"), 3, 20_000);
    fs::set_permissions(folder.join("bin/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    sample::file(&folder.join("plain.txt"), 4, 30_000);
    symlink("bin/run.sh", folder.join("start")).unwrap();
    symlink("../plain.txt", folder.join("bin/up")).unwrap();
}

#[track_caller]
fn assert_links_arrived(folder: &Path) {
    let target = |name: &str| fs::read_link(folder.join(name)).unwrap().to_str().unwrap().to_owned();
    assert_eq!((target("start"), target("bin/up")), ("bin/run.sh".to_owned(), "../plain.txt".to_owned()));
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("bin/run.sh") & 0o100, 0o100, "an executable file stays one");
    assert_eq!(mode("plain.txt") & 0o111, 0, "no other becomes one");
}

/// Symbolic links and the executable bit (BEP 47) go there in each kind of torrent.
#[track_caller]
fn links_go_there(kind: &str) {
    let room = Room::new();
    folder_with_links(&room.path("ours/app"));
    let flags = ["app", "--torrent", "../x.torrent", kind];
    let mut share = Peerage::share(&room.path("ours"), &[&flags[..], &ALONE].concat());
    let address = share.address();
    share.metadata();
    let mut leech = Libtorrent::run(&json!({
        "listen": THEIRS, "torrent": room.path("x.torrent"), "save": room.path("theirs"), "peers": [address],
    }));
    leech.complete();
    // libtorrent makes the links a moment after the last piece.
    until("the links", || fs::read_link(room.path("theirs/app/bin/up")).ok());
    assert_links_arrived(&room.path("theirs/app"));
    let args = [&["../x.torrent", "--peer", THEIRS][..], &ALONE].concat();
    let mut back = Peerage::get(&room.path("back"), &args);
    back.complete();
    assert!(back.end().success());
    assert_links_arrived(&room.path("back/app"));
    sample::assert_same(&room.path("ours/app"), &room.path("back/app"));
}

#[test]
fn links_and_executable_files_go_there_and_back_in_v1() {
    alone(|| links_go_there("--v1-only"));
}

#[test]
fn links_and_executable_files_go_there_and_back_in_a_hybrid() {
    alone(|| links_go_there("--hybrid"));
}
