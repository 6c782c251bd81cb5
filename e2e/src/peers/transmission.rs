//! transmission-daemon 3.00: no v2; it refuses peers in 127/8, and cannot be told of a peer, so the other side dials.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::dht_net::ROUTER;
use super::{Find, Place, Program, Role, until_listening};
use crate::process::{Process, until};

/// Where it takes commands.
const RPC: &str = "127.0.0.1:9091";

/// A running daemon.
#[derive(Debug)]
pub struct Transmission {
    _process: Process,
    _home: tempfile::TempDir,
}

impl Program for Transmission {
    #[track_caller]
    fn start(place: &Place<'_>, _role: Role, source: &str, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let home = tempfile::tempdir().unwrap();
        let (v4, v6) = if place.host.contains(':') { ("127.0.0.1", place.host) } else { (place.host, "::1") };
        let settings = json!({
            "bind-address-ipv4": v4,
            "bind-address-ipv6": v6,
            "peer-port": place.port,
            "download-dir": folder,
            "incomplete-dir-enabled": false,
            "rename-partial-files": false,
            "dht-enabled": place.find == Find::Dht,
            "lpd-enabled": place.find == Find::Lan,
            "utp-enabled": false,
            "port-forwarding-enabled": false,
            // 1: encrypted preferred, 2: required.
            "encryption": if place.encrypted { 2 } else { 1 },
            "rpc-bind-address": "127.0.0.1",
            "rpc-whitelist-enabled": false,
            "start-added-torrents": true,
        });
        fs::write(home.path().join("settings.json"), settings.to_string()).unwrap();
        fs::write(home.path().join("dht.bootstrap"), ROUTER.replace(':', " ") + "\n").unwrap();
        let mut command = Command::new("transmission-daemon");
        command
            .args(["--foreground", "--log-info", "--config-dir"])
            .arg(home.path())
            .env("HOME", home.path());
        let process = Process::start("transmission-daemon", &mut command).staying();
        until_listening(RPC);
        until_listening(&place.address());
        let told = remote(&["--add", source]);
        assert!(told.contains("success"), "{told}");
        Self { _process: process, _home: home }
    }

    #[track_caller]
    fn complete(&mut self) {
        until("transmission to have it all", || {
            let info = remote(&["--torrent", "1", "--info"]);
            (info.contains("Percent Done: 100%") && !info.contains("State: Verifying")).then_some(())
        });
    }

    /// Empty files.
    const NOT_FETCHED: &'static [&'static str] = &["empty", "Größe/nothing either.txt"];
}

/// Runs `transmission-remote` and gives what it prints.
fn remote(args: &[&str]) -> String {
    let output = Command::new("transmission-remote").arg(RPC).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What [`make`] leaves out of a torrent: hidden and empty files.
pub const NOT_MADE: [&str; 3] =
    ["empty", "Größe/nothing either.txt", ".hidden/deep/er/still/file.with.many.dots"];

/// Writes a torrent as transmission does.
#[track_caller]
pub fn make(path: &Path, torrent: &Path) {
    let (path, torrent) = (path.to_str().unwrap(), torrent.to_str().unwrap());
    crate::namespace::run("transmission-create", &["--outfile", torrent, path]);
}
