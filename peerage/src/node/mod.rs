//! The node: transfers, their peers and their files, under one roof.
//!
//! [`Node`] wires the BitTorrent door, the swarm engine and the content store together and keeps what a restart needs in the data directory. It
//! knows no command line, no HTTP and no terminal: those talk to it through `crate::control::Control`.
//! A handle is cheap to clone; the node itself runs in tasks of its own until [`Node::stop`].

mod admit;
mod begin;
mod change;
mod config;
mod entry;
mod error;
mod finish;
mod foreign;
mod ipfs;
mod kept;
mod life;
mod open;
mod queue;
mod read;
mod select;
mod served;
mod share;
mod shelf;
mod state;
mod surroundings;
mod views;

pub use config::{Dht, Encryption, NodeConfig};
pub use error::{AddError, OpError, StartError};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use peerage_bittorrent::door::{DhtSettings, Door, DoorConfig, DoorError};
use peerage_bittorrent::mse;
use peerage_blocks::Blocks;
use peerage_content::{BlockPool, FilePool, Quota, Workers};
use peerage_swarm::driver::{Resources, Throttle};
use tokio::io::AsyncRead;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::entry::{Entry, limit};
use self::queue::Queue;
use self::shelf::Shelf;
use self::surroundings::Surroundings;

use crate::model::{
    AddRequest, Event, FileView, Limits, PeerView, PriorityRule, StatsView, TrackerView, TransferId,
    TransferRef, TransferView,
};

/// Open files of all transfers at a time.
const FILES_OPEN: usize = 512;
/// Buffers for received blocks: 8 MiB. More would only wait longer for the disk.
const POOL_BLOCKS: usize = 512;
/// Events that wait for a slow receiver before it loses the oldest.
const EVENTS: usize = 256;
/// How long a stop may take before what is left is dropped.
const STOP_MAX: Duration = Duration::from_millis(1_800);

/// A running node.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inner>);

/// What the handle and the transfers' tasks share.
#[derive(Debug)]
pub(crate) struct Inner {
    door: Door,
    resources: Resources,
    files: FilePool,
    shelf: Shelf,
    /// Where the node keeps its transfers for the next run, their blocks can be had by CID.
    blocks: Option<Blocks>,
    /// Where these can be had over HTTP.
    gateway: OnceLock<SocketAddr>,
    queue: Queue,
    quota: Option<Quota>,
    surroundings: Surroundings,
    entries: Mutex<Entries>,
    /// Held while a request is admitted; before `entries`.
    admitting: Mutex<()>,
    events: broadcast::Sender<Event>,
    config: NodeConfig,
    started: Instant,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: BTreeMap<TransferId, Arc<Entry>>,
    /// Numbers of transfers that turned out to be another one.
    same: BTreeMap<TransferId, TransferId>,
    added: u32,
}

impl Node {
    /// Opens the data directory, listens, and (with [`NodeConfig::restore`]) takes up the transfers of the former run.
    /// Returns before those are checked.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let data_dir = config.data_dir.clone();
        let restore = config.restore;
        let opened = tokio::task::spawn_blocking(move || {
            let shelf = Shelf::open(&data_dir).map_err(StartError::DataDir)?;
            let blocks = restore.then(|| Blocks::open(&data_dir.join("blocks"))).transpose();
            Ok((shelf, blocks.map_err(|error| StartError::Blocks(Box::new(error)))?))
        });
        let (shelf, blocks) = match opened.await {
            Ok(opened) => opened?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let pool = BlockPool::new(POOL_BLOCKS);
        let door_config = DoorConfig {
            listen: config.listen.clone(),
            listen_elsewhere: config.listen_elsewhere,
            encryption: match config.encryption {
                Encryption::Prefer => mse::Encryption::Allow,
                Encryption::Require => mse::Encryption::Require,
                Encryption::Off => mse::Encryption::Disable,
            },
            connections_max: config.connections_max,
            dht: config.dht.as_ref().map(|dht| DhtSettings {
                bootstrap: dht.bootstrap.clone(),
                nodes_file: Some(config.data_dir.join("dht-nodes")),
            }),
            lan: config.lan,
            client: concat!("Peerage ", env!("CARGO_PKG_VERSION")).to_owned(),
            peer_id_prefix: *b"-PG0100-",
        };
        let door = Door::open(door_config, pool.clone(), tasks.clone(), cancel.clone()).await;
        let door = door.map_err(|error| match error {
            DoorError::Listen { address, source } => StartError::Listen { address, source },
            other => StartError::System {
                attempt: "set up the tracker client",
                source: std::io::Error::other(other),
            },
        })?;
        // What a daemon was told while it ran outlives it; the configuration says what holds otherwise.
        let kept = if config.restore { shelf.read_limits() } else { Limits::default() };
        let (up, down) = (kept.up.or(config.limits.up), kept.down.or(config.limits.down));
        let resources = Resources {
            workers: Workers::new(0),
            pool,
            throttle: Throttle::new(limit(up), limit(down)),
            tasks,
        };
        let inner = Arc::new(Inner {
            door,
            resources,
            files: FilePool::new(FILES_OPEN),
            shelf,
            blocks,
            gateway: OnceLock::new(),
            queue: Queue::new(config.active_downloads_max),
            quota: limit(config.disk_quota).map(Quota::new),
            surroundings: Surroundings::default(),
            entries: Mutex::default(),
            admitting: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            started: Instant::now(),
            cancel,
            config,
        });
        let sweeper = inner.shelf.clone();
        inner.resources.tasks.spawn_blocking(move || sweeper.sweep());
        if inner.config.restore {
            let restoring = inner.clone();
            let restored = tokio::task::spawn_blocking(move || restoring.restore()).await;
            if let Err(panicked) = restored {
                std::panic::resume_unwind(panicked.into_panic());
            }
        }
        inner.emit(Event::Listening { addresses: inner.door.listening().to_vec() });
        Ok(Self(inner))
    }

    /// The addresses it listens on, with the ports it really got.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.0.door.listening().to_vec()
    }

    /// The blocks of what is shared, where the node keeps its transfers for the next run.
    pub fn blocks(&self) -> Option<&Blocks> {
        self.0.blocks.as_ref()
    }

    /// Says where the gateway listens that serves this node's blocks: its addresses are shown from now on.
    pub fn set_gateway(&self, address: SocketAddr) {
        self.0.gateway.get_or_init(|| address);
    }

    /// Where the gateway listens, if there is one.
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.0.gateway.get().copied()
    }

    /// Adds a transfer and returns as soon as it has a number: hashing, checking and fetching of metadata follow and are told as events.
    /// What is there already under the same info hash is not added twice: its number comes with [`AddError::Exists`]. The same `get` into
    /// the same folder after an interruption resumes.
    ///
    /// # Errors
    /// [`AddError`]: nothing was added.
    pub async fn add(&self, request: AddRequest) -> Result<TransferId, AddError> {
        if self.0.cancel.is_cancelled() {
            return Err(AddError::Stopped);
        }
        self.0.to_its_end(self.0.clone().add(request)).await.unwrap_or(Err(AddError::Stopped))
    }

    /// What happens from now on, but for [`Event::Progress`], which callers make of [`Node::view`] at the pace they like.
    /// A slow receiver loses the oldest events and learns how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// The number of the transfer that is meant.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::Ambiguous`].
    pub fn find(&self, which: &TransferRef) -> Result<TransferId, OpError> {
        match which {
            TransferRef::Number(id) => Ok(self.0.entry(*id)?.id),
            TransferRef::Hash(prefix) => {
                let begins = |entry: &Entry| {
                    let hashes = entry.facts().hashes;
                    hashes.is_some_and(|hashes| {
                        let texts = [hashes.v1.map(|hash| hex(&hash)), hashes.v2.map(|hash| hex(&hash))];
                        texts.into_iter().flatten().any(|text| text.starts_with(prefix))
                    })
                };
                let found: Vec<_> =
                    self.0.all().into_iter().filter(|entry| begins(entry)).map(|entry| entry.id).collect();
                match found.as_slice() {
                    [] => Err(OpError::NoSuchTransfer(which.clone())),
                    [id] => Ok(*id),
                    _ => Err(OpError::Ambiguous(prefix.clone())),
                }
            }
        }
    }

    /// All transfers, by number.
    pub async fn list(&self) -> Vec<TransferView> {
        let around = self.0.around().await;
        let mut views = Vec::new();
        for entry in self.0.all() {
            views.push(self.0.view_of(&entry, &around).await);
        }
        views
    }

    /// One transfer. Called once a second by every watcher.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn view(&self, id: TransferId) -> Result<TransferView, OpError> {
        let entry = self.0.entry(id)?;
        let around = self.0.around().await;
        Ok(self.0.view_of(&entry, &around).await)
    }

    /// The connected peers of a transfer.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn peers(&self, id: TransferId) -> Result<Vec<PeerView>, OpError> {
        let entry = self.0.entry(id)?;
        let Some(running) = entry.running() else { return Ok(Vec::new()) };
        let pieces = running.metainfo.info.layout.piece_count();
        let torrent = entry.facts().torrent.clone();
        let peers = running.transfer.peers().await;
        Ok(peers.iter().map(|peer| views::peer(peer, pieces, torrent.as_deref())).collect())
    }

    /// The files of a transfer; empty before metadata.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub fn files(&self, id: TransferId) -> Result<Vec<FileView>, OpError> {
        Ok(self.0.entry(id)?.running().map(|running| views::files(&running)).unwrap_or_default())
    }

    /// The trackers of a transfer.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn trackers(&self, id: TransferId) -> Result<Vec<TrackerView>, OpError> {
        let entry = self.0.entry(id)?;
        let primary = entry.facts().hashes.and_then(|hashes| hashes.primary());
        let Some(primary) = primary else { return Ok(Vec::new()) };
        let announcer = self.0.door.announcer();
        // The answers come in time for those who look again.
        announcer.refresh(primary).await;
        let status = announcer.status(primary).await;
        Ok(status.into_iter().map(views::tracker).collect())
    }

    /// The transfer as a .torrent file.
    ///
    /// # Errors
    /// [`OpError::NoMetadata`] while it is not known.
    pub async fn torrent(&self, id: TransferId) -> Result<Vec<u8>, OpError> {
        let entry = self.0.entry(id)?;
        let running = entry.running().ok_or(OpError::NoMetadata(id))?;
        let torrent = entry.facts().torrent.clone();
        if let Some(torrent) = torrent {
            torrent.compute_layers().await;
        }
        Ok(running.whole_metainfo().to_bytes())
    }

    /// Stops a transfer: no peers, no trackers. Survives a restart. Nothing happens when it is paused already.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn pause(&self, id: TransferId) -> Result<(), OpError> {
        self.change(|node| node.pause(id)).await
    }

    /// Starts a paused or failed transfer again; a complete one is served again.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn resume(&self, id: TransferId) -> Result<(), OpError> {
        self.change(|node| node.resume(id)).await
    }

    /// Forgets a transfer. With `delete_files` the files of a download are deleted too, and folders that are empty then; files that were
    /// shared in place are never deleted.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`]; [`OpError::NotDeletable`] and [`OpError::FilesUnknown`] (nothing was removed);
    /// [`OpError::Storage`] (forgotten, files left).
    pub async fn remove(&self, id: TransferId, delete_files: bool) -> Result<(), OpError> {
        self.change(|node| node.remove(id, delete_files)).await
    }

    /// Compares every byte on disk with its hash. Returns once it is begun, with the number of this check: its result is
    /// [`TransferView::check`] of that number.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::NoMetadata`].
    pub async fn verify(&self, id: TransferId) -> Result<u32, OpError> {
        let entry = self.0.entry(id)?;
        let running = entry.running().ok_or(OpError::NoMetadata(id))?;
        let checked = running.transfer.verify().await;
        let number = entry.checks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        self.0.resources.tasks.spawn(async move {
            let Ok(verified) = checked.await else { return };
            entry.facts().check = Some(views::check(number, &running, &verified));
        });
        Ok(number)
    }

    /// Sets the limits of one transfer, or (`None`) of the whole node.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn limit(&self, id: Option<TransferId>, limits: Limits) -> Result<(), OpError> {
        self.change(|node| node.limit(id, limits)).await
    }

    /// Applies rules to the files of a transfer, later ones over earlier ones; files that match none stay as they are.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::BadGlob`], [`OpError::NoMetadata`].
    pub async fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Result<(), OpError> {
        self.change(|node| node.set_priorities(id, rules)).await
    }

    /// Names peers of a transfer.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn add_peers(&self, id: TransferId, peers: Vec<SocketAddr>) -> Result<(), OpError> {
        let torrent = self.0.entry(id)?.facts().torrent.clone();
        if let Some(torrent) = torrent {
            self.0.door.introduce(&torrent, peers).await;
        }
        Ok(())
    }

    /// Reads verified bytes of a file, waiting for those that are not there yet; while a reader lives, the pieces before it are
    /// fetched by deadline. Reading fails when the transfer is paused with an error, removed, or the file changed.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::NoMetadata`], [`OpError::NoSuchFile`], [`OpError::NotInFile`] for a range past the end.
    pub fn read(
        &self,
        id: TransferId,
        file: u32,
        range: Range<u64>,
    ) -> Result<Box<dyn AsyncRead + Send + Sync + Unpin>, OpError> {
        let running = self.0.entry(id)?.running().ok_or(OpError::NoMetadata(id))?;
        let layout = running.metainfo.info.layout.clone();
        let entry = views::file_entries(&layout).nth(file as usize).ok_or(OpError::NoSuchFile(id, file))?;
        let length = layout.entries().get(entry).map_or(0, |entry| entry.length);
        if range.start > range.end || range.end > length {
            return Err(OpError::NotInFile { length });
        }
        Ok(Box::new(read::read(running.transfer.clone(), entry, range)))
    }

    /// Numbers of the whole node.
    pub async fn stats(&self) -> StatsView {
        self.0.stats(self.list().await).await
    }

    /// Says goodbye to trackers, writes the journals and ends every task; returns within two seconds. Calls after it fail with
    /// [`OpError::Stopped`].
    pub async fn stop(&self) {
        let stopping = async {
            self.0.door.close().await;
            self.0.cancel.cancel();
            for entry in self.0.all() {
                entry.cancel.cancel();
            }
            self.0.resources.tasks.close();
            self.0.resources.tasks.wait().await;
            if let Some(blocks) = self.0.blocks.clone() {
                let _ = tokio::task::spawn_blocking(move || blocks.close()).await;
            }
        };
        if tokio::time::timeout(STOP_MAX, stopping).await.is_err() {
            tracing::warn!("not everything ended in time");
            self.0.cancel.cancel();
        }
    }

    /// Carries out a change of one transfer, which goes on when nobody waits for it any more.
    async fn change<T: Send + 'static, F>(&self, change: impl FnOnce(Arc<Inner>) -> F) -> Result<T, OpError>
    where
        F: Future<Output = Result<T, OpError>> + Send + 'static,
    {
        self.0.to_its_end(change(self.0.clone())).await.unwrap_or(Err(OpError::Stopped))
    }
}

impl Inner {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().by_id.values().cloned().collect()
    }

    fn entry(&self, id: TransferId) -> Result<Arc<Entry>, OpError> {
        if self.cancel.is_cancelled() {
            return Err(OpError::Stopped);
        }
        let entry = {
            let entries = self.entries();
            entries.by_id.get(&entries.resolve(id)).cloned()
        };
        entry.ok_or(OpError::NoSuchTransfer(TransferRef::Number(id)))
    }

    fn emit(&self, event: Event) {
        // Nobody listens: nothing is lost, the state can be asked for.
        let _ = self.events.send(event);
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
