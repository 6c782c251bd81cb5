//! Blocks by CID: where each one lies, which are kept, and the collection of those that nobody keeps.
//!
//! A block is either a leaf of a shared file, and is read from that file where it lies (no byte is copied), or it is kept whole in an
//! embedded store: the nodes above the leaves, and what was fetched. Blocks are looked up by their multihash, as other programs do: the
//! same bytes answer for every codec and version of CID.
//!
//! What this crate is not: it knows no wire and never fetches. Who owns what: [`Blocks`] owns the database; the files belong to
//! `peerage_content` and are reached through a [`Source`] for as long as their content is live. All calls block on the disk.
//!
//! What is acknowledged as pinned, or as content, survives `kill -9` and power loss; what was merely put is on disk with the next of
//! these.

mod blocks;
mod collect;
mod contents;
mod error;
mod in_place;
mod nodes;
mod pins;
mod shared;
mod tables;

pub use blocks::{Blocks, ContentId, Hold, Leaf, Source, WholeFile};
pub use collect::Collected;
pub use error::BlocksError;
pub use in_place::InPlace;
pub use pins::{Pin, PinMode};
pub use shared::{Dag, LeafSet, LeafSetError};
