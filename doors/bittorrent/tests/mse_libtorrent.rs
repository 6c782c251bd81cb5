//! Encrypted handshakes with libtorrent that speaks nothing but RC4, in both roles.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod session;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::mse::{
    Encryption, Established, Greeting, Initiator, Progress, Responder, greeting, lookup_key,
};
use peerage_bittorrent::wire::{
    HANDSHAKE_LENGTH, Handshake, Header, Limits, Message, PeerId, Reserved, peek_header,
};

use session::Session;

/// How long libtorrent may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A libtorrent that listens.
struct Libtorrent {
    session: Session,
    swarm: SwarmHash,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Libtorrent {
    fn start(role: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::start("mse_libtorrent.py", folder.path(), role);
        let line = session.line();
        let (hash, port) = line.split_once(' ').expect("libtorrent did not start");
        let hash = data_encoding::HEXLOWER.decode(hash.as_bytes()).unwrap();
        let (swarm, port) = (SwarmHash(hash.try_into().unwrap()), port.parse().unwrap());
        Self { session, swarm, port, _folder: folder }
    }
}

fn hello(swarm: SwarmHash) -> [u8; HANDSHAKE_LENGTH] {
    let reserved = Reserved::NONE.with_extended().with_fast();
    Handshake { reserved, swarm, peer_id: PeerId::new(*b"-PX0001-", *b"an mse test ") }.encode()
}

/// Some bytes more of the stream.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).expect("libtorrent went silent");
    assert_ne!(count, 0, "libtorrent closed the connection");
    buffer[..count].to_vec()
}

/// Goes on in the established stream: checks libtorrent's handshake and reads its first message. Then says that we are
/// interested and waits for the unchoke, so that both directions are proven.
fn converse(mut stream: TcpStream, mut established: Established, seed: bool) {
    let ciphers = established.ciphers.as_mut().expect("libtorrent was told to speak RC4 only");
    let mut received = std::mem::take(&mut established.received);
    let mut at = 0;
    let more =
        |received: &mut Vec<u8>, ciphers: &mut peerage_bittorrent::mse::Ciphers, stream: &mut TcpStream| {
            let mut bytes = receive(stream);
            ciphers.incoming.apply(&mut bytes);
            received.extend_from_slice(&bytes);
        };
    while Handshake::decode(&received).unwrap().is_none() {
        more(&mut received, ciphers, &mut stream);
    }
    let theirs = Handshake::decode(&received).unwrap().unwrap();
    assert_eq!(theirs.swarm, established.swarm);
    assert!(theirs.reserved.extended() && theirs.reserved.fast());
    assert!(theirs.peer_id.0.starts_with(b"-LT"), "{:?}", theirs.peer_id);
    at += HANDSHAKE_LENGTH;

    let mut say = Vec::new();
    Message::HaveNone.encode(&mut say);
    Message::Interested.encode(&mut say);
    ciphers.outgoing.apply(&mut say);
    stream.write_all(&say).unwrap();

    let limits = Limits { pieces: Some(4) };
    loop {
        if let Header::Control { total_len } = peek_header(&received[at..], &limits).unwrap()
            && let Some(frame) = received.get(at..at + total_len)
        {
            let message = Message::decode(frame, &limits).unwrap();
            at += total_len;
            match message {
                // A seed serves us; one who fetches has nothing to serve, and tells us that.
                Message::Unchoke if seed => return,
                Message::HaveNone if !seed => return,
                _ => continue,
            }
        }
        more(&mut received, ciphers, &mut stream);
    }
}

#[test]
fn libtorrent_is_dialled() {
    let libtorrent = Libtorrent::start("seed");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, libtorrent.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut out = Vec::new();
    let swarm = libtorrent.swarm;
    let mut initiator =
        Initiator::start(swarm, Encryption::Prefer.offers(), hello(swarm), &mut rand::rng(), &mut out);
    let established = loop {
        stream.write_all(&out).unwrap();
        out.clear();
        match initiator.feed(&receive(&mut stream), &mut out).unwrap() {
            Progress::More(more) => initiator = more,
            Progress::Done(established) => break established,
        }
    };
    converse(stream, established, true);
}

#[test]
fn libtorrent_dials() {
    let mut libtorrent = Libtorrent::start("fetch");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    libtorrent.session.dial(listener.local_addr().unwrap().port());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let swarm = libtorrent.swarm;
    let find = |key: &[u8; 20]| (*key == lookup_key(swarm)).then_some(swarm);
    let mut responder = Responder::new(Encryption::Allow, &mut rand::rng());
    let mut first = true;
    let mut established = loop {
        let bytes = receive(&mut stream);
        if std::mem::take(&mut first) {
            assert_eq!(greeting(&bytes), Greeting::Encrypted);
        }
        let mut out = Vec::new();
        let progress = responder.feed(&bytes, find, &mut out).unwrap();
        stream.write_all(&out).unwrap();
        match progress {
            Progress::More(more) => responder = more,
            Progress::Done(established) => break established,
        }
    };
    let mut answer = hello(swarm);
    established.ciphers.as_mut().unwrap().outgoing.apply(&mut answer);
    stream.write_all(&answer).unwrap();
    converse(stream, established, false);
}
