//! Who a node is: its key, and the [`PeerId`] that others know it by.
//!
//! This crate knows keys, signatures and the files they lie in. It opens no socket and reads no clock; whoever needs the time hands it in.
//! It is no key store either: a node has one key ([`NodeKey`]), of the keys of others only the public half is ever here.
//!
//! Who owns what: the folder of the key file belongs to the caller, who says where it is. A file with a secret in it is for its owner
//! alone (mode 0600), and one that others may read is refused instead of mended: it may be in their hands already.
//!
//! Keys, ids and their encodings are those of libp2p, so that every libp2p program knows this node. No type of libp2p shows: what needs one
//! goes by way of the bytes ([`PeerId::to_bytes`], [`NodeKey::to_protobuf`]).

mod files;
mod key;
mod peer_id;
mod public;

pub use cid::Cid;
pub use files::FileError;
pub use key::{KeyError, KeyFileError, NodeKey};
pub use peer_id::{PeerId, PeerIdError};
pub use public::{PublicKey, PublicKeyError};
