//! What goes wrong, made to order: disks that fill up, links that fail, clocks that jump, processes that die, torrents that lie.

pub mod bencode;
pub mod clock;
pub mod wire;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::namespace::run;
use crate::{Peerage, Process};

/// Flags of a node that finds nobody but those who are named.
pub const ALONE: [&str; 2] = ["--no-dht", "--no-lan"];

/// A filesystem in memory, of a few megabytes, at a folder of the test. Seen by nobody outside.
#[derive(Clone, Copy, Debug)]
pub struct SmallDisk<'a> {
    at: &'a str,
}

impl<'a> SmallDisk<'a> {
    /// Mounts it at a folder, which is made.
    #[track_caller]
    pub fn mount(at: &'a Path, mebibytes: u32) -> Self {
        fs::create_dir_all(at).unwrap();
        let at = at.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none", at]);
        Self { at }
    }

    /// Mounts a file as a disk at a folder; both are made.
    #[track_caller]
    pub fn mount_image(at: &'a Path, image: &Path, mebibytes: u64) -> Self {
        fs::create_dir_all(at).unwrap();
        let at = at.to_str().unwrap();
        if !image.exists() {
            fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
            run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", image.to_str().unwrap()]);
        }
        run("mount", &["-o", "loop", image.to_str().unwrap(), at]);
        Self { at }
    }

    /// Takes it away when nothing on it is open any more, and waits for what is still to be written.
    #[track_caller]
    pub fn pull_out(&self) {
        run("umount", &[self.at]);
    }

    /// Shows it at another folder too, which is made.
    #[track_caller]
    pub fn also_at(&self, at: &'a Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let at = at.to_str().unwrap();
        run("mount", &["--bind", self.at, at]);
        Self { at }
    }

    /// Gives it another size.
    #[track_caller]
    pub fn resize(&self, mebibytes: u32) {
        run("mount", &["-o", &format!("remount,size={mebibytes}m"), self.at]);
    }

    /// Refuses writes from now on, or takes them again.
    #[track_caller]
    pub fn set_read_only(&self, read_only: bool) {
        run("mount", &["-o", if read_only { "remount,ro" } else { "remount,rw" }, self.at]);
    }

    /// Takes it away while files on it are open.
    #[track_caller]
    pub fn pull(&self) {
        run("umount", &["--lazy", self.at]);
    }
}

/// Anonymous memory of a process, in bytes.
#[track_caller]
pub fn anonymous_memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Bytes that a process has read so far, from files or otherwise.
#[track_caller]
pub fn bytes_read(id: u32) -> u64 {
    let counts = fs::read_to_string(format!("/proc/{id}/io")).unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// The most anonymous memory that a process has, sampled all the time until this is dropped.
#[derive(Debug)]
pub struct MemoryPeak {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl MemoryPeak {
    /// Begins to look at a process, which must live at least as long.
    pub fn of(id: u32) -> Self {
        let (bytes, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let sampler = thread::spawn({
            let (bytes, stop) = (bytes.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    bytes.fetch_max(anonymous_memory(id), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self { bytes, stop, sampler: Some(sampler) }
    }

    /// The peak so far, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for MemoryPeak {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A sampler that panicked has seen the process end; the test has said so already.
        self.sampler.take().map(JoinHandle::join);
    }
}

/// Open files and sockets of a process.
#[track_caller]
pub fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// Bytes that went over a network interface of this namespace.
#[track_caller]
pub fn bytes_over(interface: &str) -> u64 {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:"))).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Reads every event a process has printed, with the time at which it was seen here.
#[derive(Debug, Default)]
pub struct Diary {
    read: usize,
    /// What was read so far.
    pub events: Vec<(Instant, Value)>,
}

impl Diary {
    /// Reads on.
    #[track_caller]
    pub fn update(&mut self, process: &Process) {
        let lines = process.lines();
        for line in &lines[self.read..] {
            self.events.push((Instant::now(), serde_json::from_str(line).unwrap()));
        }
        self.read = lines.len();
    }

    /// `verified` of every progress event of a transfer that runs, with its time.
    pub fn verified(&self) -> impl Iterator<Item = (Instant, u64)> {
        self.events.iter().filter_map(|(at, event)| {
            let transfer = &event["transfer"];
            let runs = event["event"] == "progress" && transfer["state"] == "downloading";
            runs.then(|| transfer["verified"].as_u64().map(|verified| (*at, verified)))?
        })
    }
}

/// Waits for a `state` event with this state and gives its problem.
#[track_caller]
pub fn problem(peerage: &mut Peerage, state: &str) -> Value {
    peerage.find(&format!("state {state}"), |event| event["event"] == "state" && event["state"] == state)["problem"]
        .take()
}

/// Waits for a `progress` event of which `is_it` is true, and gives its transfer.
#[track_caller]
pub fn progress(peerage: &mut Peerage, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    peerage.find(what, |event| event["event"] == "progress" && is_it(&event["transfer"]))["transfer"].take()
}

/// Everything a problem says, on one line.
pub fn words(problem: &Value) -> String {
    let causes = problem["causes"].as_array().cloned().unwrap_or_default();
    let parts = std::iter::once(&problem["message"]).chain(&causes).chain(std::iter::once(&problem["hint"]));
    parts.filter_map(Value::as_str).collect::<Vec<_>>().join(" | ")
}

/// Numbers by chance that are the same in every run with the same seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// At least 0, less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A span of time between two numbers of milliseconds.
    pub fn span(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
