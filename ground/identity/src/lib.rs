//! Who a node is and whom it knows: its key, the [`PeerId`] that others know it by, and its [`Contacts`].
//!
//! This crate knows keys, signatures and the files they lie in. It opens no socket and reads no clock; whoever needs the time hands it in.
//! It is no key store either: a node has one key ([`NodeKey`]), of the keys of others only the public half is ever here.
//!
//! Who owns what: the folder of the key file belongs to the caller, who says where it is. A file with a secret in it is for its owner
//! alone (mode 0600), and one that others may read is refused instead of mended: it may be in their hands already.
//!
//! Keys, ids and their encodings are those of libp2p, so that every libp2p program knows this node. No type of libp2p shows: what needs one
//! goes by way of the bytes ([`PeerId::to_bytes`], [`NodeKey::to_protobuf`]).

mod address;
mod card;
mod contacts;
pub mod envelope;
mod files;
mod key;
mod network_key;
mod pairing;
mod peer_id;
mod peer_record;
mod public;
pub mod seal;

pub use address::{Address, AddressError};
pub use card::{CardError, ContactCard};
pub use cid::Cid;
pub use contacts::{
    BookError, Circle, Contact, ContactBook, ContactError, ContactName, Contacts, NameError, Standing,
};
pub use files::FileError;
pub use key::{KeyError, KeyFileError, NodeKey};
pub use network_key::{NetworkKey, NetworkKeyError, NetworkKeyFileError};
pub use pairing::{CodeError, Introduction, Pairing, PairingCode, PairingError, Role, Step};
pub use peer_id::{PeerId, PeerIdError};
pub use peer_record::{PeerRecord, PeerRecordError};
pub use public::{PublicKey, PublicKeyError};
