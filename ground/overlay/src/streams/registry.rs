//! Which protocols are accepted, and where their streams go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::StreamProtocol;
use peerage_identity::PeerId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::convert;
use crate::stream::Stream;

type Queue = mpsc::Sender<(PeerId, Stream)>;

/// Shared by the handle, which accepts, and by every connection, which delivers. The lock is never held across an await.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<HashMap<StreamProtocol, Queue>>>);

impl Registry {
    /// A queue of its own for `protocol`; `None` where somebody accepts it already.
    pub(crate) fn accept(
        &self,
        protocol: StreamProtocol,
        backlog: usize,
    ) -> Option<mpsc::Receiver<(PeerId, Stream)>> {
        match self.open().entry(protocol) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                let (queue, incoming) = mpsc::channel(backlog.max(1));
                vacant.insert(queue);
                Some(incoming)
            }
        }
    }

    /// What a connection offers to its peer.
    pub(super) fn protocols(&self) -> Vec<StreamProtocol> {
        self.open().keys().cloned().collect()
    }

    /// Hands over a stream that a peer opened. One that nobody takes in time is dropped, which resets it.
    pub(super) fn deliver(&self, from: &libp2p::PeerId, protocol: &StreamProtocol, stream: libp2p::Stream) {
        let (Some(queue), Some(peer)) = (self.open().get(protocol).cloned(), convert::from_libp2p(from))
        else {
            return;
        };
        match queue.try_send((peer, Stream::new(stream))) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => tracing::debug!(%peer, %protocol, "too many streams wait: reset"),
        }
    }

    /// The protocols that are still accepted.
    fn open(&self) -> MutexGuard<'_, HashMap<StreamProtocol, Queue>> {
        let mut protocols = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        protocols.retain(|_, queue| !queue.is_closed());
        protocols
    }
}
