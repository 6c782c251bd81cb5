//! How the door talks to a peer, message by message.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod node;
mod raw;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::metainfo::author::{Format, Options};
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::mse::Encryption;
use peerage_bittorrent::torrent::Torrent;
use peerage_bittorrent::wire::extended::{
    ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds, MetadataMessage,
};
use peerage_bittorrent::wire::{HashRequest, Message, Reserved};
use peerage_content::{BLOCK_LENGTH, Block, Place};
use peerage_swarm::driver::{Direction, Transfer};

use node::{Node, PATIENCE, authored, download, finished, sample, torrent_of};
use raw::RawPeer;

/// libtorrent greets for v1 and says that it speaks v2; once upgraded it may stop a hybrid for good.
#[tokio::test]
async fn a_hybrid_answers_in_the_name_it_was_greeted_with_and_never_upgrades() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, Format::Hybrid, 64 << 10);
    let node = Node::open(Encryption::Allow).await;
    node.seed(&metainfo, &source);
    let reserved = Reserved::NONE.with_extended().with_fast().with_v2();
    for (swarm, v2) in metainfo.info.hashes.swarms().zip([false, true]) {
        let answer = RawPeer::greet(node.address(), swarm, reserved).await.answer;
        assert_eq!((answer.swarm, answer.reserved.v2()), (swarm, v2));
    }
}

/// Blocks and their bytes of a folder of files that are a block each.
fn small_files(source: &std::path::Path) -> Vec<Vec<u8>> {
    std::fs::create_dir(source).unwrap();
    let files: Vec<Vec<u8>> = (1..6).map(|number| vec![number; 100]).collect();
    for (name, bytes) in ["a", "b", "c", "d", "e"].iter().zip(&files) {
        std::fs::write(source.join(name), bytes).unwrap();
    }
    files
}

/// A peer that says that it understands all extensions.
async fn join(node: &Node, metainfo: &Metainfo) -> RawPeer {
    let swarm = metainfo.info.hashes.primary().unwrap();
    RawPeer::join(node.address(), swarm, ExtendedHandshake::default()).await
}

/// A peer that was told that everything is there.
async fn join_seed(node: &Node, metainfo: &Metainfo) -> RawPeer {
    let mut peer = join(node, metainfo).await;
    peer.until(|message| matches!(message, Message::HaveAll).then_some(())).await;
    peer
}

/// A room, and in it [`small_files`] at a path and their torrent.
fn small_torrent() -> (tempfile::TempDir, PathBuf, Metainfo) {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    small_files(&source);
    let metainfo = torrent_of(&source, Format::V1, BLOCK_LENGTH);
    (room, source, metainfo)
}

/// A download of [`small_files`] by a node with so many buffers, and a peer that has all of them and was asked for them.
struct Asked {
    _room: tempfile::TempDir,
    _node: Node,
    transfer: Transfer,
    peer: RawPeer,
    requests: Vec<Block>,
    files: Vec<Vec<u8>>,
}

impl Asked {
    async fn of_node_with(buffers: usize) -> Self {
        let room = tempfile::tempdir().unwrap();
        let source = room.path().join("source");
        let files = small_files(&source);
        let metainfo = torrent_of(&source, Format::V2, BLOCK_LENGTH);
        let node = Node::with_buffers(Encryption::Allow, buffers).await;
        let target = room.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let transfer = node.get(&metainfo, &target, Vec::new()).await;

        let mut peer = join(&node, &metainfo).await;
        peer.send(&[Message::HaveAll, Message::Unchoke]).await;
        let request =
            |message: &Message<'_>| if let Message::Request(block) = message { Some(*block) } else { None };
        let mut requests = Vec::new();
        while requests.len() < files.len() {
            requests.push(peer.until(request).await);
        }
        Self { _room: room, _node: node, transfer, peer, requests, files }
    }

    /// Sends everything that was asked for at once, behind a keep-alive.
    async fn answer(&mut self) {
        let data = |block: &Block| &*self.files[block.piece as usize];
        let pieces = self.requests.iter().map(|block| Message::Piece { block: *block, data: data(block) });
        let all: Vec<_> = std::iter::once(Message::KeepAlive).chain(pieces).collect();
        self.peer.send(&all).await;
    }
}

/// What is here in full and waits for a buffer must not wait for the socket, too.
#[tokio::test]
async fn blocks_that_came_together_are_taken_one_by_one_when_buffers_are_scarce() {
    let mut asked = Asked::of_node_with(1).await;
    asked.answer().await;
    finished(&asked.transfer).await;
}

/// The last words of a peer are heard: nobody else has what it sent.
#[tokio::test]
async fn blocks_count_though_the_peer_leaves_at_once() {
    let mut asked = Asked::of_node_with(256).await;
    asked.answer().await;
    asked.peer.leave().await;
    finished(&asked.transfer).await;
}

/// A peer that does not read, and a download limit that is used up: there is nothing to do, and nothing must be done.
#[tokio::test]
async fn a_connection_that_can_neither_read_nor_write_costs_nothing() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    std::fs::write(&source, vec![7; 16 << 20]).unwrap();
    let metainfo = torrent_of(&source, Format::V1, 256 << 10);
    let node = Node::open(Encryption::Allow).await;
    node.seed(&metainfo, &source);
    let mut peer = join(&node, &metainfo).await;
    peer.send(&[Message::Interested]).await;
    peer.until(|message| matches!(message, Message::Unchoke).then_some(())).await;
    let blocks = (0..64).flat_map(|piece| (0..16).map(move |index| (piece, index * BLOCK_LENGTH)));
    let requests: Vec<_> =
        blocks.map(|(piece, begin)| Message::Request(Block { piece, begin, length: BLOCK_LENGTH })).collect();
    peer.send(&requests).await;
    peer.until(|message| matches!(message, Message::Piece { .. }).then_some(())).await;
    node.resources.throttle.set(Direction::Down, Some(1), Instant::now());
    // Far more than the limit allows for minutes to come.
    peer.send(&[Message::Extended { id: 99, payload: &[0; 4_000] }]).await;

    // A torrent without a transfer has no limit: questions about it go round while the other connection comes to rest, and after.
    let hashes = InfoHashes { v1: Some([7; 20]), v2: None };
    node.door.add(hashes, None);
    let swarm = hashes.primary().unwrap();
    let mut other = RawPeer::join(node.address(), swarm, ExtendedHandshake::default()).await;
    go_round(&mut other, 64).await;
    let before = rests();
    go_round(&mut other, 64).await;
    // Each question was waited for at least once by a runtime that had nothing else to do.
    assert!(rests() - before >= 64, "{} rests in 64 rounds", rests() - before);
}

/// Asks for metadata that is not there, and waits for the answer, so many times.
async fn go_round(peer: &mut RawPeer, times: usize) {
    for _ in 0..times {
        peer.extended(&ExtendedMessage::Metadata(MetadataMessage::Request { piece: 0 })).await;
        peer.until_extended(|message| matches!(message, ExtendedMessage::Metadata(_)).then_some(())).await;
    }
}

/// How often the runtime of this test, in which everything runs on one thread, had nothing to do.
fn rests() -> u64 {
    tokio::runtime::Handle::current().metrics().worker_park_count(0)
}

/// A magnet link does not tell that its torrent is private: what was offered before must be taken back.
#[tokio::test]
async fn exchange_is_withdrawn_when_the_metadata_says_private() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    small_files(&source);
    let options = Options { private: true, format: Format::V1, ..Options::default() };
    let metainfo = authored(&source, BLOCK_LENGTH, &options);
    let node = Node::open(Encryption::Allow).await;
    let torrent = node.door.add(metainfo.info.hashes, None);
    node.door.seek(&torrent);

    let info = &metainfo.info.raw;
    let size = u32::try_from(info.len()).unwrap();
    let swarm = metainfo.info.hashes.primary().unwrap();
    let more = ExtendedHandshake { metadata_size: Some(size), ..ExtendedHandshake::default() };
    let mut peer = RawPeer::join(node.address(), swarm, more).await;
    let handshake = |message: ExtendedMessage<'_>| match message {
        ExtendedMessage::Handshake(handshake) => Some(handshake.ids),
        _ => None,
    };
    assert_eq!(peer.until_extended(handshake).await, ExtensionIds::own(&Extension::ALL));
    let piece = peer
        .until_extended(|message| match message {
            ExtendedMessage::Metadata(MetadataMessage::Request { piece }) => Some(piece),
            _ => None,
        })
        .await;
    let data = MetadataMessage::Data { piece, total_size: size, data: info };
    peer.extended(&ExtendedMessage::Metadata(data)).await;
    let found = tokio::time::timeout(PATIENCE, torrent.metadata()).await.expect("in time").unwrap();
    let found = Metainfo::from(Info::parse(found).unwrap());
    node.start(&found, &torrent, download(&found, room.path()), false);

    let mut without = ExtensionIds::own(&Extension::ALL);
    without.set(Extension::Pex, 0);
    assert_eq!(peer.until_extended(handshake).await, without);
}

/// Whoever heard that we download nothing would not serve us what damage made missing.
#[tokio::test]
async fn upload_only_is_taken_back_when_something_is_wanted_again() {
    let (room, source, metainfo) = small_torrent();
    let (seeder, node) = (Node::open(Encryption::Allow).await, Node::open(Encryption::Allow).await);
    seeder.seed(&metainfo, &source);
    let target = room.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let transfer = node.get(&metainfo, &target, vec![seeder.address()]).await;
    finished(&transfer).await;
    let mut peer = join(&node, &metainfo).await;
    let told = |message: ExtendedMessage<'_>| match message {
        ExtendedMessage::Handshake(handshake) => handshake.upload_only,
        ExtendedMessage::UploadOnly(upload_only) => Some(upload_only),
        _ => None,
    };
    assert!(peer.until_extended(told).await);
    // Whoever answers has read how the peer wants to be told.
    peer.extended(&ExtendedMessage::Metadata(MetadataMessage::Request { piece: 0 })).await;
    peer.until_extended(|message| matches!(message, ExtendedMessage::Metadata(_)).then_some(())).await;
    std::fs::write(target.join("source/c"), [0; 100]).unwrap();
    transfer.verify().await;
    assert!(!peer.until_extended(told).await);
}

/// Two transfers may come to the same name, as when a magnet link turns out to be half of a hybrid that is there, or when one that
/// is removed comes again before it has left.
#[tokio::test]
async fn a_torrent_keeps_its_name_until_it_is_removed_and_then_it_is_the_next_ones() {
    let (_room, source, metainfo) = small_torrent();
    let node = Node::open(Encryption::Allow).await;
    let first = node.door.add(metainfo.info.hashes, None);
    node.start(&metainfo, &first, Place::InPlace(source.clone()), true);
    let gone = node.door.add(metainfo.info.hashes, None);
    assert!(!node.door.name(&gone, metainfo.info.hashes));
    node.door.remove(&gone);
    join_seed(&node, &metainfo).await;
    node.seed(&metainfo, &source);
    node.door.remove(&first);
    join_seed(&node, &metainfo).await;
}

/// A link can claim a hash of a kind that its metadata turns out not to have.
#[tokio::test]
async fn a_name_that_only_the_link_had_is_given_up_too() {
    let (_room, source, metainfo) = small_torrent();
    let node = Node::open(Encryption::Allow).await;
    let claimed = InfoHashes { v2: Some([9; 32]), ..metainfo.info.hashes };
    let torrent = node.door.add(claimed, None);
    node.start(&metainfo, &torrent, Place::InPlace(source), true);
    node.door.remove(&torrent);
    let next = node.door.add(claimed, None);
    assert!(node.door.name(&next, claimed));
}

/// Seeds with nothing to do must not keep others from connecting.
#[tokio::test]
async fn an_idle_connection_makes_room_for_another() {
    let (_room, source, metainfo) = small_torrent();
    let node = Node::with_connections(Encryption::Allow, 3).await;
    node.seed(&metainfo, &source);
    let mut peers = Vec::new();
    for _ in 0..6 {
        peers.push(join_seed(&node, &metainfo).await);
    }
}

/// libtorrent takes piece layers that come between blocks for a contradiction, and stops its torrent for good.
#[tokio::test]
async fn blocks_of_a_hybrid_wait_while_the_peer_asks_for_hashes() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    std::fs::write(&source, vec![7; 128 << 10]).unwrap();
    let metainfo = torrent_of(&source, Format::Hybrid, 64 << 10);
    let node = Node::open(Encryption::Allow).await;
    node.seed(&metainfo, &source);
    let by_v2 = metainfo.info.hashes.swarm_v2().unwrap();
    let mut peer = RawPeer::join(node.address(), by_v2, ExtendedHandshake::default()).await;
    peer.send(&[Message::Interested]).await;
    peer.until(|message| matches!(message, Message::Unchoke).then_some(())).await;
    peer.send(&[Message::Request(Block { piece: 0, begin: 0, length: BLOCK_LENGTH })]).await;
    // When this has gone round, the block could have gone out.
    peer.extended(&ExtendedMessage::Metadata(MetadataMessage::Request { piece: 0 })).await;
    let answered = |message: &Message<'_>| match message {
        Message::Extended { id, payload } => {
            let answer = ExtendedMessage::decode(*id, payload).unwrap();
            matches!(answer, ExtendedMessage::Metadata(_)).then_some("answer")
        }
        Message::Piece { .. } => Some("block"),
        _ => None,
    };
    assert_eq!(peer.until(answered).await, "answer");
    let root = metainfo.truth().unwrap().v2_root(0).unwrap();
    peer.send(&[Message::HashRequest(HashRequest { root, base: 2, index: 0, count: 2, proofs: 0 })]).await;
    let first = |message: &Message<'_>| match message {
        Message::Hashes { .. } => Some("hashes"),
        Message::Piece { .. } => Some("block"),
        _ => None,
    };
    assert_eq!(peer.until(first).await, "hashes");
    assert_eq!(peer.until(first).await, "block");
}

/// Whoever is refused asks elsewhere, and here not again for long.
#[tokio::test]
async fn blocks_of_a_file_that_was_touched_wait_until_it_is_hashed() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    std::fs::write(&source, vec![7; 128 << 10]).unwrap();
    let metainfo = torrent_of(&source, Format::V1, 64 << 10);
    let node = Node::open(Encryption::Allow).await;
    let transfer = node.seed(&metainfo, &source);
    let stamps = transfer.store().stamps();
    let mut peer = join_seed(&node, &metainfo).await;
    peer.send(&[Message::Interested]).await;
    peer.until(|message| matches!(message, Message::Unchoke).then_some(())).await;
    let mut mode = 0o600;
    // Until the clock of the file system has gone on.
    while transfer.store().check_stamps().is_empty() {
        std::fs::set_permissions(&source, PermissionsExt::from_mode(mode)).unwrap();
        mode ^= 0o044;
    }
    let block = |piece| Block { piece, begin: 0, length: BLOCK_LENGTH };
    peer.send(&[Message::Request(block(0)), Message::Request(block(1))]).await;
    let answer = |message: &Message<'_>| match message {
        Message::Piece { block, .. } => Some(Ok(*block)),
        Message::Reject(block) => Some(Err(*block)),
        _ => None,
    };
    // Nothing but a look at the files has it hashed, or a reader.
    let reader = transfer.reader();
    transfer.wait_for(reader, 0, Instant::now()).await.unwrap();
    assert_eq!(peer.until(answer).await, Ok(block(0)));
    assert_eq!(peer.until(answer).await, Ok(block(1)));
    assert_ne!(transfer.store().stamps(), stamps);
}

/// What proved itself counts, however soon after it the peer leaves: nobody is asked for it again.
#[tokio::test]
async fn hashes_count_though_the_peer_leaves_at_once() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    std::fs::write(&source, vec![7; 40_000]).unwrap();
    let metainfo = torrent_of(&source, Format::V2, BLOCK_LENGTH);
    let mut hashes = metainfo.truth().unwrap().v2_file(0).unwrap().layer.unwrap().to_vec();
    hashes.push([0; 32]);
    let (seeder, node) = (Node::open(Encryption::Allow).await, Node::open(Encryption::Allow).await);
    seeder.seed(&metainfo, &source);
    let target = room.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let torrent = node.door.add(metainfo.info.hashes, Some(false));
    let without_layers = Metainfo::from(Info::parse(metainfo.info.raw.clone()).unwrap());
    let transfer = node.start(&without_layers, &torrent, download(&without_layers, &target), false);

    let mut peer = join(&node, &metainfo).await;
    peer.send(&[Message::HaveAll]).await;
    let asked = |message: &Message<'_>| {
        if let Message::HashRequest(request) = message { Some(*request) } else { None }
    };
    let request = peer.until(asked).await;
    peer.send(&[Message::Hashes { request, hashes: &hashes }]).await;
    peer.leave().await;
    node.door.introduce(&torrent, vec![seeder.address()]).await;
    finished(&transfer).await;
}

/// A hybrid whose metadata came without piece layers, as from peers that agree on v1, and which is here in full.
struct Unlayered {
    _room: tempfile::TempDir,
    node: Node,
    /// With the layers, as it was made.
    metainfo: Metainfo,
    torrent: Arc<Torrent>,
    transfer: Transfer,
}

impl Unlayered {
    /// `alter` changes the info dictionary.
    async fn seeded(alter: impl Fn(&Metainfo) -> Vec<u8>) -> Self {
        let room = tempfile::tempdir().unwrap();
        let source = room.path().join("source");
        sample(&source);
        let metainfo = torrent_of(&source, Format::Hybrid, 64 << 10);
        let bare = Metainfo::from(Info::parse(alter(&metainfo).into()).unwrap());
        let node = Node::open(Encryption::Allow).await;
        let torrent = node.door.add(bare.info.hashes, Some(false));
        let transfer = node.start(&bare, &torrent, Place::InPlace(source), true);
        Self { _room: room, node, metainfo, torrent, transfer }
    }

    /// The torrent with what the transfer knows of its layers.
    fn learnt(&self) -> Metainfo {
        let mut learnt = Metainfo::from(self.metainfo.info.clone());
        learnt.take_layers(self.transfer.truth());
        learnt
    }
}

/// Otherwise nobody could be told, and the torrent could not be saved whole.
#[tokio::test]
async fn layers_that_no_peer_told_are_computed() {
    let unlayered = Unlayered::seeded(|metainfo| metainfo.info.raw.to_vec()).await;
    assert!(unlayered.learnt().piece_layers.is_empty());
    unlayered.torrent.compute_layers().await;
    assert_eq!(unlayered.learnt().piece_layers, unlayered.metainfo.piece_layers);

    let (root, layer) = unlayered.metainfo.piece_layers.iter().next().unwrap();
    let count = u32::try_from(layer.len().next_power_of_two()).unwrap();
    let by_v2 = unlayered.metainfo.info.hashes.swarm_v2().unwrap();
    let mut peer = RawPeer::join(unlayered.node.address(), by_v2, ExtendedHandshake::default()).await;
    peer.send(&[Message::HashRequest(HashRequest { root: *root, base: 2, index: 0, count, proofs: 0 })])
        .await;
    let told = peer
        .until(|message| match message {
            Message::Hashes { hashes, .. } => Some(hashes.to_vec()),
            _ => None,
        })
        .await;
    assert_eq!(told[..layer.len()], **layer);
}

/// Whoever made the torrent can lie in either half of it; v1 alone was checked.
#[tokio::test]
async fn computed_layers_that_do_not_lead_to_their_root_are_not_told() {
    let unlayered = Unlayered::seeded(|metainfo| {
        let (raw, root) = (metainfo.info.raw.to_vec(), metainfo.piece_layers.keys().next().unwrap());
        let at = raw.windows(32).position(|window| window == root).unwrap();
        [&raw[..at], &[7; 32], &raw[at + 32..]].concat()
    })
    .await;
    let files = unlayered.transfer.truth().missing_layers().len();
    unlayered.torrent.compute_layers().await;
    assert_eq!(unlayered.transfer.truth().missing_layers().len(), 1, "of {files}");
}
