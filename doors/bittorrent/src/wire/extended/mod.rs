//! The payloads of extended messages: handshake (BEP 10), `ut_metadata` (BEP 9), `ut_pex` (BEP 11), `lt_donthave`
//! (BEP 54) and `upload_only` (BEP 21).
//!
//! Each side numbers the messages it is willing to receive. Ours are fixed ([`Extension::own_id`]); those of a peer come
//! with its handshake and are kept in [`ExtensionIds`], by which [`ExtendedMessage::encode`] addresses it.
//!
//! What is not understood is skipped: unknown messages, unknown keys, and known keys whose value has the wrong type,
//! as other clients do. What cannot be read at all is an [`ExtendedError`]. Bytes behind a complete dictionary that
//! should have none are ignored.
//!
//! Of our own: `pg_hashes` in the handshake, by which our kind finds the blocks of a hybrid that are bad though it met in v1's name.
//!
//! Not spoken: `ut_holepunch` (BEP 55), which belongs to uTP.

mod error;
mod handshake;
mod ids;
mod metadata;
mod pex;
#[cfg(test)]
mod tests;

pub use error::ExtendedError;
pub use handshake::{CLIENT_NAME_MAX, ExtendedHandshake};
pub use ids::{Extension, ExtensionIds};
pub use metadata::{METADATA_PIECE_LENGTH, MetadataMessage};
pub use pex::{PEX_PEERS_MAX, PexFlags, PexMessage, PexPeer};

use peerage_content::PieceIndex;

use super::Message;
use crate::bencode::{self, Dict, Keys};

/// The id of the extended handshake, on both sides.
pub const HANDSHAKE_ID: u8 = 0;

/// An extended message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtendedMessage<'a> {
    /// What the sender understands and who it is. May come again to change some of it.
    Handshake(ExtendedHandshake),
    /// A part of the metadata, or the wish for one (BEP 9).
    Metadata(MetadataMessage<'a>),
    /// Other peers (BEP 11).
    Pex(PexMessage),
    /// The sender no longer has a piece (BEP 54).
    DontHave(PieceIndex),
    /// Whether the sender will download nothing (BEP 21).
    UploadOnly(bool),
    /// A message that we never offered to understand, or a kind of metadata message that BEP 9 does not know: to be
    /// skipped.
    Unknown {
        /// Its number.
        id: u8,
    },
}

impl<'a> ExtendedMessage<'a> {
    /// Reads the payload of [`Message::Extended`] with the number `id`, which is 0 or one of ours.
    ///
    /// # Errors
    /// [`ExtendedError`], never a partly read message.
    pub fn decode(id: u8, payload: &'a [u8]) -> Result<Self, ExtendedError> {
        if id == HANDSHAKE_ID {
            return ExtendedHandshake::decode(payload).map(Self::Handshake);
        }
        match Extension::from_own_id(id) {
            Some(Extension::Metadata) => {
                Ok(MetadataMessage::decode(payload)?.map_or(Self::Unknown { id }, Self::Metadata))
            }
            Some(Extension::Pex) => PexMessage::decode(payload).map(Self::Pex),
            Some(Extension::DontHave) => match payload.try_into() {
                Ok(piece) => Ok(Self::DontHave(u32::from_be_bytes(piece))),
                Err(_) => Err(ExtendedError::Length {
                    message: "lt_donthave",
                    length: payload.len(),
                    expected: "4",
                }),
            },
            // One byte by agreement; a number as wide as others of the wire does no harm.
            Some(Extension::UploadOnly) => match payload.len() {
                1..=4 => Ok(Self::UploadOnly(payload.iter().any(|&byte| byte != 0))),
                length => Err(ExtendedError::Length { message: "upload_only", length, expected: "1" }),
            },
            None => Ok(Self::Unknown { id }),
        }
    }

    /// Appends the whole frame, addressed to a peer with these numbers. Appends nothing and returns false when the peer
    /// does not understand the message.
    pub fn encode(&self, peer: &ExtensionIds, out: &mut Vec<u8>) -> bool {
        let (extension, payload) = match self {
            Self::Handshake(handshake) => {
                Message::Extended { id: HANDSHAKE_ID, payload: &handshake.payload() }.encode(out);
                return true;
            }
            Self::Metadata(message) => (Extension::Metadata, message.payload()),
            Self::Pex(message) => (Extension::Pex, message.payload()),
            Self::DontHave(piece) => (Extension::DontHave, piece.to_be_bytes().to_vec()),
            Self::UploadOnly(upload_only) => (Extension::UploadOnly, vec![u8::from(*upload_only)]),
            Self::Unknown { .. } => return false,
        };
        let Some(id) = peer.get(extension) else { return false };
        Message::Extended { id, payload: &payload }.encode(out);
        true
    }
}

/// The dictionary that `payload` begins with, and what follows it.
fn dictionary<'a>(message: &'static str, payload: &'a [u8]) -> Result<(Dict<'a>, &'a [u8]), ExtendedError> {
    let (value, end) = bencode::decode_prefix(payload, Keys::AnyOrder)
        .map_err(|source| ExtendedError::Bencode { message, source })?;
    let dict = value.as_dict().ok_or(ExtendedError::NotADictionary { message })?;
    Ok((dict, payload.get(end..).unwrap_or_default()))
}
