//! Local discovery between nodes on one machine, over loopback. (IPv6 has no multicast there.)

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::time::Duration;

use peerage_bittorrent::address::DialRules;
use peerage_bittorrent::discovery::Discovery;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::lan::{Lan, LanConfig};
use peerage_swarm::core::Found;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(10);

fn node(port: u16) -> (Lan, mpsc::Receiver<Discovery>, DropGuard) {
    let cancel = CancellationToken::new();
    let (sink, discoveries) = mpsc::channel(64);
    let config = LanConfig { ports: port.into(), interfaces: Some(vec!["lo".to_owned()]) };
    let lan = Lan::start(config, DialRules::new(), sink, cancel.clone()).unwrap();
    (lan, discoveries, cancel.drop_guard())
}

#[tokio::test]
async fn a_newcomer_is_found_at_once() {
    let swarm = SwarmHash(rand::random());
    let (one, mut ones, _one) = node(7101);
    let (other, mut others, _other) = node(7102);
    assert_eq!(one.status().await.interfaces, ["lo"]);
    other.add(swarm).await;
    // Of no interest to the other.
    one.add(SwarmHash(rand::random())).await;
    one.add(swarm).await;
    let found = tokio::time::timeout(PATIENCE, others.recv()).await.expect("a neighbour in time").unwrap();
    let expected = Discovery {
        swarm,
        addresses: vec!["127.0.0.1:7101".parse().unwrap()],
        found: Found::LAN,
        from: "127.0.0.1".into(),
    };
    assert_eq!(found, expected);
    assert_eq!((one.status().await.swarms, other.status().await.swarms), (2, 1));
    let own = std::iter::from_fn(|| ones.try_recv().ok()).flat_map(|discovery| discovery.addresses);
    assert!(own.into_iter().all(|address| address.port() == 7102), "nobody discovers itself");
}
