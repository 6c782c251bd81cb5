//! Ways to reach a peer: transports, relays, multicast; and topics.

#![allow(clippy::unwrap_used)]

mod net;

use std::time::Duration;

use net::{Node, config, soon};
use peerage_overlay::{
    Address, GossipError, Judge, Message, OverlayConfig, OverlayEvent, Path, PrivateNetworkKey, Reachability,
    Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ECHO: &str = "/peerage/test/echo/1";

/// Says something over a stream, and hears it again.
async fn talk(alice: &Node, bob: &Node) {
    let mut incoming = bob.accept(ECHO, 4).unwrap();
    let (mut ours, theirs) = soon(async {
        let opened = async {
            let mut stream = alice.open_stream(bob.id(), ECHO).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        tokio::join!(opened, incoming.next())
    })
    .await;
    let (from, mut theirs) = theirs.unwrap();
    assert_eq!(from, alice.id());
    let mut said = [0; 5];
    soon(theirs.read_exact(&mut said)).await.unwrap();
    theirs.write_all(&said).await.unwrap();
    theirs.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(ours.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"hello");
}

fn listening_on(seed: u8, addresses: &[&str]) -> OverlayConfig {
    let mut config = config(seed);
    config.listen = addresses.iter().map(|address| address.parse().unwrap()).collect();
    config
}

#[tokio::test]
async fn every_transport_carries_streams() {
    for address in [
        "/ip4/127.0.0.1/udp/0/quic-v1",
        "/ip4/127.0.0.1/tcp/0/ws",
        "/ip6/::1/tcp/0",
        "/ip6/::1/udp/0/quic-v1",
    ] {
        let (alice, bob) =
            (Node::start(listening_on(1, &[address])).await, Node::start(listening_on(2, &[address])).await);
        alice.knows(&bob).await;
        talk(&alice, &bob).await;
        talk(&bob, &alice).await;
    }
}

#[tokio::test]
async fn one_node_has_several() {
    let all = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let bob = Node::start(listening_on(1, &all)).await;
    assert_eq!(bob.listening().len(), 3);
    for (seed, address) in (2..).zip(bob.listening()) {
        let alice = Node::start(listening_on(seed, &[])).await;
        assert_eq!(soon(alice.dial(address.with_peer(bob.id()))).await, Ok(bob.id()));
        talk(&alice, &bob).await;
    }
}

#[tokio::test]
async fn a_name_is_resolved_and_the_user_may_name_this_machine() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    let port = bob.listening()[0].to_string().split('/').nth(4).unwrap().to_owned();
    let address: Address = format!("/dns4/localhost/tcp/{port}").parse().unwrap();
    assert_eq!(soon(alice.dial(address)).await, Ok(bob.id()));
}

#[tokio::test]
async fn a_private_network_leaves_out_what_has_no_cipher_for_it() {
    let mut config = listening_on(1, &["/ip4/127.0.0.1/udp/0/quic-v1"]);
    config.private_network = Some(PrivateNetworkKey::new([7; 32]));
    let refused = peerage_overlay::Overlay::start(config, Default::default()).await.unwrap_err();
    assert!(refused.to_string().starts_with("listen on /ip4/127.0.0.1/udp/0/quic-v1: "), "{refused}");
}

/// A relay that knows where it is, and two peers that know it.
async fn around_a_relay(hidden: OverlayConfig, seeker: OverlayConfig) -> (Node, Node, Node, Address) {
    let mut config = config(1);
    config.relay_server = true;
    config.dial_private = true;
    let relay = Node::start(config).await;
    relay.announce(relay.listening()[0].clone()).await;
    let around = |mut config: OverlayConfig| {
        config.dial_private = true;
        config.relay_client = true;
        config.relay_after = Duration::ZERO;
        config.bootstrap = vec![relay.address()];
        config
    };
    let mut hidden = Node::start(around(hidden)).await;
    let relayed = hidden
        .until(|event| match event {
            OverlayEvent::Reachable(address) if address.is_relayed() => Some(address.clone()),
            _ => None,
        })
        .await;
    let is_relayed =
        |event: &OverlayEvent| (*event == OverlayEvent::Reachability(Reachability::Relayed)).then_some(());
    if hidden.reachability() != Reachability::Relayed {
        hidden.until(is_relayed).await;
    }
    let mut seeker = around(seeker);
    seeker.relay_after = Duration::from_secs(600); // it has no need to be reached
    let seeker = Node::start(seeker).await;
    (relay, hidden, seeker, relayed)
}

fn first_path(event: &OverlayEvent, of: peerage_identity::PeerId) -> Option<Path> {
    match event {
        OverlayEvent::Connected { peer, path, .. } if *peer == of => Some(*path),
        _ => None,
    }
}

#[tokio::test]
async fn a_peer_that_listens_nowhere_is_reached_through_a_relay() {
    let (_relay, mut hidden, mut seeker, relayed) =
        Box::pin(around_a_relay(listening_on(2, &[]), listening_on(3, &[]))).await;
    assert_eq!(soon(seeker.dial(relayed.with_peer(hidden.id()))).await, Ok(hidden.id()));
    let (hidden_id, seeker_id) = (hidden.id(), seeker.id());
    assert_eq!(seeker.until(|event| first_path(event, hidden_id)).await, Path::Relayed);
    assert_eq!(hidden.until(|event| first_path(event, seeker_id)).await, Path::Relayed);
    talk(&seeker, &hidden).await;
    let peers = seeker.peers().await;
    let seen = peers.iter().find(|peer| peer.id == hidden_id).unwrap();
    assert_eq!(seen.path, Path::Relayed);
}

#[tokio::test]
async fn two_that_can_reach_each_other_get_a_direct_connection_out_of_a_relayed_one() {
    let (_relay, mut hidden, mut seeker, relayed) = Box::pin(around_a_relay(config(2), config(3))).await;
    assert_eq!(soon(seeker.dial(relayed.with_peer(hidden.id()))).await, Ok(hidden.id()));
    let hidden_id = hidden.id();
    seeker.until(|event| (first_path(event, hidden_id) == Some(Path::Direct)).then_some(())).await;
    let seeker_id = seeker.id();
    hidden.until(|event| (first_path(event, seeker_id) == Some(Path::Direct)).then_some(())).await;
    talk(&seeker, &hidden).await;
}

#[tokio::test]
async fn others_tell_a_node_that_it_can_be_reached() {
    let asking = |seed| {
        let mut config = config(seed);
        config.autonat = true;
        config.dial_private = true;
        Node::start(config)
    };
    let (mut alice, bob) = (asking(1).await, asking(2).await);
    assert_eq!(alice.reachability(), Reachability::Unknown);
    alice.knows(&bob).await;
    alice.until(|event| (*event == OverlayEvent::Reachability(Reachability::Public)).then_some(())).await;
    assert_eq!(alice.reachable(), alice.listening());
}

#[tokio::test]
async fn what_one_says_all_who_listen_hear_unless_it_is_rejected() {
    const TOPIC: &str = "news";
    let gossiping = |seed| {
        let mut config = config(seed);
        config.gossip = true;
        Node::start(config)
    };
    let (mut alice, mut bob, mut carol) = (gossiping(1).await, gossiping(2).await, gossiping(3).await);
    assert_eq!(soon(alice.publish(TOPIC, b"hm".to_vec())).await, Err(GossipError::Nobody));
    let judge = || Judge::new(|_, data| if data == b"bad" { Verdict::Reject } else { Verdict::Accept });
    // In a row: what carol hears of alice, bob has passed on.
    let mut at_bob = soon(bob.subscribe(TOPIC, judge())).await.unwrap();
    let mut at_carol = soon(carol.subscribe(TOPIC, Judge::everything())).await.unwrap();
    assert_eq!(soon(carol.subscribe(TOPIC, judge())).await.unwrap_err(), GossipError::Taken);
    alice.knows(&bob).await;
    bob.knows(&carol).await;
    let listens = |of| {
        move |event: &OverlayEvent| {
            matches!(event, OverlayEvent::Listens { peer, topic } if *peer == of && topic == TOPIC)
                .then_some(())
        }
    };
    let (bob_id, carol_id) = (bob.id(), carol.id());
    alice.until(listens(bob_id)).await;
    bob.until(listens(carol_id)).await;
    carol.until(listens(bob_id)).await;
    for said in [&b"bad"[..], b"good"] {
        soon(alice.publish(TOPIC, said.to_vec())).await.unwrap();
    }
    let good = Message { author: alice.id(), data: b"good".to_vec() };
    assert_eq!(soon(at_bob.next()).await, Some(good.clone()));
    assert_eq!(soon(at_carol.next()).await, Some(good));
    assert_eq!(soon(alice.publish(TOPIC, vec![0; 1 << 20])).await, Err(GossipError::Length));
    assert_eq!(Node::new(4).await.publish(TOPIC, Vec::new()).await, Err(GossipError::Off));
}

#[tokio::test]
async fn bytes_and_connections_are_counted() {
    let (alice, bob) = (Node::new(1).await, Node::new(2).await);
    alice.knows(&bob).await;
    talk(&alice, &bob).await;
    let metrics = alice.metrics();
    for name in ["libp2p_bandwidth_bytes_total", "libp2p_swarm_connections_established_total"] {
        assert!(metrics.contains(name), "{metrics}");
    }
}
