//! A peer that sends a bad block: found by the hashes of the piece's blocks where somebody says them, else by fetching the piece anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod node;
mod raw;
mod session;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::metainfo::author::Format;
use peerage_bittorrent::mse::Encryption;
use peerage_bittorrent::wire::{HashRequest, Message, Reserved};
use peerage_content::{BLOCK_LENGTH, Block, Hash32};
use peerage_swarm::core::{Found, Stats};
use peerage_swarm::driver::Transfer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use node::{Node, finished, torrent_of};
use raw::RawPeer;
use session::Session;

const BLOCK: u64 = BLOCK_LENGTH as u64;
const PIECE: u32 = 8 * BLOCK_LENGTH;
const PIECES: u32 = 4;

// Bans are of hosts.
const LIAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A file, its torrent, and one that fetches it.
struct Scene {
    room: tempfile::TempDir,
    source: PathBuf,
    bytes: Arc<[u8]>,
    metainfo: Metainfo,
    leecher: Node,
    transfer: Transfer,
}

/// What a peer does that is asked for the hashes of blocks.
#[derive(Clone, Copy)]
enum Hashes {
    Say,
    Invent,
    Refuse,
}

/// What a peer was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    blocks: u64,
    questions: u64,
}

impl Scene {
    async fn new(format: Format) -> Self {
        let room = tempfile::tempdir().unwrap();
        let source = room.path().join("file");
        let mut bytes = vec![0; (PIECES * PIECE) as usize];
        StdRng::seed_from_u64(3).fill_bytes(&mut bytes);
        std::fs::write(&source, &bytes).unwrap();
        let metainfo = torrent_of(&source, format, PIECE);
        Self::of(room, source, metainfo).await
    }

    /// Of the file at `source`.
    async fn of(room: tempfile::TempDir, source: PathBuf, metainfo: Metainfo) -> Self {
        let bytes = std::fs::read(&source).unwrap().into();
        let target = room.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let leecher = Node::open(Encryption::Allow).await;
        let transfer = leecher.get(&metainfo, &target, Vec::new()).await;
        Self { room, source, bytes, metainfo, leecher, transfer }
    }

    fn v1(&self) -> SwarmHash {
        self.metainfo.info.hashes.primary().unwrap()
    }

    fn v2(&self) -> SwarmHash {
        self.metainfo.info.hashes.swarm_v2().unwrap()
    }

    /// A peer that has everything.
    async fn join(&self, from: Ipv4Addr, swarm: SwarmHash) -> RawPeer {
        let reserved = Reserved::NONE.with_extended().with_fast();
        let mut peer = RawPeer::greet_from(from, self.leecher.address(), swarm, reserved).await;
        peer.send(&[Message::HaveAll, Message::Unchoke]).await;
        peer
    }

    /// A peer that sends three blocks, the second of them a bad one.
    async fn liar(&self, swarm: SwarmHash) -> JoinHandle<()> {
        self.sender(swarm, &[false, true, false]).await
    }

    /// A peer that sends some blocks, some of them bad ones, and then no more, nor answers questions. It is done when it is sent away.
    async fn sender(&self, swarm: SwarmHash, blocks: &[bool]) -> JoinHandle<()> {
        let mut liar = self.join(LIAR, swarm).await;
        let piece_length = self.metainfo.info.layout.piece_length();
        for is_bad in blocks {
            let block = liar.until(requested).await;
            let mut data = data(&self.bytes, piece_length, block).to_vec();
            data[5] ^= u8::from(*is_bad);
            liar.send(&[Message::Piece { block, data: &data }]).await;
        }
        liar.send(&[Message::Choke]).await;
        tokio::spawn(async move {
            while let Some(message) = liar.next_if_any().await {
                if let Some(block) = requested(&message) {
                    liar.send_if_heard(&Message::Reject(block)).await;
                }
            }
        })
    }

    /// A peer whose blocks are true.
    async fn server(&self, swarm: SwarmHash, hashes: Hashes) -> JoinHandle<Served> {
        let mut server = self.join(OTHER, swarm).await;
        let bytes = self.bytes.clone();
        tokio::spawn(async move {
            let mut served = Served::default();
            while let Some(message) = server.next_if_any().await {
                match message {
                    Message::Request(block) => {
                        served.blocks += 1;
                        let data = data(&bytes, PIECE, block);
                        server.send_if_heard(&Message::Piece { block, data }).await;
                    }
                    Message::HashRequest(request) => {
                        served.questions += 1;
                        let mut said = leaves(&bytes, &request);
                        match hashes {
                            Hashes::Say => {}
                            Hashes::Invent => said[3] = [9; 32],
                            Hashes::Refuse => said.clear(),
                        }
                        let answer = match said.is_empty() {
                            true => Message::HashReject(request),
                            false => Message::Hashes { request, hashes: &said },
                        };
                        server.send_if_heard(&answer).await;
                    }
                    _ => {}
                }
            }
            served
        })
    }

    /// A door that has everything.
    async fn seeder(&self) -> (Node, Transfer) {
        let seeder = Node::open(Encryption::Allow).await;
        let transfer = seeder.seed(&self.metainfo, &self.source);
        self.transfer.known(vec![seeder.address()], Found::GIVEN).await;
        (seeder, transfer)
    }

    /// Waits for the end of the transfer, and returns its numbers.
    async fn finish(self) -> Stats {
        finished(&self.transfer).await;
        let fetched = std::fs::read(self.room.path().join("target/file")).unwrap();
        assert!(fetched == *self.bytes);
        self.transfer.progress().borrow().stats.clone()
    }
}

fn requested(message: &Message<'_>) -> Option<Block> {
    match message {
        Message::Request(block) => Some(*block),
        _ => None,
    }
}

fn data(bytes: &[u8], piece_length: u32, block: Block) -> &[u8] {
    let start = (block.piece * piece_length + block.begin) as usize;
    &bytes[start..][..block.length as usize]
}

fn leaves(bytes: &[u8], request: &HashRequest) -> Vec<Hash32> {
    assert_eq!((request.base, request.count), (0, PIECE / BLOCK_LENGTH));
    let blocks = bytes.chunks(BLOCK_LENGTH as usize).skip(request.index as usize);
    blocks.take(request.count as usize).map(|block| Sha256::digest(block).into()).collect()
}

/// The liar's good blocks stay, and the bad one alone comes twice.
#[tokio::test]
async fn hashes_of_blocks_name_the_liar_at_once() {
    for format in [Format::V2, Format::Hybrid] {
        let scene = Scene::new(format).await;
        let liar = scene.liar(scene.v2()).await;
        let server = scene.server(scene.v2(), Hashes::Say).await;
        liar.await.unwrap();
        let stats = scene.finish().await;
        assert_eq!((stats.hosts_banned, stats.wasted), (1, BLOCK));
        let all = u64::from(PIECES * PIECE) / BLOCK;
        assert_eq!(server.await.unwrap(), Served { blocks: all - 2, questions: 1 });
    }
}

#[tokio::test]
async fn our_own_door_says_the_hashes() {
    let scene = Scene::new(Format::V2).await;
    let liar = scene.liar(scene.v2()).await;
    let (_seeder, _seeding) = scene.seeder().await;
    liar.await.unwrap();
    let stats = scene.finish().await;
    assert_eq!((stats.hosts_banned, stats.wasted), (1, BLOCK));
}

#[tokio::test]
async fn libtorrent_says_the_hashes() {
    let room = tempfile::tempdir().unwrap();
    let content = room.path().join("content");
    std::fs::create_dir(&content).unwrap();
    let source = content.join("file");
    let mut bytes = vec![0; 2 << 20];
    StdRng::seed_from_u64(4).fill_bytes(&mut bytes);
    std::fs::write(&source, &bytes).unwrap();
    let mut libtorrent = Session::start("proof_libtorrent.py", room.path(), "seed");
    let port: u16 = libtorrent.line().parse().expect("libtorrent did not start");
    let metainfo = Metainfo::parse(&std::fs::read(room.path().join("file.torrent")).unwrap()).unwrap();
    let scene = Scene::of(room, source, metainfo).await;
    // Its pieces are two blocks long: the other comes from libtorrent.
    let liar = scene.sender(scene.v2(), &[true]).await;
    scene.transfer.known(vec![(Ipv4Addr::LOCALHOST, port).into()], Found::GIVEN).await;
    liar.await.unwrap();
    let stats = scene.finish().await;
    assert_eq!((stats.hosts_banned, stats.wasted), (1, BLOCK));
}

/// Two of us meet in v1's name, in which others hang up on hash requests. Ours says that it answers them.
#[tokio::test]
async fn a_hybrid_in_v1s_name_is_proved_by_our_own_kind() {
    let scene = Scene::new(Format::Hybrid).await;
    let liar = scene.liar(scene.v1()).await;
    let (_seeder, _seeding) = scene.seeder().await;
    liar.await.unwrap();
    let stats = scene.finish().await;
    assert_eq!((stats.hosts_banned, stats.wasted), (1, BLOCK));
}

/// Nobody says which block was bad: the piece is fetched anew, from one peer, and whoever sent blocks of it is suspected.
#[tokio::test]
async fn without_hashes_the_piece_is_fetched_anew() {
    // A hybrid's peers in v1's name are not asked unless they say that they answer.
    for (format, questions) in [(Format::V1, 0), (Format::Hybrid, 0), (Format::V2, 1)] {
        let scene = Scene::new(format).await;
        let _liar = scene.liar(scene.v1()).await;
        let server = scene.server(scene.v1(), Hashes::Refuse).await;
        let stats = scene.finish().await;
        assert_eq!((stats.hosts_banned, stats.wasted), (0, u64::from(PIECE)));
        let all = u64::from(PIECES * PIECE) / BLOCK;
        assert_eq!(server.await.unwrap(), Served { blocks: all + 5, questions });
    }
}

/// Whoever invents hashes is sent away, and the next one is asked; who then keeps silent, as the liar does, is not waited for long.
#[tokio::test]
async fn invented_hashes_convict_nobody_but_their_inventor() {
    let scene = Scene::new(Format::V2).await;
    let liar = scene.liar(scene.v2()).await;
    let inventor = scene.server(scene.v2(), Hashes::Invent).await;
    assert_eq!(inventor.await.unwrap().questions, 1);
    assert_eq!(scene.transfer.progress().borrow().stats.hosts_banned, 0);
    let (_seeder, _seeding) = scene.seeder().await;
    liar.await.unwrap();
    let stats = scene.finish().await;
    assert_eq!((stats.hosts_banned, stats.wasted), (1, BLOCK));
}
