//! transmission-daemon 3.00: no v2; it refuses peers in 127/8, and cannot be told of a peer, so the other side dials.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::until_listening;
use crate::process::{Process, until};

/// Where it takes commands.
const RPC: &str = "127.0.0.1:9091";

/// A running daemon.
#[derive(Debug)]
pub struct Transmission {
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Transmission {
    /// Starts a daemon that keeps its files in `folder`. `encryption`: 0 plain preferred, 1 encrypted preferred, 2 required.
    #[track_caller]
    pub fn start(host: &str, port: u16, folder: &Path, encryption: u8) -> Self {
        fs::create_dir_all(folder).unwrap();
        let home = tempfile::tempdir().unwrap();
        let settings = json!({
            "bind-address-ipv4": host,
            "bind-address-ipv6": "::1",
            "peer-port": port,
            "download-dir": folder,
            "incomplete-dir-enabled": false,
            "rename-partial-files": false,
            "dht-enabled": false,
            "lpd-enabled": false,
            "utp-enabled": false,
            "port-forwarding-enabled": false,
            "encryption": encryption,
            "rpc-bind-address": "127.0.0.1",
            "rpc-whitelist-enabled": false,
            "start-added-torrents": true,
        });
        fs::write(home.path().join("settings.json"), settings.to_string()).unwrap();
        let mut command = Command::new("transmission-daemon");
        command
            .args(["--foreground", "--log-info", "--config-dir"])
            .arg(home.path())
            .env("HOME", home.path());
        let process = Process::start("transmission-daemon", &mut command);
        until_listening(RPC);
        until_listening(&format!("{host}:{port}"));
        Self { _process: process, _folder: home }
    }

    /// Adds a torrent (a path) or a link; files that are there already are verified.
    #[track_caller]
    pub fn add(&self, source: &str) {
        let told = self.remote(&["--add", source]);
        assert!(told.contains("success"), "{told}");
    }

    /// Waits until its only torrent is whole and verified.
    #[track_caller]
    pub fn complete(&self) {
        until("transmission to have it all", || {
            let info = self.remote(&["--torrent", "1", "--info"]);
            (info.contains("Percent Done: 100%") && !info.contains("State: Verifying")).then_some(())
        });
    }

    /// Runs `transmission-remote` and gives what it prints.
    #[track_caller]
    pub fn remote(&self, args: &[&str]) -> String {
        let output = Command::new("transmission-remote").arg(RPC).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes a torrent as transmission does.
    #[track_caller]
    pub fn make(path: &Path, torrent: &Path) {
        crate::namespace::run(
            "transmission-create",
            &["--outfile", torrent.to_str().unwrap(), path.to_str().unwrap()],
        );
    }
}
