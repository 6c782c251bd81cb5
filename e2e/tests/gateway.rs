//! What a daemon shares, read by programs that know nothing of Peerage: curl by CID, a BitTorrent client by web seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use peerage_e2e::faults::ALONE;
use peerage_e2e::peerage::{objects, output};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, until};
use serde_json::Value;

/// A daemon in the home of `user`.
fn daemon(home: &Path) -> Peerage {
    fs::create_dir_all(home).unwrap();
    let mut daemon = Peerage::up(home, &[&ALONE[..], &["--listen", "127.0.0.1:0"]].concat());
    daemon.event("listening");
    daemon
}

/// Shares something of the home; the transfer as it is shown.
fn share(home: &Path, args: &[&str]) -> Value {
    let shared = output(home, &[&["share", "--background"], args].concat());
    assert!(shared.status.success(), "{}", String::from_utf8_lossy(&shared.stderr));
    objects(home, &["ls"]).pop().unwrap()
}

fn curl(args: &[&str]) -> Output {
    Command::new("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(args).output().unwrap()
}

/// The status that a URL answers with.
fn status(url: &str) -> String {
    let output = curl(&["--output", "/dev/null", "--write-out", "%{http_code}", url]);
    String::from_utf8(output.stdout).unwrap()
}

/// A path as it stands in a URL.
fn escaped(path: &str) -> String {
    path.bytes().fold(String::new(), |mut url, byte| {
        match byte {
            b'/' => url.push('/'),
            _ => write!(url, "%{byte:02X}").unwrap(),
        }
        url
    })
}

/// Every file of a folder is what a URL below `base` gives.
fn assert_served(base: &str, folder: &Path) {
    let room = tempfile::tempdir().unwrap();
    for (name, digest) in sample::digests(folder) {
        let file = room.path().join("file");
        let url = format!("{base}/{}", escaped(&name));
        let got = curl(&["--fail", "--output", file.to_str().unwrap(), &url]);
        assert!(got.status.success(), "{url}: {}", String::from_utf8_lossy(&got.stderr));
        assert_eq!(sample::digest(&file), digest, "{name}");
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn curl_reads_every_file_by_the_cid_of_its_folder() {
    alone(|| {
        let room = Room::new();
        let home = room.path("ada");
        sample::odd_folder(&home.join("odd"));
        let mut first = daemon(&home);
        let transfer = share(&home, &["odd"]);
        let url = transfer["gateway"].as_str().unwrap().to_owned();
        assert!(url.ends_with(transfer["cid"].as_str().unwrap()), "{url}");
        assert_served(&url, &home.join("odd"));
        let part = curl(&["--range", "1000000-1000099", &format!("{url}/film.mkv")]).stdout;
        assert_eq!(part, fs::read(home.join("odd/film.mkv")).unwrap()[1_000_000..1_000_100]);

        // Nothing is hashed again for it: the files are not read before somebody asks.
        first.signal("TERM");
        assert!(first.end().success());
        let _second = daemon(&home);
        until("it is shared again", || (objects(&home, &["ls"])[0]["state"] == "seeding").then_some(()));
        assert_served(&url, &home.join("odd"));

        fs::write(home.join("odd/one byte"), "edited").unwrap();
        assert_eq!(status(&format!("{url}/{}", escaped("one byte"))), "404");
        assert_eq!(status(&format!("{url}/film.mkv")), "200");
        assert!(output(&home, &["remove", "1"]).status.success());
        assert_eq!(status(&format!("{url}/film.mkv")), "404");
    });
}

#[test]
fn a_bittorrent_client_takes_a_share_as_its_web_seed() {
    alone(|| {
        let room = Room::new();
        let home = room.path("ada");
        sample::odd_folder(&home.join("odd"));
        let _daemon = daemon(&home);
        let transfer = share(&home, &["odd", "--v1-only"]);
        let gateway = transfer["gateway"].as_str().unwrap();
        let (base, _) = gateway.split_once("/ipfs/").unwrap();
        let url = format!("{base}/share/{}/", transfer["info_hash_v1"].as_str().unwrap());
        let torrent = room.text("odd.torrent");
        let named = ["hash", "odd", "--v1-only", "--web-seed", &url, "--torrent", &torrent];
        assert!(output(&home, &named).status.success());

        let down = room.text("down");
        let got = Command::new("aria2c")
            .args(["--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"])
            .args(["--seed-time=0", "--file-allocation=none", "--dir", &down, &torrent])
            .output()
            .unwrap();
        assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stdout));
        sample::assert_same(&home.join("odd"), &room.path("down/odd"));
    });
}

#[test]
fn what_is_private_is_open_to_nobody() {
    alone(|| {
        let room = Room::new();
        let home = room.path("ada");
        sample::odd_folder(&home.join("odd"));
        let _daemon = daemon(&home);
        sample::file(&home.join("open"), 1, 1000);
        let open = share(&home, &["open"]);
        let (base, _) = open["gateway"].as_str().unwrap().split_once("/ipfs/").unwrap();
        let transfer = share(&home, &["odd", "--private", "--tracker", "http://127.0.0.1:9/announce"]);
        assert_eq!((&transfer["cid"], &transfer["gateway"]), (&Value::Null, &Value::Null));
        let hash = transfer["info_hash_v1"].as_str().unwrap();
        assert_eq!(status(&format!("{base}/share/{hash}/odd/film.mkv")), "404");
        let open = open["info_hash_v1"].as_str().unwrap();
        assert_eq!(status(&format!("{base}/share/{open}/open")), "200");
    });
}
