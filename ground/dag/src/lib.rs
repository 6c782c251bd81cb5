//! Trees of blocks named by CID: the formats of IPFS, built and walked.
//!
//! Formats only: no disk, no wire, no task. Whoever has bytes hashes them and hands in digests; whoever has blocks feeds them in,
//! verified ([`verify`]), and is told which are needed next.
//!
//! A [`Profile`] says how bytes become a tree. [`pb`] and [`unixfs`] are what its nodes are written in.

pub mod pb;
mod profile;
mod proto;
pub mod unixfs;
mod verify;

pub use cid::Cid;
pub use profile::{LeafFrame, Profile, ProfileError, Threshold};
pub use proto::ProtoError;
pub use verify::{Codec, UnknownCodec, VerifyError, from_digest, inlined, sha2_256, verify};
