//! Whole transfers between doors in one process, over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peerage_bittorrent::door::{Door, DoorConfig};
use peerage_bittorrent::metainfo::author::{self, Format};
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::mse::Encryption;
use peerage_bittorrent::torrent::{Ready, Torrent};
use peerage_content::{
    BlockPool, FilePool, HashPlan, HashedFile, PieceSet, Place, Preallocation, RelPath, Store, Walked,
    Workers, hash, walk,
};
use peerage_swarm::core::Config;
use peerage_swarm::driver::{Resources, Throttle, Transfer, TransferParts};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PATIENCE: Duration = Duration::from_secs(60);

/// A door and what transfers share.
struct Node {
    door: Door,
    resources: Resources,
    cancel: CancellationToken,
}

impl Node {
    async fn open(encryption: Encryption) -> Self {
        let cancel = CancellationToken::new();
        let (pool, tasks) = (BlockPool::new(256), TaskTracker::new());
        let config = DoorConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            listen_elsewhere: false,
            encryption,
            connections_max: 100,
            dht: None,
            lan: false,
            client: "test".to_owned(),
            peer_id_prefix: *b"-PG0100-",
        };
        let door = Door::open(config, pool.clone(), tasks.clone(), cancel.clone()).await.unwrap();
        let resources =
            Resources { workers: Workers::new(2), pool, throttle: Throttle::new(None, None), tasks };
        Self { door, resources, cancel }
    }

    fn address(&self) -> SocketAddr {
        self.door.listening()[0]
    }

    /// Starts the transfer of a torrent at `place`, of which all or nothing is verified.
    fn start(&self, metainfo: &Metainfo, torrent: &Arc<Torrent>, place: Place, seed: bool) -> Transfer {
        let layout = metainfo.info.layout.clone();
        let pieces = layout.piece_count();
        let verified = if seed { PieceSet::full(pieces) } else { PieceSet::empty(pieces) };
        let store = Arc::new(Store::new(layout.clone(), place, FilePool::new(64), verified, Vec::new()));
        let parts = TransferParts {
            layout,
            store,
            truth: Arc::new(metainfo.truth().unwrap()),
            journal: None,
            note: Vec::new(),
            totals: (0, 0),
            suspect: PieceSet::empty(pieces),
            fetching: !seed,
            priorities: Vec::new(),
            config: Config::default(),
            throttle: Throttle::new(None, None),
            seed: 7,
            dialer: torrent.dialer(),
        };
        let transfer = Transfer::start(parts, self.resources.clone(), self.cancel.child_token());
        let info = &metainfo.info;
        self.door.name(torrent, info.hashes);
        torrent.begin(Ready::new(info.hashes, info.raw.clone(), transfer.clone()), info.private);
        transfer
    }

    fn seed(&self, metainfo: &Metainfo, path: &Path) -> Transfer {
        let torrent = self.door.add(metainfo.info.hashes, Some(metainfo.info.private));
        self.start(metainfo, &torrent, Place::InPlace(path.to_owned()), true)
    }

    /// Downloads into `folder` from `peers`, knowing the torrent.
    async fn get(&self, metainfo: &Metainfo, folder: &Path, peers: Vec<SocketAddr>) -> Transfer {
        let torrent = self.door.add(metainfo.info.hashes, Some(metainfo.info.private));
        let transfer = self.start(metainfo, &torrent, download(metainfo, folder), false);
        self.door.introduce(&torrent, peers).await;
        transfer
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn download(metainfo: &Metainfo, folder: &Path) -> Place {
    let preallocation = Preallocation::Sparse;
    Place::Download { folder: folder.to_owned(), root: metainfo.info.root(), preallocation }
}

/// Makes the torrent of what lies at `path`.
fn torrent_of(path: &Path, format: Format, piece_length: u32) -> Metainfo {
    let Walked { single, entries, .. } = walk(path).unwrap();
    let layout = author::layout(entries, single, format, piece_length).unwrap();
    let file = |entry: &peerage_content::Entry| {
        let real = matches!(entry.kind, peerage_content::EntryKind::File { .. });
        let path = if single { path.to_owned() } else { path.join(entry.path.as_path()) };
        real.then_some(HashedFile { path, length: entry.length })
    };
    let files = layout.entries().iter().map(file).collect();
    let plan = HashPlan { layout: &layout, files, v1: format.has_v1(), v2: format.has_v2(), threads: 1 };
    let hashed = hash(&plan, &|_| true).unwrap();
    let name = RelPath::from_components([path.file_name().unwrap().as_encoded_bytes()]).unwrap();
    let options = author::Options { format, ..author::Options::default() };
    author::create(&layout, &hashed, &name, single, &options).unwrap()
}

/// A folder of files around every boundary that matters.
fn sample(folder: &Path) {
    let mut rng = StdRng::seed_from_u64(1);
    for (name, length) in [
        ("a/empty", 0),
        ("a/one byte", 1),
        ("b/block", 16 << 10),
        ("b/piece", 64 << 10),
        ("b/piece and a byte", (64 << 10) + 1),
        ("grün/größer 🐌", 3_000_001),
        ("z", 70_000),
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }
}

fn assert_same(one: &Path, other: &Path) {
    let files = |path: &Path| walk(path).unwrap().entries;
    assert_eq!(files(one), files(other));
    for entry in files(one) {
        let read = |path: &Path| std::fs::read(path.join(entry.path.as_path())).unwrap();
        assert!(read(one) == read(other), "{:?} differs", entry.path);
    }
}

async fn finished(transfer: &Transfer) {
    let mut progress = transfer.progress();
    let done = tokio::time::timeout(PATIENCE, progress.wait_for(|progress| progress.finished)).await;
    done.expect("in time").expect("not ended");
}

async fn folder_goes_over(format: Format, encryption: Encryption) {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, format, 64 << 10);
    let (seeder, leecher) = (Node::open(encryption).await, Node::open(encryption).await);
    seeder.seed(&metainfo, &source);
    let target = room.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let transfer = leecher.get(&metainfo, &target, vec![seeder.address()]).await;
    finished(&transfer).await;
    assert_same(&source, &target.join("source"));
}

#[tokio::test]
async fn a_v1_folder_goes_over() {
    folder_goes_over(Format::V1, Encryption::Allow).await;
}

#[tokio::test]
async fn a_v2_folder_goes_over() {
    folder_goes_over(Format::V2, Encryption::Allow).await;
}

#[tokio::test]
async fn a_hybrid_folder_goes_over() {
    folder_goes_over(Format::Hybrid, Encryption::Allow).await;
}

#[tokio::test]
async fn an_encrypted_folder_goes_over() {
    folder_goes_over(Format::Hybrid, Encryption::Require).await;
}

/// A magnet link: the metadata comes from the peer, and for v2 the piece layers too.
async fn magnet_goes_over(format: Format) {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("source");
    sample(&source);
    let metainfo = torrent_of(&source, format, 64 << 10);
    let (seeder, leecher) = (Node::open(Encryption::Allow).await, Node::open(Encryption::Allow).await);
    seeder.seed(&metainfo, &source);
    let torrent = leecher.door.add(metainfo.info.hashes, None);
    leecher.door.seek(&torrent);
    leecher.door.introduce(&torrent, vec![seeder.address()]).await;
    let found = tokio::time::timeout(PATIENCE, torrent.metadata()).await.expect("in time").unwrap();
    assert_eq!(found, metainfo.info.raw);
    let found = Metainfo::from(Info::parse(found).unwrap());
    let target = room.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let transfer = leecher.start(&found, &torrent, download(&found, &target), false);
    finished(&transfer).await;
    assert_same(&source, &target.join("source"));
}

#[tokio::test]
async fn a_v1_magnet_goes_over() {
    magnet_goes_over(Format::V1).await;
}

#[tokio::test]
async fn a_v2_magnet_brings_its_piece_layers() {
    magnet_goes_over(Format::V2).await;
}

#[tokio::test]
async fn a_leecher_serves_what_it_has_verified() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("file");
    let mut bytes = vec![0; 8 << 20];
    StdRng::seed_from_u64(2).fill_bytes(&mut bytes);
    std::fs::write(&source, &bytes).unwrap();
    let metainfo = torrent_of(&source, Format::V1, 256 << 10);
    let seeder = Node::open(Encryption::Allow).await;
    seeder.seed(&metainfo, &source);
    let mut transfers = Vec::new();
    let mut nodes = Vec::<Node>::new();
    // Each is told of the one before it alone: the last gets its bytes through the others.
    for index in 0..3 {
        let folder = room.path().join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        let node = Node::open(Encryption::Allow).await;
        let before = nodes.last().map_or(seeder.address(), Node::address);
        transfers.push(node.get(&metainfo, &folder, vec![before]).await);
        nodes.push(node);
    }
    for transfer in &transfers {
        finished(transfer).await;
    }
    for index in 0..3 {
        assert!(std::fs::read(room.path().join(index.to_string()).join("file")).unwrap() == bytes);
    }
}
