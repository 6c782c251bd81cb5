//! The node: transfers, their peers and their files, under one roof.
//!
//! [`Node`] wires the BitTorrent door, the swarm engine and the content store together and keeps what a restart needs in the data directory. It
//! knows no command line, no HTTP and no terminal: those talk to it through `crate::control::Control`.
//! A handle is cheap to clone; the node itself runs in tasks of its own until [`Node::stop`].

mod begin;
mod config;
mod entry;
mod error;
mod life;
mod read;
mod select;
mod share;
mod shelf;
mod views;

pub use config::{Dht, Encryption, NodeConfig};
pub use error::{AddError, OpError, StartError};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peerage_bittorrent::door::{DhtSettings, Door, DoorConfig, DoorError};
use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::{Magnet, MagnetError};
use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::mse;
use peerage_content::{BlockPool, FilePool, Workers};
use peerage_swarm::driver::{Direction, Resources, Throttle};
use tokio::io::AsyncRead;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::entry::{Entry, Facts, limit};
use self::select::Rules;
use self::shelf::{Record, Shelf, Slot};

use crate::model::{
    AddRequest, Event, FilePriority, FileView, Limits, Link, PeerView, PriorityRule, Role, StatsView,
    TrackerView, TransferId, TransferRef, TransferView,
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
    entries: Mutex<Entries>,
    events: broadcast::Sender<Event>,
    config: NodeConfig,
    started: Instant,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: BTreeMap<TransferId, Arc<Entry>>,
    added: u32,
}

impl Node {
    /// Opens the data directory, listens, and (with [`NodeConfig::restore`]) takes up the transfers of the former run.
    /// Returns before those are checked.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let shelf = Shelf::open(&config.data_dir).map_err(StartError::DataDir)?;
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
        let Limits { up, down } = config.limits;
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
            entries: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            started: Instant::now(),
            cancel,
            config,
        });
        if inner.config.restore {
            inner.restore();
        }
        inner.emit(Event::Listening { addresses: inner.door.listening().to_vec() });
        Ok(Self(inner))
    }

    /// The addresses it listens on, with the ports it really got.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.0.door.listening().to_vec()
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
        let node = self.0.clone();
        let entry = tokio::task::spawn_blocking(move || node.admit(request)).await;
        let entry = entry.map_err(|_| AddError::Stopped)??;
        let id = entry.id;
        self.0.emit(Event::Added { transfer: Box::new(self.0.view_of(&entry).await) });
        self.0.resources.tasks.spawn(life::live(self.0.clone(), entry));
        Ok(id)
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
        let mut views = Vec::new();
        for entry in self.0.all() {
            views.push(self.0.view_of(&entry).await);
        }
        views
    }

    /// One transfer. Called once a second by every watcher.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn view(&self, id: TransferId) -> Result<TransferView, OpError> {
        let entry = self.0.entry(id)?;
        Ok(self.0.view_of(&entry).await)
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
    pub fn torrent(&self, id: TransferId) -> Result<Vec<u8>, OpError> {
        let running = self.0.entry(id)?.running().ok_or(OpError::NoMetadata(id))?;
        let mut metainfo = running.metainfo.clone();
        metainfo.take_layers(running.transfer.truth());
        Ok(metainfo.to_bytes())
    }

    /// Stops a transfer: no peers, no trackers. Survives a restart. Nothing happens when it is paused already.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub fn pause(&self, id: TransferId) -> Result<(), OpError> {
        let entry = self.0.entry(id)?;
        entry.keep(|record| record.paused = true);
        entry.paused.send_replace(true);
        Ok(())
    }

    /// Starts a paused or failed transfer again; a complete one is served again.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub fn resume(&self, id: TransferId) -> Result<(), OpError> {
        let entry = self.0.entry(id)?;
        entry.keep(|record| record.paused = false);
        entry.paused.send_replace(false);
        entry.retry.notify_waiters();
        Ok(())
    }

    /// Forgets a transfer. With `delete_files` the files of a download are deleted too, and folders that are empty then; files that were
    /// shared in place are never deleted.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`]; [`OpError::NotDeletable`] (nothing was removed); [`OpError::Storage`] (forgotten, files left).
    pub async fn remove(&self, id: TransferId, delete_files: bool) -> Result<(), OpError> {
        let entry = self.0.entry(id)?;
        if delete_files && entry.role == Role::Share {
            return Err(OpError::NotDeletable(entry.facts().path.clone()));
        }
        let running = entry.running();
        entry.cancel.cancel();
        if let Some(running) = &running {
            running.transfer.ended().await;
        }
        self.0.entries().by_id.remove(&id);
        self.0.emit(Event::Removed { id });
        let files = running.filter(|_| delete_files);
        let slot = entry.slot.clone();
        let deleted = tokio::task::spawn_blocking(move || {
            slot.clear();
            files.map_or(Ok(()), |running| running.transfer.store().delete())
        });
        deleted.await.map_err(|_| OpError::Stopped)??;
        Ok(())
    }

    /// Compares every byte on disk with its hash. Returns once it is begun; the end is told by [`Event::State`].
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::NoMetadata`].
    pub async fn verify(&self, id: TransferId) -> Result<(), OpError> {
        let running = self.0.entry(id)?.running().ok_or(OpError::NoMetadata(id))?;
        running.transfer.verify().await;
        Ok(())
    }

    /// Sets the limits of one transfer, or (`None`) of the whole node.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub fn limit(&self, id: Option<TransferId>, limits: Limits) -> Result<(), OpError> {
        let throttle = match id {
            Some(id) => {
                let entry = self.0.entry(id)?;
                entry.keep(|record| {
                    record.limits.up = limits.up.or(record.limits.up);
                    record.limits.down = limits.down.or(record.limits.down);
                });
                entry.throttle.clone()
            }
            None => self.0.resources.throttle.clone(),
        };
        for (direction, rate) in [(Direction::Up, limits.up), (Direction::Down, limits.down)] {
            if let Some(rate) = rate {
                throttle.set(direction, limit(Some(rate)), Instant::now());
            }
        }
        Ok(())
    }

    /// Applies rules to the files of a transfer, later ones over earlier ones; files that match none stay as they are.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::BadGlob`], [`OpError::NoMetadata`].
    pub async fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Result<(), OpError> {
        let rules =
            Rules::new(&[], &rules).map_err(|(glob, why)| OpError::BadGlob { glob, why: why.into() })?;
        let entry = self.0.entry(id)?;
        let running = entry.running().ok_or(OpError::NoMetadata(id))?;
        let layout = &running.metainfo.info.layout;
        let priorities = {
            let mut priorities = running.priorities();
            rules.apply(layout, &mut priorities, false);
            priorities.clone()
        };
        running.transfer.store().want(|entry| priorities.get(entry) != Some(&FilePriority::Skip));
        running.transfer.prioritise(select::piece_priorities(layout, &priorities)).await;
        entry.keep(|record| record.priorities = priorities);
        Ok(())
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
        };
        if tokio::time::timeout(STOP_MAX, stopping).await.is_err() {
            tracing::warn!("not everything ended in time");
            self.0.cancel.cancel();
        }
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
        let entry = self.entries().by_id.get(&id).cloned();
        entry.ok_or(OpError::NoSuchTransfer(TransferRef::Number(id)))
    }

    fn emit(&self, event: Event) {
        // Nobody listens: nothing is lost, the state can be asked for.
        let _ = self.events.send(event);
    }

    /// The transfer, other than `but`, that has content of these hashes.
    fn holder_of(&self, hashes: InfoHashes, but: TransferId) -> Option<TransferId> {
        let holds = |entry: &Entry| {
            let facts = entry.facts();
            facts.torrent.is_some() && facts.hashes.is_some_and(|other| other.agrees_with(&hashes))
        };
        self.all().into_iter().find(|entry| entry.id != but && holds(entry)).map(|entry| entry.id)
    }

    /// Checks a request and makes its entry. Touches the disk.
    fn admit(&self, request: AddRequest) -> Result<Arc<Entry>, AddError> {
        let (request, hashes, torrent, name) = identify(request)?;
        if let Some(hashes) = hashes
            && let Some(id) = self.holder_of(hashes, TransferId(0))
        {
            return Err(AddError::Exists(id));
        }
        let primary = hashes.and_then(|hashes| hashes.primary()).map(|swarm| swarm.to_string());
        let slot = self.shelf.slot(&begin::key(&request, &primary.unwrap_or_default()));
        let before = slot.read_record().ok();
        let options = match &request {
            AddRequest::Share(share) => &share.options,
            AddRequest::Get(get) => &get.options,
        };
        let record = Record {
            paused: options.paused,
            added: before.as_ref().map_or_else(entry::now, |record| record.added),
            finished: before.as_ref().and_then(|record| record.finished),
            limits: options.limits,
            goal: options.goal.unwrap_or(self.config.goal),
            priorities: Vec::new(),
            request,
        };
        if self.all().iter().any(|entry| entry.slot == slot) {
            let same = self.all().into_iter().find(|entry| entry.slot == slot);
            return Err(same.map_or(AddError::Busy, |entry| AddError::Exists(entry.id)));
        }
        if let Some(torrent) = &torrent {
            slot.write_torrent(torrent)?;
        }
        slot.write_record(&record)?;
        self.place(slot, record, hashes, name)
    }

    fn place(
        &self,
        slot: Slot,
        record: Record,
        hashes: Option<InfoHashes>,
        name: PathBuf,
    ) -> Result<Arc<Entry>, AddError> {
        let (role, path, rules) = match &record.request {
            AddRequest::Share(share) => (Role::Share, share.path.0.clone(), Rules::default()),
            AddRequest::Get(get) => {
                let rules = Rules::new(&get.only, &get.priorities)
                    .map_err(|(glob, why)| AddError::BadGlob { glob, why: why.into() })?;
                (Role::Get, get.folder.0.clone(), rules)
            }
        };
        let mut facts = Facts::new(record, name, path);
        facts.hashes = hashes;
        let mut entries = self.entries();
        entries.added += 1;
        let id = TransferId(entries.added);
        let entry = Entry::new(id, role, slot, rules, facts, self.cancel.child_token());
        entries.by_id.insert(id, entry.clone());
        Ok(entry)
    }

    /// Takes up the transfers of the former run.
    fn restore(self: &Arc<Self>) {
        let mut records = self.shelf.records().unwrap_or_default();
        records.sort_by_key(|(_, record)| record.as_ref().map_or(0, |record| record.added));
        for (slot, record) in records {
            let restored = record.map_err(AddError::from).and_then(|record| {
                let (_, hashes, _, name) = identify(record.request.clone())?;
                self.place(slot, record, hashes, name)
            });
            match restored {
                Ok(entry) => {
                    self.resources.tasks.spawn(life::live(self.clone(), entry));
                }
                Err(error) => tracing::warn!(%error, "a transfer of the former run is left out"),
            }
        }
    }
}

/// What a request names: itself without the bytes of its torrent, its hashes as far as they are known, those bytes, and a first name.
type Identified = (AddRequest, Option<InfoHashes>, Option<Vec<u8>>, PathBuf);

fn identify(request: AddRequest) -> Result<Identified, AddError> {
    let parse = |bytes: &[u8]| {
        Metainfo::parse(bytes).map_err(|why| AddError::Refused { what: "the torrent", why: why.into() })
    };
    match request {
        AddRequest::Share(mut share) => {
            share.path.0 = begin::absolute(&share.path.0);
            let name = share.path.0.file_name().map(PathBuf::from).unwrap_or_default();
            let torrent = share.as_torrent.take().map(|torrent| torrent.0);
            let hashes = torrent.as_deref().map(parse).transpose()?.map(|metainfo| metainfo.info.hashes);
            Ok((AddRequest::Share(share), hashes, torrent, name))
        }
        AddRequest::Get(mut get) => {
            get.folder.0 = begin::absolute(&get.folder.0);
            match &get.link {
                Link::Torrent(torrent) => {
                    let torrent = torrent.0.clone();
                    let metainfo = parse(&torrent)?;
                    let hashes = metainfo.info.hashes;
                    get.link =
                        Link::Name(hashes.primary().map(|swarm| swarm.to_string()).unwrap_or_default());
                    let name = metainfo.info.name.as_path().to_owned();
                    Ok((AddRequest::Get(get), Some(hashes), Some(torrent), name))
                }
                Link::Name(link) => {
                    let magnet: Magnet = link.parse().map_err(|why: MagnetError| AddError::Refused {
                        what: "the link",
                        why: why.into(),
                    })?;
                    let name = magnet.name.clone().map(PathBuf::from);
                    let hash = magnet.hashes.primary().map(|swarm| swarm.to_string()).unwrap_or_default();
                    Ok((AddRequest::Get(get), Some(magnet.hashes), None, name.unwrap_or_else(|| hash.into())))
                }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
