//! The messages: bytes to types and back.
//!
//! A message is taken or refused as a whole, with one exception: what exceeds a bound, or is of a kind that nobody here knows, is
//! left out and counted ([`Message::left_out`]), so that whoever sent it can be charged.

mod decode;
mod encode;
mod pb;
#[cfg(test)]
mod tests;

pub use decode::DecodeError;

use bytes::Bytes;
use cid::Cid;

use super::verify::Prefix;

/// Wants that are taken of one message.
pub const ENTRIES_MAX: usize = 16 * 1024;
/// Blocks that are taken of one message, and presences.
pub const ITEMS_MAX: usize = 64 * 1024;

/// What the two ends of a stream agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// CIDv0 only; blocks without a prefix.
    V1_0,
    /// Blocks with a prefix.
    V1_1,
    /// Wants for nothing but knowing, and answers to them.
    V1_2,
}

impl Protocol {
    /// All of them, the best first: the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::V1_2, Self::V1_1, Self::V1_0];

    /// How libp2p calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "/ipfs/bitswap/1.0.0",
            Self::V1_1 => "/ipfs/bitswap/1.1.0",
            Self::V1_2 => "/ipfs/bitswap/1.2.0",
        }
    }

    /// Whether peers can ask who has a block, and be answered that somebody has it or not.
    pub fn has_presences(self) -> bool {
        self >= Self::V1_2
    }
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What the sender wants.
    pub wantlist: Wantlist,
    /// Blocks for the receiver.
    pub blocks: Vec<Block>,
    /// Answers to wants.
    pub presences: Vec<(Cid, Presence)>,
    /// Bytes that the sender has queued for the receiver.
    pub pending_bytes: i32,
    /// Parts of the message that are not in this.
    pub left_out: usize,
}

/// What a peer wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wantlist {
    /// The wants and cancels.
    pub entries: Vec<Entry>,
    /// It is everything that the peer wants: what it does not name is not wanted any more.
    pub full: bool,
}

/// A want, or the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block.
    pub cid: Cid,
    /// Greater is sooner.
    pub priority: i32,
    /// What is wanted of it.
    pub want: Want,
    /// Whether to say so when it is not there.
    pub send_dont_have: bool,
}

/// What is wanted of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The block itself.
    Block,
    /// To know whether it is there.
    Have,
    /// Nothing any more.
    Cancel,
}

/// Whether the sender has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    Have,
    /// It has not, or does not give it.
    DontHave,
}

/// A block on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// By which kind of name it is known.
    pub prefix: Prefix,
    /// The bytes. Of a message that was received they point into its frame.
    pub data: Bytes,
}

impl Entry {
    /// A want for a block itself.
    pub fn block(cid: Cid) -> Self {
        Self { cid, priority: 1, want: Want::Block, send_dont_have: true }
    }

    /// A want to know.
    pub fn have(cid: Cid) -> Self {
        Self { want: Want::Have, ..Self::block(cid) }
    }

    /// The end of a want.
    pub fn cancel(cid: Cid) -> Self {
        Self { cid, priority: 0, want: Want::Cancel, send_dont_have: false }
    }
}

impl Message {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.wantlist.entries.is_empty()
            && !self.wantlist.full
            && self.blocks.is_empty()
            && self.presences.is_empty()
    }
}
