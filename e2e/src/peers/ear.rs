//! An ear in the network: what the DHT and the local network are told about torrents (`e2e/peers/ear.py`).

use std::process::Command;

use serde_json::Value;

use super::libtorrent::PYTHON;
use super::script;
use crate::process::Process;

/// The port of its DHT node.
const PORT: u16 = 6999;

/// A listener.
#[derive(Debug)]
pub struct Ear {
    process: Process,
    host: String,
}

impl Ear {
    /// Listens at the interface of this address.
    #[track_caller]
    pub fn open(host: &str) -> Self {
        let mut command = Command::new(PYTHON);
        command.arg(script("ear.py")).args([host, &PORT.to_string()]);
        let mut process = Process::start("ear", &mut command).staying();
        process.wait_for("its ears to be open", |line| line.contains("listening").then_some(()));
        Self { process, host: host.to_owned() }
    }

    /// Where its DHT node is.
    pub fn node(&self) -> String {
        format!("{}:{PORT}", self.host)
    }

    /// Waits until it has heard of a swarm in each of these ways: by `get_peers`, `announce_peer`, `lan`.
    #[track_caller]
    pub fn until_heard(&mut self, swarm: &str, ways: &[&str]) {
        let mut missing = ways.to_vec();
        self.process.wait_for(&format!("{swarm} to be heard of by {ways:?}"), |line| {
            let told: Value = serde_json::from_str(line).unwrap();
            missing.retain(|way| told["heard"] != *way || told["swarm"] != swarm);
            missing.is_empty().then_some(())
        });
    }

    /// Whether it has heard of a swarm in any way.
    pub fn has_heard_of(&self, swarm: &str) -> bool {
        self.process.lines().iter().any(|line| line.contains(swarm))
    }
}
