//! Whole transfers from web seeds, over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod http;
mod node;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::metainfo::author::Format;
use peerage_bittorrent::mse::Encryption;
use peerage_content::walk;
use peerage_swarm::driver::Transfer;

use http::{partial, server};
use node::{Node, PATIENCE, assert_same, download, finished, sample, torrent_of};

const MISSING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// Serves a folder but for the files that `lacks` names; returns the URL.
async fn web_seed(source: &Path, lacks: &[&str]) -> String {
    let entries = walk(source).unwrap().entries;
    let name = source.file_name().unwrap().to_str().unwrap();
    let files: HashMap<String, Vec<u8>> = entries
        .iter()
        .map(|entry| entry.path.as_path().to_str().unwrap().to_owned())
        .filter(|path| !lacks.contains(&path.as_str()))
        .map(|path| {
            let escaped = percent_encoding::utf8_percent_encode(&path, percent_encoding::NON_ALPHANUMERIC);
            let key = escaped.to_string().replace("%2F", "/");
            (format!("/pub/{name}/{key}"), std::fs::read(source.join(&path)).unwrap())
        })
        .collect();
    server(move |request| match files.get(&request.path) {
        Some(file) => partial(file, request.range),
        None => MISSING.to_vec(),
    })
    .await
}

/// Begins to download into `target` from web seeds alone.
fn get(node: &Node, metainfo: &Metainfo, target: &Path, urls: &[String]) -> Transfer {
    std::fs::create_dir(target).unwrap();
    let torrent = node.door.add(metainfo.info.hashes, Some(metainfo.info.private));
    let transfer = node.start(metainfo, &torrent, download(metainfo, target), false);
    node.door.web_seeds(&torrent, urls, Some(b"source"));
    transfer
}

/// Buffers are shared by all: who holds some and waits for more waits for somebody who does the same.
#[tokio::test]
async fn many_web_seeds_share_a_pool_that_is_too_small_for_one_range() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, Format::V1, 64 << 10);
    let urls = [web_seed(&source, &[]).await, web_seed(&source, &[]).await, web_seed(&source, &[]).await];
    let node = Node::with_buffers(Encryption::Allow, 16).await;
    let target = room.path().join("target");
    let transfer = get(&node, &metainfo, &target, &urls);
    finished(&transfer).await;
    assert_same(&source, &target.join("source"));
}

/// What one request is for may lie in several files, and only one of them fail.
#[tokio::test]
async fn only_the_file_that_a_server_lacks_is_not_asked_of_it() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, Format::V2, 64 << 10);
    let urls = [web_seed(&source, &["z"]).await, web_seed(&source, &["b/piece"]).await];
    let node = Node::open(Encryption::Allow).await;
    let target = room.path().join("target");
    let transfer = get(&node, &metainfo, &target, &urls);
    finished(&transfer).await;
    assert_same(&source, &target.join("source"));
}

#[tokio::test]
async fn a_web_seed_comes_back_when_something_is_wanted_again() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, Format::V1, 64 << 10);
    let node = Node::open(Encryption::Allow).await;
    let target = room.path().join("target");
    let transfer = get(&node, &metainfo, &target, &[web_seed(&source, &[]).await]);
    finished(&transfer).await;

    let damaged = target.join("source/z");
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[40_000] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    transfer.verify().await;
    let store: Arc<_> = transfer.store().clone();
    let mut progress = transfer.progress();
    tokio::time::timeout(PATIENCE, progress.wait_for(|progress| !progress.finished)).await.unwrap().unwrap();
    finished(&transfer).await;
    assert!(store.verified().is_full());
    assert_same(&source, &target.join("source"));
}
