//! Where a node keeps what a restart needs: one small set of files a transfer, below the data directory.
//!
//! `KEY.json` is the record (what the user asked for), `KEY.torrent` the torrent once it is known, `KEY.leaves` what the CIDs of a share are
//! made of, `KEY.journal` the fast-resume journal, which is also the lock between processes. The key is derived from what was asked, so that the same command finds its
//! transfer again. Every file is replaced whole (written beside, then renamed).
//!
//! A command that runs a node of its own leaves its record behind, so that the same command resumes. Such a record is marked: no daemon
//! takes it up, and [`Shelf::sweep`] forgets it in time.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peerage_content::StorageError;
use serde::{Deserialize, Serialize};

use crate::age::is_older;
use crate::model::{AddRequest, FilePriority, Limits, SeedGoal};
use crate::private;

/// How long the record of a command that ran a node of its own is kept for the same command to resume.
const ONE_OFF_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Such records that are forgotten at a start: the rest has time until the next.
const SWEPT_MAX: usize = 256;

/// What is kept of a transfer beside its torrent and its journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its number in the daemon. `None`: no daemon has given it one.
    #[serde(default)]
    pub(super) id: Option<u32>,
    /// It belongs to one command and not to the daemon.
    #[serde(default)]
    pub(super) one_off: bool,
    /// What was asked for; the bytes of a torrent are not in it but in a file of their own.
    pub(super) request: AddRequest,
    /// The user paused it.
    pub(super) paused: bool,
    /// Seconds since 1970.
    pub(super) added: u64,
    /// Seconds since 1970.
    pub(super) finished: Option<u64>,
    /// Seconds that it has served since, towards the goal.
    #[serde(default)]
    pub(super) served: u64,
    /// Bytes sent before the goal began to count.
    #[serde(default)]
    pub(super) sent_before: u64,
    /// Limits, if changed since.
    pub(super) limits: Limits,
    /// When serving ends.
    pub(super) goal: SeedGoal,
    /// Priorities by file, if changed since.
    #[serde(default)]
    pub(super) priorities: Vec<FilePriority>,
}

/// The folder of all records.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
}

/// The files of one transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    stem: PathBuf,
}

impl Shelf {
    /// Opens the shelf of a data directory, creating both.
    pub(super) fn open(data_dir: &Path) -> Result<Self, StorageError> {
        let create = |path: &Path| {
            private::create_folder(path).map_err(|source| StorageError {
                attempt: "create folder",
                path: path.to_owned(),
                source,
            })
        };
        create(data_dir)?;
        let folder = data_dir.join("transfers");
        create(&folder)?;
        // It is ours alone, whoever may look into the data directory.
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(|source| StorageError {
            attempt: "close to others",
            path: folder.clone(),
            source,
        })?;
        Ok(Self { folder })
    }

    /// The limits of the whole node, as last set while it ran.
    pub(super) fn read_limits(&self) -> Limits {
        let bytes = fs::read(self.limits()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Keeps the limits of the whole node.
    pub(super) fn write_limits(&self, limits: Limits) -> io::Result<()> {
        private::replace(&self.limits(), &serde_json::to_vec(&limits)?)
    }

    fn limits(&self) -> PathBuf {
        // Not `.json`: that is a record.
        self.folder.join("node.limits")
    }

    /// Forgets what commands with a node of their own left behind long ago, but for what another process works on.
    pub(super) fn sweep(&self) {
        let is_old = |slot: &Slot| {
            is_older(&slot.record(), ONE_OFF_KEPT)
                && (!slot.journal().exists() || is_older(&slot.journal(), ONE_OFF_KEPT))
        };
        let old = self.slots().unwrap_or_default().into_iter().filter(is_old);
        let one_off = old.filter(|slot| slot.read_record().is_ok_and(|record| record.one_off));
        for slot in one_off.filter(|slot| !slot.is_busy()).take(SWEPT_MAX) {
            tracing::debug!(slot = %slot.stem.display(), "an old command is forgotten");
            slot.clear();
        }
    }

    fn slots(&self) -> io::Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                slots.push(Slot { stem: path.with_extension("") });
            }
        }
        Ok(slots)
    }

    /// The slot of a key.
    pub(super) fn slot(&self, key: &str) -> Slot {
        Slot { stem: self.folder.join(key) }
    }

    /// Every transfer that has a record; what cannot be read is told apart.
    pub(super) fn records(&self) -> io::Result<Vec<(Slot, Result<Record, StorageError>)>> {
        let read = |slot: Slot| {
            let record = slot.read_record();
            (slot, record)
        };
        Ok(self.slots()?.into_iter().map(read).collect())
    }
}

impl Slot {
    fn record(&self) -> PathBuf {
        self.stem.with_extension("json")
    }

    fn torrent(&self) -> PathBuf {
        self.stem.with_extension("torrent")
    }

    /// Where the journal lies.
    pub(super) fn journal(&self) -> PathBuf {
        self.stem.with_extension("journal")
    }

    /// Reads the record.
    pub(super) fn read_record(&self) -> Result<Record, StorageError> {
        let path = self.record();
        let read = fs::read(&path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        read.map_err(|source| StorageError { attempt: "read the record", path, source })
    }

    /// Replaces the record.
    pub(super) fn write_record(&self, record: &Record) -> Result<(), StorageError> {
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::from);
        let path = self.record();
        bytes.and_then(|bytes| private::replace(&path, &bytes)).map_err(|source| StorageError {
            attempt: "write the record",
            path,
            source,
        })
    }

    /// The torrent, if it was kept.
    pub(super) fn read_torrent(&self) -> Option<Vec<u8>> {
        fs::read(self.torrent()).ok()
    }

    /// Keeps the torrent.
    pub(super) fn write_torrent(&self, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.torrent();
        private::replace(&path, bytes).map_err(|source| StorageError {
            attempt: "keep the torrent",
            path,
            source,
        })
    }

    fn leaves(&self) -> PathBuf {
        self.stem.with_extension("leaves")
    }

    /// The leaves of a share, if they were kept.
    pub(super) fn read_leaves(&self) -> Option<Vec<u8>> {
        fs::read(self.leaves()).ok()
    }

    /// Keeps the leaves of a share; `None`: it has none any more.
    pub(super) fn write_leaves(&self, bytes: Option<&[u8]>) -> Result<(), StorageError> {
        let path = self.leaves();
        let written = match bytes {
            Some(bytes) => private::replace(&path, bytes),
            None => fs::remove_file(&path),
        };
        match written {
            Err(error) if bytes.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(|source| StorageError { attempt: "keep the leaves", path, source }),
        }
    }

    /// Whether another process works on it.
    fn is_busy(&self) -> bool {
        let locked = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        File::open(self.journal()).is_ok_and(locked)
    }

    /// Whether this transfer was ever begun: then what lies at its place is its own.
    pub(super) fn is_begun(&self) -> bool {
        self.journal().exists()
    }

    /// Forgets the transfer.
    pub(super) fn clear(&self) {
        for path in [self.record(), self.torrent(), self.leaves(), self.journal()] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "not forgotten");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::model::ShareRequest;

    fn record(one_off: bool) -> Record {
        Record {
            id: None,
            one_off,
            request: AddRequest::Share(ShareRequest::default()),
            paused: false,
            added: 0,
            finished: None,
            served: 0,
            sent_before: 0,
            limits: Limits::default(),
            goal: SeedGoal::default(),
            priorities: Vec::new(),
        }
    }

    #[test]
    fn old_commands_are_forgotten_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path()).unwrap();
        let put = |key: &str, one_off, age: Duration| {
            let slot = shelf.slot(key);
            slot.write_record(&record(one_off)).unwrap();
            let journal = File::create(slot.journal()).unwrap();
            for file in [File::options().append(true).open(slot.record()).unwrap(), journal] {
                file.set_modified(SystemTime::now() - age).unwrap();
            }
            slot
        };
        let old = ONE_OFF_KEPT + Duration::from_secs(60);
        put("old", true, old);
        put("young", true, Duration::ZERO);
        put("daemons", false, old);
        let busy = put("busy", true, old);
        let lock = File::open(busy.journal()).unwrap();
        lock.lock().unwrap();
        shelf.sweep();
        let mut left: Vec<_> = shelf.slots().unwrap().into_iter().map(|slot| slot.stem).collect();
        left.sort();
        assert_eq!(left, ["busy", "daemons", "young"].map(|key| folder.path().join("transfers").join(key)));
    }
}
