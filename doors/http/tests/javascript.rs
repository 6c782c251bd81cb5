//! The gateway and the packages of IPFS in JavaScript, which verify what they are given.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use peerage_http::{Limits, serve};
use sha2::{Digest, Sha256};
use support::{Memory, pattern};
use tokio_util::sync::CancellationToken;

/// Runs a script of e2e/js, with a file as its input: what it writes to standard output.
fn node(script: &str, arguments: &[&str], input: Option<&Path>) -> String {
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/js/node");
    let input = input.map_or(Stdio::null(), |path| std::fs::File::open(path).unwrap().into());
    let output = Command::new(node)
        .arg(script)
        .args(arguments)
        .stdin(input)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{script} failed: see above");
    String::from_utf8(output.stdout).unwrap()
}

fn download(url: &str, to: &Path) {
    let curl =
        Command::new("curl").args(["--silent", "--fail", "--output"]).arg(to).arg(url).status().unwrap();
    assert!(curl.success(), "{url}");
}

fn lines(output: &str) -> Vec<serde_json::Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where a gateway listens that has this, until the token is cancelled.
async fn served(memory: Memory) -> (String, CancellationToken) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve(listener, Arc::new(memory.gateway()), Limits::default(), stop.clone()));
    (format!("http://{address}"), stop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verified_fetch_believes_us() {
    let mut memory = Memory::new("unixfs-v1-2025,chunk-size=1000,width=3,threshold-bytes=2000");
    let bytes = pattern(20_000);
    let names: Vec<_> = (0..100).map(|at| (format!("many/file {at}"), at.to_string())).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|(name, text)| (&**name, text.as_bytes())).collect();
    files.extend([("film.mp4", &bytes[..]), ("page.html", b"<h1>hi")]);
    let root = memory.tree(&files);
    let (gateway, stop) = served(memory).await;
    let addresses = ["film.mp4", "page.html", "many/file 77", "film.mp4#5000-5999"]
        .map(|path| format!("ipfs://{root}/{path}"));
    let found = tokio::task::spawn_blocking(move || {
        let arguments: Vec<_> = [&*gateway].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        lines(&node("verified.mjs", &arguments, None))
    });
    let found = found.await.unwrap();
    let sha256 = |bytes: &[u8]| HEXLOWER.encode(&Sha256::digest(bytes));
    let expected = [(200, &bytes[..]), (200, b"<h1>hi"), (200, b"77"), (206, &bytes[5000..6000])];
    for (found, (status, bytes)) in found.iter().zip(expected) {
        assert_eq!((&found["status"], &found["sha256"]), (&status.into(), &sha256(bytes).into()), "{found}");
    }
    assert_eq!(found.len(), 4);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cars_are_read_and_unpacked() {
    let mut memory = Memory::default();
    let bytes = pattern(10_000);
    let root = memory.tree(&[("a/film.bin", &bytes), ("a/b/note.txt", b"note"), ("empty", b"")]);
    let (gateway, stop) = served(memory).await;
    tokio::task::spawn_blocking(move || {
        let there = tempfile::tempdir().unwrap();
        let (car, part, out) =
            (there.path().join("all.car"), there.path().join("part.car"), there.path().join("out"));
        download(&format!("{gateway}/ipfs/{root}?format=car"), &car);
        let read = lines(&node("car.mjs", &["cat", "a/b/note.txt", "a"], Some(&car)));
        assert_eq!(read[0]["text"], "note");
        assert_eq!(read[1]["names"], serde_json::json!(["b", "film.bin"]));
        let arguments = ["unpack", car.to_str().unwrap(), "--output", out.to_str().unwrap()];
        node("node_modules/ipfs-car/bin.js", &arguments, None);
        assert!(std::fs::read(out.join("a/film.bin")).unwrap() == bytes);
        assert_eq!(std::fs::read(out.join("empty")).unwrap(), b"");
        // A part of the tree, with the proof of its path.
        download(&format!("{gateway}/ipfs/{root}/a/b?format=car&car-dups=y"), &part);
        let blocks = node("node_modules/ipfs-car/bin.js", &["blocks", part.to_str().unwrap()], None);
        assert_eq!(blocks.lines().count(), 4, "{blocks}");
        assert_eq!(blocks.lines().next(), Some(&*root.to_string()));
    })
    .await
    .unwrap();
    stop.cancel();
}
