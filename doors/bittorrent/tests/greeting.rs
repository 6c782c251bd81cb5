//! How the door answers peers that greet it, byte by byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod node;

use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::metainfo::author::Format;
use peerage_bittorrent::mse::Encryption;
use peerage_bittorrent::wire::{HANDSHAKE_LENGTH, Handshake, PeerId, Reserved};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use node::{Node, sample, torrent_of};

/// Greets as a peer that speaks v2 does, and returns the answer.
async fn greet(node: &Node, swarm: SwarmHash) -> Handshake {
    let mut socket = TcpStream::connect(node.address()).await.unwrap();
    let reserved = Reserved::NONE.with_extended().with_fast().with_v2();
    let ours = Handshake { reserved, swarm, peer_id: PeerId([7; 20]) };
    socket.write_all(&ours.encode()).await.unwrap();
    let mut answer = [0; HANDSHAKE_LENGTH];
    socket.read_exact(&mut answer).await.unwrap();
    Handshake::decode(&answer).unwrap().unwrap()
}

/// libtorrent greets for v1 and says that it speaks v2; once upgraded it may stop a hybrid for good.
#[tokio::test]
async fn a_hybrid_answers_in_the_name_it_was_greeted_with_and_never_upgrades() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, Format::Hybrid, 64 << 10);
    let node = Node::open(Encryption::Allow).await;
    node.seed(&metainfo, &source);
    let swarms: Vec<_> = metainfo.info.hashes.swarms().collect();
    let answers = [greet(&node, swarms[0]).await, greet(&node, swarms[1]).await];
    assert_eq!(answers.map(|answer| answer.swarm), swarms[..]);
    assert_eq!(answers.map(|answer| answer.reserved.v2()), [false, true]);
}
