//! Which block some bytes are.

use bytes::Bytes;
use cid::{Cid, Version};
use peerage_dag::VerifyError;

/// Multicodec of dag-pb, the only codec of a CIDv0.
const DAG_PB: u64 = 0x70;
/// Multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// A CID but for its digest: how the sender of a block says by which kind of name it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Version of the CID.
    pub version: Version,
    /// Multicodec of the content.
    pub codec: u64,
    /// Multihash code of the hash function.
    pub hash: u64,
    /// Length of the digest.
    pub length: u8,
}

impl Prefix {
    /// That of blocks in bitswap 1.0.0, where every CID is a CIDv0.
    pub const V0: Self = Self { version: Version::V0, codec: DAG_PB, hash: SHA2_256, length: 32 };

    /// The prefix of a CID.
    pub fn of(cid: &Cid) -> Self {
        Self {
            version: cid.version(),
            codec: cid.codec(),
            hash: cid.hash().code(),
            length: cid.hash().size(),
        }
    }
}

/// Why bytes have no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Nameless {
    /// Nobody here can compute it.
    #[error(transparent)]
    Hash(#[from] VerifyError),
    /// The parts of the prefix do not fit together.
    #[error("{0:?} names nothing")]
    Prefix(Prefix),
}

/// The CID of a block that came with this prefix. It is computed from the bytes: there is nothing left to verify.
///
/// # Errors
/// [`Nameless`]: nobody can have asked for such a block.
pub fn name(prefix: &Prefix, data: &Bytes) -> Result<Cid, Nameless> {
    let hash = peerage_dag::hash(prefix.hash, data)?;
    if hash.size() != prefix.length {
        return Err(Nameless::Prefix(*prefix));
    }
    Cid::new(prefix.version, prefix.codec, hash).map_err(|_| Nameless::Prefix(*prefix))
}
