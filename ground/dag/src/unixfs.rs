//! UnixFS: what the data of a dag-pb node says of a file, a directory or a link.

use crate::pb::{Node, PbError};
use crate::proto::{self, ProtoError, Reader, Value};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes of a file, as old importers wrote leaves.
    Raw = 0,
    /// A directory in one block.
    Directory = 1,
    /// A file, or a part of one.
    File = 2,
    /// Reserved, and used by nobody.
    Metadata = 3,
    /// A symbolic link.
    Symlink = 4,
    /// A directory, or a part of one, spread over a hash trie of blocks.
    HamtShard = 5,
}

impl Kind {
    fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Raw,
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Metadata,
            4 => Self::Symlink,
            5 => Self::HamtShard,
            _ => return None,
        })
    }
}

/// When something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    /// Seconds since 1970, or before.
    pub seconds: i64,
    /// Nanoseconds above them, below a thousand million.
    pub nanos: u32,
}

/// What may be kept of a file beside its bytes. Nothing of it is, unless a user asks: it changes the CID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permissions. Bits above the twelve that POSIX has are kept as they are.
    pub mode: Option<u32>,
    /// The time of the last change.
    pub mtime: Option<Mtime>,
}

impl Metadata {
    /// Nothing, as nearly always.
    pub const NONE: Self = Self { mode: None, mtime: None };
}

/// The message in a node's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// What the node is.
    pub kind: Kind,
    /// Bytes of the file that lie in this node, the target of a link, or which buckets of a shard are taken.
    pub data: Option<&'a [u8]>,
    /// Bytes of the file from this node downwards.
    pub filesize: Option<u64>,
    /// Bytes of the file below each link.
    pub blocksizes: Vec<u64>,
    /// The hash function of a shard's names.
    pub hash_type: Option<u64>,
    /// Buckets of a shard.
    pub fanout: Option<u64>,
    /// Permissions and time.
    pub metadata: Metadata,
}

/// Why the data of a node is not UnixFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnixFsError {
    /// The block is no dag-pb node.
    #[error("not a dag-pb node: {0}")]
    Pb(#[from] PbError),
    /// The node has no data.
    #[error("node without data")]
    NoData,
    /// Not even protobuf.
    #[error("data is not protobuf: {0}")]
    Proto(#[from] ProtoError),
    /// A field of another type, or out of range.
    #[error("field {0} is malformed")]
    Field(u32),
    /// It says nothing of what it is.
    #[error("no type")]
    NoKind,
    /// Nanoseconds that do not exist.
    #[error("nanoseconds out of range")]
    Nanos,
}

impl<'a> Data<'a> {
    /// A node of this kind with nothing in it.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            data: None,
            filesize: None,
            blocksizes: Vec::new(),
            hash_type: None,
            fanout: None,
            metadata: Metadata::NONE,
        }
    }

    /// Reads the data of a node.
    ///
    /// # Errors
    /// [`UnixFsError::NoData`] if it has none, or why it is malformed.
    pub fn of(node: &Node<'a>) -> Result<Self, UnixFsError> {
        Self::decode(node.data.ok_or(UnixFsError::NoData)?)
    }

    /// Reads the message. Fields that are unknown are passed over, as protobuf has it; of one that is repeated, the last counts.
    ///
    /// # Errors
    /// [`UnixFsError`] says what is malformed.
    pub fn decode(message: &'a [u8]) -> Result<Self, UnixFsError> {
        let mut data = Self::new(Kind::Raw);
        let mut kind = None;
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            let malformed = UnixFsError::Field(field);
            let number = || value.varint().ok_or(malformed);
            match field {
                KIND => kind = Some(Kind::from_number(number()?).ok_or(malformed)?),
                BYTES => data.data = Some(value.bytes().ok_or(malformed)?),
                FILESIZE => data.filesize = Some(number()?),
                BLOCKSIZES => data.take_blocksizes(value)?,
                HASH_TYPE => data.hash_type = Some(number()?),
                FANOUT => data.fanout = Some(number()?),
                MODE => data.metadata.mode = Some(u32::try_from(number()?).map_err(|_| malformed)?),
                MTIME => data.metadata.mtime = Some(Mtime::decode(value.bytes().ok_or(malformed)?)?),
                _ => {}
            }
        }
        data.kind = kind.ok_or(UnixFsError::NoKind)?;
        Ok(data)
    }

    /// One size, or many in the packed form that newer protobuf compilers write.
    fn take_blocksizes(&mut self, value: Value<'_>) -> Result<(), UnixFsError> {
        match value {
            Value::Varint(size) => self.blocksizes.push(size),
            Value::Bytes(packed) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    self.blocksizes.push(reader.varint()?);
                }
            }
            _ => return Err(UnixFsError::Field(BLOCKSIZES)),
        }
        Ok(())
    }

    /// The message, in the form that all importers write.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.blocksizes.len() * 4);
        proto::put_number(&mut out, 1, self.kind as u64);
        if let Some(bytes) = self.data {
            proto::put_bytes(&mut out, 2, bytes);
        }
        put_optional(&mut out, 3, self.filesize);
        for &size in &self.blocksizes {
            proto::put_number(&mut out, 4, size);
        }
        put_optional(&mut out, 5, self.hash_type);
        put_optional(&mut out, 6, self.fanout);
        self.metadata.put(&mut out);
        out
    }
}

fn put_optional(out: &mut Vec<u8>, field: u8, value: Option<u64>) {
    if let Some(value) = value {
        proto::put_number(out, field, value);
    }
}

impl Metadata {
    /// Its fields, which are the last of the message.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_optional(out, 7, self.mode.map(u64::from));
        if let Some(mtime) = self.mtime {
            proto::put_bytes(out, 8, &mtime.encode());
        }
    }
}

impl Mtime {
    fn decode(message: &[u8]) -> Result<Self, UnixFsError> {
        let mut mtime = Self { seconds: 0, nanos: 0 };
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            match field {
                1 => mtime.seconds = value.varint().ok_or(UnixFsError::Field(MTIME))?.cast_signed(),
                2 => {
                    mtime.nanos = value.fixed32().ok_or(UnixFsError::Field(MTIME))?;
                    if !(1..NANOS).contains(&mtime.nanos) {
                        return Err(UnixFsError::Nanos);
                    }
                }
                _ => {}
            }
        }
        Ok(mtime)
    }

    /// No nanoseconds are not written, since the specification forbids a zero.
    fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        proto::put_number(&mut out, 1, self.seconds.cast_unsigned());
        if self.nanos != 0 {
            out.push(2 << 3 | 5);
            out.extend_from_slice(&self.nanos.to_le_bytes());
        }
        out
    }
}

const NANOS: u32 = 1_000_000_000;

const KIND: u32 = 1;
const BYTES: u32 = 2;
const FILESIZE: u32 = 3;
const BLOCKSIZES: u32 = 4;
const HASH_TYPE: u32 = 5;
const FANOUT: u32 = 6;
const MODE: u32 = 7;
const MTIME: u32 = 8;

#[cfg(test)]
mod tests;
