//! A node in this process, without command line and HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use peerage::model::{
    AddRequest, Base64, Event, GetRequest, Limits, Link, ShareRequest, State, TransferId, TransferOptions,
};
use peerage::node::{AddError, Encryption, Node, NodeConfig};
use tokio::sync::broadcast;

/// For anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that keeps its transfers in `folder` and finds nobody.
async fn node(folder: &Path) -> Node {
    let config = NodeConfig {
        data_dir: folder.join("data"),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        listen_elsewhere: false,
        dht: None,
        lan: false,
        encryption: Encryption::default(),
        limits: Limits::default(),
        peer_limits: Limits::default(),
        connections_max: 16,
        transfer_connections_max: 16,
        upload_slots: 0,
        super_seeding: false,
        disk_quota: None,
        active_downloads_max: 0,
        goal: peerage::model::SeedGoal::default(),
        restore: true,
    };
    Node::start(config).await.unwrap()
}

fn share(folder: &Path) -> AddRequest {
    let path = folder.join("film.mkv");
    std::fs::write(&path, [7; 100_000]).unwrap();
    AddRequest::Share(ShareRequest { path: path.into(), ..ShareRequest::default() })
}

fn get(folder: &Path, hash: &str, options: TransferOptions) -> GetRequest {
    GetRequest {
        link: Link::Name(hash.to_owned()),
        folder: folder.join("got").into(),
        only: Vec::new(),
        priorities: Vec::new(),
        preallocate: false,
        overwrite: false,
        options,
    }
}

/// Begins something, and leaves before it has an answer.
async fn leave<T>(work: impl Future<Output = T>) {
    let mut work = pin!(work);
    poll_fn(|context| {
        assert!(work.as_mut().poll(context).is_pending(), "the answer came at once");
        Poll::Ready(())
    })
    .await;
}

/// Waits until a transfer is served.
async fn until_seeding(events: &mut broadcast::Receiver<Event>) -> TransferId {
    let seeding = async {
        loop {
            if let Event::State { id, state: State::Seeding, .. } = events.recv().await.unwrap() {
                return id;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seeding).await.expect("it is served in time")
}

/// Files that are kept of transfers.
fn kept(folder: &Path) -> Vec<std::ffi::OsString> {
    let kept = std::fs::read_dir(folder.join("data/transfers")).unwrap();
    kept.map(|file| file.unwrap().file_name()).collect()
}

#[tokio::test]
async fn a_transfer_is_added_although_whoever_asked_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let mut events = node.subscribe();
    leave(node.add(share(folder.path()))).await;
    until_seeding(&mut events).await;
    node.stop().await;
}

/// It came back with the next start.
#[tokio::test]
async fn a_transfer_is_removed_although_whoever_asked_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(folder.path()).await;
    let mut events = one.subscribe();
    one.add(share(folder.path())).await.unwrap();
    let id = until_seeding(&mut events).await;
    let torrent = one.torrent(id).await.unwrap();
    one.remove(id, false).await.unwrap();
    let (link, path) = (Link::Torrent(Base64(torrent)), folder.path().to_owned().into());
    let fetched = GetRequest { link, folder: path, ..get(folder.path(), "", TransferOptions::default()) };
    let id = one.add(AddRequest::Get(fetched)).await.unwrap();
    assert_eq!(until_seeding(&mut events).await, id);

    leave(one.remove(id, false)).await;
    // Whatever was begun ends before the node does.
    one.stop().await;
    assert!(kept(folder.path()).is_empty(), "{:?}", kept(folder.path()));
}

/// The record of the new one went with the old.
#[tokio::test]
async fn what_is_added_while_the_same_is_removed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(folder.path()).await;
    let mut events = one.subscribe();
    one.add(share(folder.path())).await.unwrap();
    let old = until_seeding(&mut events).await;
    let again = share(folder.path());
    let adding = async {
        while !matches!(events.recv().await.unwrap(), Event::Removed { .. }) {}
        one.add(again).await.unwrap()
    };
    let (removed, new) = tokio::join!(one.remove(old, false), adding);
    removed.unwrap();
    assert_eq!(one.list().await.iter().map(|view| view.id).collect::<Vec<_>>(), [new]);
    one.stop().await;
    let kept = kept(folder.path());
    assert!(kept.iter().any(|file| Path::new(file).extension().is_some_and(|end| end == "json")), "{kept:?}");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path()).await;
    let request = get(folder.path(), &"ab".repeat(20), TransferOptions::default());
    let refused = node.add(AddRequest::Get(GetRequest { only: vec!["[".to_owned()], ..request })).await;
    assert!(matches!(refused, Err(AddError::BadGlob { .. })), "{refused:?}");
    let AddRequest::Share(mut nowhere) = share(folder.path()) else { unreachable!() };
    nowhere.author.web_seeds = vec!["http://".to_owned()];
    let refused = node.add(AddRequest::Share(nowhere)).await;
    assert!(matches!(refused, Err(AddError::Refused { what: "the web seed", .. })), "{refused:?}");
    assert!(node.list().await.is_empty());
    assert!(kept(folder.path()).is_empty(), "{:?}", kept(folder.path()));
    node.stop().await;
}

/// Of requests for the same that come together, one counts, and it is that one which is remembered.
#[tokio::test]
async fn the_first_of_several_is_the_one_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(folder.path()).await;
    let mut added = Vec::new();
    for number in 0..20 {
        let hash = format!("{number:02x}").repeat(20);
        let mut adding = tokio::task::JoinSet::new();
        for up in 1..5 {
            let limits = Limits { up: Some(up), down: None };
            let request = get(folder.path(), &hash, TransferOptions { limits, ..Default::default() });
            let one = one.clone();
            adding.spawn(async move { (up, one.add(AddRequest::Get(request)).await) });
        }
        let answers = adding.join_all().await;
        let first: Vec<_> =
            answers.iter().filter_map(|(up, answer)| Some((answer.as_ref().ok()?, up))).collect();
        let [(&id, &up)] = first[..] else { panic!("{answers:?}") };
        let is_that = |answer: &Result<_, _>| matches!(answer, Err(AddError::Exists(other)) if *other == id);
        assert_eq!(answers.iter().filter(|(_, answer)| is_that(answer)).count(), 3, "{answers:?}");
        added.push((id, Some(up)));
    }
    one.stop().await;
    let again = node(folder.path()).await;
    let found: Vec<_> = again.list().await.iter().map(|view| (view.id, view.limits.up)).collect();
    assert_eq!(found, added);
    again.stop().await;
}
