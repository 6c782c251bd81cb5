//! Hash requests, metadata and extension messages with libtorrent, in both roles: a v2-only torrent of more pieces than fit one
//! hash request.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod session;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use peerage_bittorrent::bencode::{self, Keys};
use peerage_bittorrent::hash::{InfoHashes, SwarmHash};
use peerage_bittorrent::metadata::{Fetch, Received as Metadata, Serve};
use peerage_bittorrent::proof::{self, LayerFetch, PieceLayer, Question, Received, Tree};
use peerage_bittorrent::wire::extended::{
    ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds, MetadataMessage,
};
use peerage_bittorrent::wire::{
    HANDSHAKE_LENGTH, Handshake, Header, Limits, Message, PeerId, Reserved, peek_header,
};
use peerage_content::{BLOCK_LENGTH, Block, Hash32, merkle_root};
use peerage_swarm::core::PeerKey;
use sha2::{Digest, Sha256};

use session::Session;

/// How long libtorrent may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
const PIECE_LENGTH: u32 = 2 * BLOCK_LENGTH;
/// More than two spans of 512, with a last block that is not full: the tree is padded in many places.
const LENGTH: usize = 1100 * PIECE_LENGTH as usize - 20_000;
const PEER: PeerKey = PeerKey(1);

/// The shared file, and its tree computed here.
struct Sample {
    bytes: Vec<u8>,
    leaves: Vec<Hash32>,
    layer: Box<[Hash32]>,
    tree: Tree,
}

impl Sample {
    fn new() -> Self {
        let bytes: Vec<u8> = (0..LENGTH).map(|at| (at ^ (at >> 8) ^ (at >> 15)) as u8).collect();
        let leaves: Vec<Hash32> =
            bytes.chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect();
        let layer: Box<[Hash32]> = leaves.chunks(2).map(|pair| merkle_root(pair, 2, [0; 32])).collect();
        let root = merkle_root(&leaves, 0, [0; 32]);
        let tree = Tree::new(root, LENGTH as u64, PIECE_LENGTH).unwrap();
        Self { bytes, leaves, layer, tree }
    }
}

/// A libtorrent that listens.
struct Libtorrent {
    session: Session,
    port: u16,
    info: Vec<u8>,
    hash: [u8; 32],
    folder: tempfile::TempDir,
}

impl Libtorrent {
    fn start(role: &str, sample: &Sample) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("content")).unwrap();
        std::fs::write(folder.path().join("content/file"), &sample.bytes).unwrap();
        let mut session = Session::start("proof_libtorrent.py", folder.path(), role);
        let port = session.line().parse().expect("libtorrent did not start");
        let info = info_of(&folder.path().join("file.torrent"));
        let hash = Sha256::digest(&info).into();
        Self { session, port, info, hash, folder }
    }

    fn hashes(&self) -> InfoHashes {
        InfoHashes { v1: None, v2: Some(self.hash) }
    }
}

fn info_of(torrent: &Path) -> Vec<u8> {
    let bytes = std::fs::read(torrent).unwrap();
    let value = bencode::decode(&bytes, Keys::Sorted).unwrap();
    value.as_dict().unwrap().get("info").unwrap().raw().to_vec()
}

/// A blocking connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    out: Vec<u8>,
    limits: Limits,
    theirs: ExtensionIds,
}

impl Connection {
    /// Exchanges handshakes and extended handshakes.
    fn greet(stream: TcpStream, swarm: SwarmHash, metadata_size: Option<u32>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let limits = Limits { pieces: None };
        let mut connection =
            Self { stream, received: Vec::new(), out: Vec::new(), limits, theirs: ExtensionIds::default() };
        let reserved = Reserved::NONE.with_extended().with_fast().with_v2();
        let hello = Handshake { reserved, swarm, peer_id: PeerId::new(*b"-PX0001-", *b"a proof test") };
        connection.out.extend_from_slice(&hello.encode());
        let ours = ExtendedHandshake {
            ids: ExtensionIds::own(&Extension::ALL),
            metadata_size,
            client: Some("Peerage".into()),
            requests_max: Some(250),
            ..ExtendedHandshake::default()
        };
        ExtendedMessage::Handshake(ours).encode(&ExtensionIds::default(), &mut connection.out);
        connection.send();
        while Handshake::decode(&connection.received).unwrap().is_none() {
            connection.receive();
        }
        let theirs = Handshake::decode(&connection.received).unwrap().unwrap();
        assert_eq!(theirs.swarm, swarm);
        connection.received.drain(..HANDSHAKE_LENGTH);
        connection
    }

    fn receive(&mut self) {
        let mut buffer = [0; 65_536];
        let count = self.stream.read(&mut buffer).expect("libtorrent went silent");
        assert_ne!(count, 0, "libtorrent closed the connection");
        self.received.extend_from_slice(&buffer[..count]);
    }

    fn send(&mut self) {
        self.stream.write_all(&self.out).unwrap();
        self.out.clear();
    }

    fn say(&mut self, message: Message<'_>) {
        message.encode(&mut self.out);
        self.send();
    }

    /// The next whole frame.
    fn frame(&mut self) -> Vec<u8> {
        loop {
            let length = match peek_header(&self.received, &self.limits).unwrap() {
                Header::NeedMore(_) => usize::MAX,
                Header::Piece { block } => 13 + block.length as usize,
                Header::Control { total_len } => total_len,
            };
            if self.received.len() >= length {
                return self.received.drain(..length).collect();
            }
            self.receive();
        }
    }
}

#[test]
fn a_magnet_link_is_fetched_from_libtorrent() {
    let sample = Sample::new();
    let libtorrent = Libtorrent::start("seed", &sample);
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, libtorrent.port)).unwrap();
    let swarm = libtorrent.hashes().primary().unwrap();
    let mut connection = Connection::greet(stream, swarm, None);
    let mut metadata = Fetch::new(libtorrent.hashes());
    let mut layers = LayerFetch::new();
    let leaf_request = proof::leaf_request(&sample.tree, 1099).unwrap();
    let last_block = Block { piece: 1099, begin: 0, length: (LENGTH % PIECE_LENGTH as usize) as u32 };
    loop {
        let now = Instant::now();
        while let Some((_, piece)) = metadata.poll_request(now) {
            let request = ExtendedMessage::Metadata(MetadataMessage::Request { piece });
            assert!(request.encode(&connection.theirs, &mut connection.out));
        }
        while let Some(request) = layers.poll_request(now, PEER, |_, _| true) {
            Message::HashRequest(request).encode(&mut connection.out);
        }
        connection.send();
        let frame = connection.frame();
        match Message::decode(&frame, &connection.limits).unwrap() {
            Message::Extended { id, payload } => match ExtendedMessage::decode(id, payload).unwrap() {
                ExtendedMessage::Handshake(handshake) => {
                    assert_eq!(handshake.metadata_size, Some(libtorrent.info.len() as u32));
                    assert!(handshake.client.is_some_and(|client| client.starts_with("libtorrent")));
                    connection.theirs.merge(&handshake.ids);
                    metadata.joined(PEER, libtorrent.info.len() as u32);
                }
                ExtendedMessage::Metadata(MetadataMessage::Data { piece, total_size, data }) => {
                    let received = metadata.data(now, PEER, piece, total_size, data);
                    assert_eq!(received, Metadata::Complete(libtorrent.info.clone().into()));
                    connection.say(Message::HaveNone);
                    layers.want(0, sample.tree);
                }
                _ => {}
            },
            Message::Hashes { request, hashes } if request == leaf_request => {
                let leaves = proof::leaves(&sample.tree, 1099, &request, hashes).unwrap();
                assert_eq!(&leaves[..], &sample.leaves[2198..]);
                connection.say(Message::Interested);
            }
            Message::Unchoke => connection.say(Message::Request(last_block)),
            // Cut off at the end of the file, as BEP 52 has it; libtorrent itself asks for more (see below).
            Message::Piece { block, data } => {
                assert_eq!((block, data), (last_block, &sample.bytes[1099 * PIECE_LENGTH as usize..]));
                return;
            }
            Message::HashReject(request) => panic!("rejected: {request:?}"),
            Message::Hashes { request, hashes } => match layers.hashes(now, PEER, &request, hashes) {
                Received::Complete { entries, layer } => {
                    assert_eq!((entries, &layer), (vec![0], &sample.layer));
                    connection.say(Message::HashRequest(leaf_request));
                }
                received => assert_eq!(received, Received::Taken),
            },
            _ => {}
        }
    }
}

#[test]
fn libtorrent_fetches_a_magnet_link_from_us() {
    let sample = Sample::new();
    let mut libtorrent = Libtorrent::start("fetch", &sample);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    libtorrent.session.dial(port);
    let (stream, _) = listener.accept().unwrap();
    let swarm = libtorrent.hashes().primary().unwrap();
    let info = libtorrent.info.clone();
    let expected = sample.bytes.clone();
    let seeder = std::thread::spawn(move || seed(stream, swarm, &info, &sample));
    assert_eq!(libtorrent.session.line(), "complete");
    let fetched = std::fs::read(libtorrent.folder.path().join("fetched/file")).unwrap();
    assert!(fetched == expected);
    drop(libtorrent);
    let answered = seeder.join().unwrap();
    assert_eq!(answered, 3, "spans of 1100 piece hashes");
}

/// Serves until libtorrent goes away; says how many hash requests were answered.
fn seed(stream: TcpStream, swarm: SwarmHash, info: &[u8], sample: &Sample) -> usize {
    let mut connection = Connection::greet(stream, swarm, Some(info.len() as u32));
    let layer = PieceLayer::new(sample.tree, sample.layer.clone()).unwrap();
    let mut serve = Serve::new(Instant::now());
    let mut answered = 0;
    connection.say(Message::HaveAll);
    connection.say(Message::Unchoke);
    loop {
        if connection.received.is_empty() {
            let mut buffer = [0; 65_536];
            match connection.stream.read(&mut buffer) {
                Ok(count) if count > 0 => connection.received.extend_from_slice(&buffer[..count]),
                _ => return answered,
            }
        }
        let frame = connection.frame();
        match Message::decode(&frame, &connection.limits).unwrap() {
            Message::Extended { id, payload } => match ExtendedMessage::decode(id, payload).unwrap() {
                ExtendedMessage::Handshake(handshake) => connection.theirs.merge(&handshake.ids),
                ExtendedMessage::Metadata(MetadataMessage::Request { piece }) => {
                    let answer = serve.answer(Instant::now(), info, piece);
                    assert!(
                        ExtendedMessage::Metadata(answer).encode(&connection.theirs, &mut connection.out)
                    );
                }
                _ => {}
            },
            Message::HashRequest(request) => {
                let question = Question::new(&sample.tree, &request).unwrap();
                assert_eq!(question.needs_leaves(), None);
                let hashes = question.answer(Some(&layer), &[]).unwrap();
                Message::Hashes { request, hashes: &hashes }.encode(&mut connection.out);
                answered += 1;
            }
            Message::Request(block) => {
                // In v2-only torrents libtorrent (since 2.0.8) lets every file end with zeros up to the end of its last piece, and
                // asks for whole blocks there.
                let begin = block.piece as usize * PIECE_LENGTH as usize + block.begin as usize;
                let end = (begin + block.length as usize).min(LENGTH);
                let mut data = sample.bytes[begin..end].to_vec();
                data.resize(block.length as usize, 0);
                Message::Piece { block, data: &data }.encode(&mut connection.out);
            }
            _ => {}
        }
        connection.send();
    }
}
