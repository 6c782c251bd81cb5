//! libtorrent 2.0 through its Python binding (`e2e/peers/lt_node.py`, which documents the keys of configurations).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::dht_net::ROUTER;
use super::{Find, Place, Program, Role, script};
use crate::process::Process;

/// Debian's interpreter, for which the binding is built.
pub const PYTHON: &str = "/usr/bin/python3";

/// A libtorrent session with one torrent, or with none: then it is a DHT node.
#[derive(Debug)]
pub struct Libtorrent {
    process: Process,
}

/// Names of a torrent that libtorrent made.
#[derive(Debug)]
pub struct Made {
    /// 40 hexadecimal digits.
    pub v1: Option<String>,
    /// 64 hexadecimal digits.
    pub v2: Option<String>,
    /// A link as libtorrent writes it.
    pub magnet: String,
}

impl Program for Libtorrent {
    #[track_caller]
    fn start(place: &Place<'_>, _role: Role, source: &str, folder: &Path) -> Self {
        let what = if source.starts_with("magnet:") { "magnet" } else { "torrent" };
        let mut config = json!({
            "listen": place.address(), what: source, "save": folder,
            "dht": place.find == Find::Dht, "dht_nodes": [ROUTER], "lsd": place.find == Find::Lan,
        });
        if place.encrypted {
            config["encryption"] = "forced".into();
        }
        Self::run(&config)
    }

    #[track_caller]
    fn complete(&mut self) {
        self.find("complete", |event| event["event"] == "complete");
    }
}

impl Libtorrent {
    /// Runs a session after this configuration.
    #[track_caller]
    pub fn run(config: &Value) -> Self {
        Self::run_in(Command::new(PYTHON), config)
    }

    /// The same, on the machine of a command that runs [`PYTHON`].
    #[track_caller]
    pub fn run_in(mut python: Command, config: &Value) -> Self {
        let command = python.arg(script("lt_node.py")).arg("run").arg(config.to_string());
        let mut node = Self { process: Process::start("libtorrent", command).staying() };
        node.find("listening", |event| event["event"] == "listening" && event["socket"] == "tcp");
        node
    }

    /// Runs a session that has everything, and waits until it knows.
    #[track_caller]
    pub fn seed(listen: &str, torrent: &Path, folder: &Path, more: Value) -> Self {
        let mut config = json!({ "listen": listen, "torrent": torrent, "save": folder });
        config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let mut node = Self::run(&config);
        node.complete();
        node
    }

    /// The next event that `is_it`.
    #[track_caller]
    pub fn find(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.process.wait_for(what, |line| {
            let event: Value = serde_json::from_str(line).unwrap();
            is_it(&event).then_some(event)
        })
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.process.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes a torrent: `kind` is `v1`, `v2` or `hybrid`.
    #[track_caller]
    pub fn make(path: &Path, torrent: &Path, kind: &str, more: Value) -> Made {
        let mut config = json!({ "path": path, "out": torrent, "kind": kind });
        config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let output = Command::new(PYTHON)
            .arg(script("lt_node.py"))
            .arg("make")
            .arg(config.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |key: &str| made[key].as_str().map(str::to_owned);
        Made { v1: text("v1"), v2: text("v2"), magnet: text("magnet").unwrap() }
    }
}
