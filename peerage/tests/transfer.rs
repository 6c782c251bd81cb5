//! Whole transfers between real processes, as two users would make them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peerage::api::{Client, Endpoint};
use peerage::control::Control;
use peerage::model::TransferId;
use peerage_bittorrent::metainfo::Metainfo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One machine: a home and what runs on it.
struct Machine {
    folder: tempfile::TempDir,
}

/// For a node of a test: found by address alone, on a port of its own.
const ALONE: [&str; 4] = ["--no-dht", "--no-lan", "--listen", "127.0.0.1:0"];

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerage"));
        command.args(args).env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// A command that must fail; what it says.
    #[track_caller]
    fn fail(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {told} {}",
            String::from_utf8_lossy(&output.stdout)
        );
        told
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let out = self.run(args).stdout;
        let last = out.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        serde_json::from_slice(last).unwrap()
    }

    /// A daemon in the background, ended with the test.
    fn daemon(&self) -> Daemon<'_> {
        self.run(&[&["up", "--background"][..], &ALONE].concat());
        Daemon(self)
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {told} {}", String::from_utf8_lossy(&output.stdout));
        output
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }
}

/// A daemon that ends with the test, however that ends.
struct Daemon<'a>(&'a Machine);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // The test may have ended it.
        let _ = self.0.command(&["down"]).output();
    }
}

/// A process that prints events, ended with the test.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// The next event of that name.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "ended before {name}");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
            assert_ne!(event["event"], "error", "{event}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit status, which must come within the two seconds that are promised.
    fn end(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_millis(2_300), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let step = u32::from(seed) * 2 + 1;
    (0..length as u32).map(|at| (at.wrapping_mul(step).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn holiday(folder: &Path) {
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("video.mkv"), bytes(1, 300_000)).unwrap();
    fs::write(folder.join("deep/notes é.txt"), bytes(2, 40_000)).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
}

fn assert_same(left: &Path, right: &Path) {
    for file in ["video.mkv", "deep/notes é.txt", "empty"] {
        assert!(fs::read(left.join(file)).unwrap() == fs::read(right.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn the_link_alone_is_enough() {
    let (ada, ben) = (Machine::new(), Machine::new());
    holiday(&ada.path("holiday"));
    let mut share = ada.start(&[&["share", "holiday", "--json"][..], &ALONE].concat());
    share.event("listening");
    let metadata = share.event("metadata");
    let link = metadata["transfer"]["magnet"].as_str().unwrap();
    assert!(link.contains("x.pe=127.0.0.1:"), "{link}");
    let mut get = ben.start(&[&["get", link, "-o", "down", "--json"][..], &ALONE].concat());
    assert_eq!(get.event("complete")["path"], ben.path("down/holiday").to_str().unwrap());
    assert_eq!(get.end(), Some(0));
    assert_same(&ada.path("holiday"), &ben.path("down/holiday"));

    let output = ben.run(&[&["get", link, "--only", "video.*", "-o", "-"][..], &ALONE].concat());
    assert!(output.stdout == bytes(1, 300_000));

    share.signal(Signal::INT);
    assert_eq!(share.end(), Some(130));
}

#[test]
fn existing_bytes_are_served_under_an_existing_torrent() {
    let (ada, ben) = (Machine::new(), Machine::new());
    fs::write(ada.path("video.mkv"), bytes(3, 500_000)).unwrap();
    ada.run(&["hash", "video.mkv", "--torrent", "v.torrent", "--piece-size", "16k"]);
    fs::copy(ada.path("v.torrent"), ben.path("v.torrent")).unwrap();
    let mut share = ada.start(&[&["share", "video.mkv", "--as", "v.torrent", "--json"][..], &ALONE].concat());
    let address = share.event("listening")["addresses"][0].as_str().unwrap().to_owned();
    let mut get =
        ben.start(&[&["get", "v.torrent", "--peer", &address, "--seed", "--json"][..], &ALONE].concat());
    get.event("complete");
    assert!(fs::read(ben.path("video.mkv")).unwrap() == bytes(3, 500_000));
    get.signal(Signal::TERM);
    assert_eq!(get.end(), Some(143));
}

#[test]
fn the_daemon_shares_remembers_and_ends() {
    let (ada, ben) = (Machine::new(), Machine::new());
    holiday(&ada.path("holiday"));
    fs::write(ada.path("other"), bytes(5, 50_000)).unwrap();
    let daemon = ada.daemon();
    ada.run(&["share", "other", "--background"]);
    let share = ada.run(&["share", "holiday", "--background"]);
    let link = String::from_utf8(share.stdout).unwrap();
    ben.run(&[&["get", link.trim(), "-o", "down"][..], &ALONE].concat());
    assert_same(&ada.path("holiday"), &ben.path("down/holiday"));
    ada.run(&["pause", "2"]);
    ada.run(&["limit", "--up", "5M"]);
    ada.run(&["remove", "1"]);
    ada.run(&["down"]);
    drop(daemon);

    let _daemon = ada.daemon();
    // Its number is the same, although the other is gone.
    let shown = ada.json(&["show", "2", "--json"]);
    assert_eq!((&shown["state"], &shown["name"]), (&"paused".into(), &"holiday".into()));
    // Other content comes after it.
    ada.run(&["share", "other", "--background"]);
    assert_eq!(ada.json(&["show", "3", "--json"])["name"], "other");
    ada.run(&["remove", "2", "3"]);
    assert!(ada.run(&["ls", "--json"]).stdout.is_empty());
    let limits = fs::read_to_string(ada.path(".local/share/peerage/transfers/node.limits")).unwrap();
    assert!(limits.contains("5242880"), "{limits}");
    assert!(ada.path("holiday/video.mkv").exists());
}

/// A link to `holiday` on a machine that shares it as long as the process lives.
fn shared(ada: &Machine) -> (Running, String) {
    holiday(&ada.path("holiday"));
    let mut share = ada.start(&[&["share", "holiday", "--json"][..], &ALONE].concat());
    let link = share.event("metadata")["transfer"]["magnet"].as_str().unwrap().to_owned();
    (share, link)
}

/// Peers that meet in v1's name do not tell each other a hybrid's hashes (BEP 52).
#[tokio::test]
async fn a_hybrid_that_came_without_its_hashes_is_saved_with_them() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    let _daemon = ben.daemon();
    ben.run(&["get", &link, "-o", "down"]);
    let endpoint = Endpoint::find(&ben.path(".local/share/peerage")).unwrap().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let saved = Client::new(endpoint).unwrap().torrent(TransferId(1)).await.unwrap();
    let saved = Metainfo::parse(&saved).unwrap();
    let layered: Vec<_> = saved.info.layered().map(|(_, root)| root).collect();
    assert!(!layered.is_empty());
    assert!(layered.iter().all(|root| saved.piece_layers.contains_key(root)));
}

#[test]
fn what_the_daemon_has_survives_a_get_to_stdout() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    let _daemon = ben.daemon();
    ben.run(&["get", &link, "-o", "down", "--only", "video.*"]);
    // A file that the transfer did not want: it is fetched, too.
    let output = ben.run(&["get", &link, "-o", "-", "--only", "*.txt"]);
    assert!(output.stdout == bytes(2, 40_000));
    assert!(fs::read(ben.path("down/holiday/video.mkv")).unwrap() == bytes(1, 300_000));
    assert_eq!(ben.json(&["ls", "--json"])["id"], 1);
    assert!(ben.fail(&["get", &link, "-o", "-", "--only", "nothing"]).contains("no file matches nothing"));
    // All of it, after a selection; and paused transfers go on.
    ben.run(&["pause", "1"]);
    ben.run(&["get", &link]);
    assert_same(&ada.path("holiday"), &ben.path("down/holiday"));
}

#[test]
fn what_a_daemon_has_from_stdin_goes_with_the_transfer() {
    let ada = Machine::new();
    let _daemon = ada.daemon();
    for remove in [&["remove", "1"][..], &["remove", "2", "--files"]] {
        let mut share = ada.command(&["share", "-", "--name", "notes.txt", "--background"]);
        fs::write(ada.path("input"), remove.concat()).unwrap();
        let shared = share.stdin(fs::File::open(ada.path("input")).unwrap()).output().unwrap();
        let stdin = ada.path(".local/share/peerage/stdin");
        let told = String::from_utf8_lossy(&shared.stderr).into_owned();
        assert!(told.contains(stdin.to_str().unwrap()), "where it lies: {told}");
        assert!(fs::read_dir(&stdin).unwrap().count() > 0);
        ada.run(remove);
        assert_eq!(fs::read_dir(&stdin).unwrap().count(), 0);
    }
}

/// The same bytes again: the second transfer turns out to be the first, and nothing is left of it.
#[test]
fn what_came_from_stdin_twice_is_kept_once() {
    let ada = Machine::new();
    let _daemon = ada.daemon();
    fs::write(ada.path("input"), bytes(3, 50_000)).unwrap();
    let stdin = ada.path(".local/share/peerage/stdin");
    let mut found = Vec::new();
    for _ in 0..2 {
        let mut share = ada.command(&["share", "-", "--background"]);
        let shared = share.stdin(fs::File::open(ada.path("input")).unwrap()).output().unwrap();
        let told = String::from_utf8_lossy(&shared.stderr).into_owned();
        assert!(shared.status.success(), "{told}");
        let mut kept: Vec<_> = fs::read_dir(&stdin).unwrap().map(|entry| entry.unwrap().path()).collect();
        kept.sort();
        found.push((kept, told.contains("lies at")));
    }
    let [(first, true), (second, false)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(first, second);
    assert!(fs::read(first[0].join("stdin")).unwrap() == bytes(3, 50_000));
}

/// What an interrupted command left is not lost because the next one does not get as far.
#[test]
fn a_failed_start_leaves_what_was_on_its_way_to_stdout() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    let args = ["get", &link, "--only", "video.*", "-o", "-", "--no-dht", "--no-lan", "--listen"];
    let mut get = ben.command(&[&args[..], &["127.0.0.1:0", "--limit-down", "64k"]].concat());
    let mut get = get.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    get.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    kill_process(Pid::from_child(&get), Signal::INT).unwrap();
    assert_eq!(get.wait().unwrap().code(), Some(130));
    let left = || fs::read_dir(ben.path(".local/share/peerage/stdout")).unwrap().count();
    assert_eq!(left(), 1);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    assert!(ben.fail(&[&args[..], &[&taken]].concat()).contains("start the node"));
    assert_eq!(left(), 1);
    let whole = ben.run(&[&args[..], &["127.0.0.1:0"]].concat());
    assert!(whole.stdout == bytes(1, 300_000));
    assert_eq!(left(), 0);
}

#[test]
fn a_daemon_that_does_not_start_in_the_background_says_why() {
    let ada = Machine::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let told = ada.fail(&["up", "--background", "--listen", &taken, "--no-dht", "--no-lan"]);
    assert!(told.contains(&format!("\n  caused by: listen on {taken}\n")), "{told}");
}

#[test]
fn a_private_torrent_that_nobody_can_find_is_doubted() {
    let ada = Machine::new();
    holiday(&ada.path("holiday"));
    let told = |args: &[&str]| String::from_utf8(ada.run(args).stderr).unwrap();
    assert!(told(&["hash", "holiday", "--private"]).contains("this one names none"));
    let named = told(&["hash", "holiday", "--private", "--tracker", "http://tracker.example/announce"]);
    assert!(!named.contains("names none"), "{named}");
}

#[test]
fn a_folder_has_its_name_from_the_start_whatever_it_was_called() {
    let ada = Machine::new();
    holiday(&ada.path("holiday"));
    let mut share = ada.start(&[&["share", "holiday/deep/..", "--json"][..], &ALONE].concat());
    let added = share.event("added");
    assert_eq!(added["transfer"]["name"], "holiday", "{added}");
}

#[test]
fn the_whole_file_system_is_not_shared() {
    let ada = Machine::new();
    for path in ["/", "/.."] {
        let told = ada.fail(&[&["share", path][..], &ALONE].concat());
        assert!(told.contains("the whole file system"), "{told}");
    }
}

#[test]
fn a_foreign_file_of_the_same_name_is_not_overwritten() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    let get = [&["get", &link, "-o", "down"][..], &ALONE].concat();
    for (mine, why) in [(bytes(9, 400_000), "it has 400000 bytes"), (bytes(9, 300_000), "none of its pieces")]
    {
        fs::create_dir_all(ben.path("down/holiday")).unwrap();
        fs::write(ben.path("down/holiday/video.mkv"), &mine).unwrap();
        // Asking again does not help.
        for _ in 0..2 {
            let told = ben.fail(&get);
            assert!(
                told.contains("is there already") && told.contains(why) && told.contains("--overwrite"),
                "{told}"
            );
        }
        assert!(fs::read(ben.path("down/holiday/video.mkv")).unwrap() == mine);
    }
    fs::remove_file(ben.path("down/holiday/video.mkv")).unwrap();
    fs::create_dir(ben.path("down/holiday/video.mkv")).unwrap();
    assert!(ben.fail(&[&get[..], &["--overwrite"]].concat()).contains("it is a folder"));
    fs::remove_dir(ben.path("down/holiday/video.mkv")).unwrap();
    fs::write(ben.path("down/holiday/video.mkv"), bytes(9, 400_000)).unwrap();
    ben.run(&[&get[..], &["--overwrite"]].concat());
    assert_same(&ada.path("holiday"), &ben.path("down/holiday"));
    // What is true already, without any record of it, is taken as it is.
    fs::remove_dir_all(ben.path(".local")).unwrap();
    let output = ben.run(&get);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is here already"));
}

#[test]
fn downloads_take_no_more_than_their_quota() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    ben.run(&["config", "set", "disk_quota", "100k"]);
    let mut get = ben.start(&[&["get", &link, "--json"][..], &ALONE].concat());
    let state = loop {
        let state = get.event("state");
        if state["state"] == "error" {
            break state;
        }
    };
    assert_eq!(state["problem"]["code"], "no_space", "{state}");
    assert!(state["problem"]["causes"][0].as_str().unwrap().contains("the quota for downloads is used up"));
    // It waits for room.
    get.signal(Signal::INT);
    assert_eq!(get.end(), Some(130));
}

#[test]
fn a_torrent_overwrites_nothing_but_a_torrent() {
    let ada = Machine::new();
    fs::write(ada.path("b.bin"), bytes(4, 1_000)).unwrap();
    ada.fail(&["hash", "b.bin", "--torrent", "b.bin"]);
    assert!(fs::read(ada.path("b.bin")).unwrap() == bytes(4, 1_000));
    let output = ada.run(&["hash", "b.bin", "--torrent", "-"]);
    assert!(output.stdout.starts_with(b"d") && output.stdout.ends_with(b"e"));
    fs::write(ada.path("x.torrent"), &output.stdout).unwrap();
    assert_eq!(ada.json(&["inspect", "x.torrent", "--json"])["name"], "b.bin");
}

#[test]
fn commands_with_a_node_of_their_own_do_not_come_back_in_the_daemon() {
    let ada = Machine::new();
    let (mut share, _) = shared(&ada);
    share.signal(Signal::INT);
    assert_eq!(share.end(), Some(130));
    let _daemon = ada.daemon();
    assert!(ada.run(&["ls", "--json"]).stdout.is_empty());
    // The same command to the daemon makes it the daemon's.
    ada.run(&["share", "holiday", "--background"]);
    ada.run(&["down"]);
    let _daemon = ada.daemon();
    assert_eq!(ada.json(&["ls", "--json"])["name"], "holiday");
}

#[test]
fn other_bytes_are_not_shared_under_a_torrent() {
    let ada = Machine::new();
    fs::write(ada.path("v"), bytes(3, 500_000)).unwrap();
    ada.run(&["hash", "v", "--torrent", "v.torrent", "--piece-size", "16k"]);
    fs::write(ada.path("v"), bytes(6, 500_000)).unwrap();
    let output = ada.command(&[&["share", "v", "--as", "v.torrent"][..], &ALONE].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no piece matches") && output.stdout.is_empty());
    let mut half = bytes(3, 500_000);
    half[400_000..].fill(0);
    fs::write(ada.path("v"), half).unwrap();
    let mut share = ada.start(&[&["share", "v", "--as", "v.torrent", "--json"][..], &ALONE].concat());
    let mut progress = std::iter::repeat_with(|| share.event("progress"));
    let progress = progress.find(|event| !event["transfer"]["problem"].is_null()).unwrap();
    let (transfer, problem) = (&progress["transfer"], &progress["transfer"]["problem"]);
    assert_eq!((&transfer["state"], &problem["code"]), (&"seeding".into(), &"partial".into()), "{progress}");
    assert_eq!(problem["message"], "104 KiB of 488 KiB do not match the torrent, and are not served");
    assert!(
        problem["causes"][0].as_str().unwrap().contains("/v\" is the first that is gone or not whole"),
        "{problem}"
    );
    assert!(problem["hint"].as_str().unwrap().contains("fetches what is missing"), "{problem}");
}

#[test]
fn a_selection_of_what_is_complete_already_is_fetched_before_it_is_called_complete() {
    let (ada, ben) = (Machine::new(), Machine::new());
    for (file, seed) in [("one", 1), ("two", 2), ("three", 3)] {
        fs::create_dir_all(ada.path("album")).unwrap();
        fs::write(ada.path("album").join(file), bytes(seed, 300_000)).unwrap();
    }
    let mut share = ada.start(&[&["share", "album", "--json"][..], &ALONE].concat());
    let link = share.event("metadata")["transfer"]["magnet"].as_str().unwrap().to_owned();
    let _daemon = ben.daemon();
    for (file, seed) in [("one", 1), ("two", 2), ("three", 3)] {
        let mut get = ben.start(&["get", &link, "-o", "down", "--only", file, "--json"]);
        get.event("complete");
        assert!(fs::read(ben.path("down/album").join(file)).unwrap() == bytes(seed, 300_000), "{file}");
        assert_eq!(get.end(), Some(0));
    }
}

#[test]
fn who_is_asked_for_the_torrent_is_shown_before_anybody_has_it() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let link = format!("magnet:?xt=urn:btih:{}", "ab".repeat(20));
    let mut first = ada.start(&[&["get", &link, "--json"][..], &ALONE].concat());
    let address = first.event("listening")["addresses"][0].as_str().unwrap().to_owned();
    let mut second = ben.start(&[&["get", &link, "--json", "--peer", &address][..], &ALONE].concat());
    let mut progress = std::iter::repeat_with(|| second.event("progress")["transfer"].take());
    let met = progress.find(|transfer| transfer["peers_connected"] == 1).unwrap();
    assert_eq!((&met["state"], &met["peers_known"]), (&"fetching_metadata".into(), &1.into()), "{met}");
    let mut progress = std::iter::repeat_with(|| first.event("progress")["transfer"].take());
    progress.find(|transfer| transfer["peers_connected"] == 1).unwrap();
}

#[test]
fn the_same_content_is_one_transfer() {
    let ada = Machine::new();
    holiday(&ada.path("holiday"));
    holiday(&ada.path("copy/holiday"));
    let _daemon = ada.daemon();
    let first = ada.run(&["share", "holiday", "--background"]).stdout;
    assert_eq!(ada.run(&["share", "copy/holiday", "--background"]).stdout, first);
    assert_eq!(ada.json(&["ls", "--json"])["id"], 1);
}

#[test]
fn verify_tells_what_it_found() {
    let ada = Machine::new();
    holiday(&ada.path("holiday"));
    let _daemon = ada.daemon();
    ada.run(&["share", "holiday", "--background"]);
    assert_eq!(ada.json(&["verify", "1", "--json"])["verified"], 340_000);
    let mut damaged = bytes(1, 300_000);
    damaged[0] ^= 1;
    fs::write(ada.path("holiday/video.mkv"), damaged).unwrap();
    let told = ada.fail(&["verify", "1"]);
    assert!(told.contains("are missing or not what they should be") || told.contains("changed"), "{told}");
}

#[test]
fn one_download_at_a_time_if_the_user_says_so() {
    let ada = Machine::new();
    ada.run(&["config", "set", "active_downloads", "1"]);
    let _daemon = ada.daemon();
    let state = |id: &str| ada.json(&["show", id, "--json"])["state"].as_str().unwrap().to_owned();
    let until = |id: &str, wanted: &str| {
        let began = Instant::now();
        while state(id) != wanted {
            assert!(began.elapsed() < Duration::from_secs(10), "{id} is {} and not {wanted}", state(id));
        }
    };
    // Nobody has them: the first goes on asking.
    let mut gets = Vec::new();
    for (id, hash) in [("1", "aa"), ("2", "bb"), ("3", "cc")] {
        let mut get = ada.start(&["get", &hash.repeat(20), "--json"]);
        get.event("added");
        gets.push(get);
        until(id, if id == "1" { "fetching_metadata" } else { "queued" });
    }
    ada.run(&["pause", "1"]);
    until("1", "paused");
    until("2", "fetching_metadata");
    ada.run(&["remove", "2"]);
    until("3", "fetching_metadata");
    ada.run(&["resume", "1"]);
    until("1", "queued");
}

#[test]
fn files_of_a_paused_download_are_deleted_too() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    let daemon = ben.daemon();
    ben.run(&["get", &link, "-o", "down"]);
    ben.run(&["pause", "1"]);
    ben.run(&["down"]);
    drop(daemon);
    let _daemon = ben.daemon();
    ben.run(&["remove", "1", "--files"]);
    assert!(ben.path("down").exists() && !ben.path("down/holiday").exists());
}

#[test]
fn a_selection_that_matches_nothing_fails() {
    let (ada, ben) = (Machine::new(), Machine::new());
    let (_share, link) = shared(&ada);
    let told = ben.fail(&[&["get", &link, "--only", "nothing"][..], &ALONE].concat());
    assert!(told.contains("no file matches nothing"), "{told}");
    for selection in [&["--priority", "*=skip"][..], &["--only", "*.mkv", "--priority", "*.mkv=skip"]] {
        let told = ben.fail(&[&["get", &link][..], selection, &ALONE].concat());
        assert!(told.contains("no file is left"), "{told}");
    }
    ben.run(&[&["get", &link][..], &ALONE].concat());
    // Nothing was fetched this time: there is no rate to tell.
    let again = ben.run(&[&["get", &link][..], &ALONE].concat());
    let told = String::from_utf8_lossy(&again.stderr);
    assert!(told.contains("is here already") && !told.contains("Got "), "{told}");
}

#[test]
fn a_live_transfer_is_seen_from_outside() {
    let (ada, ben) = (Machine::new(), Machine::new());
    ada.run(&["config", "set", "metrics_open", "true"]);
    holiday(&ada.path("holiday"));
    let _daemon = ada.daemon();
    let mut share = ada.start(&["share", "holiday", "--json"]);
    let link = share.event("metadata")["transfer"]["magnet"].as_str().unwrap().to_owned();
    let mut get = ben.start(&[&["get", &link, "--limit-down", "40k", "--json"][..], &ALONE].concat());
    // Each side counts for itself, once a second.
    for side in [&mut get, &mut share] {
        while side.event("progress")["transfer"]["peers_connected"] != 1 {}
    }
    let peer = ada.json(&["peers", "1", "--json"]);
    assert_eq!((&peer["found"][0], &peer["transport"]), (&"incoming".into(), &"tcp".into()), "{peer}");
    assert!(peer["client"].as_str().unwrap().starts_with("Peerage"), "{peer}");
    let shown = ada.json(&["show", "1", "--files", "--json"]);
    assert_eq!((&shown["state"], &shown["peers_connected"]), (&"seeding".into(), &1.into()), "{shown}");
    assert_eq!(shown["file_list"].as_array().unwrap().len(), 3);
    let endpoint: Value =
        serde_json::from_slice(&fs::read(ada.path(".local/share/peerage/daemon.json")).unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(endpoint["address"].as_str().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    assert!(metrics.contains("peerage_peers_connected 1\n"), "{metrics}");
    assert!(metrics.contains("peerage_transfers{state=\"seeding\"} 1"), "{metrics}");
}

#[test]
fn a_stop_takes_no_longer_for_a_dead_tracker_and_a_listener() {
    let ada = Machine::new();
    holiday(&ada.path("holiday"));
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tracker = format!("udp://{}", dead.local_addr().unwrap());
    let mut up = ada.start(&[&["up", "--json"][..], &ALONE].concat());
    up.event("listening");
    let mut share = ada.start(&["share", "holiday", "--tracker", &tracker, "--json"]);
    share.event("progress");
    up.signal(Signal::TERM);
    assert_eq!(up.end(), Some(0));
}

#[test]
fn a_daemon_ends_well_when_it_is_told_to() {
    let ada = Machine::new();
    let mut up = ada.start(&[&["up", "--json"][..], &ALONE].concat());
    up.event("listening");
    up.signal(Signal::TERM);
    assert_eq!(up.end(), Some(0));
    assert!(!ada.path(".local/share/peerage/daemon.json").exists());
}

/// Minimal containers have no certificates; nothing but https needs them.
#[test]
fn a_machine_without_certificates_does_everything_but_https() {
    let (ada, nowhere) = (Machine::new(), "/nowhere/certificates");
    fs::write(ada.path("video.mkv"), bytes(3, 50_000)).unwrap();
    let without = |args: &[&str]| {
        let mut command = ada.command(args);
        command.env("SSL_CERT_FILE", nowhere).env("SSL_CERT_DIR", nowhere);
        command
    };
    let share = &[&["share", "video.mkv", "--json"][..], &ALONE].concat();
    let mut child = without(share).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Running { child, lines }.event("listening");

    let output = without(&["inspect", "https://127.0.0.1:9/x.torrent"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("this machine has no CA certificates"), "{told}");
    let output = without(&["inspect", "http://127.0.0.1:9/x.torrent"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!told.contains("certificates"), "plain HTTP needs none: {told}");
}

/// What a tracker was told: event, downloaded, left.
type Notes = Arc<Mutex<Vec<(String, u64, u64)>>>;

/// A tracker that knows nobody, and its notes.
fn noting_tracker() -> (String, Notes) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let notes = Notes::default();
    let kept = notes.clone();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            BufReader::new(&socket).read_line(&mut head).unwrap();
            let value = |key: &str| {
                let found =
                    head.split(['?', '&', ' ']).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
                found.unwrap_or_default().to_owned()
            };
            let number = |key: &str| value(key).parse().unwrap();
            kept.lock().unwrap().push((value("event"), number("downloaded"), number("left")));
            let _ = socket.write_all(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 18\r\n\r\nd8:intervali1800ee",
            );
        }
    });
    (url, notes)
}

/// BEP 3 and 21: `completed` and `left=0` are for whole copies, not for a selection; and the last announce has the numbers of the whole run.
#[test]
fn trackers_are_told_the_truth_about_a_selection() {
    let (ada, ben) = (Machine::new(), Machine::new());
    holiday(&ada.path("holiday"));
    let share = [&["share", "holiday", "--piece-size", "16k", "--json"][..], &ALONE].concat();
    let mut share = ada.start(&share);
    let metadata = share.event("metadata");
    let (url, notes) = noting_tracker();
    let link = format!("{}&tr={url}", metadata["transfer"]["magnet"].as_str().unwrap());
    let get = |more: &[&str]| {
        notes.lock().unwrap().clear();
        ben.run(&[&["get", &link, "-o", "down"][..], more, &ALONE].concat());
        let mut notes = notes.lock().unwrap().clone();
        // A hybrid is announced under both its hashes.
        notes.sort();
        notes.dedup();
        notes
    };
    let told = get(&["--only", "*.mkv"]);
    assert!(told.iter().all(|(event, _, left)| event != "completed" && *left > 0), "{told:?}");
    let stopped = told.iter().find(|(event, ..)| event == "stopped").unwrap();
    assert!(stopped.1 >= 300_000 && stopped.2 < 60_000, "{told:?}");

    let told = get(&["--only", "*"]);
    assert!(told.iter().any(|(event, _, left)| event == "completed" && *left == 0), "{told:?}");
    assert!(told.iter().any(|(event, _, left)| event == "stopped" && *left == 0), "{told:?}");
}
