//! Where a node keeps what a restart needs: one small set of files a transfer, below the data directory.
//!
//! `KEY.json` is the record (what the user asked for), `KEY.torrent` the torrent once it is known, `KEY.journal` the fast-resume
//! journal, which is also the lock between processes. The key is derived from what was asked, so that the same command finds its
//! transfer again. Every file is replaced whole (written beside, then renamed).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use peerage_content::StorageError;
use serde::{Deserialize, Serialize};

use crate::model::{AddRequest, FilePriority, Limits, SeedGoal};

/// What is kept of a transfer beside its torrent and its journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// What was asked for; the bytes of a torrent are not in it but in a file of their own.
    pub(super) request: AddRequest,
    /// The user paused it.
    pub(super) paused: bool,
    /// Seconds since 1970.
    pub(super) added: u64,
    /// Seconds since 1970.
    pub(super) finished: Option<u64>,
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
        let folder = data_dir.join("transfers");
        fs::create_dir_all(&folder).map_err(|source| StorageError {
            attempt: "create folder",
            path: folder.clone(),
            source,
        })?;
        Ok(Self { folder })
    }

    /// The slot of a key.
    pub(super) fn slot(&self, key: &str) -> Slot {
        Slot { stem: self.folder.join(key) }
    }

    /// Every transfer that has a record; what cannot be read is told apart.
    pub(super) fn records(&self) -> io::Result<Vec<(Slot, Result<Record, StorageError>)>> {
        let mut records = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let slot = Slot { stem: path.with_extension("") };
                let record = slot.read_record();
                records.push((slot, record));
            }
        }
        Ok(records)
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
        bytes.and_then(|bytes| replace(&path, &bytes)).map_err(|source| StorageError {
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
        replace(&path, bytes).map_err(|source| StorageError { attempt: "keep the torrent", path, source })
    }

    /// Forgets the transfer.
    pub(super) fn clear(&self) {
        for path in [self.record(), self.torrent(), self.journal()] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "not forgotten");
            }
        }
    }
}

/// Writes a file so that a reader, and a crash, find the old bytes or the new ones.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
