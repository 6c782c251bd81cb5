//! opentracker, which speaks HTTP and UDP on one port.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{http, until_listening};
use crate::process::{Process, until};

/// A running tracker.
#[derive(Debug)]
pub struct OpenTracker {
    _process: Process,
    _folder: tempfile::TempDir,
    address: String,
}

impl OpenTracker {
    /// Debian's opentracker serves listed swarms only; a v2 hash is listed by its first 40 digits.
    #[track_caller]
    pub fn start(host: &str, port: u16, hashes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let list: String = hashes.iter().map(|hash| format!("{}\n", &hash[..40])).collect();
        fs::write(folder.path().join("list"), list).unwrap();
        // It gives up its rights before it reads the list.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = port.to_string();
        let process = Process::start(
            "opentracker",
            Self::command(host, &port, folder.path()).arg("-d").arg(folder.path()),
        )
        .staying();
        let address = format!("{host}:{port}");
        until_listening(&address);
        Self { _process: process, _folder: folder, address }
    }

    fn command(host: &str, port: &str, folder: &Path) -> Command {
        let mut command = Command::new("opentracker");
        command.args(["-i", host, "-p", port, "-P", port, "-w", "list"]).current_dir(folder);
        command
    }

    /// Waits until it counts a seed of a swarm; `hash` is hexadecimal.
    #[track_caller]
    pub fn until_seeded(&self, hash: &str) {
        let escaped: String = hash.as_bytes()[..40]
            .chunks(2)
            .map(|byte| format!("%{}{}", byte[0] as char, byte[1] as char))
            .collect();
        until("a seed at the tracker", || {
            let (_, body) = http(&self.address, "GET", &format!("/scrape?info_hash={escaped}"), "", "");
            String::from_utf8_lossy(&body).contains("completei1e").then_some(())
        });
    }

    /// Where to announce; `scheme` is `http` or `udp`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/announce", self.address)
    }
}
