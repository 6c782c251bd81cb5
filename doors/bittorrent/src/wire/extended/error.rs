//! What can be wrong with an extended message.

use crate::bencode::DecodeError;

/// A payload that cannot be read. The frame around it was sound, so the connection could go on; honest clients do not
/// send these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendedError {
    /// Not bencoded.
    #[error("{message} message cannot be decoded")]
    Bencode {
        /// Name of the message.
        message: &'static str,
        /// What was wrong.
        source: DecodeError,
    },
    /// Bencoded, but not a dictionary.
    #[error("{message} message is not a dictionary")]
    NotADictionary {
        /// Name of the message.
        message: &'static str,
    },
    /// A key is missing, or its value has the wrong type or is out of bounds.
    #[error("{message} message has no sound value for `{key}`")]
    Key {
        /// Name of the message.
        message: &'static str,
        /// The key.
        key: &'static str,
    },
    /// The payload has the wrong length.
    #[error("{message} message has a payload of {length} bytes, not {expected}")]
    Length {
        /// Name of the message.
        message: &'static str,
        /// Bytes there are.
        length: usize,
        /// Bytes there should be.
        expected: &'static str,
    },
}
