//! Between our peer ids and keys and those of libp2p, by way of their bytes.

use libp2p::identity::Keypair;
use peerage_identity::{NodeKey, PeerId};

pub(crate) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes()).ok()
}

pub(crate) fn to_libp2p(peer: PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_bytes()).ok()
}

/// `None` for a key that libp2p can't read: there is none of a [`NodeKey`].
pub(crate) fn keypair(key: &NodeKey) -> Option<Keypair> {
    Keypair::from_protobuf_encoding(&key.to_protobuf()).ok()
}
