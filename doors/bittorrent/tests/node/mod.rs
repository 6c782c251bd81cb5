//! A door with what transfers share, and content for it, as the tests of whole transfers need them.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test binary uses a part of it"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peerage_bittorrent::door::{Door, DoorConfig};
use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::metainfo::author::{self, Format};
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

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A door and what transfers share.
pub struct Node {
    pub door: Door,
    pub resources: Resources,
    cancel: CancellationToken,
}

impl Node {
    pub async fn open(encryption: Encryption) -> Self {
        Self::with_buffers(encryption, 256).await
    }

    /// With so many buffers for received blocks.
    pub async fn with_buffers(encryption: Encryption, buffers: usize) -> Self {
        Self::with(encryption, buffers, 100).await
    }

    /// With so many connections at most.
    pub async fn with_connections(encryption: Encryption, connections_max: usize) -> Self {
        Self::with(encryption, 256, connections_max).await
    }

    async fn with(encryption: Encryption, buffers: usize, connections_max: usize) -> Self {
        let cancel = CancellationToken::new();
        let (pool, tasks) = (BlockPool::new(buffers), TaskTracker::new());
        let config = DoorConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            listen_elsewhere: false,
            encryption,
            connections_max,
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

    pub fn address(&self) -> SocketAddr {
        self.door.listening()[0]
    }

    /// Starts the transfer of a torrent at `place`, of which all or nothing is verified.
    pub fn start(&self, metainfo: &Metainfo, torrent: &Arc<Torrent>, place: Place, seed: bool) -> Transfer {
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

    pub fn seed(&self, metainfo: &Metainfo, path: &Path) -> Transfer {
        let torrent = self.door.add(metainfo.info.hashes, Some(metainfo.info.private));
        self.start(metainfo, &torrent, Place::InPlace(path.to_owned()), true)
    }

    /// Downloads into `folder` from `peers`, knowing the torrent.
    pub async fn get(&self, metainfo: &Metainfo, folder: &Path, peers: Vec<SocketAddr>) -> Transfer {
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

pub fn download(metainfo: &Metainfo, folder: &Path) -> Place {
    let preallocation = Preallocation::Sparse;
    Place::Download { folder: folder.to_owned(), root: metainfo.info.root(), preallocation }
}

/// Makes the torrent of what lies at `path`.
pub fn torrent_of(path: &Path, format: Format, piece_length: u32) -> Metainfo {
    authored(path, piece_length, &author::Options { format, ..author::Options::default() })
}

/// The same with more to say about it.
pub fn authored(path: &Path, piece_length: u32, options: &author::Options) -> Metainfo {
    let format = options.format;
    let Walked { single, entries, .. } = walk(path).unwrap();
    let layout = author::layout(entries, single, format, piece_length).unwrap();
    let file = |entry: &peerage_content::Entry| {
        let real = matches!(entry.kind, peerage_content::EntryKind::File { .. });
        let path = if single { path.to_owned() } else { path.join(entry.path.as_path()) };
        real.then_some(HashedFile { path, length: entry.length })
    };
    let files = layout.entries().iter().map(file).collect();
    let plan = HashPlan {
        layout: &layout,
        files,
        v1: format.has_v1(),
        v2: format.has_v2(),
        leaves: None,
        threads: 1,
    };
    let hashed = hash(&plan, &|_| true).unwrap();
    let name = RelPath::from_components([path.file_name().unwrap().as_encoded_bytes()]).unwrap();
    author::create(&layout, &hashed, &name, single, options).unwrap()
}

/// A folder of files around every boundary that matters.
pub fn sample(folder: &Path) {
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

pub fn assert_same(one: &Path, other: &Path) {
    let files = |path: &Path| walk(path).unwrap().entries;
    assert_eq!(files(one), files(other));
    for entry in files(one) {
        let read = |path: &Path| std::fs::read(path.join(entry.path.as_path())).unwrap();
        assert!(read(one) == read(other), "{:?} differs", entry.path);
    }
}

pub async fn finished(transfer: &Transfer) {
    let mut progress = transfer.progress();
    let done = tokio::time::timeout(PATIENCE, progress.wait_for(|progress| progress.finished)).await;
    done.expect("in time").expect("not ended");
}
