//! Homes behind routers, on an internet of their own: the namespace of the test is the internet, 5.5.0.1 and 2a05::1 are a host on it.
//!
//! Home `n` has 5.5.n.2, or 2a05:n::2, on the internet; behind its router a host has 192.168.n.2, or 2a05:n:1::2. Unasked packets from
//! outside are dropped without a word, as routers of homes do.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::namespace::run;

/// A host on the internet that everybody reaches.
pub const PUBLIC: &str = "5.5.0.1";

/// The same host, over IPv6.
pub const PUBLIC_6: &str = "2a05::1";

/// What stands between a host and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// Nothing.
    None,
    /// A port forwarded to the host from everybody, and kept for what it sends (a full cone).
    FullCone,
    /// Answers come in, from whom and where they were asked for (port restricted); the port outside is that inside.
    PortRestricted,
    /// The same, with another port outside for everybody that is talked to.
    Symmetric,
    /// A router of the home behind one of the provider, both port restricted.
    Double,
    /// IPv6 alone: no translation, but only answers come in.
    Ipv6,
}

/// A host behind a router.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    number: u8,
    router: Router,
}

/// Makes the internet. Call it once, inside [`alone`](crate::alone).
#[track_caller]
pub fn internet() {
    run("mount", &["-t", "tmpfs", "none", "/run"]);
    run("ip", &["address", "add", "5.5.0.1/32", "dev", "lo"]);
    run("ip", &["address", "add", "2a05::1/128", "dev", "lo", "nodad"]);
    shell(None, FORWARD);
}

const FORWARD: &str = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";

impl Home {
    /// Builds home `number`, 1 to 9.
    #[track_caller]
    pub fn new(number: u8, router: Router) -> Self {
        let home = Self { number, router };
        let (n, host) = (number, home.host());
        match router {
            Router::None => {
                wire(&["", &host], ["net", "wan"], n, [&format!("5.5.{n}.1/24"), &format!("5.5.{n}.2/24")]);
                default_route(&host, &format!("5.5.{n}.1"));
            }
            Router::Ipv6 => {
                let door = format!("router{n}");
                wire(
                    &["", &door],
                    ["net", "wan"],
                    n,
                    [&format!("2a05:{n}::1/64"), &format!("2a05:{n}::2/64")],
                );
                wire(
                    &[&door, &host],
                    ["lan", "eth"],
                    n,
                    [&format!("2a05:{n}:1::1/64"), &format!("2a05:{n}:1::2/64")],
                );
                default_route(&door, &format!("2a05:{n}::1"));
                default_route(&host, &format!("2a05:{n}:1::1"));
                run(
                    "ip",
                    &["-6", "route", "add", &format!("2a05:{n}:1::/64"), "via", &format!("2a05:{n}::2")],
                );
                home.rules(&door, "ip6", "", "");
            }
            Router::Double => {
                let (outer, inner) = (format!("provider{n}"), format!("router{n}"));
                wire(&["", &outer], ["net", "wan"], n, [&format!("5.5.{n}.1/24"), &format!("5.5.{n}.2/24")]);
                wire(
                    &[&outer, &inner],
                    ["lan", "wan"],
                    n,
                    [&format!("10.0.{n}.1/24"), &format!("10.0.{n}.2/24")],
                );
                default_route(&outer, &format!("5.5.{n}.1"));
                default_route(&inner, &format!("10.0.{n}.1"));
                home.behind(&inner);
                home.rules(&outer, "ip", MASQUERADE, "");
                home.rules(&inner, "ip", MASQUERADE, "");
            }
            Router::FullCone | Router::PortRestricted | Router::Symmetric => {
                let door = format!("router{n}");
                wire(&["", &door], ["net", "wan"], n, [&format!("5.5.{n}.1/24"), &format!("5.5.{n}.2/24")]);
                default_route(&door, &format!("5.5.{n}.1"));
                home.behind(&door);
                let forward = format!(
                    "chain before {{ type nat hook prerouting priority dstnat; iifname \"wan\" dnat to 192.168.{n}.2; }}"
                );
                match router {
                    Router::FullCone => {
                        home.rules(
                            &door,
                            "ip",
                            &format!("{MASQUERADE}\n{forward}"),
                            "ct status dnat accept;",
                        );
                    }
                    Router::Symmetric => home.rules(
                        &door,
                        "ip",
                        &MASQUERADE.replace("masquerade", "masquerade fully-random"),
                        "",
                    ),
                    _ => home.rules(&door, "ip", MASQUERADE, ""),
                }
            }
        }
        home
    }

    /// The host's wire to its router.
    fn behind(self, router: &str) {
        let n = self.number;
        wire(
            &[router, &self.host()],
            ["lan", "eth"],
            n,
            [&format!("192.168.{n}.1/24"), &format!("192.168.{n}.2/24")],
        );
        default_route(&self.host(), &format!("192.168.{n}.1"));
    }

    fn rules(self, router: &str, family: &str, translation: &str, let_in: &str) {
        // Of ICMPv6 a network needs the neighbours' questions, which are no connections.
        let rules = format!(
            "table {family} home {{
                {translation}
                chain through {{
                    type filter hook forward priority 0; policy drop;
                    ct state established,related accept; iifname \"lan\" accept; {let_in}
                }}
                chain here {{ type filter hook input priority 0; iifname \"wan\" meta l4proto {{ tcp, udp }} ct state new drop; }}
            }}"
        );
        shell(Some(router), &format!("{FORWARD}; nft '{rules}'"));
    }

    fn host(self) -> String {
        format!("host{}", self.number)
    }

    /// An address to listen on, with this step behind it, such as `tcp/4001`.
    pub fn any(self, step: &str) -> String {
        match self.router {
            Router::Ipv6 => format!("/ip6/::/{step}"),
            _ => format!("/ip4/0.0.0.0/{step}"),
        }
    }

    /// A command on the host.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host()]).arg(program);
        command
    }
}

const MASQUERADE: &str =
    "chain after { type nat hook postrouting priority srcnat; oifname \"wan\" masquerade; }";

/// A wire between two machines, made if they are not there; "" is the internet, whose end is named after the home.
fn wire(machines: &[&str; 2], devices: [&str; 2], number: u8, addresses: [&str; 2]) {
    let far = machines[1];
    run("ip", &["netns", "add", far]);
    run("ip", &["-n", far, "link", "set", "lo", "up"]);
    let near = if machines[0].is_empty() { format!("{}{number}", devices[0]) } else { devices[0].to_owned() };
    let at = |machine: &str, rest: &[&str]| {
        let prefix: &[&str] = if machine.is_empty() { &[] } else { &["-n", machine] };
        run("ip", &[prefix, rest].concat());
    };
    at(machines[0], &["link", "add", &near, "type", "veth", "peer", "name", devices[1], "netns", far]);
    for (machine, device, address) in [(machines[0], &*near, addresses[0]), (far, devices[1], addresses[1])] {
        let mut add = vec!["address", "add", address, "dev", device];
        if address.contains(':') {
            add.push("nodad");
        }
        at(machine, &add);
        at(machine, &["link", "set", device, "up"]);
    }
}

fn default_route(machine: &str, via: &str) {
    let family = if via.contains(':') { "-6" } else { "-4" };
    run("ip", &["-n", machine, family, "route", "add", "default", "via", via]);
}

#[track_caller]
fn shell(machine: Option<&str>, script: &str) {
    let mut command = match machine {
        Some(machine) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", machine, "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    let output = command.args(["-ec", script]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}
