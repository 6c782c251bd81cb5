//! aria2 1.36: no v2, no uTP; it cannot be told of a peer, so the other side dials.

use std::path::Path;
use std::process::Command;

use super::dht_net::ROUTER;
use super::{Find, Place, Program, Role, until_listening};
use crate::process::Process;

/// A running `aria2c` with one torrent or link.
#[derive(Debug)]
pub struct Aria2 {
    /// The process and its output.
    process: Process,
    role: Role,
}

impl Program for Aria2 {
    #[track_caller]
    fn start(place: &Place<'_>, role: Role, source: &str, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let Place { host, port, find, encrypted, .. } = *place;
        let mut command = Command::new("aria2c");
        command
            .args(["--no-conf", "--file-allocation=none", "--summary-interval=1", "--console-log-level=info"])
            .args(["--show-console-readout=false", "--allow-overwrite=true", "--enable-dht6=false"])
            .args([format!("--interface={host}"), format!("--listen-port={port}")])
            .arg(format!("--bt-force-encryption={encrypted}"))
            .arg(format!("--dir={}", folder.display()))
            .env("HOME", folder);
        match find {
            Find::Dht => command.args([
                "--enable-dht=true",
                &format!("--dht-entry-point={ROUTER}"),
                &format!("--dht-listen-port={port}"),
                &format!("--dht-file-path={}", folder.with_extension("dht").display()),
            ]),
            Find::Nobody | Find::Lan => command.arg("--enable-dht=false"),
        };
        command.arg(format!("--bt-enable-lpd={}", find == Find::Lan));
        match role {
            Role::Seed => command.args(["--check-integrity=true", "--seed-ratio=0.0"]),
            Role::Leech => command.arg("--seed-time=0"),
        };
        let process = Process::start("aria2", command.arg(source));
        // A leech ends when it has everything.
        let process = if role == Role::Seed { process.staying() } else { process };
        until_listening(&place.address());
        Self { process, role }
    }

    #[track_caller]
    fn complete(&mut self) {
        if self.role == Role::Leech {
            let status = self.process.end();
            assert!(status.success(), "aria2 ended with {status}");
        }
    }
}
