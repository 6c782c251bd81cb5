//! Bitswap (1.0.0, 1.1.0 and 1.2.0): peers tell each other which blocks they want, and send them.
//!
//! [`message`] and [`frame`] are its bytes; [`verify`] says which block some bytes are. [`server`] decides what others get, [`fetch`] whom to
//! ask for what; both are state machines without IO, and [`driver`] runs them over streams.
//!
//! Blocks carry no name: a peer sends bytes with the kind of hash that names them, and the hash that we compute is the name. A bad
//! block therefore is one that nobody asked for.

#[cfg(feature = "driver")]
pub mod driver;
pub mod fetch;
pub mod frame;
pub mod message;
mod peer_key;
pub mod server;
pub mod verify;

pub use peer_key::PeerKey;

/// The largest block that is sent, asked for or kept: what every implementation must take.
pub const BLOCK_MAX: usize = 2 * 1024 * 1024;
