//! Two nodes behind routers of every kind, and a relay between them: a direct connection where the routers allow it, the relay's where not.
//! And two on one network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Command;

use peerage_e2e::homes::{Home, PUBLIC, PUBLIC_6, Router, internet};
use peerage_e2e::namespace::add_lan;
use peerage_e2e::{Process, alone};
use serde_json::{Value, json};

use Router::{Double, FullCone, Ipv6, None, PortRestricted, Symmetric};

/// `ground/overlay/examples/node.rs`.
fn node() -> PathBuf {
    let folder = std::env::current_exe().unwrap();
    let path = folder.parent().unwrap().with_file_name("examples").join("node");
    assert!(
        path.exists(),
        "{}: build it first (cargo build -p peerage-overlay --example node)",
        path.display()
    );
    path
}

fn start(name: &str, mut command: Command, settings: &Value) -> (Process, String) {
    let mut process = Process::start(name, command.arg(settings.to_string())).staying();
    let id = process.wait_for("its start", |line| told(line, "ready"));
    (process, id)
}

/// What an event says of itself under a name.
fn told(line: &str, name: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    Some(event.get(name)?.as_str()?.to_owned())
}

fn connected(line: &str, peer: &str) -> Option<String> {
    (told(line, "connected")? == peer).then(|| told(line, "path"))?
}

/// How the node of one home ends up connected to that of another, whom it knows through a relay.
fn path_between(hidden: Router, seeker: Router) -> String {
    internet();
    let at = if hidden == Ipv6 { format!("/ip6/{PUBLIC_6}") } else { format!("/ip4/{PUBLIC}") };
    let listen = [format!("{at}/tcp/4001"), format!("{at}/udp/4001/quic-v1")];
    let relay = json!({"seed": 1, "listen": listen, "announce": listen, "relay_server": true});
    let (_relay, relay_id) = start("the relay", Command::new(node()), &relay);
    let known = format!("{at}/tcp/4001/p2p/{relay_id}");

    let of = |home: Home, seed: u8, more: Value| {
        let listen = [home.any("tcp/4001"), home.any("udp/4001/quic-v1")];
        let mut settings =
            json!({"seed": seed, "listen": listen, "bootstrap": [known], "relay_client": true});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        start(if seed == 2 { "the hidden one" } else { "the seeker" }, home.command(node()), &settings)
    };
    let (mut hidden, hidden_id) = of(Home::new(1, hidden), 2, json!({}));
    let relayed = hidden.wait_for("a relay", |line| told(line, "reachable"));
    assert!(relayed.contains("p2p-circuit"), "{relayed}");
    let (mut seeker, seeker_id) = of(Home::new(2, seeker), 3, json!({"dial": [relayed]}));
    assert_eq!(seeker.wait_for("the hidden one", |line| connected(line, &hidden_id)), "relayed");

    // It tries three times before it says that there is no other way.
    let path = hidden.wait_for("a decision", |line| {
        let gave_up =
            told(line, "stays_relayed").filter(|peer| *peer == seeker_id).map(|_| "relayed".to_owned());
        gave_up.or_else(|| connected(line, &seeker_id).filter(|path| path == "direct"))
    });
    if path == "direct" {
        seeker.wait_for("the same on the other side", |line| {
            connected(line, &hidden_id).filter(|path| path == "direct")
        });
    }
    path
}

#[test]
fn without_routers_it_is_direct() {
    alone(|| assert_eq!(path_between(None, None), "direct"));
}

#[test]
fn behind_one_router_it_is_direct_whatever_the_router() {
    alone(|| assert_eq!(path_between(PortRestricted, None), "direct"));
}

#[test]
fn behind_a_symmetric_router_it_is_direct_to_an_open_host() {
    alone(|| assert_eq!(path_between(Symmetric, None), "direct"));
}

#[test]
fn from_behind_a_symmetric_router_a_full_cone_lets_in() {
    alone(|| assert_eq!(path_between(FullCone, Symmetric), "direct"));
}

#[test]
fn two_port_restricted_routers_are_punched() {
    alone(|| assert_eq!(path_between(PortRestricted, PortRestricted), "direct"));
}

#[test]
fn two_routers_in_a_row_are_punched() {
    alone(|| assert_eq!(path_between(Double, PortRestricted), "direct"));
}

/// Over IPv6 a hole is not always punched: until that is understood, what is promised is a connection.
#[test]
fn behind_ipv6_firewalls_they_are_connected() {
    alone(|| {
        path_between(Ipv6, Ipv6);
    });
}

#[test]
fn two_symmetric_routers_leave_the_relay() {
    alone(|| assert_eq!(path_between(Symmetric, Symmetric), "relayed"));
}

#[test]
fn a_symmetric_and_a_port_restricted_router_leave_the_relay() {
    alone(|| assert_eq!(path_between(Symmetric, PortRestricted), "relayed"));
}

#[test]
fn on_one_network_they_find_each_other_by_multicast() {
    alone(|| {
        add_lan();
        let settings = |seed| json!({"seed": seed, "listen": ["/ip4/10.78.0.1/tcp/0"], "mdns": true});
        let (mut ada, ada_id) = start("Ada", Command::new(node()), &settings(1));
        let (mut ben, ben_id) = start("Ben", Command::new(node()), &settings(2));
        for (here, other) in [(&mut ada, ben_id), (&mut ben, ada_id)] {
            assert_eq!(here.wait_for("the other one", |line| connected(line, &other)), "direct");
        }
    });
}
