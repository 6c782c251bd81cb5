//! Whom to serve.
//!
//! While fetching: tit for tat. Every ten seconds the peers from which most came over the last twenty are unchoked, and one
//! more at random for thirty seconds, whatever it gave (the *optimistic* unchoke), so that newcomers get a start and better
//! partners are found. Newcomers are three times as likely to be that one. Peers that snub us get nothing but that chance.
//!
//! While seeding nobody gives anything, and slots go round: whoever had a turn makes room for those that waited longest, the
//! slowest first. Who gave us something while we fetched comes before those who never did, but for the optimistic slots, so
//! that all get a turn. (A seed that serves the same few for long makes them a clique: all that is new lies with them, and
//! their uplinks are what the swarm waits for.)
//!
//! Slots that are free are given away at once, between the rounds. This file decides over plain numbers; the swarm applies it.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::PeerKey;

/// Time between two rounds.
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// How long an optimistic unchoke lasts.
const OPTIMISTIC: Duration = Duration::from_secs(30);
/// How long a turn lasts at least while seeding: in effect a round, and one that began between two rounds is not cut to seconds.
const TURN: Duration = Duration::from_secs(27);
/// One that was unchoked keeps its slot this long before it must have given something.
const GRACE: Duration = Duration::from_secs(20);
/// Who has been here for less is a newcomer.
const NEWCOMER: Duration = Duration::from_secs(45);
/// How much more likely a newcomer is to be the optimistic one.
const NEWCOMER_WEIGHT: u32 = 3;
/// Automatic slots: never fewer, never more.
const SLOTS_MIN: usize = 4;
const SLOTS_MAX: usize = 64;
/// Automatic slots grow with the square root of the upload rate in units of this.
const SLOT_RATE: f64 = 65_536.0;
/// One that is served is worth this much more than it gave: partners do not change for a trifle.
const LOYALTY: (u64, u64) = (11, 10);

/// Numbers of a peer that might be served.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) peer: PeerKey,
    pub(super) interested: bool,
    pub(super) choked: bool,
    pub(super) snubs: bool,
    /// Bytes a second from it.
    pub(super) gives: u64,
    /// Whether it ever gave us anything.
    pub(super) gave: bool,
    /// Bytes a second to it.
    pub(super) takes: u64,
    pub(super) joined: Instant,
    pub(super) unchoked_at: Option<Instant>,
}

/// When rounds are due and who is optimistic.
#[derive(Debug)]
pub(super) struct Choker {
    next_round: Instant,
    optimistic: Vec<PeerKey>,
    optimistic_until: Instant,
}

/// Peers served at a time without the optimistic ones.
pub(super) fn slots(configured: usize, upload_rate: u64) -> usize {
    if configured > 0 {
        return configured;
    }
    ((upload_rate as f64 / SLOT_RATE).sqrt() as usize).clamp(SLOTS_MIN, SLOTS_MAX)
}

/// Optimistic unchokes beside so many slots.
pub(super) fn optimistic_slots(slots: usize) -> usize {
    1 + slots / 10
}

impl Choker {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_round: now + ROUND, optimistic: Vec::new(), optimistic_until: now }
    }

    pub(super) fn next_round(&self) -> Instant {
        self.next_round
    }

    /// Starts the next round, if it is due.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next_round;
        if due {
            self.next_round = now + ROUND;
        }
        due
    }

    /// Who is to be unchoked while fetching. Peers that are not interested are unchoked if they give more than the last one who is:
    /// should they become interested, they are served at once.
    pub(super) fn tit_for_tat(
        &mut self,
        now: Instant,
        mut candidates: Vec<Candidate>,
        slots: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<PeerKey> {
        let keyed = |candidate: &Candidate, rng: &mut Xoshiro256PlusPlus| {
            let loyal =
                if candidate.choked { candidate.gives } else { candidate.gives / LOYALTY.1 * LOYALTY.0 };
            let in_grace = !candidate.choked
                && candidate.unchoked_at.is_some_and(|at| now.saturating_duration_since(at) < GRACE);
            let worth = if candidate.snubs { 0 } else { loyal };
            (std::cmp::Reverse(worth), candidate.snubs, !in_grace, draw(candidate, now, rng))
        };
        candidates.sort_by_cached_key(|candidate| keyed(candidate, rng));
        let mut unchoked = Vec::new();
        let mut left = slots;
        for candidate in &candidates {
            if left == 0 {
                break;
            }
            if candidate.interested {
                left -= 1;
                unchoked.push(candidate.peer);
            } else if candidate.gives > 0 && !candidate.snubs {
                unchoked.push(candidate.peer);
            }
        }
        candidates.retain(|candidate| candidate.interested && !unchoked.contains(&candidate.peer));
        unchoked.extend(self.choose_optimistic(now, &candidates, optimistic_slots(slots), rng));
        unchoked
    }

    /// Who is to be unchoked while seeding.
    pub(super) fn round_robin(
        &mut self,
        now: Instant,
        mut candidates: Vec<Candidate>,
        slots: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<PeerKey> {
        candidates.retain(|candidate| candidate.interested);
        let all_slots = slots + optimistic_slots(slots);
        // Those that are served now, the fastest first; then those that wait, the longest first.
        candidates.sort_by_cached_key(|candidate| {
            let takes = if candidate.choked { 0 } else { candidate.takes };
            let waits_since = if candidate.choked { candidate.unchoked_at } else { None };
            (candidate.choked, std::cmp::Reverse(takes), waits_since, draw(candidate, now, rng))
        });
        // A slot that is not used goes on soon: else idle peers could hold all of them for long.
        let turn_is_over = |candidate: &Candidate| {
            let turn = if candidate.takes == 0 { ROUND } else { TURN };
            candidate.unchoked_at.is_none_or(|at| now.saturating_duration_since(at) >= turn)
        };
        // Of those that are served, the slowest whose turn is over make room for as many as wait.
        let served = candidates.iter().filter(|candidate| !candidate.choked).count();
        let mut room = (candidates.len() - served).saturating_sub(all_slots.saturating_sub(served));
        let mut over = Vec::new();
        for at in (0..served).rev() {
            if room > 0 && turn_is_over(&candidates[at]) {
                room -= 1;
                over.push(candidates.remove(at));
            }
        }
        candidates.extend(over.into_iter().rev());
        let (gave, others): (Vec<&Candidate>, Vec<&Candidate>) =
            candidates.iter().partition(|candidate| candidate.gave);
        let mut unchoked: Vec<PeerKey> =
            gave.into_iter().chain(others).map(|candidate| candidate.peer).take(slots).collect();
        let rest = candidates.iter().map(|candidate| candidate.peer);
        let rest: Vec<PeerKey> =
            rest.filter(|peer| !unchoked.contains(peer)).take(all_slots - slots).collect();
        unchoked.extend(rest);
        unchoked
    }

    /// Whom to give a slot that is free, between two rounds.
    pub(super) fn successor(
        now: Instant,
        candidates: &[Candidate],
        seeding: bool,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Option<PeerKey> {
        let waiting = candidates.iter().filter(|candidate| candidate.choked && candidate.interested);
        let best = waiting.min_by_key(|candidate| {
            let gives = if seeding || candidate.snubs { 0 } else { candidate.gives };
            let waits_since = if seeding { candidate.unchoked_at } else { None };
            let owed = seeding && candidate.gave;
            (!owed, std::cmp::Reverse(gives), candidate.snubs, waits_since, draw(candidate, now, rng))
        });
        best.map(|candidate| candidate.peer)
    }

    fn choose_optimistic(
        &mut self,
        now: Instant,
        candidates: &[Candidate],
        count: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<PeerKey> {
        if now >= self.optimistic_until {
            self.optimistic_until = now + OPTIMISTIC;
            self.optimistic.clear();
        }
        self.optimistic.retain(|peer| candidates.iter().any(|candidate| candidate.peer == *peer));
        let mut others: Vec<&Candidate> =
            candidates.iter().filter(|candidate| !self.optimistic.contains(&candidate.peer)).collect();
        others.sort_by_cached_key(|candidate| draw(candidate, now, rng));
        let missing = count.saturating_sub(self.optimistic.len());
        self.optimistic.extend(others.iter().take(missing).map(|candidate| candidate.peer));
        self.optimistic.clone()
    }
}

/// A random number by which the lowest wins; a newcomer draws [`NEWCOMER_WEIGHT`] times and keeps the best.
fn draw(candidate: &Candidate, now: Instant, rng: &mut Xoshiro256PlusPlus) -> u32 {
    let is_newcomer =
        now.saturating_duration_since(candidate.joined) < NEWCOMER && candidate.unchoked_at.is_none();
    let draws = if is_newcomer { NEWCOMER_WEIGHT } else { 1 };
    (0..draws).map(|_| rng.random()).min().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;

    use super::*;

    fn candidate(peer: u64, gives: u64, now: Instant) -> Candidate {
        Candidate {
            peer: PeerKey(peer),
            interested: true,
            choked: true,
            snubs: false,
            gives,
            gave: gives > 0,
            takes: 0,
            joined: now,
            unchoked_at: None,
        }
    }

    fn rng() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(5)
    }

    #[test]
    fn those_who_gave_most_are_served_and_one_by_chance() {
        let now = Instant::now();
        let peers: Vec<Candidate> = (0..20).map(|n| candidate(n, n * 1_000, now)).collect();
        let unchoked = Choker::new(now).tit_for_tat(now, peers, 4, &mut rng());
        assert_eq!(unchoked[..4], [19, 18, 17, 16].map(PeerKey));
        assert_eq!(unchoked.len(), 5);
        assert!(unchoked[4].0 < 16);
    }

    #[test]
    fn one_that_snubs_us_gets_no_regular_slot() {
        let now = Instant::now();
        let mut peers: Vec<Candidate> = (0..8).map(|n| candidate(n, n * 1_000, now)).collect();
        peers[7].snubs = true;
        let unchoked = Choker::new(now).tit_for_tat(now, peers, 4, &mut rng());
        assert!(!unchoked[..4].contains(&PeerKey(7)));
    }

    #[test]
    fn a_generous_peer_without_interest_takes_no_slot_but_is_kept_ready() {
        let now = Instant::now();
        let mut peers: Vec<Candidate> = (0..8).map(|n| candidate(n, n * 1_000, now)).collect();
        peers[7].interested = false;
        let unchoked = Choker::new(now).tit_for_tat(now, peers, 4, &mut rng());
        assert_eq!(unchoked[..5], [7, 6, 5, 4, 3].map(PeerKey));
    }

    #[test]
    fn the_optimistic_one_stays_for_thirty_seconds() {
        let start = Instant::now();
        let mut choker = Choker::new(start);
        let mut rng = rng();
        let peers: Vec<Candidate> =
            (0..50).map(|n| candidate(n, if n < 4 { 1_000 } else { 0 }, start)).collect();
        let optimistic: Vec<PeerKey> = (0..=6)
            .map(|round| {
                *choker.tit_for_tat(start + ROUND * round, peers.clone(), 4, &mut rng).last().unwrap()
            })
            .collect();
        assert!(optimistic[..3].iter().all(|peer| *peer == optimistic[0]), "{optimistic:?}");
        assert_ne!(optimistic[0], optimistic[3]);
        assert_eq!(optimistic[3], optimistic[5]);
    }

    #[test]
    fn newcomers_are_three_times_as_likely() {
        let start = Instant::now();
        let now = start + 2 * NEWCOMER;
        let mut rng = rng();
        let mut newcomers = 0;
        for _ in 0..2_000 {
            let mut peers: Vec<Candidate> = (0..2).map(|n| candidate(n, 0, start)).collect();
            peers[1].joined = now;
            newcomers += u32::from(Choker::successor(now, &peers, false, &mut rng) == Some(PeerKey(1)));
        }
        assert!((1_400..1_600).contains(&newcomers), "three of four: {newcomers}");
    }

    #[test]
    fn while_seeding_everyone_gets_a_turn() {
        let start = Instant::now();
        let mut choker = Choker::new(start);
        let mut rng = rng();
        let mut peers: BTreeMap<PeerKey, Candidate> =
            (0..30).map(|n| (PeerKey(n), candidate(n, 0, start))).collect();
        let mut served = std::collections::BTreeSet::new();
        for round in 0..40 {
            let now = start + ROUND * round;
            let unchoked = choker.round_robin(now, peers.values().cloned().collect(), 4, &mut rng);
            assert_eq!(unchoked.len(), 5);
            for (key, peer) in &mut peers {
                let choked = !unchoked.contains(key);
                if peer.choked && !choked {
                    peer.unchoked_at = Some(now);
                }
                peer.choked = choked;
                peer.takes = if choked { 0 } else { 1_000 * key.0 };
            }
            served.extend(unchoked);
        }
        assert_eq!(served.len(), 30);
    }

    #[test]
    fn while_seeding_idle_peers_lose_all_slots_to_those_that_wait() {
        let joined = Instant::now();
        let now = joined + ROUND;
        let idle = (0..5).map(|peer| Candidate {
            choked: false,
            unchoked_at: Some(joined),
            ..candidate(peer, 0, joined)
        });
        let waiting = (5..10).map(|peer| candidate(peer, 0, joined));
        let candidates = idle.chain(waiting).collect();
        let mut served = Choker::new(joined).round_robin(now, candidates, 4, &mut rng());
        served.sort();
        assert_eq!(served, (5..10).map(PeerKey).collect::<Vec<_>>());
    }

    #[test]
    fn while_seeding_those_who_gave_come_first_and_others_get_the_optimistic_slot() {
        let now = Instant::now();
        let mut peers: Vec<Candidate> = (0..20).map(|n| candidate(n, 0, now)).collect();
        peers[3..8].iter_mut().for_each(|peer| peer.gave = true);
        let unchoked = Choker::new(now).round_robin(now, peers, 4, &mut rng());
        assert_eq!(unchoked.len(), 5);
        assert!(unchoked[..4].iter().all(|peer| (3..8).contains(&peer.0)));
    }

    #[test]
    fn while_seeding_nobody_is_choked_when_there_is_room_for_all() {
        let start = Instant::now();
        let mut peers: Vec<Candidate> = (0..4).map(|n| candidate(n, 0, start)).collect();
        peers.iter_mut().for_each(|peer| (peer.choked, peer.unchoked_at) = (false, Some(start)));
        let now = start + 10 * TURN;
        assert_eq!(Choker::new(start).round_robin(now, peers, 4, &mut rng()).len(), 4);
    }

    #[test]
    fn automatic_slots_follow_the_rate_and_fixed_ones_do_not() {
        assert_eq!(slots(0, 0), 4);
        assert_eq!(slots(0, 100 << 20), 40);
        assert_eq!(slots(0, u64::MAX), SLOTS_MAX);
        assert_eq!(slots(7, 1 << 30), 7);
    }
}
