//! Local discovery between nodes on one machine, over loopback.

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
    let config = LanConfig { port, interfaces: Some(vec!["lo".to_owned()]) };
    let lan = Lan::start(config, DialRules::new(), sink, cancel.clone()).unwrap();
    (lan, discoveries, cancel.drop_guard())
}

#[tokio::test]
async fn neighbours_find_each_other_over_both_families() {
    let swarm = SwarmHash(rand::random());
    let (one, mut ones, _one) = node(7101);
    let (other, mut others, _other) = node(7102);
    assert_eq!(one.status().await.interfaces, ["lo"]);
    one.add(SwarmHash(rand::random())).await;
    other.add(swarm).await;
    // Whoever comes later finds those that were there, since they answer once the minute between announces has passed; whoever was there finds
    // the newcomer at once.
    one.add(swarm).await;
    let mut found = std::collections::BTreeSet::new();
    while found.len() < 2 {
        let discovery =
            tokio::time::timeout(PATIENCE, others.recv()).await.expect("a neighbour in time").unwrap();
        assert_eq!((discovery.swarm, discovery.found), (swarm, Found::LAN));
        found.extend(discovery.addresses);
    }
    let expected = ["127.0.0.1:7101", "[::1]:7101"].map(|address| address.parse().unwrap());
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    assert!(other.status().await.heard >= 2);
    assert_eq!(one.status().await.swarms, 2);
    let own = ones.try_recv().into_iter().flat_map(|discovery| discovery.addresses);
    assert!(own.into_iter().all(|address| address.port() == 7102), "nobody discovers itself");
}
