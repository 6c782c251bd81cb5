//! Peers that do not keep to the rules: the node survives them, in bounded memory, and honest peers notice nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use peerage_e2e::faults::bencode::{bytes, dict, int, text};
use peerage_e2e::faults::wire::{RawPeer, extended_greeting, greeting, hash_bytes, id, message, request};
use peerage_e2e::faults::{ALONE, MemoryPeak, descriptors, words};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, alone, until};

const MEBIBYTE: usize = 1 << 20;
const ADA: &str = "127.0.0.1:7001";
/// What a node may hold for peers like these.
const MEMORY_MAX: u64 = 48 * MEBIBYTE as u64;

/// Ada shares a film, and somebody has come to spoil it.
struct Shared {
    folder: tempfile::TempDir,
    film: PathBuf,
    share: Peerage,
    link: String,
    info_hash: [u8; 20],
    pieces: usize,
}

impl Shared {
    fn new(size: usize, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let film = folder.path().join("ada/film.mkv");
        sample::file(&film, 5, size);
        let args = [&[film.to_str().unwrap(), "--listen", ADA], &ALONE[..], more].concat();
        let mut share = Peerage::share(&folder.path().join("ada"), &args);
        let metadata = share.metadata();
        let link = metadata["magnet"].as_str().unwrap().to_owned();
        let piece_length = metadata["piece_length"].as_u64().unwrap() as usize;
        // A v2 hash is cut for the greeting.
        let info_hash = metadata["info_hash_v1"].as_str().or(metadata["info_hash_v2"].as_str());
        let info_hash = hash_bytes(info_hash.unwrap());
        Self { film, share, link, info_hash, pieces: size.div_ceil(piece_length), folder }
    }

    fn greet(&self) -> RawPeer {
        RawPeer::greet(ADA, &self.info_hash).unwrap()
    }

    fn memory(&self) -> MemoryPeak {
        MemoryPeak::of(self.share.process.id())
    }

    fn descriptors(&self) -> usize {
        descriptors(self.share.process.id())
    }

    /// An honest peer gets everything.
    #[track_caller]
    fn assert_still_serves(&self) {
        let ben = self.folder.path().join("ben");
        let mut get = Peerage::get(
            &ben,
            &[&[&self.link[..], "--listen", "127.0.0.1:0", "--peer", ADA], &ALONE[..]].concat(),
        );
        get.complete();
        assert!(get.end().success());
        assert_same(&self.film, &ben.join("film.mkv"));
        std::fs::remove_dir_all(&ben).unwrap();
    }
}

#[track_caller]
fn assert_small(memory: &MemoryPeak) {
    assert!(memory.bytes() < MEMORY_MAX, "{} bytes of memory", memory.bytes());
}

/// Ways to break the protocol for which a peer is left, by name.
fn offences(pieces: usize) -> Vec<(&'static str, Vec<u8>)> {
    let bitfield = |bytes: usize, last: u8| {
        let mut bits = vec![0; bytes];
        if let Some(byte) = bits.last_mut() {
            *byte = last;
        }
        message(id::BITFIELD, &bits)
    };
    let right = pieces.div_ceil(8);
    let past = u32::try_from(pieces).unwrap();
    vec![
        ("a message of 4 GiB", vec![0xff; 64]),
        ("a message of 100 MiB", [&(100u32 << 20).to_be_bytes()[..], &[id::PIECE; 64]].concat()),
        ("a bitfield too short", bitfield(right - 1, 0)),
        ("a bitfield too long", bitfield(right + 1, 0)),
        ("a bitfield of a mebibyte", bitfield(MEBIBYTE, 0)),
        ("a piece that does not exist", message(id::HAVE, &past.to_be_bytes())),
        ("a request past the end", message(id::REQUEST, &request(past, 0, 16_384))),
        ("a request of 16 MiB", message(id::REQUEST, &request(0, 0, 16 << 20))),
        ("a request that wraps around", message(id::REQUEST, &request(0, u32::MAX, u32::MAX))),
        ("a choke with a payload", message(0, &[1, 2, 3])),
        ("a cut request", message(id::REQUEST, &[0; 5])),
    ]
}

#[test]
fn whoever_breaks_the_protocol_is_cut_off() {
    alone(|| {
        let shared = Shared::new(2 * MEBIBYTE + 5, &[]);
        let memory = shared.memory();
        // One who keeps to the rules, and must not be mistaken for the others on the same host.
        let mut control = shared.greet();
        control.send(id::INTERESTED, &[]).unwrap();
        control.receive_until(id::UNCHOKE).unwrap();
        let mut tolerated = Vec::new();
        for (name, offence) in offences(shared.pieces) {
            let mut peer = shared.greet();
            peer.send(id::INTERESTED, &[]).unwrap();
            // It may be cut off while it still sends.
            let _ = peer.socket.write_all(&offence);
            peer.socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
            if !peer.is_cut_off() {
                tolerated.push(name);
            }
        }
        assert!(tolerated.is_empty(), "{tolerated:?}");
        control.send(id::REQUEST, &request(0, 0, 16_384)).unwrap();
        let block = control.receive_until(id::PIECE).unwrap();
        assert_eq!(block[8..], std::fs::read(&shared.film).unwrap()[..16_384]);
        shared.assert_still_serves();
        assert_small(&memory);
    });
}

/// Two hundred connections begin like this and say no more; meanwhile an honest peer gets everything, in bounded memory. Whether
/// all of them are cut off is for `then` to look at.
#[track_caller]
fn stall(begins: impl Fn(&Shared) -> Vec<u8>, then: impl FnOnce(&Shared, Vec<RawPeer>)) {
    let shared = Shared::new(2 * MEBIBYTE, &[]);
    let memory = shared.memory();
    let begins = begins(&shared);
    let begun = || {
        let mut peer = RawPeer::connect(ADA).unwrap();
        peer.socket.write_all(&begins).unwrap();
        peer
    };
    let peers = (0..200).map(|_| begun()).collect();
    shared.assert_still_serves();
    then(&shared, peers);
    assert_small(&memory);
}

fn assert_cut_off_all(_: &Shared, mut peers: Vec<RawPeer>) {
    assert!(peers.iter_mut().all(RawPeer::is_cut_off));
}

/// Those that go on byte by byte fare no better: see the greeting's own tests.
#[test]
fn a_greeting_that_never_ends_does_not_hold_a_place() {
    alone(|| stall(|shared| greeting(&shared.info_hash)[..30].to_vec(), assert_cut_off_all));
}

/// The key is there; the rest never comes.
#[test]
fn an_encrypted_greeting_that_never_ends_does_not_hold_a_place() {
    alone(|| stall(|_| vec![0x5a; 96], assert_cut_off_all));
}

/// The largest message that is allowed; nothing of it may be kept for all of them.
#[test]
fn messages_that_never_end_do_not_stop_an_honest_peer() {
    alone(|| {
        let begins = |shared: &Shared| {
            [&greeting(&shared.info_hash)[..], &(16_393u32).to_be_bytes(), &[id::PIECE; 20]].concat()
        };
        stall(begins, |shared, peers| {
            drop(peers);
            shared.assert_still_serves();
        });
    });
}

#[test]
fn a_flood_of_requests_without_reading_costs_no_memory() {
    alone(|| {
        let shared = Shared::new(4 * MEBIBYTE, &[]);
        let memory = shared.memory();
        let mut peer = shared.greet();
        peer.send(id::INTERESTED, &[]).unwrap();
        let _ = peer.receive_until(id::UNCHOKE);
        peer.socket.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        let flood = message(id::REQUEST, &request(0, 0, 16_384)).repeat(10_000);
        // A million requests; the node stops reading, or leaves.
        for _ in 0..100 {
            if peer.socket.write_all(&flood).is_err() {
                break;
            }
        }
        shared.assert_still_serves();
        assert_small(&memory);
    });
}

#[test]
fn blocks_that_nobody_asked_for_are_not_kept() {
    alone(|| {
        let shared = Shared::new(8 * MEBIBYTE, &["--limit-up", "1M"]);
        // The getter listens; the liar calls it and throws blocks at it.
        let ben = shared.folder.path().join("ben");
        let mut get =
            Peerage::get(&ben, &[&[&shared.link[..], "--listen", "127.0.0.1:7002"], &ALONE[..]].concat());
        get.metadata();
        let memory = MemoryPeak::of(get.process.id());
        let mut liar = RawPeer::greet("127.0.0.1:7002", &shared.info_hash).unwrap();
        liar.send(id::BITFIELD, &vec![0; shared.pieces.div_ceil(8)]).unwrap();
        let block = [&request(0, 0, 0)[..8], &[0xAA; 16_384]].concat();
        for _ in 0..2_000 {
            if liar.send(id::PIECE, &block).is_err() {
                break;
            }
        }
        assert_small(&memory);
        drop(memory);
        get.complete();
        assert_same(&shared.film, &ben.join("film.mkv"));
    });
}

#[test]
fn three_hundred_connections_at_once_do_not_stop_an_honest_one() {
    const ALLOWED: usize = 50;
    alone(|| {
        let allowed = ALLOWED.to_string();
        let shared = Shared::new(2 * MEBIBYTE, &["--listen", "10.77.0.1:7001", "--connections", &allowed]);
        let before = shared.descriptors();
        // All from one host, 10.77.0.1; the honest one comes from 127.0.0.1.
        let crowd: Vec<RawPeer> =
            (0..300).filter_map(|_| RawPeer::greet("10.77.0.1:7001", &shared.info_hash).ok()).collect();
        let open = shared.descriptors();
        println!("{} of 300 got in, {open} descriptors after {before}", crowd.len());
        assert!(open <= before + ALLOWED + 10, "{open} descriptors after {before}");
        shared.assert_still_serves();
        drop(crowd);
        until("their places are free", || (shared.descriptors() < before + 10).then_some(()));
    });
}

/// Serves wrong bytes for every block to whoever calls. Counts the blocks and the calls.
fn liar(listener: TcpListener, info_hash: [u8; 20], pieces: usize) -> Arc<(AtomicU32, AtomicU32)> {
    let counts = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let counted = counts.clone();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(peer) = socket.and_then(RawPeer::over) else { continue };
            counted.1.fetch_add(1, Ordering::Relaxed);
            let counted = counted.clone();
            thread::spawn(move || lie(peer, info_hash, pieces, &counted.0));
        }
    });
    counts
}

fn lie(mut peer: RawPeer, info_hash: [u8; 20], pieces: usize, blocks: &AtomicU32) {
    let mut theirs = [0; 68];
    let mut all = vec![0xff; pieces.div_ceil(8)];
    let spare = all.len() * 8 - pieces;
    if let Some(last) = all.last_mut() {
        *last = 0xff << spare;
    }
    let began = std::io::Read::read_exact(&mut peer.socket, &mut theirs)
        .and_then(|()| peer.socket.write_all(&greeting(&info_hash)))
        .and_then(|()| peer.send(id::BITFIELD, &all))
        .and_then(|()| peer.send(id::UNCHOKE, &[]));
    if began.is_err() {
        return;
    }
    while let Ok(asked) = peer.receive_until(id::REQUEST) {
        let length = u32::from_be_bytes(asked[8..12].try_into().unwrap()) as usize;
        if peer.send(id::PIECE, &[&asked[..8], &vec![0x55; length]].concat()).is_err() {
            return;
        }
        blocks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gets the film with a liar among the peers; returns the blocks that he brought and how often he was called.
fn get_beside_a_liar(piece_size: &str, version: &str) -> (u32, u32) {
    // The honest one is slow, so that the liar is asked for much.
    let shared = Shared::new(24 * MEBIBYTE, &["--limit-up", "6M", "--piece-size", piece_size, version]);
    let listener = TcpListener::bind("10.77.0.3:7666").unwrap();
    let counts = liar(listener, shared.info_hash, shared.pieces);
    let ben = shared.folder.path().join("ben");
    let args = [&shared.link, "--listen", "0.0.0.0:7002", "--peer", "10.77.0.3:7666"];
    let mut get = Peerage::get(&ben, &[&args[..], &ALONE].concat());
    get.complete();
    assert!(get.end().success());
    assert_same(&shared.film, Path::new(&ben.join("film.mkv")));
    (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed))
}

/// Blocks of the film that the liar is in.
const FILM_BLOCKS: u32 = 1_536;

/// A fifth of the film. What is asked of him before the first piece of his fails is as deep as a fast peer's pipeline, some
/// 250 blocks; then he is asked for one piece more, which convicts him.
const WRONG_BLOCKS_MAX: u32 = FILM_BLOCKS / 5;

/// That the liar was asked, found, and not called again and again.
#[track_caller]
fn assert_cut_off((blocks, calls): (u32, u32)) {
    assert!(blocks > 0, "he was never asked");
    assert!(blocks <= WRONG_BLOCKS_MAX, "{blocks} wrong blocks were taken");
    assert!(calls <= 3, "he was called {calls} times");
}

#[test]
fn a_liar_with_single_block_pieces_is_cut_off() {
    alone(|| assert_cut_off(get_beside_a_liar("16k", "--v1-only")));
}

#[test]
fn a_liar_with_pieces_of_many_blocks_is_found_and_cut_off() {
    alone(|| assert_cut_off(get_beside_a_liar("256k", "--v1-only")));
}

#[test]
fn a_liar_in_a_hybrid_is_found_by_its_tree() {
    alone(|| assert_cut_off(get_beside_a_liar("256k", "--hybrid")));
}

#[test]
fn a_liar_in_a_v2_torrent_is_found_by_its_tree() {
    alone(|| assert_cut_off(get_beside_a_liar("256k", "--v2-only")));
}

/// Our number of `ut_metadata` (BEP 9).
const UT_METADATA: u8 = 2;

/// Serves a torrent's `info` to whoever calls, under its true hash. Counts the answers.
fn serve_metadata(listener: TcpListener, info_hash: [u8; 20], info: Vec<u8>) -> Arc<AtomicU32> {
    let answers = Arc::new(AtomicU32::new(0));
    let counted = answers.clone();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(peer) = socket.and_then(RawPeer::over) else { continue };
            // Whatever ends the conversation, the next one may come.
            let _ = answer_metadata(peer, info_hash, &info, &counted);
        }
    });
    answers
}

fn answer_metadata(
    mut peer: RawPeer,
    hash: [u8; 20],
    info: &[u8],
    answers: &AtomicU32,
) -> std::io::Result<()> {
    let mut theirs = [0; 68];
    std::io::Read::read_exact(&mut peer.socket, &mut theirs)?;
    peer.socket.write_all(&extended_greeting(&hash))?;
    let size = info.len();
    let hello = format!("d1:md11:ut_metadatai{UT_METADATA}ee13:metadata_sizei{size}ee");
    peer.send(id::EXTENDED, &[&[0][..], hello.as_bytes()].concat())?;
    let mut their_number = 0;
    loop {
        let message = peer.receive_until(id::EXTENDED)?;
        match message.split_first() {
            Some((0, hello)) => {
                let key = b"11:ut_metadatai";
                let at = hello.windows(key.len()).position(|window| window == key).unwrap() + key.len();
                let digits = hello[at..].iter().take_while(|byte| byte.is_ascii_digit());
                their_number = digits.fold(0, |number, digit| number * 10 + (digit - b'0'));
            }
            Some((&UT_METADATA, _)) => {
                let head = format!("d8:msg_typei1e5:piecei0e10:total_sizei{size}ee");
                // Counted first: the refusal may be there before this thread goes on.
                answers.fetch_add(1, Ordering::Relaxed);
                peer.send(id::EXTENDED, &[&[their_number][..], head.as_bytes(), info].concat())?;
            }
            _ => {}
        }
    }
}

/// The true hash of something evil: what its name promises is refused, with what is wrong and where, and nothing is written.
#[track_caller]
fn metadata_is_refused(info: Vec<u8>, place: &str) {
    use sha2::{Digest, Sha256};
    let hash: [u8; 32] = Sha256::digest(&info).into();
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let listener = TcpListener::bind("10.77.0.3:7666").unwrap();
    let answers = serve_metadata(listener, hash[..20].try_into().unwrap(), info);
    let room = sample::Room::new();
    let link = format!("magnet:?xt=urn:btmh:1220{hex}&x.pe=10.77.0.3:7666");
    let args = [&[&link, "-o", "deep/out", "--listen", "10.77.0.1:0"], &ALONE[..]].concat();
    let mut get = Peerage::get(&room.path("home"), &args);
    let told = get.find("a refusal", |event| event["event"] == "error" || !event["problem"].is_null());
    let told = words(if told["event"] == "error" { &told } else { &told["problem"] });
    assert!(told.contains(place), "{told}");
    assert!(answers.load(Ordering::Relaxed) > 0);
    get.signal("INT");
    get.end();
    let written = sample::digests(&room.path("home"));
    assert!(written.keys().all(|path| path.starts_with(".local/")), "{written:?}");
}

/// The `info` of a v2 torrent with one file of this path.
fn info_v2(name: &str, path: &[&str]) -> Vec<u8> {
    let leaf = dict(&[("", dict(&[("length", int(40)), ("pieces root", bytes(&[7; 32]))]))]);
    let tree = path.iter().rev().fold(leaf, |inner, part| dict(&[(*part, inner)]));
    dict(&[
        ("file tree", tree),
        ("meta version", int(2)),
        ("name", text(name)),
        ("piece length", int(16_384)),
    ])
}

#[test]
fn metadata_from_a_peer_that_leaves_the_folder_is_refused() {
    alone(|| metadata_is_refused(info_v2("holiday", &["..", "..", "evil"]), "info.file tree"));
}

#[test]
fn metadata_from_a_peer_whose_name_climbs_is_refused() {
    alone(|| metadata_is_refused(info_v2("../../evil", &["a"]), "info.name"));
}

#[test]
fn metadata_from_a_peer_that_is_no_torrent_is_refused() {
    alone(|| metadata_is_refused(b"i3e".to_vec(), "info"));
}
