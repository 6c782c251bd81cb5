//! Bitswap between two nodes of the overlay, over TCP.

#![allow(clippy::unwrap_used)]

mod hub;
mod net;

use hub::{block, soon};
use net::Node;

const BLOCK: usize = 256 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_over_tcp() {
    let (anna, bert) = (Node::new(1).await, Node::new(2).await);
    let cids = anna.shelf.fill(80, BLOCK);
    soon(bert.overlay.dial(anna.address())).await.unwrap();
    let mut session = bert.bitswap.session(64).await.unwrap();
    session.want(cids.iter().copied());
    let mut count = 0;
    while let Some((cid, data)) = soon(session.next()).await.unwrap() {
        let number = cids.iter().position(|&wanted| wanted == cid).unwrap();
        assert_eq!(data, block(u32::try_from(number).unwrap(), BLOCK));
        count += 1;
    }
    assert_eq!(count, 80);
    let stats = bert.bitswap.stats().await.unwrap();
    assert_eq!((stats.late, stats.unrequested), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_found_by_the_hash_table() {
    let keeper = Node::member(1, None).await;
    let (anna, bert) = (Node::member(2, Some(&keeper)).await, Node::member(3, Some(&keeper)).await);
    let cids = anna.shelf.fill(10, BLOCK);
    let key = cids[0].hash().to_bytes();
    // Nobody says when a record has arrived, nor when the table is known.
    soon(async {
        while bert.overlay.providers(&key, 1).await.next().await.is_none() {
            let _ = anna.overlay.provide(&key).await;
        }
    })
    .await;
    let mut session = bert.bitswap.session(64).await.unwrap();
    session.want(cids);
    for _ in 0..10 {
        assert!(soon(session.next()).await.unwrap().is_some());
    }
}
