//! What a frame is, told from its first bytes, and how long it may be.

use peerage_content::Block;

use super::{WireError, message::id};

/// Bytes before the data of a piece message: length prefix, id, piece, begin.
pub const PIECE_HEADER_LENGTH: usize = 13;

/// Bytes of block data accepted in one piece message. Nobody asks for more than 16 KiB since 2005, and libtorrent
/// refuses to send more than 128 KiB.
pub const PIECE_DATA_MAX: u32 = 128 << 10;

/// Bytes of an extended message: what libtorrent accepts. The largest honest one is a 16 KiB piece of metadata.
pub const EXTENDED_LENGTH_MAX: u32 = 1 << 20;

/// Bytes of a bitfield while the piece count is unknown: 8 million pieces.
pub const BITFIELD_LENGTH_MAX_UNKNOWN: u32 = 1 << 20;

/// Hashes in one hashes message: 8192 of the base layer, which is what libtorrent answers at most, and the uncles up
/// to the root of the tallest tree.
pub const HASHES_MAX: u32 = 8192 + 64;

/// Bytes of a message of a kind not known here.
pub const UNKNOWN_LENGTH_MAX: u32 = 16 << 10;

/// How long the messages of one connection may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Pieces of the content; `None` while metadata is unknown.
    pub pieces: Option<u32>,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The frame cannot be told before this many bytes of it (those at hand included) are there.
    NeedMore(usize),
    /// A piece message. After [`PIECE_HEADER_LENGTH`] bytes follow `block.length` bytes of data (1 to
    /// [`PIECE_DATA_MAX`]), and then the next frame.
    Piece {
        /// Where the data belongs.
        block: Block,
    },
    /// Any other message.
    Control {
        /// Bytes of the whole frame, length prefix included.
        total_len: usize,
    },
}

/// Tells what frame `bytes` begins with. `bytes` starts at a frame and may hold as little as nothing and as much as
/// many frames.
///
/// # Errors
/// [`WireError`] as soon as the length prefix and the id are there, if that message cannot be that long.
pub fn peek_header(bytes: &[u8], limits: &Limits) -> Result<Header, WireError> {
    let Some((prefix, body)) = bytes.split_first_chunk::<4>() else { return Ok(Header::NeedMore(4)) };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Ok(Header::Control { total_len: 4 });
    }
    let Some(&kind) = body.first() else { return Ok(Header::NeedMore(5)) };
    check_length(kind, length, limits)?;
    if kind != id::PIECE {
        return Ok(Header::Control { total_len: 4 + length as usize });
    }
    let Some((header, _)) = bytes.split_first_chunk::<PIECE_HEADER_LENGTH>() else {
        return Ok(Header::NeedMore(PIECE_HEADER_LENGTH));
    };
    let [_, _, _, _, _, p0, p1, p2, p3, b0, b1, b2, b3] = *header;
    Ok(Header::Piece {
        block: Block {
            piece: u32::from_be_bytes([p0, p1, p2, p3]),
            begin: u32::from_be_bytes([b0, b1, b2, b3]),
            length: length - 9,
        },
    })
}

/// Checks the length (id included, prefix not) of a message of this kind.
pub(super) fn check_length(kind: u8, length: u32, limits: &Limits) -> Result<(), WireError> {
    let message = id::name(kind);
    let exactly = |right: u32, expected| {
        if length == right { Ok(()) } else { Err(WireError::Length { message, length, expected }) }
    };
    let between = |least: u32, limit: u32, expected| {
        if length > limit {
            Err(WireError::TooLong { message, length, limit })
        } else if length < least {
            Err(WireError::Length { message, length, expected })
        } else {
            Ok(())
        }
    };
    match kind {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => {
            exactly(1, "must be 1")
        }
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => exactly(5, "must be 5"),
        id::REQUEST | id::CANCEL | id::REJECT => exactly(13, "must be 13"),
        id::PORT => exactly(3, "must be 3"),
        id::HASH_REQUEST | id::HASH_REJECT => exactly(49, "must be 49"),
        id::PIECE => between(10, 9 + PIECE_DATA_MAX, "must hold data"),
        id::EXTENDED => between(2, EXTENDED_LENGTH_MAX, "must hold an extended id"),
        id::BITFIELD => match limits.pieces {
            Some(pieces) => exactly(1 + pieces.div_ceil(8), "must be one bit a piece"),
            None => between(1, 1 + BITFIELD_LENGTH_MAX_UNKNOWN, "cannot happen"),
        },
        id::HASHES => {
            between(49, 49 + 32 * HASHES_MAX, "must hold the request")?;
            if (length - 49).is_multiple_of(32) {
                Ok(())
            } else {
                Err(WireError::Length { message, length, expected: "must hold whole hashes" })
            }
        }
        _ => between(1, UNKNOWN_LENGTH_MAX, "cannot happen"),
    }
}
