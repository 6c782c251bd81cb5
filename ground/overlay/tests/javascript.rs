//! js-libp2p, both ways: identify, ping, streams, the hash table, gossip, relays.

#![allow(clippy::unwrap_used)]

mod net;

use std::path::Path as FilePath;
use std::process::Stdio;
use std::time::Duration;

use net::{Node, config, soon};
use peerage_identity::PeerId;
use peerage_overlay::{Address, DhtMode, Judge, OverlayConfig, OverlayEvent, Path};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const ECHO: &str = "/peerage/test/echo/1";
const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
/// The multihash in it.
const MULTIHASH: &str = "1220c7d01489080858c500065836c658f847a6ca67c4864619212be4f8200e4bbace";

/// The node of `e2e/js/peer.mjs`, which ends when this is dropped.
struct JsNode {
    id: PeerId,
    addresses: Vec<Address>,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl JsNode {
    async fn start(listen: &[&str], relay: bool) -> Self {
        let node = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/js/node");
        let mut child = Command::new(node)
            .args(["peer.mjs", &json!({"listen": listen, "relay": relay}).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("e2e/js/node runs");
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon(output.next_line()).await.unwrap().expect("npm ci --prefix e2e/js --ignore-scripts");
        let hello: Value = serde_json::from_str(&line).unwrap();
        let addresses = hello["addresses"].as_array().unwrap().iter();
        Self {
            id: hello["id"].as_str().unwrap().parse().unwrap(),
            addresses: addresses.map(|text| text.as_str().unwrap().parse().unwrap()).collect(),
            input,
            output,
            _child: child,
        }
    }

    async fn ask(&mut self, deed: Value) -> Value {
        self.input.write_all(format!("{deed}\n").as_bytes()).await.unwrap();
        let line = soon(self.output.next_line()).await.unwrap().expect("it ended");
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none(), "{deed}: {answer}");
        answer["ok"].take()
    }
}

fn neighbour(seed: u8) -> OverlayConfig {
    let mut config = config(seed);
    config.listen.push("/ip4/127.0.0.1/tcp/0/ws".parse().unwrap());
    config.lan_dht = DhtMode::Server;
    config.gossip = true;
    config.dial_private = true;
    config
}

fn echo(overlay: &peerage_overlay::Overlay) {
    let mut incoming = overlay.accept(ECHO, 16).unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::spawn(async move {
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
}

/// Sends so many bytes and counts those that come back.
async fn echoed(from: &Node, peer: PeerId, bytes: usize) -> usize {
    let stream = soon(from.open_stream(peer, ECHO)).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async move {
        writer.write_all(&vec![7; bytes]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    soon(async { tokio::join!(sending, reader.read_to_end(&mut received)).1 }).await.unwrap();
    received.len()
}

#[tokio::test]
async fn we_dial_it_over_tcp_and_websocket() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws"] {
        let js = JsNode::start(&[listen], false).await;
        let mut ours = Node::start(neighbour(1)).await;
        assert_eq!(soon(ours.dial(js.addresses[0].clone())).await, Ok(js.id));
        ours.until(|event| (*event == OverlayEvent::Identified { peer: js.id }).then_some(())).await;
        let peers = ours.peers().await;
        assert!(peers[0].agent.as_deref().is_some_and(|agent| agent.starts_with("js-libp2p/")), "{peers:?}");
        assert!(peers[0].protocols.iter().any(|protocol| protocol == ECHO), "{peers:?}");
        assert_eq!(echoed(&ours, js.id, 1 << 20).await, 1 << 20);
    }
}

#[tokio::test]
async fn it_dials_us_over_tcp_and_websocket() {
    let ours = Node::start(neighbour(1)).await;
    echo(&ours);
    let mut js = JsNode::start(&[], false).await;
    for address in ours.listening() {
        let address = address.with_peer(ours.id()).to_string();
        assert_eq!(js.ask(json!({"do": "dial", "address": address})).await, ours.id().to_string());
        assert!(js.ask(json!({"do": "ping", "address": address})).await.is_number());
        assert_eq!(js.ask(json!({"do": "echo", "address": address, "bytes": 1 << 20})).await, 1 << 20);
        let protocols = js.ask(json!({"do": "protocols", "address": address})).await;
        for protocol in ["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/ipfs/lan/kad/1.0.0", ECHO] {
            assert!(protocols.as_array().unwrap().contains(&json!(protocol)), "{protocols}");
        }
    }
}

/// A record is still on its way when the one who gave it has been answered.
async fn provider(node: &Node, key: &[u8]) -> PeerId {
    soon(async {
        loop {
            if let Some(found) = node.providers(key, 5).await.next().await {
                return found.id;
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_one_provides_the_other_finds() {
    let key = data_encoding::HEXLOWER.decode(MULTIHASH.as_bytes()).unwrap();
    let mut ours = Node::start(neighbour(1)).await;
    let mut js = JsNode::start(&["/ip4/127.0.0.1/tcp/0"], false).await;
    soon(ours.dial(js.addresses[0].clone())).await.unwrap();
    ours.until(|event| (*event == OverlayEvent::Identified { peer: js.id }).then_some(())).await;
    js.ask(json!({"do": "provide", "cid": CID})).await;
    assert_eq!(provider(&ours, &key).await, js.id);

    // A third one finds ours through the other.
    let mut third = Node::start(neighbour(2)).await;
    soon(third.dial(js.addresses[0].clone())).await.unwrap();
    third.until(|event| (*event == OverlayEvent::Identified { peer: js.id }).then_some(())).await;
    let other = [&key[..2], &[9; 32]].concat();
    soon(ours.provide(&other)).await.unwrap();
    assert_eq!(provider(&third, &other).await, ours.id());
}

#[tokio::test]
async fn what_one_says_the_other_hears() {
    let mut ours = Node::start(neighbour(1)).await;
    let mut js = JsNode::start(&["/ip4/127.0.0.1/tcp/0"], false).await;
    js.ask(json!({"do": "subscribe", "topic": "news"})).await;
    let mut news = soon(ours.subscribe("news", Judge::everything())).await.unwrap();
    soon(ours.dial(js.addresses[0].clone())).await.unwrap();
    let listens = OverlayEvent::Listens { peer: js.id, topic: "news".to_owned() };
    ours.until(|event| (*event == listens).then_some(())).await;
    soon(ours.publish("news", b"from rust".to_vec())).await.unwrap();
    let heard = js.ask(json!({"do": "heard"})).await;
    assert_eq!(heard, json!({"from": ours.id().to_string(), "data": "from rust"}));
    assert_eq!(js.ask(json!({"do": "publish", "topic": "news", "data": "from js"})).await, 1);
    let message = soon(news.next()).await.unwrap();
    assert_eq!((message.author, &message.data[..]), (js.id, &b"from js"[..]));
}

#[tokio::test]
async fn its_relay_carries_us() {
    let js = JsNode::start(&["/ip4/127.0.0.1/tcp/0"], true).await;
    let mut hidden = neighbour(1);
    (hidden.listen, hidden.relay_client, hidden.relay_after) = (Vec::new(), true, Duration::ZERO);
    hidden.bootstrap = vec![js.addresses[0].clone()];
    let mut hidden = Node::start(hidden).await;
    echo(&hidden);
    let relayed = |event: &OverlayEvent| match event {
        OverlayEvent::Reachable(address) if address.is_relayed() => Some(address.clone()),
        _ => None,
    };
    let address = hidden.until(relayed).await.with_peer(hidden.id());
    let mut seeker = neighbour(2);
    seeker.listen = Vec::new();
    let seeker = Node::start(seeker).await;
    assert_eq!(soon(seeker.dial(address)).await, Ok(hidden.id()));
    assert_eq!(seeker.peers().await.iter().find(|peer| peer.id == hidden.id()).unwrap().path, Path::Relayed);
    assert_eq!(echoed(&seeker, hidden.id(), 1000).await, 1000);
}

#[tokio::test]
async fn our_relay_carries_it() {
    let mut relay = neighbour(1);
    relay.relay_server = true;
    let relay = Node::start(relay).await;
    relay.announce(relay.listening()[0].clone()).await;
    let through = format!("{}/p2p-circuit", relay.address());
    let mut js = JsNode::start(&[&through], false).await;
    let addresses = js.ask(json!({"do": "addresses"})).await;
    let address: Address = addresses[0].as_str().unwrap().parse().unwrap();
    assert!(address.is_relayed(), "{address}");
    let seeker = Node::start(neighbour(2)).await;
    assert_eq!(soon(seeker.dial(address)).await, Ok(js.id));
    assert_eq!(echoed(&seeker, js.id, 1000).await, 1000);
}
