//! dag-pb: the protobuf node that all of UnixFS but raw leaves is written in.
//!
//! Written in the one canonical form: links, then data. Read as Go's and JavaScript's codecs read it: data may stand before the links,
//! fields of a link in their order only, nothing unknown.

use cid::Cid;

use crate::proto::{self, ProtoError, Reader};

/// Links of one node that are read. A block of 2 MiB full of links with SHA2-256 has fewer.
pub const LINKS_MAX: usize = 1 << 16;

/// A node, borrowed from its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its links, in the order of the block.
    pub links: Vec<Link<'a>>,
    /// Its own bytes: for UnixFS, a [`unixfs::Data`](crate::unixfs::Data).
    pub data: Option<&'a [u8]>,
}

/// A link to another block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The other block.
    pub cid: Cid,
    /// Its name. Not always text.
    pub name: Option<&'a [u8]>,
    /// What is said of the size of everything below, with its framing. Never to be trusted.
    pub tsize: Option<u64>,
}

impl<'a> Link<'a> {
    /// The name; no name is an empty one.
    pub fn name(&self) -> &'a [u8] {
        self.name.unwrap_or_default()
    }
}

/// Why a block is no dag-pb node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PbError {
    /// Not even protobuf.
    #[error("not protobuf: {0}")]
    Proto(#[from] ProtoError),
    /// A field that nodes or links do not have, or one of another type.
    #[error("unknown field {0}")]
    Field(u32),
    /// A field twice, or links that do not stand together.
    #[error("field {0} is repeated or out of order")]
    Order(u32),
    /// A link to nowhere.
    #[error("link without a CID")]
    NoCid,
    /// A link to what is no CID.
    #[error("link with a malformed CID")]
    BadCid,
    /// More links than [`LINKS_MAX`].
    #[error("more than {LINKS_MAX} links")]
    TooManyLinks,
}

impl<'a> Node<'a> {
    /// Reads a block.
    ///
    /// # Errors
    /// [`PbError`] says why it is no node.
    pub fn decode(block: &'a [u8]) -> Result<Self, PbError> {
        let mut node = Self { links: Vec::new(), data: None };
        let mut links_ended = false;
        let mut reader = Reader::new(block);
        while let Some((field, value)) = reader.field()? {
            let bytes = value.bytes().ok_or(PbError::Field(field))?;
            match field {
                DATA if node.data.is_some() => return Err(PbError::Order(DATA)),
                DATA => {
                    node.data = Some(bytes);
                    links_ended = !node.links.is_empty();
                }
                LINKS if links_ended => return Err(PbError::Order(LINKS)),
                LINKS if node.links.len() == LINKS_MAX => return Err(PbError::TooManyLinks),
                LINKS => node.links.push(Link::decode(bytes)?),
                other => return Err(PbError::Field(other)),
            }
        }
        Ok(node)
    }

    /// Writes it. Links keep their order: whoever has names sorts them by their bytes before.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = NodeWriter::default();
        for link in &self.links {
            writer.put(&link.cid.to_bytes(), link.name.map(|name| [name]), link.tsize);
        }
        if let Some(data) = self.data {
            proto::put_bytes(&mut writer.out, 1, data);
        }
        writer.out
    }
}

impl<'a> Link<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, PbError> {
        let (mut cid, mut name, mut tsize) = (None, None, None);
        let mut last = 0;
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            if field > TSIZE {
                return Err(PbError::Field(field));
            }
            if field <= last {
                return Err(PbError::Order(field));
            }
            last = field;
            match field {
                HASH => cid = Some(value.bytes().ok_or(PbError::Field(field))?),
                NAME => name = Some(value.bytes().ok_or(PbError::Field(field))?),
                _ => tsize = Some(value.varint().ok_or(PbError::Field(field))?),
            }
        }
        let cid = Cid::try_from(cid.ok_or(PbError::NoCid)?).map_err(|_| PbError::BadCid)?;
        Ok(Self { cid, name, tsize })
    }
}

/// Writes a node link by link, and sums up what its own link will say of it.
#[derive(Debug, Default)]
pub(crate) struct NodeWriter {
    out: Vec<u8>,
    below: u64,
}

impl NodeWriter {
    /// A link; its name in parts. Without parts the name is there, and empty, as every importer writes links of files.
    pub(crate) fn link<const N: usize>(&mut self, cid: &[u8], name: [&[u8]; N], tsize: u64) {
        self.below = self.below.saturating_add(tsize);
        self.put(cid, Some(name), Some(tsize));
    }

    /// The block, and the size of everything from it downwards.
    pub(crate) fn finish(mut self, data: &[u8]) -> (Vec<u8>, u64) {
        proto::put_bytes(&mut self.out, 1, data);
        let tsize = self.below.saturating_add(self.out.len() as u64);
        (self.out, tsize)
    }

    fn put<const N: usize>(&mut self, cid: &[u8], name: Option<[&[u8]; N]>, tsize: Option<u64>) {
        let name_len = name.map(|parts| parts.iter().map(|part| part.len()).sum());
        proto::put_bytes_head(&mut self.out, 2, link_message_len(cid.len(), name_len, tsize));
        proto::put_bytes(&mut self.out, 1, cid);
        if let (Some(parts), Some(length)) = (name, name_len) {
            proto::put_bytes_head(&mut self.out, 2, length);
            parts.iter().for_each(|part| self.out.extend_from_slice(part));
        }
        if let Some(tsize) = tsize {
            proto::put_number(&mut self.out, 3, tsize);
        }
    }
}

/// Bytes of a link in its node.
pub(crate) fn link_len(cid_len: usize, name_len: usize, tsize: u64) -> usize {
    proto::bytes_len(link_message_len(cid_len, Some(name_len), Some(tsize)))
}

fn link_message_len(cid_len: usize, name_len: Option<usize>, tsize: Option<u64>) -> usize {
    proto::bytes_len(cid_len)
        + name_len.map_or(0, proto::bytes_len)
        + tsize.map_or(0, |tsize| 1 + proto::varint_len(tsize))
}

// Fields of a node.
const DATA: u32 = 1;
const LINKS: u32 = 2;
// Fields of a link, in their order.
const HASH: u32 = 1;
const NAME: u32 = 2;
const TSIZE: u32 = 3;

#[cfg(test)]
mod tests;
