//! Two machines with a wire between them.
//!
//! Ada's machine is the namespace of the test, 10.79.0.1; Ben's is another one, 10.79.0.2 and 10.79.0.3. Programs that cannot
//! be told which of several own addresses to use are met from the other machine.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::namespace::run;
use crate::peerage::binary;
use crate::{Peerage, Process};

/// The name of the wire, on both machines.
pub const WIRE: &str = "wire";

/// Ada's address on the wire.
pub const ADA: &str = "10.79.0.1";

/// Ben's address on the wire.
pub const BEN: &str = "10.79.0.2";

/// Another one of Ben's, for servers.
pub const BEN_TOO: &str = "10.79.0.3";

/// Ada's address on the bad wire.
pub const ADA_FAR: &str = "10.80.0.1";

/// Ben's address on the bad wire.
pub const BEN_FAR: &str = "10.80.0.2";

/// The wire, and Ben's machine.
#[derive(Clone, Copy, Debug)]
pub struct Machines;

impl Machines {
    /// Makes Ben's machine and plugs the wire in.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes network devices")]
    pub fn new() -> Self {
        // Names of namespaces lie in /run, which all tests share otherwise.
        run("mount", &["-t", "tmpfs", "none", "/run"]);
        run("ip", &["netns", "add", "ben"]);
        run("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", "ben"]);
        for (prefix, address) in [(&["-n", "ben"][..], "10.79.0.2/24"), (&[], "10.79.0.1/24")] {
            run("ip", &[prefix, &["address", "add", address, "dev", "wire"]].concat());
            run("ip", &[prefix, &["link", "set", "wire", "up"]].concat());
            run("ip", &[prefix, &["link", "set", "lo", "up"]].concat());
            run("ip", &[prefix, &["route", "add", "default", "dev", "wire"]].concat());
        }
        run("ip", &["-n", "ben", "address", "add", &format!("{BEN_TOO}/24"), "dev", "wire"]);
        Self
    }

    /// Another wire beside the first, slow and lossy: Ada is [`ADA_FAR`] there, Ben [`BEN_FAR`]. `rtt` is there and back.
    #[track_caller]
    pub fn add_bad_wire(&self, rtt: Duration, loss: f64) -> Process {
        let delay = (rtt / 2).as_secs_f64().to_string();
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", include_str!("faults/relay.py"), "bad0", "bad1", &delay, &loss.to_string()]);
        let mut relay = Process::start("the bad wire", &mut command).staying();
        relay.wait_for("its devices", |line| (line == "ready").then_some(()));
        run("ip", &["link", "set", "bad1", "netns", "ben"]);
        for (prefix, device, address) in [(&["-n", "ben"][..], "bad1", BEN_FAR), (&[], "bad0", ADA_FAR)] {
            run("ip", &[prefix, &["address", "add", &format!("{address}/24"), "dev", device]].concat());
            run("ip", &[prefix, &["link", "set", device, "up", "txqueuelen", "5000"]].concat());
        }
        relay
    }

    /// Cuts the first wire (`down`), or mends it (`up`).
    #[track_caller]
    pub fn set_link(&self, state: &str) {
        run("ip", &["link", "set", "wire", state]);
        if state == "up" {
            // The route goes with the link.
            run("ip", &["route", "replace", "default", "dev", "wire"]);
        }
    }

    /// A command on Ben's machine.
    pub fn command_of_ben(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "ben"]).arg(program);
        command
    }

    /// A command of the program on Ben's machine that prints events.
    #[track_caller]
    pub fn ben<A: AsRef<OsStr>>(&self, home: &Path, verb: &str, args: &[A]) -> Peerage {
        std::fs::create_dir_all(home).unwrap();
        let mut command = self.command_of_ben(binary());
        command
            .args([verb, "--json"])
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", home)
            .current_dir(home);
        Peerage::run(verb, &mut command)
    }
}
