//! Parts of the metadata on the wire (BEP 9).

use super::{ExtendedError, dictionary};
use crate::bencode::Item;

/// Bytes of a piece of metadata; the last one is shorter.
pub const METADATA_PIECE_LENGTH: usize = 16 * 1024;

/// Name in error messages.
const NAME: &str = "ut_metadata";

/// A `ut_metadata` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Asks for a piece.
    Request {
        /// Its number.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Its number.
        piece: u32,
        /// Bytes of the whole metadata, as the sender claims; 0 when it does not say.
        total_size: u32,
        /// The bytes, 1 to [`METADATA_PIECE_LENGTH`].
        data: &'a [u8],
    },
    /// The sender will not send this piece.
    Reject {
        /// Its number.
        piece: u32,
    },
}

impl<'a> MetadataMessage<'a> {
    /// Reads a payload; `None` for a kind of message that must be ignored (BEP 9).
    pub(super) fn decode(payload: &'a [u8]) -> Result<Option<Self>, ExtendedError> {
        let (dict, data) = dictionary(NAME, payload)?;
        let number = |key: &'static str| {
            let value = dict.uint(key).and_then(|value| u32::try_from(value).ok());
            value.ok_or(ExtendedError::Key { message: NAME, key })
        };
        let kind = dict.int("msg_type").ok_or(ExtendedError::Key { message: NAME, key: "msg_type" })?;
        Ok(Some(match kind {
            0 => Self::Request { piece: number("piece")? },
            1 => {
                if data.is_empty() || data.len() > METADATA_PIECE_LENGTH {
                    let length = data.len();
                    return Err(ExtendedError::Length {
                        message: "ut_metadata data",
                        length,
                        expected: "1 to 16384",
                    });
                }
                let total_size = if dict.get("total_size").is_some() { number("total_size")? } else { 0 };
                Self::Data { piece: number("piece")?, total_size, data }
            }
            2 => Self::Reject { piece: number("piece")? },
            _ => return Ok(None),
        }))
    }

    /// The bencoded dictionary, and the data behind it.
    pub(super) fn payload(&self) -> Vec<u8> {
        let of = |kind: u8, piece: u32| [("msg_type", Item::from(kind)), ("piece", Item::from(piece))];
        match *self {
            Self::Request { piece } => Item::dict(of(0, piece)).encode(),
            Self::Reject { piece } => Item::dict(of(2, piece)).encode(),
            Self::Data { piece, total_size, data } => {
                let pairs = of(1, piece).into_iter().chain([("total_size", Item::from(total_size))]);
                let mut payload = Item::dict(pairs).encode();
                payload.extend_from_slice(data);
                payload
            }
        }
    }
}
