//! Whether bytes are what a CID names.

use cid::Cid;
use cid::multihash::Multihash;
use sha2::Digest;

/// What the bytes of a block are, by its number in the multicodec table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Codec {
    /// Bytes of a file, as they are.
    Raw = 0x55,
    /// A protobuf node with links: all of UnixFS that is not raw.
    DagPb = 0x70,
    /// The IPLD data model in CBOR.
    DagCbor = 0x71,
    /// A public key: not a block, but what an IPNS name is written as.
    Libp2pKey = 0x72,
    /// The IPLD data model in JSON.
    DagJson = 0x0129,
}

/// A codec that this crate does not know, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec {0:#x}")]
pub struct UnknownCodec(pub u64);

impl TryFrom<u64> for Codec {
    type Error = UnknownCodec;

    fn try_from(code: u64) -> Result<Self, UnknownCodec> {
        const KNOWN: [Codec; 5] =
            [Codec::Raw, Codec::DagPb, Codec::DagCbor, Codec::Libp2pKey, Codec::DagJson];
        KNOWN.into_iter().find(|&codec| codec as u64 == code).ok_or(UnknownCodec(code))
    }
}

impl Codec {
    /// The codec of what a CID names.
    ///
    /// # Errors
    /// [`UnknownCodec`] if it is none of these.
    pub fn of(cid: &Cid) -> Result<Self, UnknownCodec> {
        Self::try_from(cid.codec())
    }
}

/// Why bytes are not taken for what a CID names. Whoever asked knows the CID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bytes are other bytes.
    #[error("block does not match its CID")]
    Mismatch,
    /// Nobody here can compute this hash, or it is too weak to be believed.
    #[error("hash function {0} is not supported")]
    UnknownHash(String),
    /// A digest of a length that this hash function does not have.
    #[error("digest of {found} bytes where {name} has {wanted}")]
    DigestLength {
        /// The hash function.
        name: &'static str,
        /// Its length in bytes.
        wanted: usize,
        /// The length in the CID.
        found: usize,
    },
}

/// Checks that `data` is the block that `cid` names.
///
/// # Errors
/// [`VerifyError`] says whether it is something else, or cannot be known.
pub fn verify(cid: &Cid, data: &[u8]) -> Result<(), VerifyError> {
    let stated = cid.hash().digest();
    if cid.hash().code() == IDENTITY {
        return if stated == data { Ok(()) } else { Err(VerifyError::Mismatch) };
    }
    let function = HashFunction::of(cid.hash().code())
        .ok_or_else(|| VerifyError::UnknownHash(name_of(cid.hash().code())))?;
    if stated.len() != function.length {
        let (name, wanted) = (function.name, function.length);
        return Err(VerifyError::DigestLength { name, wanted, found: stated.len() });
    }
    let mut digest = [0; DIGEST_MAX];
    (function.compute)(data, &mut digest[..function.length]);
    if stated == &digest[..function.length] { Ok(()) } else { Err(VerifyError::Mismatch) }
}

/// The multihash of a block, by the number of its hash function. The identity hash is not computed: what it names is never sent.
///
/// # Errors
/// [`VerifyError::UnknownHash`].
pub fn hash(code: u64, data: &[u8]) -> Result<Multihash<64>, VerifyError> {
    let unknown = || VerifyError::UnknownHash(name_of(code));
    let function = HashFunction::of(code).ok_or_else(unknown)?;
    let mut digest = [0; DIGEST_MAX];
    (function.compute)(data, &mut digest[..function.length]);
    Multihash::wrap(code, &digest[..function.length]).map_err(|_| unknown())
}

/// The block that lies in its own name: the digest of an identity hash. It has 64 bytes at most, since longer ones are not read as CIDs.
pub fn inlined(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == IDENTITY).then(|| cid.hash().digest())
}

/// The CID (version 1) of a block, with the hash function that everybody uses.
pub fn sha2_256(codec: Codec, data: &[u8]) -> Cid {
    from_digest(codec, &sha2::Sha256::digest(data).into())
}

/// The CID (version 1) of a block whose SHA2-256 digest is known.
pub fn from_digest(codec: Codec, digest: &[u8; 32]) -> Cid {
    Cid::new_v1(codec as u64, multihash(digest))
}

/// A SHA2-256 digest as the multihash that CIDs of both versions hold.
pub(crate) fn multihash(digest: &[u8; 32]) -> Multihash<64> {
    Multihash::wrap(SHA2_256, digest).expect("a digest of 32 bytes fits")
}

/// The number of SHA2-256 in the multicodec table.
pub(crate) const SHA2_256: u64 = 0x12;
const IDENTITY: u64 = 0x00;
/// Bytes of the longest digest of a function below.
const DIGEST_MAX: usize = 64;

/// A hash function that is believed. Those that kubo takes, except digests cut short and output lengths that nobody uses.
struct HashFunction {
    code: u64,
    name: &'static str,
    length: usize,
    compute: fn(&[u8], &mut [u8]),
}

impl HashFunction {
    fn of(code: u64) -> Option<&'static Self> {
        HASH_FUNCTIONS.iter().find(|function| function.code == code)
    }
}

const fn function(
    code: u64,
    name: &'static str,
    length: usize,
    compute: fn(&[u8], &mut [u8]),
) -> HashFunction {
    HashFunction { code, name, length, compute }
}

static HASH_FUNCTIONS: [HashFunction; 16] = [
    function(SHA2_256, "sha2-256", 32, digest::<sha2::Sha256>),
    function(0x11, "sha1", 20, digest::<sha1::Sha1>), // of Git objects; broken for collisions, not for second preimages
    function(0x13, "sha2-512", 64, digest::<sha2::Sha512>),
    function(0x14, "sha3-512", 64, digest::<sha3::Sha3_512>),
    function(0x15, "sha3-384", 48, digest::<sha3::Sha3_384>),
    function(0x16, "sha3-256", 32, digest::<sha3::Sha3_256>),
    function(0x17, "sha3-224", 28, digest::<sha3::Sha3_224>),
    function(0x1a, "keccak-224", 28, digest::<sha3::Keccak224>),
    function(0x1b, "keccak-256", 32, digest::<sha3::Keccak256>),
    function(0x1c, "keccak-384", 48, digest::<sha3::Keccak384>),
    function(0x1d, "keccak-512", 64, digest::<sha3::Keccak512>),
    function(0x1e, "blake3", 32, |data, out| out.copy_from_slice(blake3::hash(data).as_bytes())),
    function(0x56, "dbl-sha2-256", 32, |data, out| {
        digest::<sha2::Sha256>(&sha2::Sha256::digest(data), out);
    }),
    function(0xb220, "blake2b-256", 32, digest::<blake2::Blake2b256>),
    function(0xb240, "blake2b-512", 64, digest::<blake2::Blake2b512>),
    function(0xb260, "blake2s-256", 32, digest::<blake2::Blake2s256>),
];

fn digest<D: Digest>(data: &[u8], out: &mut [u8]) {
    out.copy_from_slice(&D::digest(data));
}

/// Hash functions that are refused by name, since a user may ask why.
fn name_of(code: u64) -> String {
    match code {
        0x22 => "murmur3-x64-64".to_owned(),
        0xd4 => "md4".to_owned(),
        0xd5 => "md5".to_owned(),
        other => format!("{other:#x}"),
    }
}

#[cfg(test)]
mod tests;
