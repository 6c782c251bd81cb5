//! Trees of blocks named by CID: the formats of IPFS, built and walked.
//!
//! Formats only: no disk, no wire, no task. Whoever has bytes hashes them and hands in digests; whoever has blocks feeds them in,
//! verified ([`verify()`]), and is told which are needed next.
//!
//! Building: a [`Profile`] says how bytes become a tree, and what stands around each chunk in its leaf. [`file`](mod@file) builds what stands above
//! the leaves, [`directory`] and [`Tree`] the folders. [`pb`] and [`unixfs`] are what all of these are written in.
//!
//! Reading: a [`Resolver`] follows a path, a [`FileWalk`] finds the blocks of a range of a file, a [`Listing`] the entries of a directory. They
//! are handed blocks that may be anything: what lies, climbs or has no end is a [`WalkError`].
//! Streams of blocks are [`car`]s.

pub mod car;
pub mod directory;
pub mod file;
mod hamt;
mod ipld;
pub mod pb;
mod profile;
mod proto;
#[cfg(test)]
mod testing;
mod tree;
pub mod unixfs;
mod verify;
mod walk;

pub use cid::Cid;
pub use file::{Built, Sink};
pub use ipld::links;
pub use profile::{LeafFrame, Profile, ProfileError, Threshold};
pub use proto::ProtoError;
pub use tree::Tree;
pub use verify::{Codec, UnknownCodec, VerifyError, from_digest, hash, inlined, sha2_256, verify};
pub use walk::{Extent, FileWalk, Listed, Listing, Resolved, ResolvedKind, Resolver, Traversal, WalkError};

/// Bytes of the largest block: what a message of bitswap can carry.
pub const BLOCK_LEN_MAX: usize = 2 << 20;
