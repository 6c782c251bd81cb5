//! Bytes to messages.

use bytes::Bytes;
use cid::{Cid, Version};

use super::pb::{Fields, varint};
use super::{Block, ENTRIES_MAX, Entry, ITEMS_MAX, Message, Presence, Want};
use crate::bitswap::verify::Prefix;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends within a field.
    #[error("message ends too early")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("number in a message is too long")]
    Varint,
    /// A field is not of the type that it has.
    #[error("field of a message has a wrong type")]
    WireType,
    /// Fields are counted from 1.
    #[error("field number 0 in a message")]
    FieldNumber,
    /// A block whose prefix is none.
    #[error("block with a malformed prefix")]
    Prefix,
}

impl Message {
    /// Takes a message apart. Its blocks keep the frame alive.
    ///
    /// # Errors
    /// [`DecodeError`]: the peer is not worth listening to.
    pub fn decode(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut fields = Fields::new(frame);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => message.take_wantlist(value.bytes()?)?,
                2 => message.take_block(Prefix::V0, frame.slice_ref(value.bytes()?)),
                3 => {
                    let (prefix, data) = payload(value.bytes()?)?;
                    match prefix {
                        Some(prefix) => message.take_block(prefix, frame.slice_ref(data)),
                        None => message.left_out += 1,
                    }
                }
                4 => message.take_presence(value.bytes()?)?,
                5 => message.pending_bytes = value.int32()?,
                _ => {}
            }
        }
        Ok(message)
    }

    fn take_wantlist(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => match entry(value.bytes()?)? {
                    Some(entry) if self.wantlist.entries.len() < ENTRIES_MAX => {
                        self.wantlist.entries.push(entry);
                    }
                    _ => self.left_out += 1,
                },
                2 => self.wantlist.full = value.bool()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn take_block(&mut self, prefix: Prefix, data: Bytes) {
        if self.blocks.len() < ITEMS_MAX {
            self.blocks.push(Block { prefix, data });
        } else {
            self.left_out += 1;
        }
    }

    fn take_presence(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        match presence(bytes)? {
            Some(presence) if self.presences.len() < ITEMS_MAX => self.presences.push(presence),
            _ => self.left_out += 1,
        }
        Ok(())
    }
}

/// A want; `None` when it is of no kind that is known here.
fn entry(bytes: &[u8]) -> Result<Option<Entry>, DecodeError> {
    let (mut name, mut priority, mut cancel, mut kind, mut send_dont_have) = (&[][..], 0, false, 0, false);
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.bytes()?,
            2 => priority = value.int32()?,
            3 => cancel = value.bool()?,
            4 => kind = value.varint()?,
            5 => send_dont_have = value.bool()?,
            _ => {}
        }
    }
    let want = match (cancel, kind) {
        (true, _) => Want::Cancel,
        (false, 0) => Want::Block,
        (false, 1) => Want::Have,
        _ => return Ok(None),
    };
    Ok(cid(name).map(|cid| Entry { cid, priority, want, send_dont_have }))
}

/// Prefix and bytes of a block. There is no prefix when CIDs with such digests do not fit here.
fn payload(bytes: &[u8]) -> Result<(Option<Prefix>, &[u8]), DecodeError> {
    let (mut name, mut data) = (&[][..], &[][..]);
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.bytes()?,
            2 => data = value.bytes()?,
            _ => {}
        }
    }
    Ok((prefix(name)?, data))
}

fn prefix(mut bytes: &[u8]) -> Result<Option<Prefix>, DecodeError> {
    let mut part = || varint(&mut bytes).map_err(|_| DecodeError::Prefix);
    let (version, codec, hash, length) = (part()?, part()?, part()?, part()?);
    if !bytes.is_empty() {
        return Err(DecodeError::Prefix);
    }
    let (Ok(version), Ok(length)) = (Version::try_from(version), u8::try_from(length)) else {
        return Ok(None);
    };
    Ok(Some(Prefix { version, codec, hash, length }))
}

/// An answer; `None` when it is of no kind that is known here.
fn presence(bytes: &[u8]) -> Result<Option<(Cid, Presence)>, DecodeError> {
    let (mut name, mut kind) = (&[][..], 0);
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.bytes()?,
            2 => kind = value.varint()?,
            _ => {}
        }
    }
    let presence = match kind {
        0 => Presence::Have,
        1 => Presence::DontHave,
        _ => return Ok(None),
    };
    Ok(cid(name).map(|cid| (cid, presence)))
}

/// A CID without anything behind it. Others, and those with a digest of more than 64 bytes, name nothing that could be here.
fn cid(mut bytes: &[u8]) -> Option<Cid> {
    let cid = Cid::read_bytes(&mut bytes).ok()?;
    bytes.is_empty().then_some(cid)
}
