//! Why a node refuses.

use std::net::SocketAddr;
use std::path::PathBuf;

use peerage_blocks::BlocksError;
use peerage_content::StorageError;

use crate::model::{TransferId, TransferRef};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("open the data directory")]
    DataDir(#[source] StorageError),
    /// The block store in it cannot be used.
    #[error("open the data directory")]
    Blocks(#[source] Box<BlocksError>),
    /// An address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that a node needs and the system does not give.
    #[error("{attempt}")]
    System {
        /// What was tried.
        attempt: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Why something was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The link, torrent or set of files is not acceptable.
    #[error("{what} is refused")]
    Refused {
        /// What: "the magnet link", "the torrent".
        what: &'static str,
        /// What is wrong with it, and where.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node has it already.
    #[error("already there as transfer {0}")]
    Exists(TransferId),
    /// Another process works on it with the same data directory.
    #[error("another peerage process works on this transfer")]
    Busy,
    /// A glob of the request is malformed.
    #[error("malformed pattern {glob:?}")]
    BadGlob {
        /// Which.
        glob: String,
        /// What is wrong with it.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file or folder cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
}

/// Why something was not done with a transfer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// There is none of that number or hash.
    #[error("no transfer {0}")]
    NoSuchTransfer(TransferRef),
    /// Several info hashes begin so.
    #[error("several transfers begin with {0}")]
    Ambiguous(String),
    /// The torrent is not known yet.
    #[error("the metadata of transfer {0} is not known yet")]
    NoMetadata(TransferId),
    /// There is no such file in it.
    #[error("transfer {0} has no file {1}")]
    NoSuchFile(TransferId, u32),
    /// A range lies outside the file.
    #[error("the range lies outside the file of {length} bytes")]
    NotInFile {
        /// Bytes of the file.
        length: u64,
    },
    /// A glob is malformed.
    #[error("malformed pattern {glob:?}")]
    BadGlob {
        /// Which.
        glob: String,
        /// What is wrong with it.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was written is not known any more, so that nothing can be deleted.
    #[error("the files of transfer {0} are not known: its torrent cannot be read")]
    FilesUnknown(TransferId),
    /// Files that were shared in place are the user's: they are not deleted.
    #[error("{0:?} is shared in place and is never deleted")]
    NotDeletable(PathBuf),
    /// A file or folder cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
}
