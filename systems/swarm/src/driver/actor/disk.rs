//! The files of a transfer: hashing and comparing them, and what follows when they are not as the core believes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use peerage_content::{FlushError, Intake, PieceIndex, PieceSet, Rechecked, StorageError, Yielded, recheck};
use tracing::{info, warn};

use super::super::link::Order;
use super::super::transfer::{Activity, Stall};
use super::{Actor, Message};
use crate::core::{Input, Output, Shown};

/// How often complete files are compared with their stamps. Serving notices a change too, but only of what is asked for, and bytes that the
/// kernel already holds for sending change with the file.
pub(super) const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// The same while nobody is connected.
pub(super) const COMPARE_IDLE: Duration = Duration::from_secs(60);
/// How long after a storage error the files are tried again. It doubles while that fails, because every attempt fetches data that may
/// have to be thrown away.
const STORAGE_RETRY: Duration = Duration::from_secs(3);
/// How often it doubles: to 24 s.
const STORAGE_DOUBLINGS_MAX: u32 = 3;
/// Changes that are told to peers one by one; more are told at once, because they would not all fit among a wire's orders.
const ANNOUNCED_SINGLY_MAX: usize = 256;

/// A recheck under way.
pub(super) struct Check {
    /// Bytes hashed so far, of `total`.
    pub(super) hashed: Arc<AtomicU64>,
    pub(super) total: u64,
    pieces: PieceSet,
}

/// What whoever has files checked lets happen to them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// They are read.
    None,
    /// Their user wants the original back: what they have beyond it goes. (What differs in it is fetched.)
    CutSurplus,
}

impl Actor {
    /// Waits before the files are used again.
    pub(super) fn stall(&mut self, now: Instant, error: &StorageError) {
        if self.stalled.is_none() {
            warn!(error = error.in_full(), "storage does not do as asked; trying again shortly");
            self.stalls += 1;
        }
        let pause = STORAGE_RETRY * (1 << self.stalls.saturating_sub(1).min(STORAGE_DOUBLINGS_MAX));
        self.stalled = Some((Stall::from(error), now + pause));
        self.flow(now);
        self.publish_now(now);
    }

    /// What was written may not be on the disk, and is hashed from there when it works again.
    pub(super) fn not_flushed(&mut self, now: Instant, FlushError { error, lost }: &FlushError) {
        self.stall(now, error);
        self.heed_losses(now);
        for piece in lost.iter() {
            self.suspect.insert(piece);
            self.records.suspect(piece, now);
        }
    }

    /// When complete files are to be compared with their stamps.
    pub(super) fn compare_due(&self) -> Option<Instant> {
        let is_at_rest = self.finished || self.held.is_some();
        self.compare_at.filter(|_| is_at_rest && self.checking.is_none())
    }

    /// Compares at that time, if not before.
    pub(super) fn compare_by(&mut self, at: Instant) {
        self.compare_at = self.compare_at.map(|due| due.min(at));
    }

    /// Compares complete files with their stamps, on a worker.
    pub(super) fn compare(&mut self) {
        let Some(messages) = self.messages.upgrade() else { return };
        self.compare_at = None;
        let store = self.store.clone();
        self.resources.workers.submit(move || {
            let same = store.check_stamps().is_empty();
            let yielded = Box::new(store.yielded());
            let _ = messages.blocking_send(Message::Compared { same, yielded });
        });
    }

    pub(super) fn compared(&mut self, now: Instant, same: bool, yielded: &Yielded) {
        let pause = if self.peers.is_empty() { COMPARE_IDLE } else { COMPARE_EVERY };
        self.compare_at = Some(now + pause.mul_f64(1.0 + self.stagger / 2.0));
        yielded.gone.iter().for_each(|piece| self.strike_out(piece, now));
        if !same || !yielded.gone.is_empty() || !yielded.back.is_empty() {
            self.files_changed(now);
        }
        for piece in yielded.back.iter().filter(|piece| !self.store.is_verified(*piece)) {
            self.suspect.insert(piece);
        }
        self.check_suspects();
        self.heed_doubts(now);
    }

    /// Files may have been touched: what is in doubt is hashed soon.
    pub(super) fn heed_doubts(&mut self, now: Instant) {
        if !self.store.doubted().is_empty() {
            self.doubts.arise(now);
        }
    }

    /// When what is in doubt is to be hashed.
    pub(super) fn doubts_due(&self) -> Option<Instant> {
        self.doubts.due().filter(|_| self.checking.is_none() && self.stalled.is_none())
    }

    /// Hashes what is in doubt by now. A check that was under way may have told.
    pub(super) fn hash_doubted(&mut self, now: Instant) {
        self.doubts.take_up();
        self.store.doubted().iter().for_each(|piece| {
            self.suspect.insert(piece);
        });
        if self.check_suspects() {
            self.doubts.begin(now);
        }
    }

    /// Hashes what is to be hashed and can be; whether there is anything.
    pub(super) fn check_suspects(&mut self) -> bool {
        let mut pieces = PieceSet::empty(self.layout.piece_count());
        self.suspect.iter().filter(|piece| self.truth.knows(*piece)).for_each(|piece| {
            pieces.insert(piece);
        });
        let is_due = self.checking.is_none() && self.stalled.is_none() && !pieces.is_empty();
        if is_due {
            self.check(pieces, Consent::None);
        }
        is_due
    }

    /// Begins the check of everything that was asked for, unless one is under way.
    pub(super) fn verify(&mut self) {
        if self.checking.is_none() && !self.verify_next.is_empty() {
            self.verifying = std::mem::take(&mut self.verify_next);
            self.check(PieceSet::full(self.layout.piece_count()), Consent::CutSurplus);
        }
    }

    /// Hashes pieces on a thread of its own; fetching waits for the outcome.
    fn check(&mut self, pieces: PieceSet, consent: Consent) {
        if self.checking.is_some() {
            return;
        }
        let Some(messages) = self.messages.upgrade() else { return };
        let now = Instant::now();
        let total = pieces.iter().map(|piece| u64::from(self.layout.piece_size(piece))).sum();
        let hashed = Arc::new(AtomicU64::new(0));
        self.checking = Some(Check { hashed: hashed.clone(), total, pieces: pieces.clone() });
        self.flow(now);
        let stopping = self.intake.take().map(Intake::stop);
        for piece in stopping.iter().flat_map(|stopping| &stopping.dropped) {
            self.core.handle(now, Input::Lost { piece: *piece });
        }
        self.carry_out();
        self.publish_now(now);
        let (store, truth) = (self.store.clone(), self.truth.clone());
        tokio::task::spawn_blocking(move || {
            // What is written while a file is read would make it look changed.
            if let Some(stopping) = stopping {
                stopping.wait();
            }
            if consent == Consent::CutSurplus
                && let Err(error) = store.cut_surplus()
            {
                // The check finds it too long then.
                warn!(%error, "a file stays longer than it should be");
            }
            let progress = |bytes| {
                hashed.store(bytes, Ordering::Relaxed);
                !messages.is_closed()
            };
            let found = recheck(&store, &truth, &pieces, 0, &progress);
            let _ = messages.blocking_send(Message::Checked(Box::new(found)));
        });
    }

    pub(super) fn checked(&mut self, now: Instant, found: &Rechecked) {
        let Some(Check { pieces, .. }) = self.checking.take() else { return };
        self.doubts.end(now);
        let verified = self.store.verified();
        info!(verified = verified.count(), pieces = verified.len(), "checked");
        self.adopt(now, &verified);
        // Pieces that nobody believed before are on record too: as suspect, or as true because a former process said so.
        found.refuted.iter().for_each(|piece| self.strike_out(piece, now));
        self.tell_readers(found);
        for piece in pieces.iter() {
            if found.proven.contains(piece) || found.refuted.contains(piece) {
                self.suspect.remove(piece);
            } else {
                self.suspect.insert(piece);
            }
        }
        self.held = None;
        match &found.error {
            // What could not be read may be as it was.
            Some(error) => self.stall(now, error),
            None if self.check_suspects() => {}
            None => self.held = self.not_ours(),
        }
        // They may be of other files than those on record.
        self.records.stamp(now);
        self.flow(now);
        self.publish_now(now);
        for done in self.verifying.drain(..) {
            // Whoever asked may be gone.
            let _ = done.send(found.proven.clone());
        }
        self.verify();
    }

    /// Lets go on whoever waits for a piece that is true, or that comes from nowhere because it is somebody's work: reading it tells.
    fn tell_readers(&mut self, found: &Rechecked) {
        let is_told = |&piece: &PieceIndex| match self.store.is_verified(piece) {
            true => !self.store.is_doubted(piece),
            false => found.refuted.contains(piece) && self.store.is_disputed(piece),
        };
        let told: Vec<PieceIndex> = self.waiting.keys().copied().filter(is_told).collect();
        told.into_iter().for_each(|piece| self.wake(piece));
    }

    /// Makes the core agree with what the store holds.
    pub(super) fn adopt(&mut self, now: Instant, verified: &PieceSet) {
        let have = self.core.have();
        let differs = |piece: &PieceIndex| have.contains(*piece) != verified.contains(*piece);
        let changes: Vec<PieceIndex> = (0..self.layout.piece_count()).filter(differs).collect();
        let at_once = changes.len() > ANNOUNCED_SINGLY_MAX;
        for piece in changes {
            if verified.contains(piece) {
                self.core.handle(now, Input::Verified { piece });
                // Whoever wrote it, nothing says that it is on disk, even if it once was.
                self.records.lost(piece, now);
                self.records.verified(piece, now);
                self.wake(piece);
            } else {
                self.core.handle(now, Input::Lost { piece });
                self.strike_out(piece, now);
                self.finished = false;
            }
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Announce { peer: None, .. } | Output::Retract { .. } if at_once => {}
                    output => self.carry_out_one(output),
                }
            }
        }
        if at_once {
            let have = self.core.have().clone();
            self.broadcast(|| Order::Introduce(Shown::Verified(have.clone())));
        }
    }

    /// Takes a piece off the record, unless it is true, or its file is another than the one on record: then the stamp on record
    /// keeps it from being believed.
    fn strike_out(&mut self, piece: PieceIndex, now: Instant) {
        if !self.store.is_verified(piece) && !self.store.is_disputed(piece) {
            self.records.lost(piece, now);
        }
    }

    /// Files may have been removed, replaced or edited under our hands.
    pub(super) fn heed_losses(&mut self, now: Instant) {
        if self.losses != self.store.losses() {
            self.files_changed(now);
        }
    }

    /// The first file that is not what it should be, and that only its owner may make so: it was edited, or is shared.
    pub(super) fn not_ours(&self) -> Option<Activity> {
        let path = |entry| self.store.path_of(entry).display().to_string();
        if self.may_fetch {
            return Some(Activity::Changed(path(self.store.in_the_way()?)));
        }
        match self.store.changed().first() {
            Some(entry) => Some(Activity::Changed(path(*entry))),
            None => Some(Activity::Incomplete(path(self.store.incomplete()?))),
        }
    }

    /// Files were found to be others than those verified. What is gone of a download is fetched again; a file that somebody edited
    /// is theirs: it is named, and overwritten only after `verify` was asked for.
    pub(super) fn files_changed(&mut self, now: Instant) {
        self.losses = self.store.losses();
        // Before the core hears of any loss: it would ask for it.
        let held = self.not_ours();
        if let Some(Activity::Changed(file)) = held.as_ref().filter(|held| self.held.as_ref() != Some(held)) {
            warn!(%file, "changed since it was verified; it is no longer served");
        }
        self.held = held;
        self.flow(now);
        let verified = self.store.verified();
        self.adopt(now, &verified);
        self.heed_doubts(now);
        self.publish_now(now);
    }

    /// Every wanted piece is verified: completes the files, once.
    pub(super) fn finish(&mut self, now: Instant) {
        if self.may_fetch
            && let Err(error) = self.store.finish()
        {
            self.stall(now, &error);
            return;
        }
        self.heed_losses(now);
        if !self.core.is_finished() {
            return;
        }
        self.finished = true;
        // Pieces that are not wanted any more may still be on their way.
        let stopping = self.intake.take().map(Intake::stop);
        for piece in stopping.into_iter().flat_map(|stopping| stopping.dropped) {
            self.core.handle(now, Input::Lost { piece });
        }
        self.resources.pool.shrink();
        self.records.totals(self.totals_now(), now);
        self.records.complete(now);
        self.publish_now(now);
    }
}
