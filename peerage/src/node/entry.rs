//! One transfer of a node: what is known of it, and what it does at present.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::torrent::Torrent;
use peerage_swarm::driver::{Throttle, Transfer};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::select::Rules;
use super::shelf::{Record, Slot};
use crate::author::IpfsNames;
use crate::model::{Check, FilePriority, Limits, Problem, Role, SeedGoal, State, TransferId};

/// A transfer of the node. Shared between its task, which moves it on, and whoever asks about it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: TransferId,
    pub(super) role: Role,
    pub(super) slot: Slot,
    pub(super) rules: Rules,
    facts: Mutex<Facts>,
    /// Checks of every byte that were asked for.
    pub(super) checks: AtomicU32,
    /// Held while the record is written, so that the last write is of the last state.
    writing: Mutex<Writing>,
    /// Bytes hashed so far, in the states that hash.
    pub(super) hashed: AtomicU64,
    pub(super) paused: watch::Sender<bool>,
    /// The user wants a failed transfer tried again.
    pub(super) retry: Notify,
    pub(super) throttle: Arc<Throttle>,
    pub(super) cancel: CancellationToken,
}

/// Whether the record of a transfer may be written.
#[derive(Debug, Default)]
struct Writing {
    /// It was taken out: nothing of it is kept any more, and its slot may have become another's.
    forgotten: bool,
}

/// What is known of a transfer. Held shortly, never across an await.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) record: Record,
    pub(super) state: State,
    pub(super) problem: Option<Problem>,
    pub(super) name: PathBuf,
    pub(super) path: PathBuf,
    pub(super) hashes: Option<InfoHashes>,
    /// How a share is named in IPFS.
    pub(super) ipfs: Option<IpfsNames>,
    pub(super) private: bool,
    /// Bytes to hash, while hashing.
    pub(super) hashing: Option<u64>,
    pub(super) trackers: Vec<Vec<String>>,
    pub(super) web_seeds: Vec<String>,
    pub(super) given: u32,
    /// The last check of every byte.
    pub(super) check: Option<Check>,
    pub(super) torrent: Option<Arc<Torrent>>,
    pub(super) running: Option<Arc<Running>>,
}

/// A transfer that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) metainfo: Metainfo,
    pub(super) transfer: Transfer,
    /// Priorities by entry of the layout.
    pub(super) priorities: Mutex<Vec<FilePriority>>,
}

impl Entry {
    pub(super) fn new(
        id: TransferId,
        role: Role,
        slot: Slot,
        rules: Rules,
        facts: Facts,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let Limits { up, down } = facts.record.limits;
        Arc::new(Self {
            id,
            role,
            slot,
            rules,
            checks: AtomicU32::new(0),
            writing: Mutex::default(),
            hashed: AtomicU64::new(0),
            paused: watch::channel(facts.record.paused).0,
            retry: Notify::new(),
            throttle: Throttle::new(limit(up), limit(down)),
            facts: Mutex::new(facts),
            cancel,
        })
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self) -> Option<Arc<Running>> {
        self.facts().running.clone()
    }

    pub(super) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Ends it for good; [`Entry::clear`] follows. Its record is not written any more once this returns. Waits for the disk.
    pub(super) fn forget(&self) {
        self.writing().forgotten = true;
        self.cancel.cancel();
    }

    /// Deletes what was kept of it.
    pub(super) fn clear(&self) {
        let _writing = self.writing();
        self.slot.clear();
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record and keeps it; it is on disk when this returns.
    pub(super) async fn keep(self: &Arc<Self>, change: impl FnOnce(&mut Record)) {
        change(&mut self.facts().record);
        let entry = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let writing = entry.writing();
            let record = entry.facts().record.clone();
            // One that is removed is not written anew.
            if writing.forgotten { Ok(()) } else { entry.slot.write_record(&record) }
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(error = error.in_full(), "a change will be forgotten at the next start");
        }
    }
}

impl Facts {
    pub(super) fn new(record: Record, name: PathBuf, path: PathBuf) -> Self {
        Self {
            record,
            state: State::Queued,
            problem: None,
            name,
            path,
            hashes: None,
            ipfs: None,
            private: false,
            hashing: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            given: 0,
            check: None,
            torrent: None,
            running: None,
        }
    }

    /// When serving ends.
    pub(super) fn goal(&self) -> SeedGoal {
        self.record.goal
    }
}

impl Running {
    /// The torrent, with what peers told of its hashes.
    pub(super) fn whole_metainfo(&self) -> Metainfo {
        let mut metainfo = self.metainfo.clone();
        metainfo.take_layers(self.transfer.truth());
        metainfo
    }

    /// Bytes that are not there, wanted or not.
    pub(super) fn missing(&self) -> u64 {
        let size = self.metainfo.info.layout.content_length();
        size.saturating_sub(self.transfer.store().verified_bytes())
    }

    /// Whether every byte is there.
    pub(super) fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    pub(super) fn priorities(&self) -> MutexGuard<'_, Vec<FilePriority>> {
        self.priorities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit as the user says it (0: none) as the engine takes it.
pub(super) fn limit(rate: Option<u64>) -> Option<u64> {
    rate.filter(|rate| *rate > 0)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
