//! What a wire and a transfer say to each other.

use std::net::SocketAddr;
use std::sync::Arc;

use peerage_content::{Arrived, Block, BlockPool, PieceIndex, Store};
use tokio::sync::mpsc;

use super::actor::Message;
use super::throttle::PeerThrottle;
use crate::core::{Availability, Dismissal, PeerKey, Shown};

/// What a transfer orders a wire to do.
#[derive(Debug)]
pub enum Order {
    /// Ask the peer for blocks.
    Request(Vec<Block>),
    /// Take requests back.
    Cancel(Vec<Block>),
    /// Stop or begin serving the peer.
    Choke(bool),
    /// Tell whether we want something.
    Interest(bool),
    /// Tell what we have; the first order of every link.
    Introduce(Shown),
    /// Tell that we have a piece.
    Have(PieceIndex),
    /// Tell that a piece is gone.
    DontHave(PieceIndex),
    /// Tell whether we will download nothing (more).
    UploadOnly(bool),
    /// Ask the peer for the hashes of a piece's blocks; [`WireEvent::Proof`] answers. Only of one that [`WireEvent::Proves`].
    Prove(PieceIndex),
    /// Close the connection.
    Close(Dismissal),
}

/// What a wire tells a transfer about its peer.
#[derive(Debug)]
pub enum WireEvent {
    /// Data that arrived, in order.
    Blocks(Vec<Arrived>),
    /// What it said of itself after it had joined: requests it is willing to queue, and where it listens.
    Caps {
        /// Requests it is willing to queue.
        requests_max: Option<usize>,
        /// Where it listens.
        listen_address: Option<SocketAddr>,
    },
    /// The whole of what the peer has.
    Has(Availability),
    /// It got a piece.
    Have(PieceIndex),
    /// It lost a piece.
    DontHave(PieceIndex),
    /// It chokes us or not.
    Choked(bool),
    /// It is interested or not.
    Interest(bool),
    /// It will download nothing.
    UploadOnly(bool),
    /// It serves this piece even while choking.
    AllowedFast(PieceIndex),
    /// It will not answer these.
    Rejected(Vec<Block>),
    /// It can be asked for the hashes of a piece's blocks.
    Proves,
    /// What an [`Order::Prove`] led to.
    Proof {
        /// Which piece.
        piece: PieceIndex,
        /// The truth has the hashes now. Else the peer will not say them.
        known: bool,
    },
    /// Block bytes that went out.
    Sent {
        /// All of them.
        bytes: u64,
        /// How many were padding.
        padding: u64,
    },
    /// Serving found that a file changed, or that it was touched and is to be hashed.
    FileChanged,
}

/// The transfer ended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the transfer ended")]
pub struct LinkClosed;

/// A wire's end of its connection to a transfer. Dropping it tells the transfer that the peer left.
#[derive(Debug)]
pub struct PeerLink {
    pub(super) key: PeerKey,
    pub(super) messages: mpsc::Sender<Message>,
    /// What the transfer wants of this wire; take them promptly.
    pub orders: mpsc::Receiver<Order>,
    /// The bytes, to serve from.
    pub store: Arc<Store>,
    /// Buffers to receive into.
    pub pool: BlockPool,
    /// The rate limits that hold for this peer.
    pub throttle: PeerThrottle,
}

impl PeerLink {
    /// The peer's key in this transfer.
    pub fn key(&self) -> PeerKey {
        self.key
    }

    /// Tells the transfer something, waiting while it is busy.
    ///
    /// # Errors
    /// [`LinkClosed`] when the transfer ended.
    pub async fn tell(&self, event: WireEvent) -> Result<(), LinkClosed> {
        self.messages.send(Message::Wire(self.key, event)).await.map_err(|_| LinkClosed)
    }
}

impl Drop for PeerLink {
    /// Says goodbye at once if there is room; else the transfer finds the closed link within a second.
    fn drop(&mut self) {
        let _ = self.messages.try_send(Message::Left(self.key));
    }
}
