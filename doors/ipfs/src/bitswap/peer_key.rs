//! What the cores call a peer.

/// A connected peer, by a number that is never used again: who comes back is somebody new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);
