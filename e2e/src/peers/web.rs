//! A web server that knows ranges (`e2e/peers/range_server.py`), for web seeds.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{script, until_listening};
use crate::process::Process;

/// A running server.
#[derive(Debug)]
pub struct WebServer {
    process: Process,
}

impl WebServer {
    /// Serves the files below a folder.
    #[track_caller]
    pub fn start(host: &str, port: u16, folder: &Path) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script("range_server.py")).args([host, &port.to_string()]).arg(folder);
        let server = Self { process: Process::start("web server", &mut command).staying() };
        until_listening(&format!("{host}:{port}"));
        server
    }

    /// What was asked so far: `path`, `range`, `status`.
    pub fn requests(&self) -> Vec<Value> {
        self.process.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
