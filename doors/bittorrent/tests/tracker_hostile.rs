//! Trackers that lie, flood, stall and lead astray: every one ends in a clear error or a bounded answer.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_bittorrent::address::DialRules;
use peerage_bittorrent::discovery::Discovery;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::tracker::{
    Announcer, AnnouncerConfig, Progress, Registration, TrackerState, TrackerStatus, TrackerUrl,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SWARM: SwarmHash = SwarmHash([0x11; 20]);
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    announcer: Announcer,
    discoveries: mpsc::Receiver<Discovery>,
    _cancel: tokio_util::sync::DropGuard,
}

fn node() -> Node {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cancel = CancellationToken::new();
    let (sink, discoveries) = mpsc::channel(16);
    let announcer =
        Announcer::start(AnnouncerConfig::default(), DialRules::new(), sink, cancel.clone()).unwrap();
    Node { announcer, discoveries, _cancel: cancel.drop_guard() }
}

impl Node {
    async fn outcome(&self, url: &str) -> TrackerStatus {
        let counters = Arc::new(|| Progress { left: 1, wants_peers: true, ..Progress::default() });
        let tiers = vec![vec![TrackerUrl::parse(url).unwrap()]];
        self.announcer.add(Registration { swarm: SWARM, peer_id: [1; 20], tiers, counters }).await;
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            let status = self.announcer.status(SWARM).await.remove(0);
            if !matches!(status.state, TrackerState::Asking | TrackerState::Idle) {
                return status;
            }
            tick.tick().await;
        }
    }

    async fn failure(&self, url: &str) -> String {
        let status = tokio::time::timeout(PATIENCE, self.outcome(url)).await.expect("an outcome in time");
        assert_eq!(status.state, TrackerState::Failing, "{:?}", status.message);
        status.message.unwrap()
    }

    async fn discovers(&mut self) -> Vec<SocketAddr> {
        tokio::time::timeout(PATIENCE, self.discoveries.recv())
            .await
            .expect("peers in time")
            .unwrap()
            .addresses
    }
}

/// Serves every connection with `serve` once the head of a request is read; returns the URL.
async fn http<F>(serve: impl Fn(TcpStream, String) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let serve = Arc::new(serve);
        while let Ok((mut stream, _)) = listener.accept().await {
            let serve = Arc::clone(&serve);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap_or(b'\n'));
                }
                serve(stream, String::from_utf8_lossy(&head).into_owned()).await;
            });
        }
    });
    base + "/announce"
}

/// A tracker that answers everything with this body.
async fn answering(body: Vec<u8>) -> String {
    http(move |mut stream, _| {
        let body = body.clone();
        async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    })
    .await
}

#[tokio::test]
async fn millions_of_peers() {
    let body =
        [b"d8:intervali0e5:peers900000:".as_slice(), &[0x7f, 0, 0, 1, 0x1a, 0xe1].repeat(150_000), b"e"]
            .concat();
    let mut node = node();
    let status = node.outcome(&answering(body).await).await;
    assert_eq!(node.discovers().await, ["127.0.0.1:6881".parse().unwrap()]);
    assert_eq!(status.peers, 2_000);
    assert!(status.next.unwrap() > Instant::now() + Duration::from_secs(55), "interval 0 is not obeyed");
}

#[tokio::test]
async fn an_endless_body() {
    let url = http(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let chunk = [b"10000\r\n".as_slice(), &[b'd'; 0x10000], b"\r\n"].concat();
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    assert_eq!(node().failure(&url).await, "the tracker's answer is longer than 1048576 bytes");
}

#[tokio::test]
async fn a_body_that_drips() {
    tokio::time::pause();
    let url = http(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nd8:interval").await;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while stream.write_all(b"0").await.is_ok() {
            tick.tick().await;
        }
    })
    .await;
    let status = node().outcome(&url).await;
    assert_eq!(status.message.as_deref(), Some("the tracker did not answer within 30 s"));
}

#[tokio::test]
async fn redirects_in_circles() {
    let url = http(|mut stream, _| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: /announce?again\r\nContent-Length: 0\r\n\r\n")
            .await;
    })
    .await;
    assert_eq!(node().failure(&url).await, "the tracker redirects in circles");
}

#[tokio::test]
async fn redirects_to_what_is_no_tracker() {
    for (location, expected) in [
        ("file:///etc/passwd", "the tracker redirects to no HTTP address"),
        ("http://", "the tracker redirects to nowhere"),
        ("/reboot?now=1", "a service of this machine that is not a tracker is not asked"),
    ] {
        let url = http(move |mut stream, _| async move {
            let answer = format!("HTTP/1.1 307 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        assert_eq!(node().failure(&url).await, expected);
    }
}

#[tokio::test]
async fn a_torrent_cannot_push_buttons_on_this_machine() {
    let url = answering(b"de".to_vec()).await.replace("/announce", "/api/shutdown");
    assert_eq!(node().failure(&url).await, "a service of this machine that is not a tracker is not asked");
}

#[tokio::test]
async fn what_is_no_answer() {
    for (body, expected) in [
        (b"<html>502</html>".to_vec(), "no value starts with byte 0x3c"),
        (Vec::new(), "input ends inside a value"),
        (b"i5e".to_vec(), "a number instead of a dictionary"),
        (b"l".repeat(1_000_000), "value is nested too deep"),
    ] {
        let message = node().failure(&answering(body).await).await;
        assert!(
            message.starts_with("the tracker's answer makes no sense") && message.contains(expected),
            "{message}"
        );
    }
}

#[tokio::test]
async fn wrong_types_and_huge_numbers() {
    let body = b"d8:completei-9e8:intervali99999999999e12:min intervali-1e5:peersi7e6:peers6le15:warning messagei1ee";
    let status = node().outcome(&answering(body.to_vec()).await).await;
    assert_eq!((status.state, status.peers), (TrackerState::Working, 0));
    assert!(
        status.next.unwrap() < Instant::now() + Duration::from_secs(4 * 60 * 60),
        "a tracker cannot silence us"
    );
}

#[tokio::test]
async fn a_status_that_is_an_error_with_and_without_a_reason() {
    for (body, expected) in [
        ("oops", "the tracker answered with HTTP status 503"),
        ("d14:failure reason4:busye", "the tracker refused: busy"),
    ] {
        let url = http(move |mut stream, _| async move {
            let answer = format!("HTTP/1.1 503 x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        assert_eq!(node().failure(&url).await, expected);
    }
}

#[tokio::test]
async fn a_head_without_end() {
    let url = http(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(&[b'x'; 1000]).await.is_ok() && stream.write_all(b": y\r\n").await.is_ok() {}
    })
    .await;
    let message = node().failure(&url).await;
    assert!(message.starts_with("cannot reach the tracker: "), "{message}");
}

#[tokio::test]
async fn a_udp_tracker_that_sends_rubbish_before_the_truth() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}/announce", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut question = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let (action, transaction) = (&question[8..12], &question[12..16]);
            let answer = match action {
                [0, 0, 0, 0] => [action, transaction, &[1; 8]].concat(),
                _ => {
                    [action, transaction, &[0, 0, 0, 0], &[0xff; 8], &[0x7f, 0, 0, 1, 0x1a, 0xe1], &[9; 600]]
                        .concat()
                }
            };
            for rubbish in [&answer[..7], &question[..length], &[0xff; 1400], &[]] {
                let _ = socket.send_to(rubbish, from).await;
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    let mut node = node();
    let status = tokio::time::timeout(PATIENCE, node.outcome(&url)).await.unwrap();
    assert_eq!(status.state, TrackerState::Working);
    assert_eq!(node.discovers().await, ["127.0.0.1:6881", "9.9.9.9:2313"].map(|peer| peer.parse().unwrap()));
}

#[tokio::test]
async fn a_udp_tracker_over_ipv6() {
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    let url = format!("udp://{}/announce", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut question = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut question).await {
            let (action, transaction) = (&question[8..12], &question[12..16]);
            let peer = [&[0; 15][..], &[1, 0x1a, 0xe1]].concat();
            let answer = match action {
                [0, 0, 0, 0] => [action, transaction, &[1; 8]].concat(),
                _ => [action, transaction, &[0, 0, 7, 8], &[0; 8], &peer].concat(),
            };
            let _ = socket.send_to(&answer, from).await;
        }
    });
    let mut node = node();
    tokio::time::timeout(PATIENCE, node.outcome(&url)).await.unwrap();
    assert_eq!(node.discovers().await, ["[::1]:6881".parse().unwrap()]);
}

/// Ten thousand transfers on one tracker that refuses connections: everybody learns it, nobody waits for a time-out each.
#[tokio::test]
async fn a_dead_tracker_does_not_hold_up_thousands() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = TrackerUrl::parse(&format!("http://{dead}/announce")).unwrap();
    let alive = TrackerUrl::parse(&answering(b"d8:intervali1800ee".to_vec()).await).unwrap();
    let node = node();
    let counters = Arc::new(Progress::default);
    let swarm = |number: u32| {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        SwarmHash(hash)
    };
    let count = 10_000;
    for number in 0..count {
        let tiers = vec![vec![url.clone()]];
        node.announcer
            .add(Registration { swarm: swarm(number), peer_id: [1; 20], tiers, counters: counters.clone() })
            .await;
    }
    let works = async {
        node.announcer
            .add(Registration {
                swarm: SWARM,
                peer_id: [1; 20],
                tiers: vec![vec![alive]],
                counters: counters.clone(),
            })
            .await;
        while node.announcer.status(SWARM).await[0].state != TrackerState::Working {
            tokio::task::yield_now().await;
        }
        while node.announcer.status(swarm(count - 1)).await[0].state != TrackerState::Failing {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, works).await.expect("the living tracker is asked in time");
}

/// `stopped` goes over another connection than what is under way: it must not overtake it, or the tracker would keep us for good.
#[tokio::test]
async fn goodbye_does_not_overtake_what_is_under_way() {
    let (told, mut heard) = mpsc::channel(16);
    let url = http(move |mut stream, head| {
        let told = told.clone();
        async move {
            let event = head.split("event=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
            let event = event.unwrap_or("regular").to_owned();
            told.send(format!("{event} asked")).await.unwrap();
            if event == "started" {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            told.send(format!("{event} answered")).await.unwrap();
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nd8:intervali1800ee").await;
        }
    })
    .await;
    let node = node();
    let counters = Arc::new(|| Progress { left: 1, wants_peers: true, ..Progress::default() });
    let tiers = vec![vec![TrackerUrl::parse(&url).unwrap()]];
    node.announcer.add(Registration { swarm: SWARM, peer_id: [1; 20], tiers, counters }).await;
    assert_eq!(heard.recv().await.unwrap(), "started asked");
    node.announcer.completed(SWARM).await;
    node.announcer.stop(Duration::from_millis(1_200)).await;
    let mut events = Vec::new();
    while let Ok(event) = heard.try_recv() {
        events.push(event);
    }
    let expected =
        ["started answered", "completed asked", "completed answered", "stopped asked", "stopped answered"];
    assert_eq!(events, expected);
}

/// The farewell of a transfer that was removed a moment before everything ends is said all the same.
#[tokio::test]
async fn farewells_that_wait_survive_the_end() {
    let (told, mut heard) = mpsc::channel(200);
    let url = http(move |mut stream, head| {
        let told = told.clone();
        async move {
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nd8:intervali1800ee").await;
            if head.contains("event=stopped") {
                let _ = told.send(()).await;
            }
        }
    })
    .await;
    let node = node();
    let swarms: Vec<SwarmHash> = (0..60).map(|number| SwarmHash([number; 20])).collect();
    for swarm in &swarms {
        let counters = Arc::new(Progress::default);
        let tiers = vec![vec![TrackerUrl::parse(&url).unwrap()]];
        node.announcer.add(Registration { swarm: *swarm, peer_id: [1; 20], tiers, counters }).await;
    }
    let working = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        for swarm in &swarms {
            while node.announcer.status(*swarm).await[0].state != TrackerState::Working {
                tick.tick().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, working).await.expect("the tracker knows all");
    for swarm in &swarms {
        node.announcer.remove(*swarm).await;
    }
    node.announcer.stop(PATIENCE).await;
    let said = std::iter::from_fn(|| heard.try_recv().ok()).count();
    assert_eq!(said, swarms.len());
}
