//! Keeps the journal of a transfer: what is verified is on record within a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peerage_content::{Journal, PieceIndex, StorageError, Store, Workers};
use tracing::warn;

/// How long a verified piece may stay unrecorded.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often file data is forced to disk, so that power loss costs little rechecking.
const SYNC_EVERY: Duration = Duration::from_secs(30);

/// Batches records and writes them on a worker thread, one commit at a time.
#[derive(Debug)]
pub(super) struct Records {
    journal: Option<Arc<Mutex<Journal>>>,
    note: Vec<u8>,
    verified: Vec<PieceIndex>,
    lost: Vec<PieceIndex>,
    totals: (u64, u64),
    totals_recorded: (u64, u64),
    commit_at: Option<Instant>,
    sync_at: Option<Instant>,
}

impl Records {
    pub(super) fn new(journal: Option<Journal>, note: Vec<u8>, totals: (u64, u64)) -> Self {
        Self {
            journal: journal.map(|journal| Arc::new(Mutex::new(journal))),
            note,
            verified: Vec::new(),
            lost: Vec::new(),
            totals,
            totals_recorded: totals,
            commit_at: None,
            sync_at: None,
        }
    }

    pub(super) fn verified(&mut self, piece: PieceIndex, now: Instant) {
        self.verified.push(piece);
        self.due(now);
        self.sync_at.get_or_insert(now + SYNC_EVERY);
    }

    pub(super) fn lost(&mut self, piece: PieceIndex, now: Instant) {
        self.lost.push(piece);
        self.due(now);
    }

    /// Bytes downloaded and uploaded over all runs, as of now; recorded with the next commit.
    pub(super) fn totals(&mut self, totals: (u64, u64)) {
        self.totals = totals;
    }

    fn due(&mut self, now: Instant) {
        self.commit_at.get_or_insert(now + COMMIT_EVERY);
    }

    /// When [`Records::tick`] has something to do.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.journal.as_ref().and(self.commit_at.into_iter().chain(self.sync_at).min())
    }

    /// Writes what is due, on a worker.
    pub(super) fn tick(&mut self, now: Instant, store: &Arc<Store>, workers: &Workers) {
        let sync = self.sync_at.is_some_and(|at| at <= now);
        if sync || self.commit_at.is_some_and(|at| at <= now) {
            let store = store.clone();
            if let Some(job) = self.job(sync, false) {
                workers.run(move || job(&store));
            }
        }
    }

    /// Writes everything, with the stamps of the files, and forces the journal to disk if the data is small enough to wait for.
    pub(super) fn close(&mut self, store: &Arc<Store>) {
        if let Some(job) = self.job(false, true) {
            job(store);
        }
    }

    /// Writes everything soon, with the stamps of the files: they are complete.
    pub(super) fn complete(&mut self, store: &Arc<Store>, workers: &Workers) {
        let store = store.clone();
        if let Some(job) = self.job(false, true) {
            workers.run(move || job(&store));
        }
    }

    fn job(&mut self, sync: bool, stamp: bool) -> Option<impl FnOnce(&Store) + Send + use<>> {
        let journal = self.journal.clone()?;
        let verified = std::mem::take(&mut self.verified);
        let lost = std::mem::take(&mut self.lost);
        let note = self.note.clone();
        let totals = self.totals;
        let describe = stamp || self.totals_recorded != totals;
        self.totals_recorded = totals;
        self.commit_at = None;
        if sync {
            self.sync_at = None;
        }
        Some(move |store: &Store| {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.verified(&verified);
            journal.lost(&lost);
            if describe {
                let stamps = if stamp { store.stamps() } else { Vec::new() };
                journal.describe(&stamps, &note, totals);
            }
            if let Err(error) = write(&mut journal, store, sync) {
                warn!(%error, "progress could not be recorded; it is tried again");
            }
        })
    }
}

fn write(journal: &mut Journal, store: &Store, sync: bool) -> Result<(), StorageError> {
    if sync {
        // Commit first: what is on record before the sync is what the sync covers.
        journal.commit(false)?;
        store.sync()?;
    }
    journal.commit(sync)
}
