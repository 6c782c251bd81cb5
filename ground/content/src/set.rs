//! A set of pieces: the bitfield of the wire, the verified set of the store.

use crate::PieceIndex;

/// A fixed-size set of piece numbers. Bits past the end are always zero.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PieceSet {
    /// Piece `p` is bit `p % 64` of word `p / 64`.
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
        Self { words: vec![0; words_for(len)], len, count: 0 }
    }

    /// A full set of `len` pieces.
    pub fn full(len: u32) -> Self {
        Self::from_words(vec![u64::MAX; words_for(len)], len)
    }

    /// From words in this type's order; bits past the end are dropped.
    pub(crate) fn from_words(mut words: Vec<u64>, len: u32) -> Self {
        words.resize(words_for(len), 0);
        if let Some(last) = words.last_mut()
            && !len.is_multiple_of(64)
        {
            *last &= (1 << (len % 64)) - 1;
        }
        let count = words.iter().map(|word| word.count_ones()).sum();
        Self { words, len, count }
    }

    /// The words, for the atomic twin of this set in the store.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// From the wire's bitfield, first piece in the high bit (BEP 3). `None` when the length is wrong or
    /// a spare bit is set.
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let spare = match len % 8 {
            0 => 0,
            used => 0xff_u8 >> used,
        };
        if bytes.last().is_some_and(|last| last & spare != 0) {
            return None;
        }
        let mut words = vec![0_u64; words_for(len)];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut eight = [0_u8; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_be_bytes(eight).reverse_bits();
        }
        Some(Self::from_words(words, len))
    }

    /// As the wire's bitfield.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            self.words.iter().flat_map(|word| word.reverse_bits().to_be_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
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
        self.words.get(piece as usize / 64).is_some_and(|word| word & bit(piece) != 0)
    }

    /// Adds a piece; false when it was there already or is past the end.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece >= self.len || self.contains(piece) {
            return false;
        }
        self.words[piece as usize / 64] |= bit(piece);
        self.count += 1;
        true
    }

    /// Removes a piece; false when it was not there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.contains(piece) {
            return false;
        }
        self.words[piece as usize / 64] &= !bit(piece);
        self.count -= 1;
        true
    }

    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.words.iter().zip(0_u32..).flat_map(|(&word, index)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let low = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index * 64 + low)
            })
        })
    }

    /// Whether `self` has a piece that `other` lacks.
    pub fn has_more_than(&self, other: &PieceSet) -> bool {
        self.words.iter().enumerate().any(|(index, word)| word & !other.words.get(index).unwrap_or(&0) != 0)
    }
}

fn words_for(len: u32) -> usize {
    len.div_ceil(64) as usize
}

fn bit(piece: PieceIndex) -> u64 {
    1 << (piece % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_first_piece_is_the_high_bit_of_the_first_byte() {
        let mut set = PieceSet::empty(10);
        set.insert(0);
        set.insert(9);
        assert_eq!(set.to_wire(), [0b1000_0000, 0b0100_0000]);
        assert_eq!(PieceSet::from_wire(&[0b1000_0000, 0b0100_0000], 10), Some(set));
    }

    #[test]
    fn a_bitfield_of_the_wrong_length_or_with_spare_bits_is_refused() {
        assert_eq!(PieceSet::from_wire(&[0xff], 10), None);
        assert_eq!(PieceSet::from_wire(&[0xff, 0, 0], 10), None);
        assert_eq!(PieceSet::from_wire(&[0xff, 0b0010_0000], 10), None);
        assert!(PieceSet::from_wire(&[0xff, 0b1100_0000], 10).is_some_and(|set| set.is_full()));
        assert!(PieceSet::from_wire(&[], 0).is_some_and(|set| set.is_full() && set.is_empty()));
    }

    #[test]
    fn a_full_set_has_no_bits_past_the_end() {
        for len in [0, 1, 63, 64, 65, 128, 1000] {
            let set = PieceSet::full(len);
            assert_eq!((set.count(), set.iter().count()), (len, len as usize));
            assert!(!set.contains(len));
        }
    }

    proptest! {
        /// The set behaves as a set of numbers, and survives the wire.
        #[test]
        fn behaves_as_a_set(len in 0_u32..300, changes in prop::collection::vec((0_u32..310, any::<bool>()), 0..100)) {
            let mut set = PieceSet::empty(len);
            let mut model = BTreeSet::new();
            for (piece, add) in changes {
                if add {
                    prop_assert_eq!(set.insert(piece), piece < len && model.insert(piece));
                } else {
                    prop_assert_eq!(set.remove(piece), model.remove(&piece));
                }
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.count() as usize, model.len());
            prop_assert_eq!(PieceSet::from_wire(&set.to_wire(), len), Some(set.clone()));
            prop_assert_eq!(set.has_more_than(&PieceSet::empty(len)), !model.is_empty());
            prop_assert!(!set.has_more_than(&PieceSet::full(len)));
        }
    }
}
