//! Pieces and blocks: the two units of transfer.
//!
//! A *piece* is what a hash verifies; a *block* is what one request asks for. They are never the same
//! type: a piece is a [`PieceIndex`], a block a [`Block`].

/// The number of a piece, from 0.
pub type PieceIndex = u32;

/// Bytes in a block: the request size of BitTorrent and the leaf of a v2 hash tree (BEP 52).
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// A span of bytes inside one piece, as one request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// The piece it lies in.
    pub piece: PieceIndex,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Bytes.
    pub length: u32,
}
