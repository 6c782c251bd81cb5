//! A set of pieces that threads read and change without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{PieceIndex, PieceSet};

/// The shared twin of [`PieceSet`].
#[derive(Debug)]
pub(crate) struct AtomicPieceSet {
    words: Box<[AtomicU64]>,
    len: u32,
}

impl AtomicPieceSet {
    pub(crate) fn new(set: &PieceSet) -> Self {
        Self { words: set.words().iter().copied().map(AtomicU64::new).collect(), len: set.len() }
    }

    pub(crate) fn contains(&self, piece: PieceIndex) -> bool {
        let word = self.words.get(piece as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit(piece) != 0)
    }

    /// Adds a piece; false when it was there already or is past the end.
    pub(crate) fn insert(&self, piece: PieceIndex) -> bool {
        let Some(word) = self.words.get(piece as usize / 64).filter(|_| piece < self.len) else {
            return false;
        };
        word.fetch_or(bit(piece), Ordering::AcqRel) & bit(piece) == 0
    }

    /// Removes a piece; false when it was not there.
    pub(crate) fn remove(&self, piece: PieceIndex) -> bool {
        let Some(word) = self.words.get(piece as usize / 64) else { return false };
        word.fetch_and(!bit(piece), Ordering::AcqRel) & bit(piece) != 0
    }

    pub(crate) fn snapshot(&self) -> PieceSet {
        let words = self.words.iter().map(|word| word.load(Ordering::Acquire)).collect();
        PieceSet::from_words(words, self.len)
    }
}

fn bit(piece: PieceIndex) -> u64 {
    1 << (piece % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_its_plain_twin() {
        let mut plain = PieceSet::empty(70);
        let shared = AtomicPieceSet::new(&plain);
        for piece in [3, 69, 70, 3] {
            assert_eq!(shared.insert(piece), plain.insert(piece), "insert {piece}");
        }
        for piece in [3, 3, 900] {
            assert_eq!(shared.remove(piece), plain.remove(piece), "remove {piece}");
        }
        assert_eq!(shared.snapshot(), plain);
        assert!(shared.contains(69) && !shared.contains(3));
    }
}
