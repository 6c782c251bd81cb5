//! Which swarm to look up next, without IO.
//!
//! Every swarm is looked up (and announced) once in [`INTERVAL`], new and hurried ones first. Lookups keep a distance and only so
//! many are under way at a time: with thousands of transfers the interval stretches, and nothing bursts.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::hash::SwarmHash;

/// Between lookups of a swarm. Nodes forget an announce after about half an hour (BEP 5 leaves it to them).
const INTERVAL: Duration = Duration::from_secs(20 * 60);

/// Between lookups of a swarm, whoever hurries.
const INTERVAL_MIN: Duration = Duration::from_secs(60);

/// After a lookup that reached nobody.
const RETRY: Duration = Duration::from_secs(30);

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
    port: Option<u16>,
    /// `None` while it is being looked up.
    place: Option<(Rank, Instant)>,
    /// When it was looked up last.
    last: Option<Instant>,
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

    /// Adds a swarm, or changes its port.
    pub(super) fn add(&mut self, now: Instant, swarm: SwarmHash, port: Option<u16>) {
        if let Some(known) = self.swarms.get_mut(&swarm) {
            known.port = port;
            return;
        }
        self.swarms.insert(swarm, Swarm { port, place: None, last: None });
        self.place(swarm, Rank::Urgent, now);
    }

    pub(super) fn remove(&mut self, swarm: SwarmHash) {
        if let Some((rank, due)) = self.swarms.remove(&swarm).and_then(|swarm| swarm.place) {
            self.queue(rank).remove(&(due, swarm));
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

    /// The next swarm to look up, and the port to announce there; each is to be [finished](Self::finish).
    pub(super) fn poll(&mut self, now: Instant) -> Option<(SwarmHash, Option<u16>)> {
        if self.active >= self.active_max || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let swarm = self.take_due(now)?;
        let known = self.swarms.get_mut(&swarm)?;
        known.place = None;
        known.last = Some(now);
        self.active += 1;
        self.not_before = Some(now + DISTANCE);
        Some((swarm, known.port))
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
    pub(super) fn finish(&mut self, now: Instant, swarm: SwarmHash, reached: bool, spread: f64) {
        self.active = self.active.saturating_sub(1);
        if reached {
            self.place(swarm, Rank::Regular, now + INTERVAL.mul_f64(1.0 + spread / 4.0));
        } else {
            self.place(swarm, Rank::Urgent, now + RETRY.mul_f64(1.0 + spread));
        }
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
        schedule.add(now, swarm(1), Some(6881));
        assert_eq!(schedule.poll(now), Some((swarm(1), Some(6881))));
        schedule.finish(now, swarm(1), true, 0.0);
        assert_eq!(schedule.poll_timeout(), Some(now + INTERVAL));
        now += INTERVAL * 2;
        schedule.add(now, swarm(2), None);
        assert_eq!(schedule.poll(now), Some((swarm(2), None)));
        assert_eq!(schedule.poll(now), None, "lookups keep a distance");
        assert_eq!(schedule.poll(now + DISTANCE), Some((swarm(1), Some(6881))));
    }

    #[test]
    fn hurry_is_bounded() {
        let (mut schedule, now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), None);
        schedule.poll(now);
        schedule.hurry(now, swarm(1));
        assert_eq!(schedule.poll_timeout(), None, "it is being looked up");
        schedule.finish(now, swarm(1), true, 0.0);
        schedule.hurry(now, swarm(1));
        assert_eq!(schedule.poll_timeout(), Some(now + INTERVAL_MIN));
        schedule.remove(swarm(1));
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn a_lookup_that_reached_nobody_is_repeated_soon() {
        let (mut schedule, now) = (Schedule::new(100), Instant::now());
        schedule.add(now, swarm(1), None);
        schedule.poll(now);
        schedule.finish(now, swarm(1), false, 0.5);
        assert_eq!(schedule.poll_timeout(), Some(now + RETRY.mul_f64(1.5)));
    }

    #[test]
    fn thousands_of_swarms_do_not_burst() {
        let (mut schedule, start) = (Schedule::new(16), Instant::now());
        for number in 0..10_000 {
            schedule.add(start, swarm(number), None);
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
                    schedule.finish(now, swarm, true, 0.0);
                    looked_up += 1;
                }
            }
        }
        assert!((40..=600).contains(&looked_up), "{looked_up} lookups a minute");
    }
}
