//! Messages of a pairing on the wire: a kind (1 byte), a length (2 bytes, big endian), a body.

use crate::card::ContactCard;

/// Version and SPAKE2 message have 34 bytes; another version may say more.
const HELLO_LENGTH_MAX: usize = 256;
/// An HMAC with SHA-256.
const CONFIRMATION_LENGTH: usize = 32;
const HEAD_LENGTH: usize = 3;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 1,
    Confirmation = 2,
    Card = 3,
}

impl Kind {
    fn has_length(self, length: usize) -> bool {
        match self {
            Self::Hello => length <= HELLO_LENGTH_MAX,
            Self::Confirmation => length == CONFIRMATION_LENGTH,
            Self::Card => length <= ContactCard::LENGTH_MAX,
        }
    }
}

/// A message, ready to be sent.
pub(super) fn write(kind: Kind, body: &[&[u8]]) -> Vec<u8> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    debug_assert!(kind.has_length(length), "{kind:?} of {length} bytes");
    let mut message = Vec::with_capacity(HEAD_LENGTH + length);
    message.push(kind as u8);
    // No kind is longer than two bytes can say.
    message.extend((length as u16).to_be_bytes());
    message.extend(body.iter().copied().flatten());
    message
}

/// Why bytes are no message, or not the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// It is of another kind.
    Unexpected,
    /// Its kind does not have this length.
    Length,
}

/// A message that comes in pieces. It holds no more than one, whose length was judged before its body.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    begun: Vec<u8>,
}

impl Inbox {
    /// The body of the next message, once it is whole. It takes of `bytes` what belongs to it.
    pub(super) fn next(&mut self, bytes: &mut &[u8], expected: Kind) -> Result<Option<Vec<u8>>, FrameError> {
        self.fill(bytes, HEAD_LENGTH);
        let Some(&[kind, high, low]) = self.begun.first_chunk() else { return Ok(None) };
        if kind != expected as u8 {
            return Err(FrameError::Unexpected);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !expected.has_length(length) {
            return Err(FrameError::Length);
        }
        self.fill(bytes, HEAD_LENGTH + length);
        if self.begun.len() < HEAD_LENGTH + length {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.begun).split_off(HEAD_LENGTH)))
    }

    /// Takes of `bytes` until there are `length`, as far as they reach.
    fn fill(&mut self, bytes: &mut &[u8], length: usize) {
        let missing = length.saturating_sub(self.begun.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(missing);
        self.begun.extend_from_slice(taken);
        *bytes = rest;
    }
}
