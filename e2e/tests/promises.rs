//! What the flags promise, while bytes flow: streaming, priorities, goals, what the daemon tells, what a power loss leaves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use peerage_e2e::faults::{ALONE, Diary, progress, words};
use peerage_e2e::namespace::run;
use peerage_e2e::pair::{ADA, Pair};
use peerage_e2e::peerage::objects;
use peerage_e2e::peers::{WebServer, http};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, alone, until};
use serde_json::Value;

const MEBIBYTE: usize = 1 << 20;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn a_player_seeks_to_the_end_first() {
    const SIZE: usize = 32 * MEBIBYTE;
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        // A slow seed: all of it takes eight seconds.
        let (_share, link) = pair.share(&film, &["--limit-up", "4M"]);
        let mut get = pair.get(&link, &["--stream"]);
        let told = get.event("stream")["url"].as_str().unwrap().to_owned();
        let (address, path) = told.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let first = SIZE - MEBIBYTE;
        let range = format!("Range: bytes={first}-\r\n");
        let (head, body) = http(address, "GET", &format!("/{path}"), &range, "");
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        assert!(fs::read(&film).unwrap()[first..] == body, "{} bytes, not those of the film", body.len());
        let mut diary = Diary::default();
        diary.update(&get.process);
        let verified = diary.verified().last().map_or(0, |(_, verified)| verified);
        assert!(verified < SIZE as u64 / 5, "{verified} bytes were there before the end was");

        // And back to the beginning; then the rest comes, too.
        let (_, body) = http(address, "GET", &format!("/{path}"), "Range: bytes=0-99999\r\n", "");
        assert!(fs::read(&film).unwrap()[..100_000] == body);
        get.complete();
        assert_same(&film, &pair.arrived());
    });
}

#[test]
fn serving_ends_at_the_ratio() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(3 * MEBIBYTE);
        let (mut share, link) = pair.share(&film, &["--ratio", "2"]);
        // Its last byte is sent before the other side has looked at it.
        share.process.may_end();
        for who in ["ben", "eve"] {
            assert!(share.process.runs(), "it ended before its ratio");
            let args = [&[&link, "-o", "out", "--listen", "127.0.0.1:0"], &ALONE[..]].concat();
            let mut get = Peerage::get(&pair.path(who), &args);
            get.complete();
            assert!(get.end().success());
            assert_same(&film, &pair.path(&format!("{who}/out/film.mkv")));
        }
        assert!(share.end().success());
    });
}

#[test]
fn whoever_got_it_serves_until_the_ratio() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(3 * MEBIBYTE);
        let (share, link) = pair.share(&film, &[]);
        let mut ben = pair.get(&link, &["--ratio", "1"]);
        ben.complete();
        drop(share);
        let args = [&[&link, "-o", "out", "--peer", "127.0.0.1:7002", "--listen", "127.0.0.1:0"], &ALONE[..]];
        let mut eve = Peerage::get(&pair.path("eve"), &args.concat());
        eve.complete();
        assert_same(&film, &pair.path("eve/out/film.mkv"));
        assert!(ben.end().success());
    });
}

#[test]
fn serving_ends_with_the_time() {
    alone(|| {
        let pair = Pair::new();
        let began = Instant::now();
        let (mut share, _link) = pair.share(&pair.film(MEBIBYTE), &["--time", "3s"]);
        assert!(share.end().success());
        let took = began.elapsed();
        assert!((3..20).contains(&took.as_secs()), "{took:?}");
    });
}

#[test]
fn a_torrent_is_fetched_from_its_url() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(2 * MEBIBYTE);
        let torrent = pair.path("web/x.torrent");
        fs::create_dir_all(pair.path("web")).unwrap();
        let (_share, _) = pair.share(&film, &["--torrent", torrent.to_str().unwrap()]);
        let server = WebServer::start("10.77.0.7", 8000, &pair.path("web"));
        let mut get = pair.get("http://10.77.0.7:8000/x.torrent", &["--peer", ADA]);
        get.complete();
        assert_same(&film, &pair.arrived());
        assert_eq!(server.requests().len(), 1);
    });
}

#[test]
fn what_is_wanted_more_comes_first() {
    alone(|| {
        let pair = Pair::new();
        let folder = pair.path("ada/holiday");
        for (seed, name) in (1..).zip(["a.mkv", "b.mkv", "c.mkv"]) {
            sample::file(&folder.join(name), seed, 3 * MEBIBYTE);
        }
        let (_share, link) = pair.share(&folder, &["--piece-size", "64k", "--limit-up", "2M"]);
        let _up = pair.up();
        let wishes = ["--priority", "b*=high", "--priority", "c*=low"];
        let mut get = Peerage::get(&pair.path("ben"), &[&[&link, "-o", "out"], &wishes[..]].concat());
        let verified = until("the file that is wanted most", || {
            let id = pair.ask(&["ls"]).first()?["id"].clone();
            let shown = pair.ask(&["show", &id.to_string(), "--files"]).remove(0);
            let files = shown["file_list"].as_array()?.clone();
            let verified: Vec<u64> = files.iter().map(|file| number(&file["verified"])).collect();
            (verified.get(1) == Some(&(3 * MEBIBYTE as u64))).then_some(verified)
        });
        // What came since the last look belongs to the next.
        assert!(verified[0] < 2 * MEBIBYTE as u64 && verified[2] < MEBIBYTE as u64, "{verified:?}");
        get.complete();
        assert_same(&folder, &pair.path("ben/out/holiday"));
    });
}

#[test]
fn in_sequence_the_beginning_is_there_before_the_end() {
    const SIZE: usize = 8 * MEBIBYTE;
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        let (_share, link) = pair.share(&film, &["--piece-size", "64k"]);
        let mut get = pair.get(&link, &["--sequential", "--limit-down", "2M"]);
        let told = progress(&mut get, "a third", |told| number(&told["verified"]) > SIZE as u64 / 3);
        let verified = usize::try_from(number(&told["verified"])).unwrap();
        assert!(verified < SIZE, "all came at once");
        let partial = fs::read(pair.arrived()).unwrap();
        let (film_bytes, sure) = (fs::read(&film).unwrap(), verified / 2);
        assert!(partial[..sure] == film_bytes[..sure], "the first {sure} bytes are not there");
        assert!(partial.iter().skip(SIZE * 9 / 10).all(|byte| *byte == 0), "the end is there already");
        get.complete();
        assert_same(&film, &pair.arrived());
    });
}

#[test]
fn the_space_is_taken_up_front_if_that_is_asked_for() {
    const SIZE: usize = 16 * MEBIBYTE;
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        let (_share, link) = pair.share(&film, &[]);
        let taken = |more: &[&str]| {
            let mut get = pair.get(&link, &[&["--limit-down", "2M"], more].concat());
            progress(&mut get, "a part", |told| number(&told["verified"]) > 0);
            let taken = fs::metadata(pair.arrived()).unwrap().blocks() * 512;
            get.signal("INT");
            get.end();
            fs::remove_dir_all(pair.path("ben")).unwrap();
            taken
        };
        let (usual, up_front) = (taken(&[]), taken(&["--preallocate"]));
        assert!(usual < SIZE as u64 && up_front >= SIZE as u64, "{usual} and {up_front} of {SIZE}");
    });
}

#[test]
fn bytes_that_do_not_match_the_torrent_are_not_served() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(4 * MEBIBYTE);
        objects(&pair.path("ada"), &["hash", "film.mkv", "--piece-size", "256k", "--torrent", "x.torrent"]);
        fs::create_dir_all(pair.path("true")).unwrap();
        fs::copy(&film, pair.path("true/film.mkv")).unwrap();
        let file = OpenOptions::new().write(true).open(&film).unwrap();
        file.write_all_at(b"another scene", MEBIBYTE as u64).unwrap();
        let args = [&["film.mkv", "--as", "x.torrent", "--listen", ADA], &ALONE[..]].concat();
        let mut share = Peerage::share(&pair.path("ada"), &args);
        let told = share.find("the difference", |event| {
            event["event"] == "error" || event["event"] == "state" && !event["problem"].is_null()
        });
        let told = words(if told["event"] == "error" { &told } else { &told["problem"] });
        assert!(told.contains("film.mkv"), "{told}");
    });
}

#[test]
fn the_daemon_tells_of_a_transfer_while_it_runs() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(12 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let _up = pair.up();
        let mut get = Peerage::get(&pair.path("ben"), &[&link, "-o", "out", "--limit-down", "2M"]);
        progress(&mut get, "a part", |told| number(&told["verified"]) > 0);

        let peers = pair.ask(&["peers", "1"]);
        let peer = &peers[0];
        assert_eq!((peers.len(), &peer["address"]), (1, &ADA.into()), "{peers:?}");
        assert!(number(&peer["downloaded"]) > 0 && peer["progress"] == 1.0, "{peer}");
        assert!(peer["client"].as_str().unwrap().starts_with("Peerage"), "{peer}");

        let shown = &pair.ask(&["show", "1"])[0];
        assert_eq!(
            (&shown["state"], &shown["peers_connected"]),
            (&"downloading".into(), &1.into()),
            "{shown}"
        );
        assert!((1..12 * MEBIBYTE as u64).contains(&number(&shown["verified"])), "{shown}");

        let endpoint = find_file(&pair.path("ben"), "daemon.json");
        let endpoint: Value = serde_json::from_slice(&fs::read(endpoint).unwrap()).unwrap();
        let address = endpoint["address"].as_str().unwrap();
        let token = format!("Authorization: Bearer {}\r\n", endpoint["token"].as_str().unwrap());
        let (refused, _) = http(address, "GET", "/metrics", "", "");
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        let (_, text) = http(address, "GET", "/metrics", &token, "");
        let text = String::from_utf8(text).unwrap();
        let metric = |name: &str| -> u64 {
            let line =
                text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
            line.trim().parse().unwrap()
        };
        assert!(metric("peerage_downloaded_bytes_total") > 0);
        assert_eq!(metric("peerage_peers_connected"), 1);
        assert_eq!(metric("peerage_transfers{state=\"downloading\"}"), 1);
        get.complete();
        assert_same(&film, &pair.arrived());
    });
}

/// The first file of this name somewhere in a folder.
fn find_file(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|own| own == name) {
                return path;
            }
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    panic!("no {name} in {}", folder.display())
}

/// Lets programs that start from now on believe that the machine was started anew.
fn reboot(pair: &Pair) {
    let id = pair.path("boot_id");
    fs::write(&id, "01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
    run("mount", &["--bind", id.to_str().unwrap(), "/proc/sys/kernel/random/boot_id"]);
}

/// Fetches half of the film, and ends as if by a power cut. The bytes that were verified.
fn until_the_power_goes(pair: &Pair, link: &str, size: usize) -> u64 {
    let mut get = pair.get(link, &["--limit-down", "3M"]);
    let told = progress(&mut get, "a half", |told| number(&told["verified"]) > size as u64 / 2);
    // What is verified is on record within a second.
    let verified = number(&told["verified"]);
    progress(&mut get, "another second", |told| number(&told["verified"]) > verified);
    get.signal("KILL");
    get.end();
    reboot(pair);
    verified
}

#[test]
fn after_a_power_loss_what_survived_is_hashed_and_not_fetched_again() {
    const SIZE: usize = 16 * MEBIBYTE;
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        let (_share, link) = pair.share(&film, &[]);
        let kept = until_the_power_goes(&pair, &link, SIZE);
        let mut get = pair.get(&link, &[]);
        get.find("a check of what is there", |event| {
            event["state"] == "checking" || event["transfer"]["state"] == "checking"
        });
        let complete = get.complete();
        let downloaded = number(&complete["transfer"]["downloaded"]);
        // Of all runs together: no byte that had been verified was fetched twice.
        assert!(downloaded < (SIZE + 2 * MEBIBYTE) as u64, "{downloaded}, {kept} were there");
        assert_same(&film, &pair.arrived());
    });
}

#[test]
fn after_a_power_loss_what_was_lost_is_fetched_again() {
    const SIZE: usize = 16 * MEBIBYTE;
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        let (_share, link) = pair.share(&film, &["--limit-up", "6M"]);
        until_the_power_goes(&pair, &link, SIZE);
        // The pages had not reached the disk: zeros are there now, in a file as old and as long as before.
        let (file, before) = (pair.arrived(), fs::metadata(pair.arrived()).unwrap());
        let lost =
            fs::read(&file).unwrap().chunks(MEBIBYTE).position(|part| part.iter().any(|byte| *byte != 0));
        let writer = OpenOptions::new().write(true).open(&file).unwrap();
        writer.write_all_at(&vec![0; MEBIBYTE], (lost.unwrap() * MEBIBYTE) as u64).unwrap();
        writer.set_modified(before.modified().unwrap()).unwrap();
        drop(writer);
        let mut get = pair.get(&link, &[]);
        get.complete();
        assert_same(&film, &file);
    });
}
