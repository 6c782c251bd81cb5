//! How many copies of each piece are among the connected peers, and the pieces ordered by it.
//!
//! Seeds are counted apart, so that one that joins or leaves costs a single addition: every piece gets one copy more, and
//! the order stays. The order is kept only for pieces that may be begun: a bucket for each priority and number of copies.
//! Moving a piece between buckets costs O(1); its place in a bucket is random, which makes ties random.

use std::ops::RangeInclusive;

use peerage_content::{PieceIndex, PieceSet};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::Priority;

/// Copies of each piece.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Peers that have everything.
    seeds: u32,
    /// Copies among the others; empty while nobody has any.
    counts: Vec<u32>,
    /// How many pieces have so many copies among the others; empty like `counts`.
    spread: Vec<u32>,
}

impl Copies {
    /// Copies of a piece at peers that do not have everything.
    pub(super) fn partial(&self, piece: PieceIndex) -> u32 {
        self.counts.get(piece as usize).copied().unwrap_or(0)
    }

    /// Copies of a piece at all connected peers.
    pub(super) fn total(&self, piece: PieceIndex) -> u32 {
        self.seeds + self.partial(piece)
    }

    /// Peers that have everything.
    pub(super) fn seeds(&self) -> u32 {
        self.seeds
    }

    pub(super) fn add_seed(&mut self) {
        self.seeds += 1;
    }

    pub(super) fn remove_seed(&mut self) {
        self.seeds -= 1;
    }

    /// One copy more; `pieces` is how many the content has.
    fn gain(&mut self, piece: PieceIndex, pieces: u32) {
        if self.counts.is_empty() {
            self.counts = vec![0; pieces as usize];
            self.spread = vec![pieces];
        }
        if let Some(count) = self.counts.get_mut(piece as usize) {
            self.spread[*count as usize] -= 1;
            *count += 1;
            let more = *count as usize;
            if self.spread.len() <= more {
                self.spread.resize(more + 1, 0);
            }
            self.spread[more] += 1;
        }
    }

    fn lose(&mut self, piece: PieceIndex) {
        if let Some(count) = self.counts.get_mut(piece as usize) {
            self.spread[*count as usize] -= 1;
            *count -= 1;
            self.spread[*count as usize] += 1;
        }
    }

    /// Copies of the rarest of all pieces, and how many pieces have more.
    pub(super) fn rarest(&self) -> (u32, u32) {
        let rarest = self.spread.iter().position(|&pieces| pieces > 0).unwrap_or(0);
        let above = self.spread.iter().skip(rarest + 1).sum();
        (self.seeds + rarest as u32, above)
    }

    /// Gives back the memory; only when nobody but seeds is left.
    fn clear(&mut self) {
        self.counts = Vec::new();
        self.spread = Vec::new();
    }
}

/// Not in any bucket.
const NOWHERE: u8 = u8::MAX;

/// The pieces that may be begun, by priority and number of copies (seeds not counted).
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// By [`level`], then by copies.
    levels: [Vec<Vec<PieceIndex>>; 3],
    /// The level a piece is listed in, or [`NOWHERE`].
    level: Vec<u8>,
    /// Where in its bucket it is.
    position: Vec<u32>,
    /// Pieces listed, by level.
    listed: [u32; 3],
}

impl Buckets {
    pub(super) fn new(pieces: u32) -> Self {
        Self {
            levels: Default::default(),
            level: vec![NOWHERE; pieces as usize],
            position: vec![0; pieces as usize],
            listed: [0; 3],
        }
    }

    /// Pieces listed.
    pub(super) fn len(&self) -> u32 {
        self.listed.iter().sum()
    }

    /// Pieces of the content, listed or not.
    pub(super) fn pieces(&self) -> u32 {
        self.level.len() as u32
    }

    /// The highest priority of a listed piece.
    pub(super) fn highest(&self) -> Priority {
        let level = self.listed.iter().rposition(|&listed| listed > 0);
        level.and_then(|level| priority(level as u8)).unwrap_or_default()
    }

    /// Pieces listed of which no peer but seeds has a copy.
    pub(super) fn without_copies(&self) -> u32 {
        self.levels.iter().filter_map(|level| level.first()).map(|bucket| bucket.len() as u32).sum()
    }

    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.level.get(piece as usize).is_some_and(|&level| level != NOWHERE)
    }

    /// Lists a piece that is not listed. [`Priority::Skip`] is not listed.
    pub(super) fn insert(
        &mut self,
        piece: PieceIndex,
        priority: Priority,
        copies: u32,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        let Some(level) = level(priority) else { return };
        if self.level.get(piece as usize) != Some(&NOWHERE) {
            return;
        }
        let buckets = &mut self.levels[level];
        let copies = copies as usize;
        if buckets.len() <= copies {
            buckets.resize_with(copies + 1, Vec::new);
        }
        let bucket = &mut buckets[copies];
        // One step of an inside-out shuffle: the newcomer takes a random place, whoever was there goes to the end.
        let end = bucket.len();
        let at = rng.random_range(0..=end);
        bucket.push(piece);
        bucket.swap(at, end);
        self.position[bucket[end] as usize] = end as u32;
        self.position[piece as usize] = at as u32;
        self.level[piece as usize] = level as u8;
        self.listed[level] += 1;
    }

    /// Takes a piece off the list; `copies` is the number it is listed under.
    pub(super) fn remove(&mut self, piece: PieceIndex, copies: u32) -> bool {
        let Some(level) = self.level.get_mut(piece as usize).filter(|level| **level != NOWHERE) else {
            return false;
        };
        let listed = usize::from(std::mem::replace(level, NOWHERE));
        let bucket = &mut self.levels[listed][copies as usize];
        let at = self.position[piece as usize] as usize;
        bucket.swap_remove(at);
        if let Some(&moved) = bucket.get(at) {
            self.position[moved as usize] = at as u32;
        }
        self.listed[listed] -= 1;
        true
    }

    /// The number of copies of a listed piece changed.
    fn recount(&mut self, piece: PieceIndex, before: u32, after: u32, rng: &mut Xoshiro256PlusPlus) {
        let Some(priority) = self.level.get(piece as usize).and_then(|&level| priority(level)) else {
            return;
        };
        self.remove(piece, before);
        self.insert(piece, priority, after, rng);
    }

    /// Listed pieces with at least so many copies (seeds not counted), most wanted first: by priority, then the rarest, ties at random (a
    /// bucket is read from a random place).
    pub(super) fn rarest_first<'a>(
        &'a self,
        least: u32,
        rng: &'a mut Xoshiro256PlusPlus,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let buckets = self.levels.iter().rev().flat_map(move |level| level.iter().skip(least as usize));
        buckets.flat_map(|bucket| from_random_place(bucket, rng))
    }

    /// Listed pieces of the highest priority with copies (seeds not counted) in that range, the rarest first.
    pub(super) fn within<'a>(
        &'a self,
        copies: RangeInclusive<u32>,
        rng: &'a mut Xoshiro256PlusPlus,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let highest = level(self.highest()).unwrap_or_default();
        self.levels[highest]
            .iter()
            .take(*copies.end() as usize + 1)
            .skip(*copies.start() as usize)
            .flat_map(|bucket| from_random_place(bucket, rng))
    }

    /// The priority that a piece is listed with.
    pub(super) fn priority(&self, piece: PieceIndex) -> Option<Priority> {
        self.level.get(piece as usize).and_then(|&level| priority(level))
    }
}

/// A bucket from a random place on, round to it again.
fn from_random_place<'a>(
    bucket: &'a [PieceIndex],
    rng: &mut Xoshiro256PlusPlus,
) -> impl Iterator<Item = PieceIndex> + use<'a> {
    let start = if bucket.is_empty() { 0 } else { rng.random_range(0..bucket.len()) };
    bucket[start..].iter().chain(&bucket[..start]).copied()
}

fn level(priority: Priority) -> Option<usize> {
    match priority {
        Priority::Skip => None,
        Priority::Low => Some(0),
        Priority::Normal => Some(1),
        Priority::High => Some(2),
    }
}

fn priority(level: u8) -> Option<Priority> {
    [Priority::Low, Priority::Normal, Priority::High].get(usize::from(level)).copied()
}

/// Counts and order together, so that neither changes without the other.
#[derive(Debug, Default)]
pub(super) struct AvailabilityIndex {
    pub(super) copies: Copies,
    /// There while something is to be fetched.
    pub(super) buckets: Option<Box<Buckets>>,
}

impl AvailabilityIndex {
    /// A peer that does not have everything got a piece.
    pub(super) fn gain(&mut self, piece: PieceIndex, pieces: u32, rng: &mut Xoshiro256PlusPlus) {
        let before = self.copies.partial(piece);
        self.copies.gain(piece, pieces);
        if let Some(buckets) = &mut self.buckets {
            buckets.recount(piece, before, before + 1, rng);
        }
    }

    /// A peer that does not have everything lost a piece.
    pub(super) fn lose(&mut self, piece: PieceIndex, rng: &mut Xoshiro256PlusPlus) {
        let before = self.copies.partial(piece);
        if before == 0 {
            return;
        }
        self.copies.lose(piece);
        if let Some(buckets) = &mut self.buckets {
            buckets.recount(piece, before, before - 1, rng);
        }
    }

    pub(super) fn gain_all(&mut self, set: &PieceSet, rng: &mut Xoshiro256PlusPlus) {
        set.iter().for_each(|piece| self.gain(piece, set.len(), rng));
    }

    pub(super) fn lose_all(&mut self, set: &PieceSet, rng: &mut Xoshiro256PlusPlus) {
        set.iter().for_each(|piece| self.lose(piece, rng));
    }

    /// Lists a piece as one that may be begun.
    pub(super) fn list(&mut self, piece: PieceIndex, priority: Priority, rng: &mut Xoshiro256PlusPlus) {
        if let Some(buckets) = &mut self.buckets {
            buckets.insert(piece, priority, self.copies.partial(piece), rng);
        }
    }

    /// Takes a piece off the list.
    pub(super) fn unlist(&mut self, piece: PieceIndex) {
        if let Some(buckets) = &mut self.buckets {
            buckets.remove(piece, self.copies.partial(piece));
        }
    }

    /// Listed pieces that some connected peer has.
    pub(super) fn obtainable(&self) -> u32 {
        self.buckets.as_ref().map_or(0, |buckets| {
            if self.copies.seeds > 0 { buckets.len() } else { buckets.len() - buckets.without_copies() }
        })
    }

    /// Nobody is connected any more: nothing in proportion to the pieces stays.
    pub(super) fn forget_counts(&mut self) {
        debug_assert!(self.copies.counts.iter().all(|&count| count == 0));
        self.copies.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    const PIECES: u32 = 24;

    fn seeded(seed: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(seed)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Gain(u32),
        Lose(u32),
        List(u32, Priority),
        Unlist(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let piece = 0..PIECES + 2;
        let priority = prop_oneof![
            Just(Priority::Skip),
            Just(Priority::Low),
            Just(Priority::Normal),
            Just(Priority::High)
        ];
        prop_oneof![
            4 => piece.clone().prop_map(Step::Gain),
            2 => piece.clone().prop_map(Step::Lose),
            2 => (piece.clone(), priority).prop_map(|(piece, priority)| Step::List(piece, priority)),
            1 => piece.prop_map(Step::Unlist),
        ]
    }

    proptest! {
        /// Whatever happens, the buckets hold what a naive recount says, in its order.
        #[test]
        fn buckets_equal_a_recount(steps in prop::collection::vec(step(), 0..300), seed: u64) {
            let mut rng = seeded(seed);
            let mut index = AvailabilityIndex { buckets: Some(Box::new(Buckets::new(PIECES))), ..Default::default() };
            let mut counts = vec![0_u32; PIECES as usize];
            let mut listed: BTreeMap<u32, Priority> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Gain(piece) => {
                        index.gain(piece, PIECES, &mut rng);
                        if let Some(count) = counts.get_mut(piece as usize) { *count += 1 }
                    }
                    Step::Lose(piece) => {
                        index.lose(piece, &mut rng);
                        if let Some(count) = counts.get_mut(piece as usize) { *count = count.saturating_sub(1) }
                    }
                    Step::List(piece, priority) => {
                        index.list(piece, priority, &mut rng);
                        if piece < PIECES && priority != Priority::Skip { listed.entry(piece).or_insert(priority); }
                    }
                    Step::Unlist(piece) => {
                        index.unlist(piece);
                        listed.remove(&piece);
                    }
                }
            }
            let buckets = index.buckets.as_ref().unwrap();
            let order: Vec<u32> = buckets.rarest_first(0, &mut rng).collect();
            let keys: Vec<_> =
                order.iter().map(|&piece| (std::cmp::Reverse(listed[&piece]), counts[piece as usize])).collect();
            prop_assert!(keys.is_sorted());
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, listed.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(buckets.len() as usize, listed.len());
            let obtainable = listed.keys().filter(|&&piece| counts[piece as usize] > 0).count();
            prop_assert_eq!(index.obtainable() as usize, obtainable);
            let with_copies: Vec<u32> = buckets.rarest_first(1, &mut rng).collect();
            prop_assert_eq!(with_copies.len(), obtainable);
            prop_assert!(with_copies.iter().all(|&piece| counts[piece as usize] > 0));
            let rarest = counts.iter().copied().min().unwrap();
            let above = counts.iter().filter(|&&count| count > rarest).count() as u32;
            prop_assert_eq!(index.copies.rarest(), (rarest, above));
        }
    }

    #[test]
    fn ties_are_broken_at_random() {
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut rng = seeded(seed);
            let mut buckets = Buckets::new(8);
            (0..8).for_each(|piece| buckets.insert(piece, Priority::Normal, 0, &mut rng));
            firsts.insert(buckets.rarest_first(0, &mut rng).next());
        }
        assert_eq!(firsts.len(), 8);
    }

    #[test]
    fn a_seed_counts_for_every_piece_and_moves_none() {
        let mut index = AvailabilityIndex::default();
        index.copies.add_seed();
        assert_eq!((index.copies.total(7), index.copies.partial(7)), (1, 0));
        index.copies.remove_seed();
        assert_eq!(index.copies.total(7), 0);
    }
}
