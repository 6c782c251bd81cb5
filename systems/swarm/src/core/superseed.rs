//! Super-seeding (BEP 16): a lone seed shows every peer another piece, and the next only when somebody else shows that the
//! peer passed it on. So each piece leaves the seed about once, and those who share are served.
//!
//! Departing from the specification: a peer that waits for such proof although it has all it was shown gets another
//! piece when nobody else has anything left to take, for an idle uplink helps nobody.

use std::collections::BTreeMap;

use peerage_content::PieceIndex;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::PeerKey;
use super::availability::Copies;

#[derive(Debug)]
pub(super) struct SuperSeed {
    /// How often each piece was shown.
    times_shown: Vec<u32>,
    /// What each peer was shown, and whether it has taken it.
    shown: BTreeMap<PeerKey, Vec<Shown>>,
    /// Whom a piece was shown to, of those who still have to prove that they passed it on.
    unproven: BTreeMap<PieceIndex, Vec<PeerKey>>,
}

/// What is left to tell after super-seeding.
#[derive(Debug)]
pub(super) struct Reveal {
    pub(super) super_seed: Box<SuperSeed>,
    /// The first piece that was not told of yet.
    pub(super) next: PieceIndex,
}

#[derive(Debug)]
struct Shown {
    piece: PieceIndex,
    taken: bool,
    proven: bool,
}

impl SuperSeed {
    pub(super) fn new(pieces: u32) -> Self {
        Self { times_shown: vec![0; pieces as usize], shown: BTreeMap::new(), unproven: BTreeMap::new() }
    }

    /// Chooses the piece to show a peer next: the one with the fewest copies and showings that the peer lacks.
    pub(super) fn show(
        &mut self,
        peer: PeerKey,
        lacks: impl Fn(PieceIndex) -> bool,
        copies: &Copies,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Option<PieceIndex> {
        let shown = self.shown.entry(peer).or_default();
        let count = self.times_shown.len() as u32;
        let start = rng.random_range(0..count.max(1));
        let piece = (start..count)
            .chain(0..start)
            .filter(|&piece| lacks(piece) && !shown.iter().any(|shown| shown.piece == piece))
            .min_by_key(|&piece| {
                (copies.partial(piece).max(self.times_shown[piece as usize]), copies.partial(piece))
            })?;
        self.times_shown[piece as usize] += 1;
        shown.push(Shown { piece, taken: false, proven: false });
        self.unproven.entry(piece).or_default().push(peer);
        Some(piece)
    }

    /// A peer has a piece. Returns the peers that are proven by it to have passed the piece on.
    pub(super) fn on_have(&mut self, peer: PeerKey, piece: PieceIndex) -> Vec<PeerKey> {
        if let Some(shown) =
            self.shown.get_mut(&peer).and_then(|all| all.iter_mut().find(|shown| shown.piece == piece))
        {
            shown.taken = true;
        }
        let Some(waiting) = self.unproven.get_mut(&piece) else { return Vec::new() };
        let shown = &self.shown;
        let took = |key: &PeerKey| {
            shown.get(key).is_some_and(|all| all.iter().any(|shown| shown.piece == piece && shown.taken))
        };
        let proven: Vec<PeerKey> = waiting.extract_if(.., |key| *key != peer && took(key)).collect();
        if waiting.is_empty() {
            self.unproven.remove(&piece);
        }
        for key in &proven {
            let all = self.shown.get_mut(key).into_iter().flatten();
            all.filter(|shown| shown.piece == piece).for_each(|shown| shown.proven = true);
        }
        proven
    }

    /// Whether a peer has something left to take.
    pub(super) fn has_work(&self, peer: PeerKey) -> bool {
        self.shown.get(&peer).is_some_and(|all| all.iter().any(|shown| !shown.taken))
    }

    /// Peers that took all they were shown and wait for proof, the least served first.
    pub(super) fn waiting(&self) -> Vec<PeerKey> {
        let mut waiting: Vec<(usize, PeerKey)> = self
            .shown
            .iter()
            .filter(|(_, all)| all.iter().all(|shown| shown.taken))
            .map(|(key, all)| (all.iter().filter(|shown| !shown.proven).count(), *key))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, key)| key).collect()
    }

    /// The peers that were shown pieces one by one.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.shown.keys().copied()
    }

    /// Whether a piece was shown to a peer.
    pub(super) fn was_shown(&self, peer: PeerKey, piece: PieceIndex) -> bool {
        self.shown.get(&peer).is_some_and(|all| all.iter().any(|shown| shown.piece == piece))
    }

    pub(super) fn left(&mut self, peer: PeerKey) {
        for shown in self.shown.remove(&peer).into_iter().flatten() {
            if let Some(waiting) = self.unproven.get_mut(&shown.piece) {
                waiting.retain(|key| *key != peer);
                if waiting.is_empty() {
                    self.unproven.remove(&shown.piece);
                }
            }
            if !shown.taken {
                // It leaves without: as if it had never been shown.
                self.times_shown[shown.piece as usize] -= 1;
            }
        }
    }

    /// Whether every piece has been shown to somebody.
    #[cfg(test)]
    pub(super) fn is_all_out(&self) -> bool {
        self.times_shown.iter().all(|&times| times > 0)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);

    #[test]
    fn every_peer_is_shown_another_piece_until_all_are_out() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut super_seed = SuperSeed::new(10);
        let mut pieces: Vec<_> = (0..10)
            .map(|key| super_seed.show(PeerKey(key), |_| true, &Copies::default(), &mut rng).unwrap())
            .collect();
        assert!(super_seed.is_all_out());
        pieces.sort_unstable();
        assert_eq!(pieces, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_peer_is_proven_when_another_shows_what_it_took() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut super_seed = SuperSeed::new(4);
        let piece = super_seed.show(A, |_| true, &Copies::default(), &mut rng).unwrap();
        assert!(super_seed.has_work(A));
        assert_eq!(super_seed.on_have(B, piece), [], "A has not taken it: it came from elsewhere");
        assert_eq!(super_seed.on_have(A, piece), []);
        assert!(!super_seed.has_work(A));
        assert_eq!(super_seed.waiting(), [A]);
        assert_eq!(super_seed.on_have(B, piece), [A]);
        assert_eq!(super_seed.on_have(B, piece), [], "once");
    }

    #[test]
    fn what_a_peer_left_untaken_counts_as_not_shown() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut super_seed = SuperSeed::new(1);
        super_seed.show(A, |_| true, &Copies::default(), &mut rng);
        assert!(super_seed.is_all_out());
        super_seed.left(A);
        assert!(!super_seed.is_all_out());
        assert!(!super_seed.was_shown(A, 0));
    }
}
