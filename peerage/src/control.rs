//! What can be asked of a node, wherever it runs: in this process ([`Node`]) or behind the daemon's API
//! ([`crate::api::Client`]). The command line and the API's server are written against this trait, and tests put a
//! node of their own behind it.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::{broadcast, mpsc};

use crate::model::{
    AddRequest, Added, Event, FileView, Limits, PeerView, PriorityRule, Problem, StatsView, TrackerView,
    TransferId, TransferRef, TransferView,
};
use crate::node::{AddError, Node};

mod watch;

/// An answer that takes its time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// The bytes of a file, as they become available.
pub type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// Events until the sender ends: with a problem if it was not meant to.
pub type Updates = mpsc::Receiver<Result<Event, Problem>>;

/// How many events wait for a slow receiver; what does not fit waits at the sender.
const UPDATES_WAITING: usize = 64;

/// A node, near or far. The methods are those of [`Node`]; errors are [`Problem`]s because they may come from afar.
pub trait Control: Send + Sync + 'static {
    /// See [`Node::add`]. What is there already is not an error here but `existing`.
    fn add(&self, request: AddRequest) -> Answer<'_, Added>;
    /// See [`Node::find`].
    fn find<'a>(&'a self, which: &'a TransferRef) -> Answer<'a, TransferId>;
    /// See [`Node::list`].
    fn list(&self) -> Answer<'_, Vec<TransferView>>;
    /// See [`Node::view`].
    fn view(&self, id: TransferId) -> Answer<'_, TransferView>;
    /// See [`Node::peers`].
    fn peers(&self, id: TransferId) -> Answer<'_, Vec<PeerView>>;
    /// See [`Node::files`].
    fn files(&self, id: TransferId) -> Answer<'_, Vec<FileView>>;
    /// See [`Node::trackers`].
    fn trackers(&self, id: TransferId) -> Answer<'_, Vec<TrackerView>>;
    /// See [`Node::torrent`].
    fn torrent(&self, id: TransferId) -> Answer<'_, Vec<u8>>;
    /// See [`Node::pause`].
    fn pause(&self, id: TransferId) -> Answer<'_, ()>;
    /// See [`Node::resume`].
    fn resume(&self, id: TransferId) -> Answer<'_, ()>;
    /// See [`Node::remove`].
    fn remove(&self, id: TransferId, delete_files: bool) -> Answer<'_, ()>;
    /// See [`Node::verify`].
    fn verify(&self, id: TransferId) -> Answer<'_, u32>;
    /// See [`Node::limit`].
    fn limit(&self, id: Option<TransferId>, limits: Limits) -> Answer<'_, ()>;
    /// See [`Node::set_priorities`].
    fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Answer<'_, ()>;
    /// See [`Node::add_peers`].
    fn add_peers(&self, id: TransferId, peers: Vec<SocketAddr>) -> Answer<'_, ()>;
    /// See [`Node::read`].
    fn read(&self, id: TransferId, file: u32, range: Range<u64>) -> Answer<'_, Reader>;
    /// See [`Node::stats`].
    fn stats(&self) -> Answer<'_, StatsView>;
    /// Events of one transfer or of all, with progress every `every`. The first event of one transfer is its progress
    /// as it is now. Ends after the transfer is removed, or when the receiver is dropped.
    fn watch(&self, id: Option<TransferId>, every: Duration) -> Answer<'_, Updates>;
    /// See [`Node::stop`]. A daemon ends its process, too.
    fn stop(&self) -> Answer<'_, ()>;
}

/// Makes one stream of a node's `events` and of its transfers' progress, as [`Control::watch`] says.
pub fn watching(
    node: impl Control,
    events: broadcast::Receiver<Event>,
    id: Option<TransferId>,
    every: Duration,
) -> Updates {
    let (sender, receiver) = mpsc::channel(UPDATES_WAITING);
    tokio::spawn(watch::run(node, events, id, every, sender));
    receiver
}

impl Control for Node {
    fn add(&self, request: AddRequest) -> Answer<'_, Added> {
        Box::pin(async move {
            match Node::add(self, request).await {
                Ok(id) => Ok(Added { id, existing: false }),
                Err(AddError::Exists(id)) => Ok(Added { id, existing: true }),
                Err(error) => Err(error.into()),
            }
        })
    }
    fn find<'a>(&'a self, which: &'a TransferRef) -> Answer<'a, TransferId> {
        Box::pin(async move { Ok(Node::find(self, which)?) })
    }
    fn list(&self) -> Answer<'_, Vec<TransferView>> {
        Box::pin(async move { Ok(Node::list(self).await) })
    }
    fn view(&self, id: TransferId) -> Answer<'_, TransferView> {
        Box::pin(async move { Ok(Node::view(self, id).await?) })
    }
    fn peers(&self, id: TransferId) -> Answer<'_, Vec<PeerView>> {
        Box::pin(async move { Ok(Node::peers(self, id).await?) })
    }
    fn files(&self, id: TransferId) -> Answer<'_, Vec<FileView>> {
        Box::pin(async move { Ok(Node::files(self, id)?) })
    }
    fn trackers(&self, id: TransferId) -> Answer<'_, Vec<TrackerView>> {
        Box::pin(async move { Ok(Node::trackers(self, id).await?) })
    }
    fn torrent(&self, id: TransferId) -> Answer<'_, Vec<u8>> {
        Box::pin(async move { Ok(Node::torrent(self, id).await?) })
    }
    fn pause(&self, id: TransferId) -> Answer<'_, ()> {
        Box::pin(async move { Ok(Node::pause(self, id).await?) })
    }
    fn resume(&self, id: TransferId) -> Answer<'_, ()> {
        Box::pin(async move { Ok(Node::resume(self, id).await?) })
    }
    fn remove(&self, id: TransferId, delete_files: bool) -> Answer<'_, ()> {
        Box::pin(async move { Ok(Node::remove(self, id, delete_files).await?) })
    }
    fn verify(&self, id: TransferId) -> Answer<'_, u32> {
        Box::pin(async move { Ok(Node::verify(self, id).await?) })
    }
    fn limit(&self, id: Option<TransferId>, limits: Limits) -> Answer<'_, ()> {
        Box::pin(async move { Ok(Node::limit(self, id, limits).await?) })
    }
    fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Answer<'_, ()> {
        Box::pin(async move { Ok(Node::set_priorities(self, id, rules).await?) })
    }
    fn add_peers(&self, id: TransferId, peers: Vec<SocketAddr>) -> Answer<'_, ()> {
        Box::pin(async move { Ok(Node::add_peers(self, id, peers).await?) })
    }
    fn read(&self, id: TransferId, file: u32, range: Range<u64>) -> Answer<'_, Reader> {
        Box::pin(async move { Ok(Node::read(self, id, file, range)?) })
    }
    fn stats(&self) -> Answer<'_, StatsView> {
        Box::pin(async move { Ok(Node::stats(self).await) })
    }
    fn watch(&self, id: Option<TransferId>, every: Duration) -> Answer<'_, Updates> {
        Box::pin(async move {
            let events = self.subscribe();
            // A number may stand for another.
            let id = match id {
                Some(id) => Some(Node::view(self, id).await?.id),
                None => None,
            };
            Ok(watching(self.clone(), events, id, every))
        })
    }
    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            Node::stop(self).await;
            Ok(())
        })
    }
}
