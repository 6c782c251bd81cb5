//! CAR: blocks one after the other in a stream, with their names. Version 1 is written; of version 2, the version 1 inside is read.
//!
//! The names are only what the stream says: whoever reads blocks from it [verifies](crate::verify()) them.

use bytes::{Buf, Bytes, BytesMut};
use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::BLOCK_LEN_MAX;
use crate::proto::{ProtoError, Reader, put_varint, varint_len};

/// Bytes of the longest header: some twenty thousand roots.
const HEADER_LEN_MAX: u64 = 1 << 20;
/// Bytes of the longest section: a block and its CID.
const SECTION_LEN_MAX: u64 = BLOCK_LEN_MAX as u64 + 128;
/// Bytes of a number in base 128.
const VARINT_LEN_MAX: usize = 10;
/// Bytes of the header that only version 2 has, behind the one that says so.
const V2_HEADER_LEN: usize = 40;
/// Bytes of both.
const V2_HEAD_LEN: u64 = 11 + V2_HEADER_LEN as u64;

/// What a stream begins with.
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let header = Header { roots: Some(roots.to_vec()), version: 1 };
    // Only a writer that fails can make this fail, and memory does not.
    let header = serde_ipld_dagcbor::to_vec(&header).unwrap_or_default();
    let mut out = Vec::with_capacity(header.len() + VARINT_LEN_MAX);
    put_varint(&mut out, header.len() as u64);
    out.extend_from_slice(&header);
    out
}

/// What stands before a block of this length. The block follows as it is.
pub fn section(cid: &Cid, block_len: usize) -> Vec<u8> {
    let cid = cid.to_bytes();
    let mut out = Vec::with_capacity(cid.len() + VARINT_LEN_MAX);
    put_varint(&mut out, (cid.len() + block_len) as u64);
    out.extend_from_slice(&cid);
    out
}

/// Bytes of a block of this length with what stands before it.
pub fn section_len(cid: &Cid, block_len: usize) -> u64 {
    let length = (cid.encoded_len() + block_len) as u64;
    varint_len(length) as u64 + length
}

/// Reads a stream: [`push`](Self::push) bytes as they come, take what is complete with [`next`](Self::next), and
/// [`finish`](Self::finish) where they end. It never holds more than a section and what was pushed last.
#[derive(Debug)]
pub struct CarReader {
    buffer: BytesMut,
    state: State,
    /// Bytes of the version 1 inside a version 2 that are still to come. A version 1 alone ends with the stream.
    left: Option<u64>,
}

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarItem {
    /// The header, first of all: where the trees begin.
    Roots(Vec<Cid>),
    /// A block, not verified.
    Block(Cid, Bytes),
}

/// Why a stream is no CAR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// A header that cannot be read.
    #[error("malformed header: {0}")]
    Header(String),
    /// A version that nobody knows.
    #[error("version {0}")]
    Version(u64),
    /// A header or section longer than any.
    #[error("header or section of {0} bytes")]
    TooLong(u64),
    /// A section without a CID, or a number that is none.
    #[error("malformed section")]
    Section,
    /// The stream ends in the middle.
    #[error("stream ends in the middle")]
    Truncated,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    roots: Option<Vec<Cid>>,
    version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The header, of a version 1 inside a version 2 or not.
    Header {
        inner: bool,
    },
    /// What a version 2 says of the version 1 inside.
    V2Header,
    /// Bytes between the two.
    Padding(u64),
    Sections,
    /// Behind the version 1 inside: an index, which is not needed.
    Index,
}

impl Default for CarReader {
    fn default() -> Self {
        Self::new()
    }
}

impl CarReader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), state: State::Header { inner: false }, left: None }
    }

    /// Takes bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Index {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// What is complete, or nothing until more is pushed.
    ///
    /// # Errors
    /// [`CarError`] says why this is no CAR, or no longer.
    #[expect(clippy::should_implement_trait, reason = "nothing means that more is needed")]
    pub fn next(&mut self) -> Result<Option<CarItem>, CarError> {
        loop {
            match self.state {
                State::Header { inner } => {
                    let Some(header) = self.frame(HEADER_LEN_MAX)? else { return Ok(None) };
                    if let Some(roots) = self.take_header(&header, inner)? {
                        return Ok(Some(CarItem::Roots(roots)));
                    }
                }
                State::V2Header => {
                    if self.buffer.len() < V2_HEADER_LEN {
                        return Ok(None);
                    }
                    self.take_v2_header()?;
                }
                State::Padding(left) => {
                    let skipped = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.buffer.advance(skipped);
                    match left - skipped as u64 {
                        0 => self.state = State::Header { inner: true },
                        left => {
                            self.state = State::Padding(left);
                            return Ok(None);
                        }
                    }
                }
                State::Sections if self.left == Some(0) => self.state = State::Index,
                State::Sections => {
                    let Some(section) = self.frame(SECTION_LEN_MAX)? else { return Ok(None) };
                    return block_of(section).map(Some);
                }
                State::Index => {
                    self.buffer.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Says that the stream ends here, after [`next`](Self::next) gave nothing.
    ///
    /// # Errors
    /// [`CarError::Truncated`] if it cannot end here.
    pub fn finish(&self) -> Result<(), CarError> {
        match self.state {
            State::Index => Ok(()),
            State::Sections if self.buffer.is_empty() && self.left.is_none() => Ok(()),
            _ => Err(CarError::Truncated),
        }
    }

    /// The bytes behind the next length, once they are there.
    fn frame(&mut self, length_max: u64) -> Result<Option<Bytes>, CarError> {
        let length = match Reader::new(&self.buffer[..self.buffer.len().min(VARINT_LEN_MAX)]).varint() {
            Ok(length) => length,
            Err(ProtoError::Truncated) if self.buffer.len() < VARINT_LEN_MAX => return Ok(None),
            Err(_) => return Err(CarError::Section),
        };
        if length > length_max {
            return Err(CarError::TooLong(length));
        }
        // Longer forms of the number than needed are refused: they would have no other end than here.
        let head = varint_len(length);
        if self.buffer[head - 1] >= 0x80 {
            return Err(CarError::Section);
        }
        let whole = head as u64 + length;
        let left = self.left.map(|left| left.checked_sub(whole).ok_or(CarError::Truncated)).transpose()?;
        // Bounded above by a few MiB.
        let length = length as usize;
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        self.left = left;
        self.buffer.advance(head);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn take_header(&mut self, header: &[u8], inner: bool) -> Result<Option<Vec<Cid>>, CarError> {
        let header: Header =
            serde_ipld_dagcbor::from_slice(header).map_err(|error| CarError::Header(error.to_string()))?;
        match (header.version, header.roots) {
            (1, Some(roots)) => {
                self.state = State::Sections;
                Ok(Some(roots))
            }
            (1, None) => Err(CarError::Header("no roots".to_owned())),
            (2, None) if !inner => {
                self.state = State::V2Header;
                Ok(None)
            }
            (other, _) => Err(CarError::Version(other)),
        }
    }

    fn take_v2_header(&mut self) -> Result<(), CarError> {
        let mut header = self.buffer.split_to(V2_HEADER_LEN);
        header.advance(16); // what the index holds
        let offset = header.get_u64_le();
        self.left = Some(header.get_u64_le());
        let padding = offset.checked_sub(V2_HEAD_LEN);
        let padding =
            padding.ok_or_else(|| CarError::Header("data before the end of the header".to_owned()))?;
        self.state = State::Padding(padding);
        Ok(())
    }
}

fn block_of(mut section: Bytes) -> Result<CarItem, CarError> {
    let mut rest = &section[..];
    let cid = Cid::read_bytes(&mut rest).map_err(|_| CarError::Section)?;
    if rest.len() > BLOCK_LEN_MAX {
        return Err(CarError::TooLong(rest.len() as u64));
    }
    let head = section.len() - rest.len();
    section.advance(head);
    Ok(CarItem::Block(cid, section))
}

#[cfg(test)]
mod tests;
