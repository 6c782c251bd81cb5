//! Whole transfers between doors in one process, over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod node;

use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::metainfo::author::Format;
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::mse::Encryption;
use peerage_content::Place;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use node::{Node, PATIENCE, assert_same, download, finished, sample, torrent_of};

async fn folder_goes_over(format: Format, encryption: Encryption) {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, format, 64 << 10);
    let (seeder, leecher) = (Node::open(encryption).await, Node::open(encryption).await);
    seeder.seed(&metainfo, &source);
    let target = room.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let transfer = leecher.get(&metainfo, &target, vec![seeder.address()]).await;
    finished(&transfer).await;
    assert_same(&source, &target.join("source"));
}

#[tokio::test]
async fn a_v1_folder_goes_over() {
    folder_goes_over(Format::V1, Encryption::Allow).await;
}

#[tokio::test]
async fn a_v2_folder_goes_over() {
    folder_goes_over(Format::V2, Encryption::Allow).await;
}

#[tokio::test]
async fn a_hybrid_folder_goes_over() {
    folder_goes_over(Format::Hybrid, Encryption::Allow).await;
}

#[tokio::test]
async fn an_encrypted_folder_goes_over() {
    folder_goes_over(Format::Hybrid, Encryption::Require).await;
}

/// A magnet link: the metadata comes from the peer, and for v2 the piece layers too.
async fn magnet_goes_over(format: Format) {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, format, 64 << 10);
    let (seeder, leecher) = (Node::open(Encryption::Allow).await, Node::open(Encryption::Allow).await);
    seeder.seed(&metainfo, &source);
    let torrent = leecher.door.add(metainfo.info.hashes, None);
    leecher.door.seek(&torrent);
    leecher.door.introduce(&torrent, vec![seeder.address()]).await;
    let found = tokio::time::timeout(PATIENCE, torrent.metadata()).await.expect("in time").unwrap();
    assert_eq!(found, metainfo.info.raw);
    let found = Metainfo::from(Info::parse(found).unwrap());
    let target = room.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let transfer = leecher.start(&found, &torrent, download(&found, &target), false);
    finished(&transfer).await;
    assert_same(&source, &target.join("source"));
}

#[tokio::test]
async fn a_v1_magnet_goes_over() {
    magnet_goes_over(Format::V1).await;
}

#[tokio::test]
async fn a_v2_magnet_brings_its_piece_layers() {
    magnet_goes_over(Format::V2).await;
}

/// Peers agree on v1, in whose name nobody asks for hashes: the v1 hashes have to be enough.
#[tokio::test]
async fn a_hybrid_magnet_needs_no_piece_layers() {
    magnet_goes_over(Format::Hybrid).await;
}

/// Whoever has a link with the v2 hash alone does not know the name that a hybrid's dials begin with.
#[tokio::test]
async fn a_hybrid_reaches_a_peer_that_knows_only_its_v2_name() {
    for encryption in [Encryption::Allow, Encryption::Require] {
        let room = tempfile::tempdir().unwrap();
        let source = room.path().join("source");
        sample(&source);
        let metainfo = torrent_of(&source, Format::Hybrid, 64 << 10);
        let (seeder, leecher) = (Node::open(encryption).await, Node::open(encryption).await);
        let by_v2 = InfoHashes { v1: None, ..metainfo.info.hashes };
        let sought = leecher.door.add(by_v2, None);
        leecher.door.seek(&sought);
        let seeded = seeder.door.add(metainfo.info.hashes, Some(false));
        seeder.start(&metainfo, &seeded, Place::InPlace(source.clone()), true);
        seeder.door.introduce(&seeded, vec![leecher.address()]).await;
        let found = tokio::time::timeout(PATIENCE, sought.metadata()).await.expect("in time").unwrap();
        assert_eq!(found, metainfo.info.raw);
        let found = Metainfo::from(Info::parse(found).unwrap());
        let target = room.path().join("target");
        std::fs::create_dir(&target).unwrap();
        finished(&leecher.start(&found, &sought, download(&found, &target), false)).await;
        assert_same(&source, &target.join("source"));
    }
}

#[tokio::test]
async fn a_leecher_serves_what_it_has_verified() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("file");
    let mut bytes = vec![0; 8 << 20];
    StdRng::seed_from_u64(2).fill_bytes(&mut bytes);
    std::fs::write(&source, &bytes).unwrap();
    let metainfo = torrent_of(&source, Format::V1, 256 << 10);
    let seeder = Node::open(Encryption::Allow).await;
    seeder.seed(&metainfo, &source);
    let mut transfers = Vec::new();
    let mut nodes = Vec::<Node>::new();
    // Each is told of the one before it alone: the last gets its bytes through the others.
    for index in 0..3 {
        let folder = room.path().join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        let node = Node::open(Encryption::Allow).await;
        let before = nodes.last().map_or(seeder.address(), Node::address);
        transfers.push(node.get(&metainfo, &folder, vec![before]).await);
        nodes.push(node);
    }
    for transfer in &transfers {
        finished(transfer).await;
    }
    for index in 0..3 {
        assert!(std::fs::read(room.path().join(index.to_string()).join("file")).unwrap() == bytes);
    }
}
