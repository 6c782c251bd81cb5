//! Bitswap with helia, over TCP, both ways.

#![allow(clippy::unwrap_used)]

mod hub;
mod net;

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use hub::{Shelf, soon};
use net::Node;
use peerage_dag::{Cid, FileWalk, Profile, file};
use peerage_ipfs::bitswap::driver::Session;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const SIZE: u64 = 20 * 1024 * 1024 + 4321;

/// A helia node. It ends with its standard input.
struct Helia {
    address: String,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Helia {
    async fn start() -> Self {
        let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/js/node");
        let mut child = Command::new(node)
            .arg("bitswap.mjs")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("e2e/js/node runs");
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut helia = Self { address: String::new(), stdin, stdout, _child: child };
        helia.address = helia.answer().await["address"].as_str().unwrap().to_owned();
        helia
    }

    async fn answer(&mut self) -> Value {
        let line = soon(self.stdout.next_line()).await.unwrap().expect("helia answers");
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, command: &str) -> Value {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.answer().await
    }
}

/// The bytes of every test file: 0 to 250 over and over.
fn pattern(offset: u64, length: u64) -> Vec<u8> {
    (offset..offset + length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Builds a file into a shelf, as a profile says.
fn build(shelf: &Shelf, profile: &Profile, size: u64) -> Cid {
    let mut blocks = Vec::new();
    let mut leaves = Vec::new();
    for chunk in pattern(0, size).chunks(profile.chunk_size() as usize) {
        let frame = profile.leaf_frame(u32::try_from(chunk.len()).unwrap());
        let block = [&frame.prefix, chunk, &frame.suffix].concat();
        let digest = Sha256::digest(&block).into();
        leaves.push(digest);
        blocks.push((profile.leaf_cid(&digest), block));
    }
    let root = file::build(profile, size, &leaves, &mut |cid, block| blocks.push((cid, block))).cid;
    let mut shelf = shelf.0.lock().unwrap();
    shelf.extend(blocks.into_iter().map(|(cid, block)| (cid, Bytes::from(block))));
    root
}

/// Reads a file through a session, block by block as a walk needs them, and holds it against the pattern.
async fn read(session: &mut Session, root: Cid) -> u64 {
    let mut walk = FileWalk::new(root, 0..u64::MAX);
    let mut extents = Vec::new();
    loop {
        while let Some(extent) = walk.next().unwrap() {
            extents.push(extent);
        }
        let Some(&cid) = walk.need() else { break };
        let block = soon(session.get(cid)).await.unwrap();
        walk.feed(&cid, &block).unwrap();
    }
    // A block of such a file may be in it more than once.
    let mut wanted: Vec<Cid> = extents.iter().map(|extent| extent.cid).collect();
    wanted.sort();
    wanted.dedup();
    session.want(wanted);
    while let Some((cid, block)) = soon(session.next()).await.unwrap() {
        for extent in extents.iter().filter(|extent| extent.cid == cid) {
            assert_eq!(extent.of(&block).unwrap(), pattern(extent.offset, extent.length));
        }
    }
    walk.size().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helia_gets_a_file_from_us() {
    let (node, mut helia) = (Node::new(1).await, Helia::start().await);
    for profile in ["unixfs-v1-2025", "unixfs-v0-2015"] {
        let root = build(&node.shelf, &profile.parse().unwrap(), SIZE);
        let answer = helia.ask(&format!("get {root} {}", node.address())).await;
        assert_eq!(answer, serde_json::json!({ "size": SIZE, "right": true }), "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_get_a_file_from_helia() {
    let (node, mut helia) = (Node::new(1).await, Helia::start().await);
    let root: Cid = helia.ask(&format!("add {SIZE}")).await["cid"].as_str().unwrap().parse().unwrap();
    soon(node.overlay.dial(helia.address.parse::<peerage_overlay::Address>().unwrap())).await.unwrap();
    // JavaScript's yamux sends frames as large as the window, and that of Rust closes the connection at one of more than 1 MiB: its windows
    // do not grow so far within two blocks.
    let mut session = node.bitswap.session(2).await.unwrap();
    assert_eq!(read(&mut session, root).await, SIZE);
    let stats = node.bitswap.stats().await.unwrap();
    assert_eq!((stats.late, stats.unrequested), (0, 0));
}
