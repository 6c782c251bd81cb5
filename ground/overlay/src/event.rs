//! What an overlay tells whoever listens.

use peerage_identity::PeerId;

use crate::address::Address;

/// How a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Through another peer.
    Relayed,
    /// From machine to machine.
    Direct,
}

/// Something happened. Who listens too slowly misses the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverlayEvent {
    /// There is a connection to a peer, the first or one more.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Its address.
        address: Address,
        /// Through a relay or not.
        path: Path,
        /// Whether this node dialled.
        dialled: bool,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer told its program and protocols.
    Identified {
        /// The peer.
        peer: PeerId,
    },
    /// The node listens here.
    Listening(Address),
    /// The node listens here no more.
    ListeningEnded(Address),
    /// Others can reach the node here.
    Reachable(Address),
    /// Others can't reach the node here any more.
    Unreachable(Address),
}
