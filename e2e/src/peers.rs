//! Programs of others, each as its users run it.
//!
//! A module holds what one program needs to be told and how it tells what it does; the tests hold what is expected. What all
//! of them can do is the trait [`Program`], so that one table of tests fits them all.

pub mod aria2;
pub mod dht_net;
pub mod ear;
pub mod libtorrent;
pub mod opentracker;
pub mod qbittorrent;
pub mod rqbit;
pub mod transmission;
pub mod web;

pub use aria2::Aria2;
pub use dht_net::DhtNet;
pub use ear::Ear;
pub use libtorrent::Libtorrent;
pub use opentracker::OpenTracker;
pub use qbittorrent::QBittorrent;
pub use rqbit::Rqbit;
pub use transmission::Transmission;
pub use web::WebServer;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::process::until;

/// A program of others with one torrent. Dropping it ends it.
pub trait Program: Sized {
    /// Starts it with a torrent (a path) or a link. What lies in the folder is verified and served, the rest fetched.
    fn start(place: &Place<'_>, role: Role, source: &str, folder: &Path) -> Self;

    /// Waits until it has everything, verified.
    fn complete(&mut self);

    /// Paths of the sample folder that it leaves out when it fetches.
    const NOT_FETCHED: &'static [&'static str] = &[];

    /// Whether it refuses a link unless it is told of a peer.
    const LINK_NEEDS_PEER: bool = false;
}

/// What it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything is there.
    Seed,
    /// Nothing is there.
    Leech,
}

/// Where a program listens, and how it is to find others.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// An address of this machine.
    pub host: &'a str,
    /// A port.
    pub port: u16,
    /// Where it looks for peers, beside the trackers of its torrent.
    pub find: Find,
    /// It takes encrypted connections only.
    pub encrypted: bool,
    /// A peer to dial; only for programs that can be told of one.
    pub peer: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Found by whoever knows its address, with plain and encrypted connections.
    pub const fn new(host: &'a str, port: u16) -> Self {
        Self { host, port, find: Find::Nobody, encrypted: false, peer: None }
    }

    /// The address to dial.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Where a program looks for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// It is dialled, or its torrent names a tracker.
    Nobody,
    /// In the DHT of a [`DhtNet`].
    Dht,
    /// In the local network of the two [`Machines`](crate::Machines).
    Lan,
}

/// A script of `e2e/peers`.
fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// Waits until somebody accepts connections at this address.
#[track_caller]
pub fn until_listening(address: &str) {
    until(&format!("a listener on {address}"), || TcpStream::connect(address).ok());
}

/// One HTTP request; the head and the body of its answer.
///
/// # Panics
/// When nobody answers.
#[track_caller]
pub fn http(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let (mut stream, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    // qBittorrent closes only seconds later, whatever it is asked.
    let mut body = Vec::new();
    stream.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body).unwrap();
    (head, body)
}
