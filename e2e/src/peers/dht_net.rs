//! A DHT of a dozen libtorrent nodes on Ben's machine that take part in nothing else (`e2e/peers/lt_node.py net`).
//!
//! A dozen, because transmission asks nobody before it knows nine nodes.

use serde_json::json;

use super::libtorrent::PYTHON;
use super::script;
use crate::Machines;
use crate::process::Process;

/// Through which node others enter: the address that qBittorrent looks up by a name (see `peers/qbittorrent.rs`).
pub const ROUTER: &str = "10.79.0.3:25401";

/// A running DHT.
#[derive(Debug)]
pub struct DhtNet {
    process: Process,
}

impl DhtNet {
    /// Starts the nodes and waits until they know each other. `hash`, in hexadecimal, is watched for announces.
    #[track_caller]
    pub fn watching(machines: &Machines, hash: &str) -> Self {
        let config = json!({ "router": ROUTER, "nodes": 12, "watch": &hash[..40] });
        let mut command = machines.command_of_ben(PYTHON);
        command.arg(script("lt_node.py")).arg("net").arg(config.to_string());
        let mut process = Process::start("DHT", &mut command).staying();
        process.wait_for("its nodes to know each other", |line| line.contains("\"ready\"").then_some(()));
        Self { process }
    }

    /// Waits until somebody has announced the swarm.
    #[track_caller]
    pub fn until_announced(&mut self) {
        self.process.wait_for("an announce in the DHT", |line| line.contains("\"announced\"").then_some(()));
    }
}
