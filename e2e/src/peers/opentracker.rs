//! opentracker, which speaks HTTP and UDP on one port.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::until_listening;
use crate::process::Process;

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
        );
        let address = format!("{host}:{port}");
        until_listening(&address);
        Self { _process: process, _folder: folder, address }
    }

    fn command(host: &str, port: &str, folder: &Path) -> Command {
        let mut command = Command::new("opentracker");
        command.args(["-i", host, "-p", port, "-P", port, "-w", "list"]).current_dir(folder);
        command
    }

    /// Where to announce; `scheme` is `http` or `udp`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/announce", self.address)
    }
}
