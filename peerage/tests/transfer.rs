//! Whole transfers between real processes, as two users would make them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

    /// The exit status, which must come soon.
    fn end(&mut self) -> Option<i32> {
        let began = Instant::now();
        let status = self.child.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        status.code()
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
    ada.run(&[&["up", "--background"][..], &ALONE].concat());
    let share = ada.run(&["share", "holiday", "--background"]);
    let link = String::from_utf8(share.stdout).unwrap();
    ben.run(&[&["get", link.trim(), "-o", "down"][..], &ALONE].concat());
    assert_same(&ada.path("holiday"), &ben.path("down/holiday"));
    ada.run(&["pause", "1"]);
    ada.run(&["down"]);

    ada.run(&[&["up", "--background"][..], &ALONE].concat());
    let shown: Value = serde_json::from_slice(&ada.run(&["show", "1", "--json"]).stdout).unwrap();
    assert_eq!((&shown["state"], &shown["name"]), (&"paused".into(), &"holiday".into()));
    ada.run(&["remove", "1"]);
    assert!(ada.run(&["ls", "--json"]).stdout.is_empty());
    ada.run(&["down"]);
    assert!(ada.path("holiday/video.mkv").exists());
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
