//! Bitswap between peers in one process, over streams in memory.

#![allow(clippy::unwrap_used)]

mod hub;

use std::collections::HashSet;

use bytes::Bytes;
use cid::Cid;
use hub::{Hub, Peer, block, soon};
use peerage_ipfs::bitswap::driver::Session;

const KIB: usize = 1024;

/// Everything that a session wants.
async fn all(session: &mut Session) -> HashSet<(Cid, Bytes)> {
    let mut got = HashSet::new();
    while let Some(block) = soon(session.next()).await.unwrap() {
        assert!(got.insert(block));
    }
    got
}

async fn fetch(peer: &Peer, cids: &[Cid]) -> HashSet<(Cid, Bytes)> {
    let mut session = peer.bitswap.session(64).await.unwrap();
    session.want(cids.iter().copied());
    all(&mut session).await
}

fn named(cids: &[Cid], size: usize) -> HashSet<(Cid, Bytes)> {
    cids.iter().copied().zip((0..).map(|number| block(number, size))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_go_from_one_to_the_other() {
    let hub = Hub::default();
    let (anna, bert) = (hub.peer(1), hub.peer(2));
    let cids = anna.shelf.fill(200, 64 * KIB);
    hub.connect(anna.id, bert.id).await;
    assert_eq!(fetch(&bert, &cids).await, named(&cids, 64 * KIB));
    assert_eq!(bert.shelf.0.lock().unwrap().len(), 200);
    let stats = bert.bitswap.stats().await.unwrap();
    assert_eq!((stats.blocks, stats.late, stats.unrequested), (200, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_fetch_from_each_other_at_once() {
    let hub = Hub::default();
    let (anna, bert) = (hub.peer(1), hub.peer(2));
    let from_anna: Vec<Cid> = (0..100).map(|number| anna.shelf.keep(block(number, 100 * KIB))).collect();
    let from_bert: Vec<Cid> = (100..200).map(|number| bert.shelf.keep(block(number, 100 * KIB))).collect();
    hub.connect(anna.id, bert.id).await;
    let (to_bert, to_anna) = tokio::join!(fetch(&bert, &from_anna), fetch(&anna, &from_bert));
    assert_eq!((to_bert.len(), to_anna.len()), (100, 100));
}

#[tokio::test]
async fn providers_are_found_and_connected() {
    let hub = Hub::default();
    let (anna, bert) = (hub.peer(1), hub.peer(2));
    let cids = anna.shelf.fill(20, 10 * KIB);
    hub.provides(anna.id, cids[0]);
    assert_eq!(fetch(&bert, &cids).await.len(), 20);
}

#[tokio::test]
async fn a_liar_is_dismissed_and_another_asked() {
    let hub = Hub::default();
    let (liar, honest, bert) = (hub.peer(1), hub.peer(2), hub.peer(3));
    let cids = honest.shelf.fill(20, 10 * KIB);
    for &cid in &cids {
        liar.shelf.0.lock().unwrap().insert(cid, Bytes::from_static(b"something else"));
    }
    // Only the liar is there at first.
    hub.connect(bert.id, liar.id).await;
    hub.provides(honest.id, cids[0]);
    let mut session = bert.bitswap.session(64).await.unwrap();
    session.want(cids.iter().copied());
    let got = all(&mut session).await;
    assert_eq!(got, named(&cids, 10 * KIB));
    assert_eq!(hub.dismissed(), [(bert.id, liar.id)]);
}

#[tokio::test]
async fn a_block_that_arrives_by_other_ways_answers_those_who_want_it() {
    let hub = Hub::default();
    let (anna, bert) = (hub.peer(1), hub.peer(2));
    hub.connect(anna.id, bert.id).await;
    let mut wants = bert.bitswap.session(1).await.unwrap();
    let probe = anna.shelf.keep(block(1, 5000));
    // When this has come, Anna has also seen the want before it.
    let later = peerage_dag::sha2_256(peerage_dag::Codec::Raw, &block(2, 5000));
    let mut waits = bert.bitswap.session(1).await.unwrap();
    waits.want([later]);
    tokio::select! {
        biased;
        _ = waits.next() => panic!("nobody has it"),
        got = wants.get(probe) => assert_eq!(got.unwrap(), block(1, 5000)),
    }
    anna.shelf.keep(block(2, 5000));
    anna.bitswap.arrived(later, 5000).await.unwrap();
    assert_eq!(soon(waits.next()).await.unwrap().unwrap().1, block(2, 5000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_after_its_connection_broke() {
    let hub = Hub::default();
    let (anna, bert) = (hub.peer(1), hub.peer(2));
    let cids = anna.shelf.fill(100, 100 * KIB);
    hub.connect(anna.id, bert.id).await;
    let mut session = bert.bitswap.session(16).await.unwrap();
    session.want(cids.iter().copied());
    let mut got = HashSet::new();
    for broken in 0..3 {
        for _ in 0..20 {
            got.extend(soon(session.next()).await.unwrap());
        }
        hub.disconnect(anna.id, bert.id).await;
        hub.connect(anna.id, bert.id).await;
        assert_eq!(got.len(), 20 * (broken + 1));
    }
    got.extend(all(&mut session).await);
    assert_eq!(got, named(&cids, 100 * KIB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_dropped_end_and_others_go_on() {
    let hub = Hub::default();
    let (anna, bert) = (hub.peer(1), hub.peer(2));
    let cids = anna.shelf.fill(60, 100 * KIB);
    hub.connect(anna.id, bert.id).await;
    for _ in 0..10 {
        let mut session = bert.bitswap.session(30).await.unwrap();
        session.want(cids.iter().copied());
        soon(session.next()).await.unwrap();
    }
    assert_eq!(fetch(&bert, &cids).await.len(), 60);
    assert_eq!(bert.bitswap.stats().await.unwrap().unrequested, 0);
}
