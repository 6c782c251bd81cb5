//! The hash tables, among overlays in one process.

#![allow(clippy::unwrap_used)]

mod net;

use std::collections::HashSet;
use std::sync::Arc;

use net::{Node, config, soon};
use peerage_identity::NodeKey;
use peerage_overlay::{
    Address, DhtError, DhtMode, FoundPeer, OverlayConfig, OverlayEvent, RecordValidator, StartError,
    Validators,
};
use tokio_util::sync::CancellationToken;

const KEY: &[u8] = b"\x12\x20a multihash of thirty-two bytes..";

/// A member of the local network's hash table on this machine.
fn member(seed: u8, first: Option<&Node>) -> OverlayConfig {
    let mut config = config(seed);
    config.lan_dht = DhtMode::Server;
    config.dial_private = true; // of this machine, too
    config.bootstrap = first.map(Node::address).into_iter().collect();
    config
}

/// The first node, once it knows all the others, and these.
async fn network(size: u8) -> Vec<Node> {
    let mut nodes = vec![Node::start(member(1, None)).await];
    for seed in 2..=size {
        let node = Node::start(member(seed, Some(&nodes[0]))).await;
        nodes.push(node);
    }
    let mut missing: HashSet<_> = nodes[1..].iter().map(|node| node.id()).collect();
    nodes[0].until(|event| knows_all(event, &mut missing)).await;
    nodes
}

fn knows_all(event: &OverlayEvent, missing: &mut HashSet<peerage_identity::PeerId>) -> Option<()> {
    if let OverlayEvent::Identified { peer } = event {
        missing.remove(peer);
    }
    missing.is_empty().then_some(())
}

/// A record is still on its way when the one who gave it has been answered: nobody says when it has arrived.
async fn a_provider(node: &Node, key: &[u8]) -> FoundPeer {
    soon(async {
        loop {
            if let Some(found) = node.providers(key, 5).await.next().await {
                return found;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_nodes_provide_and_find() {
    let nodes = network(20).await;
    soon(nodes[5].provide(KEY)).await.unwrap();
    let found = a_provider(&nodes[17], KEY).await;
    assert_eq!(found.id, nodes[5].id());
    assert_eq!(found.addresses, [nodes[5].listening()[0].clone()]);

    // Nobody told node 17 where node 5 is but the hash table.
    assert_eq!(soon(nodes[17].dial(nodes[5].id())).await, Ok(nodes[5].id()));

    assert!(soon(nodes[3].providers(b"another key", 5).await.next()).await.is_none());
    let closest = soon(nodes[9].closest_peers(KEY)).await.unwrap();
    let (mut ids, mut all): (Vec<_>, Vec<_>) =
        (closest.iter().map(|peer| peer.id).collect(), nodes.iter().map(|node| node.id()).collect());
    ids.sort_unstable();
    all.retain(|id| *id != nodes[9].id());
    all.sort_unstable();
    assert_eq!(ids, all);

    let found = soon(nodes[11].find_peer(nodes[12].id())).await.unwrap();
    assert_eq!((found.id, found.addresses), (nodes[12].id(), nodes[12].listening()));
    let stranger = NodeKey::from_seed([99; 32]).peer_id();
    assert_eq!(soon(nodes[11].find_peer(stranger)).await, Err(DhtError::NotFound));
}

#[tokio::test]
async fn a_node_that_starts_again_still_has_records_and_acquaintances() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = |listen: Option<Address>| {
        let mut config = member(1, None);
        config.data_dir = Some(folder.path().to_owned());
        config.listen = listen.map_or(config.listen, |address| vec![address]);
        config
    };
    let cancel = CancellationToken::new();
    let first = peerage_overlay::Overlay::start(keeper(None), cancel.clone()).await.unwrap();
    let listen = first.listening()[0].clone();
    let mut member_of_it = member(2, None);
    member_of_it.bootstrap = vec![listen.with_peer(first.id())];
    let mut provider = Node::start(member_of_it.clone()).await;
    let keeper_id = first.id();
    provider.until(|event| (*event == OverlayEvent::Identified { peer: keeper_id }).then_some(())).await;
    soon(provider.provide(KEY)).await.unwrap();
    member_of_it.key = NodeKey::from_seed([3; 32]);
    let mut asker = Node::start(member_of_it).await;
    asker.until(|event| (*event == OverlayEvent::Identified { peer: keeper_id }).then_some(())).await;
    assert_eq!(a_provider(&asker, KEY).await.id, provider.id());

    // Its file is its own while it runs.
    let taken = peerage_overlay::Overlay::start(keeper(None), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(taken, StartError::Storage { .. }), "{taken}");
    cancel.cancel();
    soon(first.ended()).await;
    drop(asker);

    let mut again = Node::start(keeper(Some(listen))).await;
    let provider_id = provider.id();
    let met = |event: &OverlayEvent| {
        matches!(event, OverlayEvent::Connected { peer, .. } if *peer == provider_id).then_some(())
    };
    again.until(met).await;
    let mut late = Node::start(member(4, Some(&again))).await;
    late.until(|event| (*event == OverlayEvent::Identified { peer: keeper_id }).then_some(())).await;
    let found = a_provider(&late, KEY).await;
    assert_eq!((found.id, found.addresses), (provider_id, provider.listening()));
}

/// A number of one digit, the larger the better.
#[derive(Debug)]
struct Digit;

impl RecordValidator for Digit {
    fn is_valid(&self, _: &[u8], value: &[u8]) -> bool {
        value.len() == 1 && value[0].is_ascii_digit()
    }

    fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
        new > old
    }
}

#[tokio::test]
async fn values_are_judged_by_everyone_and_the_best_one_is_found() {
    let judging = |seed, first| {
        let mut config = member(seed, first);
        let mut validators = Validators::default();
        validators.add("digit", Arc::new(Digit));
        config.validators = validators;
        config
    };
    let mut first = Node::start(judging(1, None)).await;
    let mut others = Vec::new();
    for seed in 2..6 {
        others.push(Node::start(judging(seed, Some(&first))).await);
    }
    let mut missing: HashSet<_> = others.iter().map(|node| node.id()).collect();
    first.until(|event| knows_all(event, &mut missing)).await;

    assert_eq!(soon(others[0].put_value(b"/digit/a", b"x")).await, Err(DhtError::Invalid));
    assert_eq!(soon(others[0].put_value(b"/other/a", b"1")).await, Err(DhtError::Invalid));
    assert_eq!(soon(others[0].get_value(b"/digit/a")).await, Err(DhtError::NotFound));
    soon(others[0].put_value(b"/digit/a", b"3")).await.unwrap();
    soon(others[1].put_value(b"/digit/a", b"7")).await.unwrap();
    // Others have the better one by now, or refuse this.
    let _ = soon(others[2].put_value(b"/digit/a", b"5")).await;
    assert_eq!(soon(others[3].get_value(b"/digit/a")).await, Ok(b"7".to_vec()));
}

#[tokio::test]
async fn the_public_network_tells_what_was_announced() {
    let public = |seed, first: Option<&Node>| {
        let mut config = member(seed, first);
        (config.dht, config.lan_dht) = (DhtMode::Server, DhtMode::Off);
        config
    };
    let mut first = Node::start(public(1, None)).await;
    let provider = Node::start(public(2, Some(&first))).await;
    provider.announce(provider.listening()[0].clone()).await;
    assert_eq!(provider.reachable(), provider.listening());
    let asker = Node::start(public(3, Some(&first))).await;
    let mut missing = HashSet::from([provider.id(), asker.id()]);
    first.until(|event| knows_all(event, &mut missing)).await;
    soon(provider.provide(KEY)).await.unwrap();
    let found = a_provider(&asker, KEY).await;
    assert_eq!((found.id, found.addresses), (provider.id(), provider.listening()));
}

#[tokio::test]
async fn a_client_finds_and_is_not_asked() {
    let mut server = Node::start(member(1, None)).await;
    let client_of = |seed| {
        let mut config = member(seed, Some(&server));
        config.lan_dht = DhtMode::Client;
        config
    };
    let (one, two) = (Node::start(client_of(2)).await, Node::start(client_of(3)).await);
    let mut missing = HashSet::from([one.id(), two.id()]);
    server.until(|event| knows_all(event, &mut missing)).await;
    soon(one.provide(KEY)).await.unwrap();
    assert_eq!(a_provider(&two, KEY).await.id, one.id());
    let closest = soon(two.closest_peers(KEY)).await.unwrap();
    assert_eq!(closest.iter().map(|peer| peer.id).collect::<Vec<_>>(), [server.id()]);
}

#[tokio::test]
async fn who_takes_part_in_none_or_knows_nobody_is_told() {
    let off = Node::new(1).await;
    assert_eq!(soon(off.provide(KEY)).await, Err(DhtError::Off));
    assert!(soon(off.providers(KEY, 1).await.next()).await.is_none());
    let alone = Node::start(member(2, None)).await;
    assert_eq!(soon(alone.provide(KEY)).await, Err(DhtError::Alone));
    assert_eq!(soon(alone.get_value(&[b'x'; 500])).await, Err(DhtError::Key));
    // What it provides itself it knows all the same.
    assert_eq!(a_provider(&alone, KEY).await.id, alone.id());
}
