//! Which swarm to look up next, without IO.
//!
//! Every swarm is looked up (and announced) once in [`INTERVAL`], new and hurried ones first; one whose lookup found no peers
//! earlier, since whoever looks a moment before the other announces would else wait for the whole interval. Lookups keep a distance
//! and only so many are under way at a time: with thousands of transfers the interval stretches, and nothing bursts.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::hash::SwarmHash;
use crate::ports::Ports;

/// Between lookups of a swarm. Nodes forget an announce after about half an hour (BEP 5 leaves it to them).
const INTERVAL: Duration = Duration::from_secs(20 * 60);

/// Between lookups of a swarm, whoever hurries.
const INTERVAL_MIN: Duration = Duration::from_secs(60);

/// After a lookup that reached nobody.
const RETRY: Duration = Duration::from_secs(30);

/// After a lookup that found no peers; doubles with every further one up to [`INTERVAL`].
const EMPTY_RETRY: Duration = Duration::from_secs(15);

/// Between the starts of two lookups; each sends about a hundred datagrams.
const DISTANCE: Duration = Duration::from_millis(100);

/// Who goes first when several are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    Urgent,
    Regular,
}

#[derive(Debug)]
struct Swarm {
    ports: Ports,
    /// `None` while it is being looked up.
    place: Option<(Rank, Instant)>,
    /// When it was looked up last.
    last: Option<Instant>,
    /// Lookups in a row that found no peers.
    empty: u32,
    /// The last lookup reached nobody.
    lost: bool,
}

/// What a lookup led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No node answered.
    Lost,
    /// Nodes answered, and none named a peer.
    Empty,
    /// Peers were named.
    Found,
}

/// The queue of lookups.
#[derive(Debug)]
pub(super) struct Schedule {
    swarms: HashMap<SwarmHash, Swarm>,
    urgent: BTreeSet<(Instant, SwarmHash)>,
    regular: BTreeSet<(Instant, SwarmHash)>,
    active: usize,
    active_max: usize,
    not_before: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(active_max: usize) -> Self {
        Self {
            swarms: HashMap::new(),
            urgent: BTreeSet::new(),
            regular: BTreeSet::new(),
            active: 0,
            active_max: active_max.max(1),
            not_before: None,
        }
    }

    /// Adds a swarm, or changes its ports.
    pub(super) fn add(&mut self, now: Instant, swarm: SwarmHash, ports: Ports) {
        if let Some(known) = self.swarms.get_mut(&swarm) {
            known.ports = ports;
            return;
        }
        self.swarms.insert(swarm, Swarm { ports, place: None, last: None, empty: 0, lost: false });
        self.place(swarm, Rank::Urgent, now);
    }

    /// Forgets a swarm. A lookup of it that is under way is to be given up: it will not be finished.
    pub(super) fn remove(&mut self, swarm: SwarmHash) {
        let Some(known) = self.swarms.remove(&swarm) else { return };
        match known.place {
            Some((rank, due)) => {
                self.queue(rank).remove(&(due, swarm));
            }
            None => self.active = self.active.saturating_sub(1),
        }
    }

    /// Swarms.
    pub(super) fn len(&self) -> usize {
        self.swarms.len()
    }

    /// The network is there (again): swarms whose last lookup reached nobody need not wait any longer.
    pub(super) fn retry_lost(&mut self, now: Instant) {
        let lost: Vec<SwarmHash> = self
            .swarms
            .iter()
            .filter(|(_, known)| known.lost && known.place.is_some_and(|(_, due)| due > now))
            .map(|(swarm, _)| *swarm)
            .collect();
        for swarm in lost {
            self.place(swarm, Rank::Urgent, now);
        }
    }

    /// Peers are needed.
    pub(super) fn hurry(&mut self, now: Instant, swarm: SwarmHash) {
        let Some(known) = self.swarms.get(&swarm) else { return };
        let allowed = known.last.map_or(now, |last| last + INTERVAL_MIN).max(now);
        if known.place.is_some_and(|(_, due)| due > allowed) {
            self.place(swarm, Rank::Urgent, allowed);
        }
    }

    /// The next swarm to look up, and the ports to announce there; each is to be [finished](Self::finish).
    pub(super) fn poll(&mut self, now: Instant) -> Option<(SwarmHash, Ports)> {
        if self.active >= self.active_max || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let swarm = self.take_due(now)?;
        let known = self.swarms.get_mut(&swarm)?;
        known.place = None;
        known.last = Some(now);
        self.active += 1;
        self.not_before = Some(now + DISTANCE);
        Some((swarm, known.ports))
    }

    /// When to call [`Schedule::poll`] next; `None` while all places are taken.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.active >= self.active_max {
            return None;
        }
        let first = |queue: &BTreeSet<(Instant, SwarmHash)>| queue.first().map(|(due, _)| *due);
        let due = first(&self.urgent).into_iter().chain(first(&self.regular)).min()?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }

    /// A lookup has ended; `spread` (0 to 1) parts those that began together.
    pub(super) fn finish(&mut self, now: Instant, swarm: SwarmHash, outcome: Outcome, spread: f64) {
        let Some(known) = self.swarms.get_mut(&swarm).filter(|known| known.place.is_none()) else { return };
        self.active = self.active.saturating_sub(1);
        known.lost = outcome == Outcome::Lost;
        known.empty = if outcome == Outcome::Empty { known.empty.saturating_add(1) } else { 0 };
        let (rank, pause) = match outcome {
            Outcome::Lost => (Rank::Urgent, RETRY.mul_f64(1.0 + spread)),
            Outcome::Empty => {
                let doubled = EMPTY_RETRY * 2_u32.pow((known.empty - 1).min(10));
                (Rank::Regular, doubled.min(INTERVAL).mul_f64(1.0 + spread / 4.0))
            }
            Outcome::Found => (Rank::Regular, INTERVAL.mul_f64(1.0 + spread / 4.0)),
        };
        self.place(swarm, rank, now + pause);
    }

    /// Takes the first urgent swarm that is due, or else the first regular one.
    fn take_due(&mut self, now: Instant) -> Option<SwarmHash> {
        for queue in [&mut self.urgent, &mut self.regular] {
            if queue.first().is_some_and(|(due, _)| *due <= now) {
                return queue.pop_first().map(|(_, swarm)| swarm);
            }
        }
        None
    }

    fn place(&mut self, swarm: SwarmHash, rank: Rank, due: Instant) {
        let Some(known) = self.swarms.get_mut(&swarm) else { return };
        if let Some((rank, due)) = known.place.replace((rank, due)) {
            self.queue(rank).remove(&(due, swarm));
        }
        self.queue(rank).insert((due, swarm));
    }

    fn queue(&mut self, rank: Rank) -> &mut BTreeSet<(Instant, SwarmHash)> {
        match rank {
            Rank::Urgent => &mut self.urgent,
            Rank::Regular => &mut self.regular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(number: u32) -> SwarmHash {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        SwarmHash(hash)
    }

    #[test]
    fn the_new_go_first_and_the_overdue_wait() {
        let (mut schedule, mut now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), 6881.into());
        assert_eq!(schedule.poll(now), Some((swarm(1), 6881.into())));
        schedule.finish(now, swarm(1), Outcome::Found, 0.0);
        assert_eq!(schedule.poll_timeout(), Some(now + INTERVAL));
        now += INTERVAL * 2;
        schedule.add(now, swarm(2), Ports::default());
        assert_eq!(schedule.poll(now), Some((swarm(2), Ports::default())));
        assert_eq!(schedule.poll(now), None, "lookups keep a distance");
        assert_eq!(schedule.poll(now + DISTANCE), Some((swarm(1), 6881.into())));
    }

    #[test]
    fn hurry_is_bounded() {
        let (mut schedule, now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), Ports::default());
        schedule.poll(now);
        schedule.hurry(now, swarm(1));
        assert_eq!(schedule.poll_timeout(), None, "it is being looked up");
        schedule.finish(now, swarm(1), Outcome::Found, 0.0);
        schedule.hurry(now, swarm(1));
        assert_eq!(schedule.poll_timeout(), Some(now + INTERVAL_MIN));
        schedule.remove(swarm(1));
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn a_lookup_that_reached_nobody_is_repeated_soon() {
        let (mut schedule, now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), Ports::default());
        schedule.poll(now);
        schedule.finish(now, swarm(1), Outcome::Lost, 0.5);
        assert_eq!(schedule.poll_timeout(), Some(now + RETRY.mul_f64(1.5)));
    }

    #[test]
    fn once_the_network_is_there_nobody_waits_for_a_retry() {
        let (mut schedule, now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), Ports::default());
        schedule.poll(now);
        schedule.finish(now, swarm(1), Outcome::Lost, 0.5);
        schedule.retry_lost(now);
        assert_eq!(schedule.poll(now + DISTANCE), Some((swarm(1), Ports::default())));
    }

    #[test]
    fn a_lookup_that_found_no_peers_is_repeated_ever_later() {
        let (mut schedule, mut now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), Ports::default());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(schedule.poll(now).is_some());
            schedule.finish(now, swarm(1), Outcome::Empty, 0.0);
            let next = schedule.poll_timeout().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 1200, 1200]);
        schedule.poll(now);
        schedule.finish(now, swarm(1), Outcome::Found, 0.0);
        assert_eq!(schedule.poll_timeout(), Some(now + INTERVAL));
    }

    /// A transfer that is paused and resumed while it is looked up held one place for good, until none was left.
    #[test]
    fn places_of_removed_swarms_are_free_again() {
        let (mut schedule, mut now) = (Schedule::new(2), Instant::now());
        for _ in 0..10 {
            schedule.add(now, swarm(1), Ports::default());
            assert_eq!(schedule.poll(now), Some((swarm(1), Ports::default())));
            schedule.remove(swarm(1));
            now += DISTANCE;
        }
        schedule.finish(now, swarm(1), Outcome::Found, 0.0);
        schedule.add(now, swarm(1), Ports::default());
        schedule.add(now, swarm(2), Ports::default());
        schedule.add(now, swarm(3), Ports::default());
        assert!(schedule.poll(now).is_some() && schedule.poll(now + DISTANCE).is_some());
        assert_eq!(schedule.poll(now + DISTANCE * 2), None, "two places, no more");
    }

    #[test]
    fn thousands_of_swarms_do_not_burst() {
        let (mut schedule, start) = (Schedule::new(16), Instant::now());
        for number in 0..10_000 {
            schedule.add(start, swarm(number), Ports::default());
        }
        let (mut now, mut active, mut looked_up) = (start, Vec::new(), 0);
        while now < start + Duration::from_secs(60) {
            active.extend(schedule.poll(now));
            assert!(active.len() <= 16);
            match schedule.poll_timeout() {
                Some(at) => now = now.max(at),
                None => {
                    now += Duration::from_secs(1);
                    let (swarm, _) = active.remove(0);
                    schedule.finish(now, swarm, Outcome::Found, 0.0);
                    looked_up += 1;
                }
            }
        }
        assert!((40..=600).contains(&looked_up), "{looked_up} lookups a minute");
    }
}
