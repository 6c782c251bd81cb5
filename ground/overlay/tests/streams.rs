//! Connections and streams between overlays.

#![allow(clippy::unwrap_used)]

mod net;

use std::time::Duration;

use net::{Node, config, soon};
use peerage_identity::NodeKey;
use peerage_overlay::{
    AcceptError, Address, DialError, Incoming, Overlay, OverlayEvent, Path, PrivateNetworkKey, StreamError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const ECHO: &str = "/peerage/test/echo/1";

fn echo(overlay: &Overlay) {
    let mut incoming = overlay.accept(ECHO, 64).unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
}

#[tokio::test]
async fn bytes_go_there_and_back() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    echo(&bob);
    alice.knows(&bob).await;
    let mut stream = soon(alice.open_stream(bob.id(), ECHO)).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    soon(stream.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "hello");
}

#[tokio::test]
async fn both_sides_know_of_the_connection() {
    let (mut alice, mut bob) = (Node::new(1).await, Node::new(2).await);
    let (alice_id, bob_id) = (alice.id(), bob.id());
    alice.knows(&bob).await;
    let connected = |event: &OverlayEvent| match event {
        OverlayEvent::Connected { peer, path, dialled, .. } => Some((*peer, *path, *dialled)),
        _ => None,
    };
    assert_eq!(alice.until(connected).await, (bob_id, Path::Direct, true));
    assert_eq!(bob.until(connected).await, (alice_id, Path::Direct, false));

    alice.until(|event| (*event == OverlayEvent::Identified { peer: bob_id }).then_some(())).await;
    let peers = alice.peers().await;
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].id, peers[0].connections), (bob_id, 1));
    assert_eq!(peers[0].agent.as_deref(), Some(concat!("peerage/", env!("CARGO_PKG_VERSION"))));
    assert!(peers[0].protocols.iter().any(|protocol| protocol == "/ipfs/ping/1.0.0"), "{peers:?}");

    alice.disconnect(bob_id).await;
    bob.until(|event| (*event == OverlayEvent::Disconnected { peer: alice_id }).then_some(())).await;
    assert_eq!(bob.peers().await, []);
}

#[tokio::test]
async fn many_streams_opened_at_once_all_arrive() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    echo(&bob);
    alice.knows(&bob).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..32_u8 {
        let (alice, bob) = (alice.overlay.clone(), bob.id());
        tasks.spawn(async move {
            let mut stream = alice.open_stream(bob, ECHO).await.unwrap();
            stream.write_all(&[n; 1000]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            assert_eq!(said, [n; 1000]);
        });
    }
    soon(tasks.join_all()).await;
}

#[tokio::test]
async fn streams_that_nobody_takes_are_bounded() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    let mut incoming: Incoming = bob.accept(ECHO, 2).unwrap();
    alice.knows(&bob).await;
    let mut opened = Vec::new();
    for n in 0..3_u8 {
        let mut stream = soon(alice.open_stream(bob.id(), ECHO)).await.unwrap();
        if n < 2 {
            stream.write_all(&[n]).await.unwrap();
            stream.flush().await.unwrap();
        }
        opened.push(stream);
    }
    // The third one was reset: reading from it ends.
    assert!(matches!(soon(opened[2].read(&mut [0])).await, Ok(0) | Err(_)));
    for n in 0..2 {
        let (from, mut stream) = soon(incoming.next()).await.unwrap();
        assert_eq!((from, soon(stream.read_u8()).await.unwrap()), (alice.id(), n));
    }
}

#[tokio::test]
async fn a_protocol_has_one_owner_until_it_is_dropped() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    let incoming = bob.accept(ECHO, 1).unwrap();
    assert_eq!(bob.accept(ECHO, 1).unwrap_err(), AcceptError::Taken { protocol: ECHO.to_owned() });
    assert_eq!(bob.accept("echo", 1).unwrap_err(), AcceptError::Name { protocol: "echo".to_owned() });
    drop(incoming);
    alice.knows(&bob).await;
    let unsupported = StreamError::Unsupported { protocol: ECHO.to_owned() };
    assert_eq!(soon(alice.open_stream(bob.id(), ECHO)).await.unwrap_err(), unsupported);
    echo(&bob);
    soon(alice.open_stream(bob.id(), ECHO)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_peer_and_nobody_at_an_address_are_told() {
    let alice = Node::new(1).await;
    let nobody = NodeKey::from_seed([9; 32]).peer_id();
    assert_eq!(soon(alice.dial(nobody)).await, Err(DialError::NoAddress));
    assert!(matches!(soon(alice.open_stream(nobody, ECHO)).await, Err(StreamError::Unreachable { .. })));

    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let address: Address = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let Err(DialError::Unreachable { reason }) = soon(alice.dial(address.with_peer(nobody))).await else {
        panic!("nobody is there");
    };
    assert!(reason.contains("refused"), "{reason}");

    let bob = Node::new(2).await;
    let wrong = bob.listening()[0].with_peer(nobody);
    let error = soon(alice.dial(wrong)).await.unwrap_err();
    assert!(matches!(error, DialError::WrongPeer { found, .. } if found == bob.id()), "{error}");
    soon(alice.dial(alice.listening()[0].clone())).await.unwrap_err(); // itself
}

#[tokio::test]
async fn what_failed_is_left_alone_unless_the_user_asks() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    let address = bob.address();
    let (bob_id, config) = (bob.id(), {
        let mut config = config(2);
        config.listen = vec![bob.listening()[0].clone()];
        config
    });
    drop(bob);
    // The port closes with the task.
    while TcpListener::bind(tcp(&address)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(soon(alice.dial(address.clone())).await.is_err());
    let _bob = Node::start(config).await;
    let Err(StreamError::Unreachable { reason }) = soon(alice.open_stream(bob_id, ECHO)).await else {
        panic!("dialled at once");
    };
    assert!(reason.contains("could not be reached 1 times"), "{reason}");
    assert_eq!(soon(alice.dial(address)).await, Ok(bob_id));
}

fn tcp(address: &Address) -> std::net::SocketAddr {
    let text = address.to_string();
    let port = text.split('/').nth(4).unwrap();
    format!("127.0.0.1:{port}").parse().unwrap()
}

#[tokio::test]
async fn a_denied_peer_gets_no_connection_either_way() {
    let mut config = config(2);
    config.deny = vec![NodeKey::from_seed([1; 32]).peer_id()];
    let (mut alice, bob) = (Node::new(1).await, Node::start(config).await);
    assert!(matches!(soon(bob.dial(alice.address())).await, Err(DialError::Refused { .. })));
    // The dialler may see the connection for a moment before it is closed on it.
    if soon(alice.dial(bob.address())).await.is_ok() {
        let gone = OverlayEvent::Disconnected { peer: bob.id() };
        alice.until(|event| (*event == gone).then_some(())).await;
    }
    assert_eq!(bob.peers().await, []);
    bob.deny(alice.id(), false).await;
    alice.knows(&bob).await;
    bob.deny(alice.id(), true).await;
    let gone = OverlayEvent::Disconnected { peer: bob.id() };
    alice.until(|event| (*event == gone).then_some(())).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let mut bounded = config(1);
    bounded.limits.connections_in = 2;
    let host = Node::start(bounded).await;
    let mut guests = Vec::new();
    for seed in 2..6 {
        let mut guest = Node::new(seed).await;
        let gone = OverlayEvent::Disconnected { peer: host.id() };
        let refused = match soon(guest.dial(host.address())).await {
            Err(_) => true,
            Ok(_) if guests.len() < 2 => false,
            // Seen for a moment, then closed.
            Ok(_) => guest.until(|event| (*event == gone).then_some(true)).await,
        };
        assert_eq!(refused, guests.len() >= 2, "guest {seed}");
        guests.push(guest);
    }
    assert_eq!(host.peers().await.len(), 2);
}

#[tokio::test]
async fn a_private_network_is_closed_to_others() {
    let private = |seed, secret: Option<u8>| {
        let mut config = config(seed);
        config.limits.handshake = Duration::from_secs(2); // bytes of another network look like a slow peer
        config.private_network = secret.map(|byte| PrivateNetworkKey::new([byte; 32]));
        Node::start(config)
    };
    let host = private(1, Some(7)).await;
    echo(&host);
    let (member, stranger, outsider) =
        (private(2, Some(7)).await, private(3, Some(8)).await, private(4, None).await);
    member.knows(&host).await;
    soon(member.open_stream(host.id(), ECHO)).await.unwrap();
    assert!(matches!(soon(stranger.dial(host.address())).await, Err(DialError::Unreachable { .. })));
    assert!(matches!(soon(outsider.dial(host.address())).await, Err(DialError::Unreachable { .. })));
}

#[tokio::test]
async fn it_ends_with_its_token() {
    let cancel = CancellationToken::new();
    let overlay = Overlay::start(config(1), cancel.clone()).await.unwrap();
    let mut events = overlay.events();
    let mut incoming = overlay.accept(ECHO, 1).unwrap();
    let peer = Node::new(2).await;
    soon(overlay.dial(peer.address())).await.unwrap();
    cancel.cancel();
    while soon(events.recv()).await.is_ok() {}
    assert_eq!(overlay.dial(peer.id()).await, Err(DialError::Ended));
    assert_eq!(overlay.open_stream(peer.id(), ECHO).await.unwrap_err(), StreamError::Ended);
    drop(overlay);
    assert!(soon(incoming.next()).await.is_none());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(1);
    let port = taken.local_addr().unwrap().port();
    config.listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    let error = Overlay::start(config, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("listen on /ip4/127.0.0.1/tcp/{port}: ")), "{error}");
}

/// Eight streams each way; both sides write 64 MiB in all while they read in small bites.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_way_saturation_does_not_deadlock() {
    const STREAMS: usize = 8;
    const PER_STREAM: usize = (64 << 20) / STREAMS;
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    alice.knows(&bob).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let mut incoming = to.accept(ECHO, STREAMS).unwrap();
        for _ in 0..STREAMS {
            let mut stream = soon(from.open_stream(to.id(), ECHO)).await.unwrap();
            tasks.spawn(async move {
                let chunk = vec![7; 256 << 10];
                for _ in 0..PER_STREAM / chunk.len() {
                    stream.write_all(&chunk).await.unwrap();
                }
                stream.shutdown().await.unwrap();
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            });
        }
        tasks.spawn(async move {
            let mut readers = tokio::task::JoinSet::new();
            for _ in 0..STREAMS {
                let (_, mut stream) = incoming.next().await.unwrap();
                readers.spawn(async move {
                    let (mut read, mut bite) = (0, vec![0; 8 << 10]);
                    while let Ok(n @ 1..) = stream.read(&mut bite).await {
                        read += n;
                        tokio::task::yield_now().await;
                    }
                    stream.shutdown().await.unwrap();
                    assert_eq!(read, PER_STREAM);
                });
            }
            readers.join_all().await;
        });
    }
    tokio::time::timeout(Duration::from_secs(120), tasks.join_all()).await.expect("it never came to an end");
}
