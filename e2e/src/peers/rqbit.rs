//! rqbit: v1 and hybrids (as v1), no encryption. Built by `./dev test`, as it is in no distribution.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::dht_net::ROUTER;
use super::{Find, Place, Program, Role, http, until_listening};
use crate::process::{Process, until};

/// Where it tells how it is.
const API: &str = "127.0.0.1:3030";

/// A running `rqbit download`.
#[derive(Debug)]
pub struct Rqbit {
    _process: Process,
    _home: tempfile::TempDir,
}

impl Program for Rqbit {
    #[track_caller]
    fn start(place: &Place<'_>, _role: Role, source: &str, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary());
        command
            .args(["--disable-upnp-port-forward", "--disable-dht-persistence", "--http-api-listen-addr", API])
            .args(["--listen-ip", place.host, "--listen-port", &place.port.to_string()])
            .env("HOME", home.path());
        match place.find {
            Find::Dht => command.args(["--dht-bootstrap-addrs", ROUTER]),
            Find::Nobody | Find::Lan => command.arg("--disable-dht"),
        };
        if place.find != Find::Lan {
            command.arg("--disable-lsd");
        }
        command.arg("download").args(place.peer.map(|peer| format!("--initial-peers={peer}")));
        command.args(["--overwrite", "-o"]).arg(folder).arg(source);
        let process = Process::start("rqbit", &mut command).staying();
        until_listening(&place.address());
        Self { _process: process, _home: home }
    }

    const LINK_NEEDS_PEER: bool = true;

    #[track_caller]
    fn complete(&mut self) {
        // It takes questions once it has the metadata.
        until_listening(API);
        until("rqbit to have it all", || {
            let (_, body) = http(API, "GET", "/torrents/0/stats/v1", "", "");
            let stats: Value = serde_json::from_slice(&body).ok()?;
            (stats["finished"] == true).then_some(())
        });
    }
}

/// Where `cargo install` puts it.
fn binary() -> PathBuf {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let path = cargo.unwrap_or_default().join("bin/rqbit");
    if path.exists() { path } else { "rqbit".into() }
}
