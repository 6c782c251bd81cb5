//! What the door does about finding peers: ports, private torrents, the search for metadata.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use peerage_bittorrent::door::{DhtSettings, Door, DoorConfig};
use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::metainfo::Node;
use peerage_bittorrent::mse::Encryption;
use peerage_bittorrent::tracker;
use peerage_bittorrent::wire::{HANDSHAKE_LENGTH, Handshake, PeerId, Reserved};
use peerage_content::BlockPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// For anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

const HASHES: InfoHashes = InfoHashes { v1: Some([7; 20]), v2: None };

async fn door(listen: &str) -> (Door, DropGuard) {
    let cancel = CancellationToken::new();
    let config = DoorConfig {
        listen: vec![listen.parse().unwrap()],
        listen_elsewhere: false,
        encryption: Encryption::Disable,
        connections_max: 200,
        // Somewhere nobody is.
        dht: Some(DhtSettings { bootstrap: vec!["127.0.0.1:9".to_owned()], nodes_file: None }),
        lan: true,
        client: "test".to_owned(),
        peer_id_prefix: *b"-PG0100-",
    };
    let door = Door::open(config, BlockPool::new(16), TaskTracker::new(), cancel.clone()).await.unwrap();
    (door, cancel.drop_guard())
}

async fn swarms(door: &Door) -> (usize, usize) {
    let lan = door.lan().unwrap().status().await.swarms;
    (door.dht().unwrap().status().await.unwrap().swarms, lan)
}

/// BEP 27. Of a magnet link nobody knows whether it is private before the metadata says so.
#[tokio::test]
async fn a_magnet_that_turns_out_private_is_announced_to_trackers_only() {
    let (door, _guard) = door("127.0.0.1:0").await;
    let torrent = door.add(HASHES, None);
    let counters: Arc<dyn tracker::Counters> = Arc::new(tracker::Progress::default);
    door.announce(&torrent, Vec::new(), counters.clone()).await;
    assert_eq!(swarms(&door).await, (1, 1));
    door.learn_private(&torrent, true).await;
    assert_eq!(swarms(&door).await, (0, 0));
    door.announce(&torrent, Vec::new(), counters).await;
    assert_eq!(swarms(&door).await, (0, 0));
}

/// What is removed and added again at once leaves after it has come.
#[tokio::test]
async fn a_torrent_that_leaves_takes_nobody_else_with_it() {
    let (door, _guard) = door("127.0.0.1:0").await;
    let counters: Arc<dyn tracker::Counters> = Arc::new(tracker::Progress::default);
    let (first, second) = (door.add(HASHES, Some(false)), door.add(HASHES, Some(false)));
    for torrent in [&first, &second] {
        door.announce(torrent, Vec::new(), counters.clone()).await;
    }
    for (torrent, announced) in [(&first, (1, 1)), (&second, (0, 0))] {
        door.withdraw(torrent).await;
        assert_eq!(swarms(&door).await, announced);
        door.remove(torrent);
    }
}

/// BEP 5: a torrent may name nodes to begin with.
#[tokio::test]
async fn the_nodes_of_a_torrent_go_to_the_dht_unless_it_is_private() {
    let ((door, _guard), (other, _other)) = (door("127.0.0.1:0").await, door("127.0.0.1:0").await);
    let node = Node { host: "127.0.0.1".to_owned(), port: other.dht().unwrap().addresses()[0].port() };
    let nodes = || async { door.dht().unwrap().status().await.unwrap().nodes };
    let private = door.add(InfoHashes { v1: Some([8; 20]), v2: None }, Some(true));
    door.dht_nodes(&private, std::slice::from_ref(&node));
    assert_eq!(nodes().await, 0);
    let public = door.add(HASHES, Some(false));
    door.dht_nodes(&public, &[node]);
    let known = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while nodes().await == 0 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the node is known in time");
}

#[tokio::test]
async fn the_dht_takes_another_port_when_its_own_is_taken() {
    // At an address of its own: elsewhere another test may have the TCP port of this number.
    let taken = UdpSocket::bind("127.98.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (door, _guard) = door(&address.to_string()).await;
    assert_eq!(door.listening(), [address]);
    let dht = door.dht().expect("the DHT runs").addresses()[0];
    assert_ne!(dht.port(), address.port());
}

/// A peer that greets and then says nothing for ever.
async fn quiet_peer(number: u8) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_exact(&mut [0; HANDSHAKE_LENGTH]).await.unwrap();
        let swarm = HASHES.primary().unwrap();
        let peer_id = PeerId::new(*b"-XX0000-", [number; 12]);
        let answer = Handshake { reserved: Reserved::NONE.with_extended(), swarm, peer_id };
        socket.write_all(&answer.encode()).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    address
}

/// Peers that never say anything about the metadata must not keep us from the others.
#[tokio::test]
async fn quiet_peers_do_not_hold_up_the_search_for_metadata() {
    let (door, _guard) = door("127.0.0.1:0").await;
    let torrent = door.add(HASHES, None);
    door.seek(&torrent);
    let mut quiet = Vec::new();
    for number in 0..40 {
        quiet.push(quiet_peer(number).await);
    }
    door.introduce(&torrent, quiet).await;
    let last = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    door.introduce(&torrent, vec![last.local_addr().unwrap()]).await;
    tokio::time::timeout(PATIENCE, last.accept()).await.expect("it is dialled in time").unwrap();
}

/// The other side of a link is often started a moment later.
#[tokio::test]
async fn a_peer_of_the_link_that_comes_up_late_is_found_although_another_is_there() {
    let (door, _guard) = door("127.0.0.1:0").await;
    let torrent = door.add(HASHES, None);
    door.seek(&torrent);
    let late = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = late.local_addr().unwrap();
    drop(late);
    door.introduce(&torrent, vec![quiet_peer(1).await, address]).await;
    let late = async {
        // The first attempt is over when the quiet one is connected; others may not take the port meanwhile.
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            if let Ok(listener) = tokio::net::TcpListener::bind(address).await {
                return listener.accept().await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, late).await.expect("it is dialled again");
}
