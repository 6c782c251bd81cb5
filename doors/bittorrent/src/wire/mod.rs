//! The peer wire: bytes to messages and back (BEP 3, 6, 10, 52, 54).
//!
//! Nothing here owns a buffer, a socket or the state of a connection. The driver reads bytes, asks
//! [`peek_header`] what a frame is as soon as 5 (for a piece, 13) of its bytes are there, and then either reads
//! block data straight to where it belongs or collects a small frame and hands it to [`Message::decode`].
//!
//! Everything foreign is bounded before it is buffered: [`Limits`] says how long each kind of message may be, and a
//! length prefix beyond it is a [`WireError`]. An unknown kind of message is not an error (BEP 3 leaves room): it is
//! [`Message::Unknown`], to be skipped.
//!
//! Connection start: [`Handshake`]; the payloads of extended messages (BEP 10): [`extended`]; which pieces a choked
//! peer may ask for (BEP 6): [`allowed_fast()`].

mod allowed_fast;
mod error;
pub mod extended;
mod handshake;
mod header;
mod message;
#[cfg(test)]
mod tests;

pub use allowed_fast::{ALLOWED_FAST_COUNT, allowed_fast};
pub use error::{HandshakeError, WireError};
pub use handshake::{
    HANDSHAKE_HEAD_LENGTH, HANDSHAKE_LENGTH, Handshake, HandshakeHead, PROTOCOL, PeerId, Reserved,
};
pub use header::{
    BITFIELD_LENGTH_MAX_UNKNOWN, EXTENDED_LENGTH_MAX, HASHES_MAX, Header, Limits, PIECE_DATA_MAX,
    PIECE_HEADER_LENGTH, UNKNOWN_LENGTH_MAX, peek_header,
};
pub use message::{HashRequest, Message, piece_header};
