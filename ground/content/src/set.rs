//! A set of pieces: the bitfield of the wire, the verified set of the store.

use crate::PieceIndex;

/// A fixed-size set of piece numbers. Bits past the end are always zero.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PieceSet {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

impl std::fmt::Debug for PieceSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PieceSet({}/{})", self.count, self.len)
    }
}

impl PieceSet {
    /// An empty set for `len` pieces.
    pub fn empty(len: u32) -> Self {
        let _ = len;
        todo!()
    }
    /// A full set of `len` pieces.
    pub fn full(len: u32) -> Self {
        let _ = len;
        todo!()
    }
    /// From the wire's bitfield, first piece in the high bit (BEP 3). `None` when the length is wrong or
    /// a spare bit is set.
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        let _ = (bytes, len);
        todo!()
    }
    /// As the wire's bitfield.
    pub fn to_wire(&self) -> Vec<u8> {
        todo!()
    }
    /// How many pieces the content has.
    pub fn len(&self) -> u32 {
        self.len
    }
    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }
    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }
    /// Whether `piece` is in the set; false past the end.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!()
    }
    /// Adds a piece; false when it was there already or is past the end.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!()
    }
    /// Removes a piece; false when it was not there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!()
    }
    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        std::iter::empty()
    }
    /// Whether `self` has a piece that `other` lacks.
    pub fn has_more_than(&self, other: &PieceSet) -> bool {
        let _ = other;
        todo!()
    }
}
