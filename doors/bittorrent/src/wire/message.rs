//! The messages themselves.

use peerage_content::{Block, PieceIndex};

use super::header::check_length;
use super::{Limits, PIECE_HEADER_LENGTH, WireError};

/// The first byte after the length prefix.
pub(super) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
    pub(crate) const HASH_REQUEST: u8 = 21;
    pub(crate) const HASHES: u8 = 22;
    pub(crate) const HASH_REJECT: u8 = 23;

    /// For error messages.
    pub(crate) fn name(id: u8) -> &'static str {
        match id {
            CHOKE => "choke",
            UNCHOKE => "unchoke",
            INTERESTED => "interested",
            NOT_INTERESTED => "not interested",
            HAVE => "have",
            BITFIELD => "bitfield",
            REQUEST => "request",
            PIECE => "piece",
            CANCEL => "cancel",
            PORT => "port",
            SUGGEST => "suggest piece",
            HAVE_ALL => "have all",
            HAVE_NONE => "have none",
            REJECT => "reject request",
            ALLOWED_FAST => "allowed fast",
            EXTENDED => "extended",
            HASH_REQUEST => "hash request",
            HASHES => "hashes",
            HASH_REJECT => "hash reject",
            _ => "unknown",
        }
    }
}

/// A span of one layer of a file's hash tree, and the uncles that prove it (BEP 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashRequest {
    /// Root of the file's tree: which file is meant.
    pub root: [u8; 32],
    /// Layer asked for; 0 is the leaves, one for each 16 KiB.
    pub base: u32,
    /// Number of the first hash within the layer.
    pub index: u32,
    /// Hashes asked for.
    pub count: u32,
    /// Layers above the base layer that the proof covers.
    pub proofs: u32,
}

/// One message of the peer wire. Borrowed parts point into the frame it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing but a sign of life.
    KeepAlive,
    /// The sender will not answer requests.
    Choke,
    /// The sender answers requests.
    Unchoke,
    /// The sender wants something of the receiver.
    Interested,
    /// The sender wants nothing of the receiver.
    NotInterested,
    /// The sender has got a piece.
    Have(PieceIndex),
    /// What the sender has, first piece in the highest bit. When the piece count was known, length and spare bits
    /// are right.
    Bitfield(&'a [u8]),
    /// Asks for a block.
    Request(Block),
    /// A block. Drivers read its data past this type ([`super::peek_header`]).
    Piece {
        /// Where the data belongs; its length is that of `data`.
        block: Block,
        /// The bytes.
        data: &'a [u8],
    },
    /// Takes a request back.
    Cancel(Block),
    /// UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// A piece that is cheap for the sender to serve (BEP 6).
    Suggest(PieceIndex),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// The sender will not answer this request (BEP 6).
    Reject(Block),
    /// The receiver may ask for this piece even while choked (BEP 6).
    AllowedFast(PieceIndex),
    /// A message of the extension protocol (BEP 10): see [`super::extended`].
    Extended {
        /// 0 for the handshake, else as the receiver has numbered it.
        id: u8,
        /// What follows.
        payload: &'a [u8],
    },
    /// Asks for hashes (BEP 52).
    HashRequest(HashRequest),
    /// Hashes (BEP 52): those of the base layer, then the uncles from below to above.
    Hashes {
        /// The request it answers.
        request: HashRequest,
        /// As many as there came.
        hashes: &'a [[u8; 32]],
    },
    /// The sender will not answer this hash request (BEP 52).
    HashReject(HashRequest),
    /// A kind of message not known here: to be skipped.
    Unknown {
        /// Its number.
        id: u8,
    },
}

/// The 13 bytes that precede the data of a block, for drivers that send the data itself from a file.
pub fn piece_header(block: Block) -> [u8; PIECE_HEADER_LENGTH] {
    let mut bytes = [0; PIECE_HEADER_LENGTH];
    bytes[..4].copy_from_slice(&block.length.saturating_add(9).to_be_bytes());
    bytes[4] = id::PIECE;
    bytes[5..9].copy_from_slice(&block.piece.to_be_bytes());
    bytes[9..].copy_from_slice(&block.begin.to_be_bytes());
    bytes
}

impl<'a> Message<'a> {
    /// Reads one whole frame, length prefix included.
    ///
    /// # Errors
    /// [`WireError`], never a partly read message.
    pub fn decode(frame: &'a [u8], limits: &Limits) -> Result<Self, WireError> {
        let not_one = |announced| WireError::NotOneFrame { found: frame.len(), announced };
        let (prefix, body) = frame.split_first_chunk::<4>().ok_or(not_one(0))?;
        let length = u32::from_be_bytes(*prefix);
        if body.len() != length as usize {
            return Err(not_one(4 + length as usize));
        }
        let Some((&kind, payload)) = body.split_first() else { return Ok(Self::KeepAlive) };
        check_length(kind, length, limits)?;
        let short = || WireError::Length { message: id::name(kind), length, expected: "cannot be read" };
        let number = || payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(short);
        let block = || read_block(payload).ok_or_else(short);
        let hashes = || read_hash_request(payload).ok_or_else(short);
        Ok(match kind {
            id::CHOKE => Self::Choke,
            id::UNCHOKE => Self::Unchoke,
            id::INTERESTED => Self::Interested,
            id::NOT_INTERESTED => Self::NotInterested,
            id::HAVE => Self::Have(number()?),
            id::BITFIELD => Self::Bitfield(checked_bitfield(payload, limits)?),
            id::REQUEST => Self::Request(block()?),
            id::PIECE => {
                let (at, data) = payload.split_first_chunk::<8>().ok_or_else(short)?;
                let [p0, p1, p2, p3, b0, b1, b2, b3] = *at;
                let block = Block {
                    piece: u32::from_be_bytes([p0, p1, p2, p3]),
                    begin: u32::from_be_bytes([b0, b1, b2, b3]),
                    length: length - 9,
                };
                Self::Piece { block, data }
            }
            id::CANCEL => Self::Cancel(block()?),
            id::PORT => Self::Port(u16::from_be_bytes(*payload.first_chunk().ok_or_else(short)?)),
            id::SUGGEST => Self::Suggest(number()?),
            id::HAVE_ALL => Self::HaveAll,
            id::HAVE_NONE => Self::HaveNone,
            id::REJECT => Self::Reject(block()?),
            id::ALLOWED_FAST => Self::AllowedFast(number()?),
            id::EXTENDED => {
                let (&id, payload) = payload.split_first().ok_or_else(short)?;
                Self::Extended { id, payload }
            }
            id::HASH_REQUEST => Self::HashRequest(hashes()?.0),
            id::HASHES => {
                let (request, rest) = hashes()?;
                Self::Hashes { request, hashes: rest.as_chunks().0 }
            }
            id::HASH_REJECT => Self::HashReject(hashes()?.0),
            id => Self::Unknown { id },
        })
    }

    /// Appends the frame, length prefix included. [`Message::Unknown`] appends nothing but its id.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => bare(out, id::CHOKE),
            Self::Unchoke => bare(out, id::UNCHOKE),
            Self::Interested => bare(out, id::INTERESTED),
            Self::NotInterested => bare(out, id::NOT_INTERESTED),
            Self::Have(piece) => numbered(out, id::HAVE, piece),
            Self::Bitfield(bits) => {
                start(out, id::BITFIELD, bits.len());
                out.extend_from_slice(bits);
            }
            Self::Request(block) => blocked(out, id::REQUEST, block),
            Self::Piece { block, data } => {
                start(out, id::PIECE, 8 + data.len());
                out.extend_from_slice(&block.piece.to_be_bytes());
                out.extend_from_slice(&block.begin.to_be_bytes());
                out.extend_from_slice(data);
            }
            Self::Cancel(block) => blocked(out, id::CANCEL, block),
            Self::Port(port) => {
                start(out, id::PORT, 2);
                out.extend_from_slice(&port.to_be_bytes());
            }
            Self::Suggest(piece) => numbered(out, id::SUGGEST, piece),
            Self::HaveAll => bare(out, id::HAVE_ALL),
            Self::HaveNone => bare(out, id::HAVE_NONE),
            Self::Reject(block) => blocked(out, id::REJECT, block),
            Self::AllowedFast(piece) => numbered(out, id::ALLOWED_FAST, piece),
            Self::Extended { id, payload } => {
                start(out, id::EXTENDED, 1 + payload.len());
                out.push(id);
                out.extend_from_slice(payload);
            }
            Self::HashRequest(request) => hashed(out, id::HASH_REQUEST, &request, &[]),
            Self::Hashes { request, hashes } => hashed(out, id::HASHES, &request, hashes),
            Self::HashReject(request) => hashed(out, id::HASH_REJECT, &request, &[]),
            Self::Unknown { id } => bare(out, id),
        }
    }
}

fn read_block(payload: &[u8]) -> Option<Block> {
    let (numbers, _) = payload.as_chunks::<4>();
    let [piece, begin, length] = *numbers.first_chunk::<3>()?;
    Some(Block {
        piece: u32::from_be_bytes(piece),
        begin: u32::from_be_bytes(begin),
        length: u32::from_be_bytes(length),
    })
}

fn read_hash_request(payload: &[u8]) -> Option<(HashRequest, &[u8])> {
    let (root, rest) = payload.split_first_chunk::<32>()?;
    let (numbers, rest) = rest.split_first_chunk::<16>()?;
    let [base, index, count, proofs] = *numbers.as_chunks::<4>().0.first_chunk::<4>()?;
    let request = HashRequest {
        root: *root,
        base: u32::from_be_bytes(base),
        index: u32::from_be_bytes(index),
        count: u32::from_be_bytes(count),
        proofs: u32::from_be_bytes(proofs),
    };
    Some((request, rest))
}

/// The length was checked; the spare bits were not.
fn checked_bitfield<'a>(bits: &'a [u8], limits: &Limits) -> Result<&'a [u8], WireError> {
    if let (Some(pieces), Some(&last)) = (limits.pieces, bits.last())
        && pieces % 8 != 0
        && last << (pieces % 8) != 0
    {
        return Err(WireError::SpareBits { pieces });
    }
    Ok(bits)
}

/// Appends the prefix and the id of a message with `length` bytes after the id.
fn start(out: &mut Vec<u8>, id: u8, length: usize) {
    out.extend_from_slice(&(length as u32 + 1).to_be_bytes());
    out.push(id);
}

fn bare(out: &mut Vec<u8>, id: u8) {
    start(out, id, 0);
}

fn numbered(out: &mut Vec<u8>, id: u8, number: u32) {
    start(out, id, 4);
    out.extend_from_slice(&number.to_be_bytes());
}

fn blocked(out: &mut Vec<u8>, id: u8, block: Block) {
    start(out, id, 12);
    out.extend_from_slice(&block.piece.to_be_bytes());
    out.extend_from_slice(&block.begin.to_be_bytes());
    out.extend_from_slice(&block.length.to_be_bytes());
}

fn hashed(out: &mut Vec<u8>, id: u8, request: &HashRequest, hashes: &[[u8; 32]]) {
    start(out, id, 48 + hashes.len() * 32);
    out.extend_from_slice(&request.root);
    for number in [request.base, request.index, request.count, request.proofs] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(hashes.as_flattened());
}
