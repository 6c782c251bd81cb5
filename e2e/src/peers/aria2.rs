//! aria2: no v2, no uTP; it cannot be told of a peer, so the other side dials.

use std::path::Path;
use std::process::Command;

use super::until_listening;
use crate::process::Process;

/// A running `aria2c` with one torrent or link.
#[derive(Debug)]
pub struct Aria2 {
    /// The process and its output.
    pub process: Process,
}

impl Aria2 {
    /// Fetches a torrent or link into `folder` and ends when it is there.
    #[track_caller]
    pub fn fetch(address: &str, source: &str, folder: &Path, more: &[&str]) -> Self {
        Self::start(address, source, folder, &[&["--seed-time=0"], more].concat())
    }

    /// Serves what lies in `folder` until it is dropped.
    #[track_caller]
    pub fn seed(address: &str, torrent: &Path, folder: &Path, more: &[&str]) -> Self {
        let keep = ["--check-integrity=true", "--seed-ratio=0.0"];
        Self::start(address, torrent.to_str().unwrap(), folder, &[&keep[..], more].concat())
    }

    fn start(address: &str, source: &str, folder: &Path, more: &[&str]) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new("aria2c");
        command
            .args(["--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"])
            .args(["--file-allocation=none", "--summary-interval=1", "--console-log-level=info"])
            .args(["--show-console-readout=false", "--allow-overwrite=true"])
            .args([format!("--interface={host}"), format!("--listen-port={port}")])
            .arg(format!("--dir={}", folder.display()))
            .args(more)
            .arg(source)
            .env("HOME", folder);
        let aria2 = Self { process: Process::start("aria2", &mut command) };
        until_listening(address);
        aria2
    }

    /// Waits until it has fetched all, verified, and has ended.
    #[track_caller]
    pub fn complete(&mut self) {
        let status = self.process.end();
        assert!(status.success(), "aria2 ended with {status}");
    }
}
