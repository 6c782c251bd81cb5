//! What goes wrong.

use std::path::PathBuf;

use peerage_content::ReadError;
use peerage_dag::{Cid, VerifyError};

/// Why blocks cannot be had or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError {
    /// Another process has the store open.
    #[error("the block store {} is in use by another process", path.display())]
    InUse {
        /// Where it is.
        path: PathBuf,
    },
    /// The store was closed.
    #[error("the block store is closed")]
    Closed,
    /// The database says so.
    #[error("{attempt} in the block store")]
    Store {
        /// What was tried.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
    /// The file in which the block lies is not what it was.
    #[error("read a block of a shared file")]
    InPlace(#[from] ReadError),
    /// The bytes are not what the CID names.
    #[error("a block is refused")]
    Mismatch(#[source] Box<VerifyError>),
    /// A block that is longer than any peer would take.
    #[error("a block of {length} bytes is longer than {max} bytes, the most that peers take")]
    TooLong {
        /// Bytes.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// A pin of something that is not all here.
    #[error("{missing} is missing below {root}: fetch it first")]
    Incomplete {
        /// What was to be pinned.
        root: Box<Cid>,
        /// The first block that is not here.
        missing: Box<Cid>,
    },
    /// A block that cannot be understood, so that nobody knows what it links to.
    #[error("{cid} cannot be read as what it says it is")]
    Malformed {
        /// Which block.
        cid: Box<Cid>,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BlocksError {
    /// The error with its causes, for where one line is all there is.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

/// Names what was tried in the database.
pub(crate) trait Attempt<T> {
    fn attempt(self, attempt: &'static str) -> Result<T, BlocksError>;
}

impl<T, E: Into<redb::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, attempt: &'static str) -> Result<T, BlocksError> {
        self.map_err(|error| BlocksError::Store { attempt, source: Box::new(error.into()) })
    }
}
