//! The DHT node in a network of its own on loopback: with its like, and with libtorrent (Debian package `python3-libtorrent`).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use peerage_bittorrent::address::DialRules;
use peerage_bittorrent::dht::{Dht, DhtConfig};
use peerage_bittorrent::discovery::Discovery;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::ports::Ports;
use peerage_swarm::core::Found;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// For anything that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    dht: Dht,
    discoveries: mpsc::Receiver<Discovery>,
    _cancel: DropGuard,
}

async fn node(config: DhtConfig) -> Node {
    let cancel = CancellationToken::new();
    let (sink, discoveries) = mpsc::channel(16);
    let config = DhtConfig { bind: vec![at(0)], ..config };
    let dht = Dht::start(config, DialRules::new(), sink, cancel.clone()).await.unwrap();
    Node { dht, discoveries, _cancel: cancel.drop_guard() }
}

impl Node {
    /// Waits until `expected` is among the peers found.
    async fn finds(&mut self, swarm: SwarmHash, expected: SocketAddr) {
        let found = async {
            loop {
                let discovery = self.discoveries.recv().await.unwrap();
                assert_eq!((discovery.swarm, discovery.found), (swarm, Found::DHT));
                if discovery.addresses.contains(&expected) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the peer is found in time");
    }

    async fn joins(&self) {
        let joined = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !self.dht.status().await.unwrap().bootstrapped {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, joined).await.expect("the network is found in time");
    }
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[tokio::test]
async fn peers_meet_and_nodes_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let nodes_file = Some(folder.path().join("nodes"));
    let swarm = SwarmHash(rand::random());
    let first = node(DhtConfig { bootstrap: Some(Vec::new()), ..DhtConfig::default() }).await;
    let bootstrap = Some(vec![first.dht.addresses()[0].to_string()]);
    let one = node(DhtConfig {
        bootstrap: bootstrap.clone(),
        nodes_file: nodes_file.clone(),
        ..DhtConfig::default()
    })
    .await;
    // Before it can know anybody.
    one.dht.add(swarm, 7201.into()).await;
    // It may look a moment before the other has announced: then it looks again by itself.
    let mut other = node(DhtConfig { bootstrap: bootstrap.clone(), ..DhtConfig::default() }).await;
    other.dht.add(swarm, Ports::default()).await;
    other.finds(swarm, at(7201)).await;

    one.joins().await;
    one.dht.stop().await;
    assert!(one.dht.status().await.is_none());
    // The next run needs no names to begin with.
    let again = node(DhtConfig { bootstrap: Some(Vec::new()), nodes_file, ..DhtConfig::default() }).await;
    again.joins().await;
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap();
    let (sink, _discoveries) = mpsc::channel(1);
    let config = DhtConfig { bind: vec![bind], ..DhtConfig::default() };
    let error = Dht::start(config, DialRules::new(), sink, CancellationToken::new()).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("start the DHT node on {bind}: Address already in use")),
        "{error}"
    );
}

/// A libtorrent session whose DHT begins with our node (second argument, a port) or that ours begins with (0). It has a torrent with the hash on the command
/// line, and prints its port, and then the ports of the peers that the DHT names for the torrent.
const LIBTORRENT: &str = r#"
import libtorrent, sys, time
session = libtorrent.session({
    'listen_interfaces': '127.0.0.1:0', 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
    'enable_dht': True, 'dht_announce_interval': 3, 'dht_enforce_node_id': False,
    'dht_restrict_routing_ips': False, 'dht_restrict_search_ips': False,
    'dht_bootstrap_nodes': '127.0.0.1:' + sys.argv[2] if sys.argv[2] != '0' else '',
    'alert_mask': libtorrent.alert.category_t.all_categories})
print(session.listen_port(), flush=True)
torrent = libtorrent.parse_magnet_uri('magnet:?xt=urn:btih:' + sys.argv[1])
torrent.save_path = sys.argv[3]
torrent.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
session.add_torrent(torrent)
while True:
    session.dht_get_peers(libtorrent.sha1_hash(bytes.fromhex(sys.argv[1])))
    time.sleep(0.3)
    for alert in session.pop_alerts():
        if isinstance(alert, libtorrent.dht_get_peers_reply_alert):
            for ip, port in alert.peers():
                print(port, flush=True)
"#;

struct Libtorrent {
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Libtorrent {
    async fn start(swarm: SwarmHash, bootstrap: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new("/usr/bin/python3")
            .args(["-c", LIBTORRENT, &swarm.to_string(), &bootstrap.to_string()])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 runs (apt-get install python3-libtorrent)");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("libtorrent runs").parse().unwrap();
        Self { lines, port, _process: process, _folder: folder }
    }

    /// Waits until libtorrent has found a peer at this port.
    async fn finds(&mut self, port: u16) {
        let found = async {
            while self.lines.next_line().await.unwrap().expect("libtorrent runs") != port.to_string() {}
        };
        tokio::time::timeout(PATIENCE, found).await.expect("libtorrent finds the peer in time");
    }
}

/// Our node is all that libtorrent knows of the network: it answers what libtorrent asks, and keeps what libtorrent announces.
#[tokio::test]
async fn libtorrent_begins_with_our_node() {
    let swarm = SwarmHash(rand::random());
    let first = node(DhtConfig { bootstrap: Some(Vec::new()), ..DhtConfig::default() }).await;
    let port = first.dht.addresses()[0].port();
    let mut libtorrent = Libtorrent::start(swarm, port).await;
    // It has announced itself once our node names it.
    libtorrent.finds(libtorrent.port).await;
    let mut ours =
        node(DhtConfig { bootstrap: Some(vec![at(port).to_string()]), ..DhtConfig::default() }).await;
    ours.joins().await;
    ours.dht.add(swarm, 7204.into()).await;
    ours.finds(swarm, at(libtorrent.port)).await;
    libtorrent.finds(7204).await;
}

/// libtorrent's node is all that ours knows of the network.
#[tokio::test]
async fn our_node_begins_with_libtorrent() {
    let swarm = SwarmHash(rand::random());
    let mut libtorrent = Libtorrent::start(swarm, 0).await;
    let bootstrap = Some(vec![at(libtorrent.port).to_string()]);
    let mut ours = node(DhtConfig { bootstrap, ..DhtConfig::default() }).await;
    ours.joins().await;
    libtorrent.finds(libtorrent.port).await;
    ours.dht.add(swarm, 7205.into()).await;
    ours.finds(swarm, at(libtorrent.port)).await;
    libtorrent.finds(7205).await;
}
