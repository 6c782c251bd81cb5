//! A set of pieces that threads read and change without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{PieceIndex, PieceSet};

/// The shared twin of [`PieceSet`].
#[derive(Debug)]
pub(crate) struct AtomicPieceSet {
    words: Box<[AtomicU64]>,
    len: u32,
    count: AtomicU32,
}

impl AtomicPieceSet {
    pub(crate) fn new(set: &PieceSet) -> Self {
        Self {
            words: set.words().iter().copied().map(AtomicU64::new).collect(),
            len: set.len(),
            count: AtomicU32::new(set.count()),
        }
    }

    pub(crate) fn contains(&self, piece: PieceIndex) -> bool {
        let word = self.words.get(piece as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit(piece) != 0)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count.load(Ordering::Acquire) == self.len
    }

    /// Adds a piece; false when it was there already or is past the end.
    pub(crate) fn insert(&self, piece: PieceIndex) -> bool {
        let Some(word) = self.words.get(piece as usize / 64).filter(|_| piece < self.len) else {
            return false;
        };
        let added = word.fetch_or(bit(piece), Ordering::AcqRel) & bit(piece) == 0;
        self.count.fetch_add(added.into(), Ordering::AcqRel);
        added
    }

    /// Removes a piece; false when it was not there.
    pub(crate) fn remove(&self, piece: PieceIndex) -> bool {
        let Some(word) = self.words.get(piece as usize / 64) else { return false };
        let removed = word.fetch_and(!bit(piece), Ordering::AcqRel) & bit(piece) != 0;
        self.count.fetch_sub(removed.into(), Ordering::AcqRel);
        removed
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
        assert!(shared.contains(69) && !shared.contains(3) && !shared.is_full());
        (0..70).for_each(|piece| {
            shared.insert(piece);
        });
        assert!(shared.is_full());
    }
}
