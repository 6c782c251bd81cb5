//! An ear in the network: what the DHT, trackers and the local network are told about torrents (`e2e/peers/ear.py`).

use std::process::Command;

use serde_json::{Value, json};

use super::libtorrent::PYTHON;
use super::script;
use crate::process::Process;

/// The port of its DHT nodes.
const NODE_PORT: u16 = 6999;

/// The port of its trackers.
pub const TRACKER_PORT: u16 = NODE_PORT + 1;

/// The interface that it listens at.
const INTERFACE: &str = "lan0";

/// A listener.
#[derive(Debug)]
pub struct Ear {
    process: Process,
    hosts: Vec<String>,
}

impl Ear {
    /// Listens at these addresses of the interface of [`add_lan`](crate::namespace::add_lan), at most one a family.
    #[track_caller]
    pub fn open(hosts: &[&str]) -> Self {
        let mut command = Command::new(PYTHON);
        command.arg(script("ear.py")).args([INTERFACE, &NODE_PORT.to_string()]).args(hosts);
        let mut process = Process::start("ear", &mut command).staying();
        process.wait_for("its ears to be open", |line| line.contains("listening").then_some(()));
        Self { process, hosts: hosts.iter().map(|host| (*host).to_owned()).collect() }
    }

    /// Where its DHT nodes are, one for each address.
    pub fn nodes(&self) -> Vec<String> {
        let at = |host: &String| {
            if host.contains(':') { format!("[{host}]:{NODE_PORT}") } else { format!("{host}:{NODE_PORT}") }
        };
        self.hosts.iter().map(at).collect()
    }

    /// Waits until it has heard of a swarm in each of these ways: by `get_peers`, `announce_peer`, `lan`, `http`, `udp`.
    #[track_caller]
    pub fn until_heard(&mut self, swarm: &str, ways: &[&str]) {
        let expected: Vec<Value> = ways.iter().map(|way| json!({ "heard": way })).collect();
        self.until_told(swarm, &expected);
    }

    /// Waits until it has been told all of this about a swarm; each is some of the keys that `ear.py` prints.
    #[track_caller]
    pub fn until_told(&mut self, swarm: &str, expected: &[Value]) {
        let mut missing = expected.to_vec();
        self.process.wait_for(&format!("{swarm} to be told: {expected:?}"), |line| {
            let told: Value = serde_json::from_str(line).unwrap();
            missing.retain(|wanted| told["swarm"] != swarm || !is_part(wanted, &told));
            missing.is_empty().then_some(())
        });
    }

    /// Everything it has heard of a swarm.
    pub fn heard(&self, swarm: &str) -> Vec<Value> {
        let lines = self.process.lines();
        let told = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        told.filter(|told| told["swarm"] == swarm).collect()
    }
}

/// Whether all keys of an object are in another, with the same values.
fn is_part(part: &Value, whole: &Value) -> bool {
    part.as_object().unwrap().iter().all(|(key, value)| whole[key] == *value)
}
