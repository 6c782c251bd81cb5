//! Encrypted handshakes with libtorrent that speaks nothing but RC4, in both roles.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::mse::{
    Encryption, Established, Greeting, Initiator, Progress, Responder, greeting, lookup_key,
};
use peerage_bittorrent::wire::{
    HANDSHAKE_LENGTH, Handshake, Header, Limits, Message, PeerId, Reserved, peek_header,
};

/// How long libtorrent may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running libtorrent session; it ends when this is dropped.
struct Libtorrent {
    process: Child,
    commands: Option<ChildStdin>,
    swarm: SwarmHash,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Libtorrent {
    fn start(role: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mse_libtorrent.py");
        let mut process = Command::new("/usr/bin/python3")
            .arg(script)
            .arg(folder.path())
            .arg(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs the packages python3 and python3-libtorrent");
        let commands = process.stdin.take();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (hash, port) = line.trim().split_once(' ').expect("libtorrent did not start");
        let hash = data_encoding::HEXLOWER.decode(hash.as_bytes()).unwrap();
        let (swarm, port) = (SwarmHash(hash.try_into().unwrap()), port.parse().unwrap());
        Self { process, commands, swarm, port, _folder: folder }
    }

    fn dial(&mut self, port: u16) {
        writeln!(self.commands.as_mut().unwrap(), "{port}").unwrap();
    }
}

impl Drop for Libtorrent {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
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
    libtorrent.dial(listener.local_addr().unwrap().port());
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
