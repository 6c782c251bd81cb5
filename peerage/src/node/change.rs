//! What users change, each change to its end.
//!
//! Whoever asks for one may leave before it is done: a program that is ended in the middle of a request, for one. Half a change would be
//! worse than either, so each is a task of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use peerage_content::StorageError;
use peerage_swarm::driver::Direction;

use super::entry::{Entry, limit};
use super::select::{self, Rules};
use super::shelf::Record;
use super::{AddError, Inner, OpError, begin, life, state};
use crate::model::{AddRequest, Event, FilePriority, Limits, PriorityRule, Role, State, TransferId};
use crate::spool;

impl Inner {
    /// Goes on although nobody may wait for it any more. `None`: it failed in an unforeseen way.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.resources.tasks.spawn(change).await.ok()
    }

    pub(super) async fn add(self: Arc<Self>, request: AddRequest) -> Result<TransferId, AddError> {
        let node = self.clone();
        let entry = tokio::task::spawn_blocking(move || node.admit(request)).await;
        let entry = entry.map_err(|_| AddError::Stopped)??;
        let id = entry.id;
        let around = self.around().await;
        self.emit(Event::Added { transfer: Box::new(self.view_of(&entry, &around).await) });
        self.resources.tasks.spawn(life::live(self.clone(), entry));
        Ok(id)
    }

    pub(super) async fn pause(self: Arc<Self>, id: TransferId) -> Result<(), OpError> {
        let entry = self.entry(id)?;
        entry.keep(|record| record.paused = true).await;
        entry.paused.send_replace(true);
        Ok(())
    }

    pub(super) async fn resume(self: Arc<Self>, id: TransferId) -> Result<(), OpError> {
        let entry = self.entry(id)?;
        entry.keep(|record| record.paused = false).await;
        entry.paused.send_replace(false);
        let failed = {
            let facts = entry.facts();
            facts.state == State::Error && facts.running.is_none()
        };
        if failed {
            // Whoever follows it must not meet the old error again.
            state::set_state(&self, &entry, State::Queued, None);
            entry.retry.notify_one();
        }
        Ok(())
    }

    pub(super) async fn remove(self: Arc<Self>, id: TransferId, delete_files: bool) -> Result<(), OpError> {
        let entry = self.entry(id)?;
        let path = entry.facts().path.clone();
        // What came from stdin has nobody else to delete it.
        let is_share = entry.role == Role::Share;
        let spooled = if is_share { self.spooled(&path).await? } else { None };
        if delete_files && is_share && spooled.is_none() {
            return Err(OpError::NotDeletable(path));
        }
        let running = entry.running();
        let files = match &running {
            _ if !delete_files || is_share => None,
            Some(running) => Some(running.transfer.store().clone()),
            None => {
                let (node, entry) = (self.clone(), entry.clone());
                let found = tokio::task::spawn_blocking(move || begin::files_of(&node, &entry));
                found.await.map_err(|_| OpError::Stopped)??.map(Arc::new)
            }
        };
        let (node, forgotten) = (self.clone(), entry.clone());
        let gone = tokio::task::spawn_blocking(move || node.forget(&forgotten, None));
        gone.await.map_err(|_| OpError::Stopped)?;
        if let Some(running) = &running {
            running.transfer.ended().await;
        }
        let node = self.clone();
        let deleted = tokio::task::spawn_blocking(move || {
            node.clear(&entry);
            if let Some(folder) = spooled {
                release(folder)?;
            }
            files.map_or(Ok(()), |store| store.delete())
        });
        deleted.await.map_err(|_| OpError::Stopped)??;
        Ok(())
    }

    pub(super) async fn limit(
        self: Arc<Self>,
        id: Option<TransferId>,
        limits: Limits,
    ) -> Result<(), OpError> {
        let throttle = match id {
            Some(id) => {
                let entry = self.entry(id)?;
                let change = |record: &mut Record| record.limits = limits.over(record.limits);
                entry.keep(change).await;
                entry.throttle.clone()
            }
            None => {
                if self.config.restore {
                    self.keep_limits(limits).await;
                }
                self.resources.throttle.clone()
            }
        };
        for (direction, rate) in [(Direction::Up, limits.up), (Direction::Down, limits.down)] {
            if let Some(rate) = rate {
                throttle.set(direction, limit(Some(rate)), Instant::now());
            }
        }
        Ok(())
    }

    pub(super) async fn set_priorities(
        self: Arc<Self>,
        id: TransferId,
        rules: Vec<PriorityRule>,
    ) -> Result<(), OpError> {
        let rules =
            Rules::new(&[], &rules).map_err(|(glob, why)| OpError::BadGlob { glob, why: why.into() })?;
        let entry = self.entry(id)?;
        let running = entry.running().ok_or(OpError::NoMetadata(id))?;
        let layout = &running.metainfo.info.layout;
        let priorities = {
            let mut priorities = running.priorities();
            rules.apply(layout, &mut priorities, false);
            priorities.clone()
        };
        running.transfer.store().want(|entry| priorities.get(entry) != Some(&FilePriority::Skip));
        running.transfer.prioritise(select::piece_priorities(layout, &priorities)).await;
        // Whoever looks next must not take what was complete for what is wanted now.
        let misses = running.transfer.progress().borrow().stats.left > 0;
        let at_rest = matches!(entry.facts().state, State::Seeding | State::Complete);
        if misses && at_rest && entry.role == Role::Get {
            state::set_state(&self, &entry, State::Downloading, None);
        }
        entry.keep(|record| record.priorities = priorities).await;
        Ok(())
    }

    /// Deletes what came from stdin for a transfer that turned out to be another one, which has the same bytes.
    pub(super) async fn discard_spooled(&self, entry: &Entry, same: TransferId) {
        let path = entry.facts().path.clone();
        let is_used = self.entry(same).is_ok_and(|other| other.facts().path == path);
        if entry.role != Role::Share || is_used {
            return;
        }
        if let Ok(Some(folder)) = self.spooled(&path).await
            && let Ok(Err(error)) = tokio::task::spawn_blocking(move || release(folder)).await
        {
            tracing::warn!(error = error.in_full(), "what came from stdin is not deleted");
        }
    }

    /// The folder that was kept for a share that came from stdin; on the side, since the path may lead to a disk that does not answer.
    async fn spooled(&self, path: &Path) -> Result<Option<PathBuf>, OpError> {
        let (parent, path) = (self.config.data_dir.join(spool::STDIN), path.to_owned());
        let kept = tokio::task::spawn_blocking(move || spool::kept(&parent, &path));
        kept.await.map_err(|_| OpError::Stopped)
    }

    /// Keeps limits of the whole node for its next run.
    async fn keep_limits(&self, limits: Limits) {
        let shelf = self.shelf.clone();
        let kept = tokio::task::spawn_blocking(move || shelf.write_limits(limits.over(shelf.read_limits())));
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(%error, "the limits will be forgotten at the next start");
        }
    }
}

fn release(folder: PathBuf) -> Result<(), StorageError> {
    spool::release(&folder).map_err(|source| StorageError { attempt: "delete", path: folder, source })
}
