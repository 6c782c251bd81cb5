//! Message stream encryption: what many peers speak instead of a plain handshake.
//!
//! It hides what a stream is from those who look on; it proves nobody's identity and is no protection against anyone who
//! knows the info hash. Both sides agree on a secret (Diffie-Hellman over 768 bits), prove with it that they know the
//! same swarm, and go on in RC4 or in plain text.
//!
//! [`Initiator`] and [`Responder`] are the two roles: bytes in, bytes out, until [`Progress::Done`]. They own no socket;
//! what they buffer is what was received and not understood yet, and they give up as soon as it cannot be understood any
//! more. How long a peer may take is the driver's business, since they read no clock. [`greeting`] tells an encrypted
//! stream from a plain one; [`Encryption`] is the user's will.
//!
//! The specification is the "Message Stream Encryption" page of the Azureus wiki; it has no BEP. Padding that it reserves
//! for later use (PadC, PadD) is sent empty, as every other client does.

mod dh;
mod error;
mod initiator;
mod keys;
mod policy;
mod responder;
#[cfg(test)]
mod tests;

pub use error::MseError;
pub use initiator::Initiator;
pub use keys::{Rc4Stream, lookup_key};
pub use policy::{Dial, Encryption, Method, Methods};
pub use responder::Responder;

use crate::hash::SwarmHash;
use crate::wire::PROTOCOL;

/// Bytes of padding that may follow each public key, and that PadC and PadD may have.
pub const PAD_MAX: usize = 512;

/// How far a handshake is.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
pub enum Progress<Role> {
    /// Not done: send what was put out, and feed more.
    More(Role),
    /// Done: send what was put out, and go on with the stream.
    Done(Established),
}

/// What a handshake led to.
#[derive(Debug)]
pub struct Established {
    /// The swarm both sides know.
    pub swarm: SwarmHash,
    /// The ciphers of the stream from here on; `None` when plain text was agreed on, so that the rest of the connection is
    /// as if there had been no encryption.
    pub ciphers: Option<Ciphers>,
    /// The start of the peer's stream, decrypted already: all that was fed beyond the handshake.
    pub received: Vec<u8>,
}

/// Both directions of an encrypted stream.
#[derive(Debug)]
pub struct Ciphers {
    /// For what is received, in order, from behind [`Established::received`].
    pub incoming: Rc4Stream,
    /// For what is sent, in order, from behind what the handshake put out.
    pub outgoing: Rc4Stream,
}

/// What the first bytes of an accepted connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It could be either: at most 20 bytes are needed.
    Undecided,
    /// A plain BitTorrent handshake.
    Plain,
    /// Something else: if it is BitTorrent at all, then encrypted.
    Encrypted,
}

/// Tells a plain handshake from an encrypted one by all 20 bytes of the protocol name: one byte alone is equal once in 256
/// encrypted connections.
pub fn greeting(first: &[u8]) -> Greeting {
    let seen = first.len().min(PROTOCOL.len());
    if first[..seen] != PROTOCOL[..seen] {
        Greeting::Encrypted
    } else if seen == PROTOCOL.len() {
        Greeting::Plain
    } else {
        Greeting::Undecided
    }
}

/// Cuts the first `count` bytes off what was received; `None` while there are not as many.
fn take(input: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    (input.len() >= count).then(|| input.drain(..count).collect())
}

/// Cuts the first `N` bytes off what was received; `None` while there are not as many.
fn take_array<const N: usize>(input: &mut Vec<u8>) -> Option<[u8; N]> {
    let array = *input.first_chunk::<N>()?;
    input.drain(..N);
    Some(array)
}

/// Looks for `mark` behind at most [`PAD_MAX`] bytes of padding, and cuts off both. False while it may still come.
fn synchronise(input: &mut Vec<u8>, mark: &[u8]) -> Result<bool, MseError> {
    let reach = PAD_MAX + mark.len();
    let window = input.get(..reach).unwrap_or(input);
    match window.windows(mark.len()).position(|bytes| bytes == mark) {
        Some(at) => {
            input.drain(..at + mark.len());
            Ok(true)
        }
        None if input.len() >= reach => Err(MseError::NoSync),
        None => Ok(false),
    }
}
