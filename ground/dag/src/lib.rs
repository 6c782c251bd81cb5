//! Trees of blocks named by CID: the formats of IPFS, built and walked.
//!
//! Formats only: no disk, no wire, no task. Whoever has bytes hashes them and hands in digests; whoever has blocks feeds them in,
//! verified ([`verify()`]), and is told which are needed next.
//!
//! Building: a [`Profile`] says how bytes become a tree, and what stands around each chunk in its leaf. [`file`](mod@file) builds what stands above
//! the leaves, [`directory`] and [`Tree`] the folders. [`pb`] and [`unixfs`] are what all of these are written in.

pub mod directory;
pub mod file;
mod hamt;
pub mod pb;
mod profile;
mod proto;
#[cfg(test)]
mod testing;
mod tree;
pub mod unixfs;
mod verify;

pub use cid::Cid;
pub use file::{Built, Sink};
pub use profile::{LeafFrame, Profile, ProfileError, Threshold};
pub use proto::ProtoError;
pub use tree::Tree;
pub use verify::{Codec, UnknownCodec, VerifyError, from_digest, inlined, sha2_256, verify};
