//! Announces to a real tracker, opentracker (Debian package `opentracker`), over HTTP and UDP on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use peerage_bittorrent::address::DialRules;
use peerage_bittorrent::discovery::Discovery;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::tracker::{
    Announcer, AnnouncerConfig, Progress, Registration, Scrape, TrackerState, TrackerStatus, TrackerUrl,
};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SWARM: SwarmHash = SwarmHash(*b"\x00 &%+=/?#\xff\xfe\x80abcdefg~");
const UNLISTED: SwarmHash = SwarmHash([0x77; 20]);

/// For anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct OpenTracker {
    port: u16,
    _folder: tempfile::TempDir,
    _process: Child,
}

impl OpenTracker {
    /// Debian's opentracker serves listed swarms only: the list holds [`SWARM`].
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("list"), format!("{SWARM}\n")).unwrap();
        // It gives up its rights before it reads the list.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).unwrap();
        // Nobody keeps the port for it: when another process takes it meanwhile, opentracker ends, and gets another.
        let starts = async {
            loop {
                let port = free_port();
                let port_text = port.to_string();
                let mut process = Command::new("opentracker")
                    .args(["-i", "127.0.0.1", "-p", &port_text, "-P", &port_text, "-w", "list", "-d"])
                    .arg(folder.path())
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .kill_on_drop(true)
                    .spawn()
                    .expect("opentracker runs (apt-get install opentracker)");
                let listens = async {
                    let mut tick = tokio::time::interval(Duration::from_millis(10));
                    while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                        tick.tick().await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = process.wait() => {}
                    () = listens => if process.try_wait().unwrap().is_none() { return (port, process) },
                }
            }
        };
        let (port, process) = tokio::time::timeout(PATIENCE, starts).await.expect("opentracker listens");
        Self { port, _folder: folder, _process: process }
    }

    fn url(&self, scheme: &str) -> TrackerUrl {
        TrackerUrl::parse(&format!("{scheme}://127.0.0.1:{}/announce", self.port)).unwrap()
    }
}

/// A port that is free for TCP and UDP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

struct Node {
    announcer: Announcer,
    left: Arc<AtomicU64>,
    discoveries: mpsc::Receiver<Discovery>,
    _cancel: tokio_util::sync::DropGuard,
}

impl Node {
    fn start(port: u16) -> Self {
        // The TLS provider is the program's choice; a second test finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cancel = CancellationToken::new();
        let (sink, discoveries) = mpsc::channel(16);
        let config = AnnouncerConfig { ports: port.into(), ..AnnouncerConfig::default() };
        let announcer = Announcer::start(config, DialRules::new(), sink, cancel.clone()).unwrap();
        Self { announcer, left: Arc::default(), discoveries, _cancel: cancel.drop_guard() }
    }

    async fn add(&self, swarm: SwarmHash, tracker: TrackerUrl, left: u64) {
        self.left.store(left, Ordering::Relaxed);
        let left = Arc::clone(&self.left);
        let counters = Arc::new(move || Progress {
            left: left.load(Ordering::Relaxed),
            wants_peers: true,
            ..Progress::default()
        });
        let tiers = vec![vec![tracker]];
        self.announcer.add(Registration { swarm, peer_id: rand::random(), tiers, counters }).await;
    }

    async fn discovers(&mut self) -> HashSet<SocketAddr> {
        let discovery =
            tokio::time::timeout(PATIENCE, self.discoveries.recv()).await.expect("peers in time").unwrap();
        assert_eq!(discovery.swarm, SWARM);
        discovery.addresses.into_iter().collect()
    }

    /// The status once the announce under way has ended.
    async fn settles(&self, swarm: SwarmHash) -> TrackerStatus {
        let settled = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                let status = self.announcer.status(swarm).await.remove(0);
                if !matches!(status.state, TrackerState::Asking | TrackerState::Idle) {
                    return status;
                }
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("an outcome in time")
    }
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn peers_meet(scheme: &str) {
    let tracker = OpenTracker::start().await;
    let url = tracker.url(scheme);
    let (mut seed, mut leech) = (Node::start(7001), Node::start(7002));

    seed.add(SWARM, url.clone(), 0).await;
    // opentracker names the asker, too.
    assert_eq!(seed.discovers().await, HashSet::from([at(7001)]));
    leech.add(SWARM, url.clone(), 1000).await;
    assert_eq!(leech.discovers().await, HashSet::from([at(7001), at(7002)]));

    let status = leech.settles(SWARM).await;
    assert_eq!((status.state, status.failures, status.message), (TrackerState::Working, 0, None));
    assert_eq!(status.swarm, Some(Scrape { seeders: 1, leechers: 1, completed: 0 }));
    assert!(status.next.is_some());

    let scraped = leech.announcer.scrape(&url, &[SWARM]).await.unwrap();
    assert_eq!(scraped, [(SWARM, Scrape { seeders: 1, leechers: 1, completed: 0 })]);

    leech.left.store(0, Ordering::Relaxed);
    leech.announcer.completed(SWARM).await;
    leech.settles(SWARM).await;
    let scraped = leech.announcer.scrape(&url, &[SWARM]).await.unwrap();
    assert_eq!(scraped, [(SWARM, Scrape { seeders: 2, leechers: 0, completed: 1 })]);

    // Whoever stops is forgotten by the tracker.
    seed.announcer.stop(PATIENCE).await;
    let scraped = leech.announcer.scrape(&url, &[SWARM]).await.unwrap();
    assert_eq!(scraped, [(SWARM, Scrape { seeders: 1, leechers: 0, completed: 1 })]);
    leech.announcer.remove(SWARM).await;
    assert!(leech.announcer.status(SWARM).await.is_empty());
}

#[tokio::test]
async fn peers_meet_over_http() {
    peers_meet("http").await;
}

#[tokio::test]
async fn peers_meet_over_udp() {
    peers_meet("udp").await;
}

#[tokio::test]
async fn a_refusal_is_told_in_the_trackers_words() {
    let tracker = OpenTracker::start().await;
    let node = Node::start(7003);
    node.add(UNLISTED, tracker.url("http"), 1).await;
    let status = node.settles(UNLISTED).await;
    let expected = "the tracker refused: Requested download is not authorized for use with this tracker.";
    assert_eq!((status.state, status.message.as_deref()), (TrackerState::Failing, Some(expected)));
}

#[tokio::test]
async fn nobody_listens_there() {
    let node = Node::start(7004);
    // Bound and not listening: nobody else can take the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let url = TrackerUrl::parse(&format!("http://{}/announce", socket.local_addr().unwrap())).unwrap();
    node.add(SWARM, url, 1).await;
    let status = node.settles(SWARM).await;
    let message = status.message.unwrap();
    assert!(message.starts_with("cannot reach the tracker: Connection refused"), "{message}");
    assert!(status.next.is_some(), "it will be tried again");
}
