//! The node: transfers, their peers and their files, under one roof.
//!
//! [`Node`] wires the BitTorrent door, the swarm engine and the content store together and keeps what a restart needs in the data directory. It
//! knows no command line, no HTTP and no terminal: those talk to it through `crate::control::Control`.
//! A handle is cheap to clone; the node itself runs in tasks of its own until [`Node::stop`].

mod config;
mod error;

pub use config::{Dht, Encryption, NodeConfig};
pub use error::{AddError, OpError, StartError};

use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::AsyncRead;
use tokio::sync::broadcast;

use crate::model::{
    AddRequest, Event, FileView, Limits, PeerView, PriorityRule, StatsView, TrackerView, TransferId,
    TransferRef, TransferView,
};

/// A running node.
#[derive(Clone, Debug)]
pub struct Node {
    _private: (),
}

impl Node {
    /// Opens the data directory, listens, and (with [`NodeConfig::restore`]) takes up the transfers of the former run.
    /// Returns before those are checked.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let _ = config;
        todo!()
    }

    /// The addresses it listens on, with the ports it really got.
    pub fn listening(&self) -> Vec<SocketAddr> {
        todo!()
    }

    /// Adds a transfer and returns as soon as it has a number: hashing, checking and fetching of metadata follow and are told as events.
    /// What is there already under the same info hash is not added twice: its number comes with [`AddError::Exists`]. The same `get` into
    /// the same folder after an interruption resumes.
    ///
    /// # Errors
    /// [`AddError`]: nothing was added.
    pub async fn add(&self, request: AddRequest) -> Result<TransferId, AddError> {
        let _ = request;
        todo!()
    }

    /// What happens from now on, but for [`Event::Progress`], which callers make of [`Node::view`] at the pace they like.
    /// A slow receiver loses the oldest events and learns how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        todo!()
    }

    /// The number of the transfer that is meant.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::Ambiguous`].
    pub async fn find(&self, which: &TransferRef) -> Result<TransferId, OpError> {
        let _ = which;
        todo!()
    }

    /// All transfers, by number.
    pub async fn list(&self) -> Vec<TransferView> {
        todo!()
    }

    /// One transfer. Called once a second by every watcher.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn view(&self, id: TransferId) -> Result<TransferView, OpError> {
        let _ = id;
        todo!()
    }

    /// The connected peers of a transfer.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn peers(&self, id: TransferId) -> Result<Vec<PeerView>, OpError> {
        let _ = id;
        todo!()
    }

    /// The files of a transfer; empty before metadata.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn files(&self, id: TransferId) -> Result<Vec<FileView>, OpError> {
        let _ = id;
        todo!()
    }

    /// The trackers of a transfer.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn trackers(&self, id: TransferId) -> Result<Vec<TrackerView>, OpError> {
        let _ = id;
        todo!()
    }

    /// The transfer as a .torrent file.
    ///
    /// # Errors
    /// [`OpError::NoMetadata`] while it is not known.
    pub async fn torrent(&self, id: TransferId) -> Result<Vec<u8>, OpError> {
        let _ = id;
        todo!()
    }

    /// Stops a transfer: no peers, no trackers. Survives a restart. Nothing happens when it is paused already.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn pause(&self, id: TransferId) -> Result<(), OpError> {
        let _ = id;
        todo!()
    }

    /// Starts a paused or failed transfer again; a complete one is served again.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn resume(&self, id: TransferId) -> Result<(), OpError> {
        let _ = id;
        todo!()
    }

    /// Forgets a transfer. With `delete_files` the files of a download are deleted too, and folders that are empty then; files that were
    /// shared in place are never deleted.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`]; [`OpError::NotDeletable`] (nothing was removed); [`OpError::Storage`] (forgotten, files left).
    pub async fn remove(&self, id: TransferId, delete_files: bool) -> Result<(), OpError> {
        let _ = (id, delete_files);
        todo!()
    }

    /// Compares every byte on disk with its hash. Returns once it is begun; the end is told by [`Event::State`].
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::NoMetadata`].
    pub async fn verify(&self, id: TransferId) -> Result<(), OpError> {
        let _ = id;
        todo!()
    }

    /// Sets the limits of one transfer, or (`None`) of the whole node.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn limit(&self, id: Option<TransferId>, limits: Limits) -> Result<(), OpError> {
        let _ = (id, limits);
        todo!()
    }

    /// Applies rules to the files of a transfer, later ones over earlier ones; files that match none stay as they are.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::BadGlob`].
    pub async fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Result<(), OpError> {
        let _ = (id, rules);
        todo!()
    }

    /// Names peers of a transfer.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`].
    pub async fn add_peers(&self, id: TransferId, peers: Vec<SocketAddr>) -> Result<(), OpError> {
        let _ = (id, peers);
        todo!()
    }

    /// Reads verified bytes of a file, waiting for those that are not there yet; while a reader lives, the pieces before it are
    /// fetched by deadline. Reading fails when the transfer is paused with an error, removed, or the file changed.
    ///
    /// # Errors
    /// [`OpError::NoSuchTransfer`], [`OpError::NoMetadata`], [`OpError::NoSuchFile`], [`OpError::NotInFile`] for a range past the end.
    pub async fn read(
        &self,
        id: TransferId,
        file: u32,
        range: Range<u64>,
    ) -> Result<Box<dyn AsyncRead + Send + Sync + Unpin>, OpError> {
        let _ = (id, file, range);
        todo!()
    }

    /// Numbers of the whole node.
    pub async fn stats(&self) -> StatsView {
        todo!()
    }

    /// Says goodbye to trackers, writes the journals and ends every task; returns within two seconds. Calls after it fail with
    /// [`OpError::Stopped`].
    pub async fn stop(&self) {
        todo!()
    }
}
