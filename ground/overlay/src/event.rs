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

/// Whether others can open connections to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody has told yet.
    #[default]
    Unknown,
    /// Yes.
    Public,
    /// Through a relay.
    Relayed,
    /// No.
    Private,
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
    /// A peer of the local network said where it is.
    Discovered {
        /// The peer.
        peer: PeerId,
    },
    /// There is a direct connection to a peer that was reached through a relay before.
    HolePunched {
        /// The peer.
        peer: PeerId,
    },
    /// There is none: the connection stays with the relay.
    StaysRelayed {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// A peer listens to a topic.
    Listens {
        /// The peer.
        peer: PeerId,
        /// The topic.
        topic: String,
    },
    /// Whether others can reach this node.
    Reachability(Reachability),
    /// Others can reach the node here.
    Reachable(Address),
    /// Others can't reach the node here any more.
    Unreachable(Address),
}
