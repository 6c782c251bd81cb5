//! Whole transfers between real processes, as two users would make them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
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
