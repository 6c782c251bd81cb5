//! Keeps the journal of a transfer: what is verified is on record within a second.
//!
//! A worker borrows the journal for each commit and gives it back with the outcome: there is at most one commit under way, and the
//! transfer never waits for it. Flushing file data takes long and does without the journal, so that commits go on meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use peerage_content::{FlushError, Journal, PieceIndex, StorageError, Store, Workers};
use tokio::sync::oneshot;
use tracing::warn;

/// How long a verified piece may stay unrecorded.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// The same for the totals, if nothing else is to be recorded.
const TOTALS_EVERY: Duration = Duration::from_secs(10);
/// How long after a failed commit the next is tried.
const COMMIT_RETRY: Duration = Duration::from_secs(5);
/// How often file data is forced to disk, so that power loss costs little rechecking.
const FLUSH_EVERY: Duration = Duration::from_secs(30);
/// The same once everything is there. A process that ends with its download does not wait for the disk.
const FLUSH_COMPLETE: Duration = Duration::from_secs(1);

/// Batches records and writes them on worker threads.
#[derive(Debug)]
pub(super) struct Records {
    /// `None` while a worker has it, and where nothing is recorded.
    journal: Option<Journal>,
    note: Vec<u8>,
    /// In order.
    changes: Vec<(PieceIndex, Standing)>,
    totals: (u64, u64),
    totals_recorded: (u64, u64),
    /// The stamps of the files are to be recorded.
    stamp: bool,
    /// A flush has ended that is not on record.
    flushed: bool,
    commit_at: Option<Instant>,
    flush_at: Option<Instant>,
    commit: Option<oneshot::Receiver<Box<Commit>>>,
    flush: Option<oneshot::Receiver<Result<(), FlushError>>>,
    /// The last commit failed.
    failing: bool,
}

/// How a piece stands from now on.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Verified,
    Lost,
    Suspect,
}

/// A commit: the journal, what to write beside the changes in it, and how it went.
#[derive(Debug)]
struct Commit {
    journal: Journal,
    described: bool,
    stamp: bool,
    synced: bool,
    result: Result<(), StorageError>,
}

/// What workers did; an error here means that they could not do it at all.
#[derive(Debug)]
pub(super) struct Outcome(Done);

#[derive(Debug)]
enum Done {
    Commit(Result<Box<Commit>, oneshot::error::RecvError>),
    Flush(Result<Result<(), FlushError>, oneshot::error::RecvError>),
}

impl Records {
    pub(super) fn new(journal: Option<Journal>, note: Vec<u8>, totals: (u64, u64), now: Instant) -> Self {
        let has_unsynced = journal.as_ref().is_some_and(Journal::has_unsynced);
        Self {
            journal,
            note,
            changes: Vec::new(),
            totals,
            totals_recorded: totals,
            stamp: false,
            flushed: false,
            commit_at: None,
            flush_at: has_unsynced.then_some(now + FLUSH_EVERY),
            commit: None,
            flush: None,
            failing: false,
        }
    }

    pub(super) fn verified(&mut self, piece: PieceIndex, now: Instant) {
        self.changes.push((piece, Standing::Verified));
        self.due(now + COMMIT_EVERY);
        self.flush_at.get_or_insert(now + FLUSH_EVERY);
    }

    /// At once, and with the stamps: what is written in its place is no change by others, should this process die.
    pub(super) fn lost(&mut self, piece: PieceIndex, now: Instant) {
        self.changes.push((piece, Standing::Lost));
        self.stamp(now);
    }

    /// A file is complete: from now on a change to it is somebody else's.
    pub(super) fn completed_file(&mut self) {
        self.stamp = true;
    }

    /// The stamps of the files are not those on record.
    pub(super) fn stamp(&mut self, now: Instant) {
        self.stamp = true;
        self.due(now);
    }

    /// Not believed any more before it is hashed.
    pub(super) fn suspect(&mut self, piece: PieceIndex, now: Instant) {
        self.changes.push((piece, Standing::Suspect));
        self.stamp(now);
    }

    /// Bytes downloaded and uploaded over all runs, as of now.
    pub(super) fn totals(&mut self, totals: (u64, u64), now: Instant) {
        if self.totals != totals {
            self.totals = totals;
            self.due(now + TOTALS_EVERY);
        }
    }

    /// Everything is there: records the stamps of the files, and forces their data to disk soon.
    pub(super) fn complete(&mut self, now: Instant) {
        self.stamp(now);
        self.flush_at = self.flush_at.map(|at| at.min(now + FLUSH_COMPLETE));
    }

    fn due(&mut self, at: Instant) {
        self.commit_at = Some(self.commit_at.map_or(at, |due| due.min(at)));
    }

    /// When [`Records::tick`] has something to do.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.journal.as_ref()?;
        let flush_at = self.flush_at.filter(|_| self.flush.is_none());
        self.commit_at.into_iter().chain(flush_at).min()
    }

    /// Has workers write what is due.
    pub(super) fn tick(&mut self, now: Instant, store: &Arc<Store>, workers: &Workers) {
        if self.timeout().is_none_or(|at| at > now) {
            return;
        }
        let Some(mut commit) = self.begin() else { return };
        if self.flush.is_none() && self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            // Covers what this commit writes, too: those bytes are in the files already.
            commit.journal.begin_flush();
            let (done, flush) = oneshot::channel();
            self.flush = Some(flush);
            let store = store.clone();
            workers.submit(move || {
                let _ = done.send(store.sync());
            });
        }
        let (done, outcome) = oneshot::channel();
        self.commit = Some(outcome);
        let (store, note, totals) = (store.clone(), self.note.clone(), self.totals);
        workers.submit(move || {
            commit.write(&store, &note, totals);
            let _ = done.send(commit);
        });
    }

    /// Takes the journal with everything that is to be written.
    fn begin(&mut self) -> Option<Box<Commit>> {
        let mut journal = self.journal.take()?;
        for (piece, standing) in self.changes.drain(..) {
            match standing {
                Standing::Verified => journal.verified(&[piece]),
                Standing::Lost => journal.lost(&[piece]),
                Standing::Suspect => journal.suspect(&[piece]),
            }
        }
        let stamp = std::mem::take(&mut self.stamp);
        let described = stamp || self.totals_recorded != self.totals;
        self.totals_recorded = self.totals;
        self.commit_at = None;
        let synced = std::mem::take(&mut self.flushed);
        Some(Box::new(Commit { journal, described, stamp, synced, result: Ok(()) }))
    }

    /// Waits until a worker is done; [`Records::heed`] takes that in. Cancel-safe.
    pub(super) async fn outcome(&mut self) -> Outcome {
        let done = std::future::poll_fn(|context| {
            if let Poll::Ready(done) = poll(&mut self.commit, context) {
                return Poll::Ready(Done::Commit(done));
            }
            poll(&mut self.flush, context).map(Done::Flush)
        });
        Outcome(done.await)
    }

    /// Takes in what a worker did.
    ///
    /// # Errors
    /// When file data could not be forced to disk; it is tried again.
    pub(super) fn heed(&mut self, Outcome(done): Outcome, now: Instant) -> Result<(), FlushError> {
        match done {
            Done::Commit(Ok(commit)) => self.committed(*commit, now),
            Done::Flush(Ok(Ok(()))) => {
                self.flushed = true;
                self.due(now);
            }
            Done::Flush(Ok(Err(error))) => {
                self.flush_at = Some(now + FLUSH_EVERY);
                return Err(error);
            }
            // The job panicked, which was logged.
            Done::Commit(Err(_)) => warn!("progress is not recorded any more"),
            Done::Flush(Err(_)) => {}
        }
        Ok(())
    }

    fn committed(&mut self, commit: Commit, now: Instant) {
        let Commit { journal, stamp, synced, result, .. } = commit;
        self.journal = Some(journal);
        if let Err(error) = &result {
            if !self.failing {
                warn!(error = error.in_full(), "progress cannot be recorded; it is tried again");
            }
            // The journal keeps what it was given.
            self.stamp |= stamp;
            self.flushed |= synced;
            self.due(now + COMMIT_RETRY);
        }
        self.failing = result.is_err();
    }

    /// Writes everything, with the stamps of the files.
    pub(super) async fn close(mut self, store: Arc<Store>) {
        if let Some(commit) = self.commit.take()
            && let Ok(commit) = commit.await
        {
            self.committed(*commit, Instant::now());
        }
        self.stamp = true;
        let Some(mut commit) = self.begin() else { return };
        let (note, totals) = (self.note, self.totals);
        let written = tokio::task::spawn_blocking(move || {
            commit.write(&store, &note, totals);
            commit.result
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = error.in_full(), "progress could not be recorded at the end"),
            Err(error) => warn!(%error, "progress could not be recorded at the end"),
        }
    }
}

impl Commit {
    fn write(&mut self, store: &Store, note: &[u8], totals: (u64, u64)) {
        if self.described {
            let stamps = if self.stamp { store.stamps() } else { Vec::new() };
            self.journal.describe(&stamps, note, totals);
        }
        self.result = self.journal.commit(self.synced);
    }
}

/// Whether what is under way is done; nothing is under way then.
fn poll<T>(
    slot: &mut Option<oneshot::Receiver<T>>,
    context: &mut Context<'_>,
) -> Poll<Result<T, oneshot::error::RecvError>> {
    let Some(under_way) = slot else { return Poll::Pending };
    let done = Pin::new(under_way).poll(context);
    if done.is_ready() {
        *slot = None;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_content::Journal;

    fn records(path: &std::path::Path, now: Instant) -> Records {
        let (journal, _) = Journal::open(path, b"it", 8, 1).unwrap();
        Records::new(Some(journal), Vec::new(), (0, 0), now)
    }

    #[test]
    fn totals_alone_are_recorded_too() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut records = records(&dir.path().join("journal"), now);
        records.totals((0, 0), now);
        assert_eq!(records.timeout(), None);
        records.totals((0, 5), now);
        assert_eq!(records.timeout(), Some(now + TOTALS_EVERY));
        records.verified(1, now);
        assert_eq!(records.timeout(), Some(now + COMMIT_EVERY));
    }

    #[test]
    fn what_is_lost_and_verified_again_is_verified() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let path = dir.path().join("journal");
        let mut records = records(&path, now);
        records.lost(1, now);
        records.verified(1, now);
        records.verified(2, now);
        records.lost(2, now);
        let mut commit = records.begin().unwrap();
        commit.result = commit.journal.commit(false);
        drop(commit);
        assert!(Journal::peek(&path).unwrap().1.verified.iter().eq([1]));
    }

    /// As after a failed flush: the files change, and their pieces are to be hashed before anybody believes them.
    #[test]
    fn what_the_disk_may_have_lost_is_hashed_by_the_next_run() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let path = dir.path().join("journal");
        let mut records = records(&path, now);
        records.verified(1, now);
        records.verified(2, now);
        records.lost(1, now);
        records.suspect(1, now);
        assert_eq!(records.timeout(), Some(now), "at once");
        let mut commit = records.begin().unwrap();
        assert!(commit.stamp);
        commit.result = commit.journal.commit(false);
        drop(commit);
        let (_, resumed) = Journal::peek(&path).unwrap();
        assert!(resumed.verified.iter().eq([2]) && resumed.suspect.iter().eq([1]));
    }

    #[test]
    fn a_commit_that_failed_is_tried_again_with_all_that_was_in_it() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let path = dir.path().join("journal");
        let mut records = records(&path, now);
        records.lost(1, now);
        records.complete(now);
        records.flushed = true;
        let mut commit = records.begin().unwrap();
        let source = std::io::Error::other("full");
        commit.result = Err(StorageError { attempt: "write journal", path, source });
        records.heed(Outcome(Done::Commit(Ok(commit))), now).unwrap();
        assert_eq!(records.timeout(), Some(now + COMMIT_RETRY));
        let again = records.begin().unwrap();
        assert!(again.stamp && again.synced && again.described);
    }

    #[test]
    fn nothing_is_due_while_a_worker_has_the_journal() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut records = records(&dir.path().join("journal"), now);
        records.verified(1, now);
        let commit = records.begin().unwrap();
        records.verified(2, now);
        assert_eq!(records.timeout(), None);
        records.heed(Outcome(Done::Commit(Ok(commit))), now).unwrap();
        assert_eq!(records.timeout(), Some(now + COMMIT_EVERY));
    }
}
