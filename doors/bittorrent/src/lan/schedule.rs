//! When to announce what on which interface, without IO.
//!
//! Every swarm is announced on every interface once in [`INTERVAL`], at once when it is new, and soon when a neighbour
//! appears that has it too; but never twice within [`INTERVAL_MIN`] (BEP 14). Many swarms share a datagram, and
//! datagrams keep a distance, so that thousands of transfers do not burst.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::message::SWARMS_MAX;
use crate::hash::SwarmHash;

/// Between announces of a swarm when nothing happens (BEP 14).
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Between announces of a swarm whatever happens (BEP 14).
const INTERVAL_MIN: Duration = Duration::from_secs(60);

/// Between two datagrams.
const DISTANCE: Duration = Duration::from_millis(50);

/// How long a neighbour is known to have heard of us: its next announce within that time is not answered.
const ACQUAINTED: Duration = Duration::from_secs(15 * 60);

/// Neighbours remembered, counted once a swarm. When there are more, all are forgotten, at most once a minute; until then new ones
/// wait for the next interval.
const ACQUAINTANCES_MAX: usize = 4_096;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch<I> {
    pub(super) interface: I,
    /// At most [`SWARMS_MAX`].
    pub(super) swarms: Vec<SwarmHash>,
}

/// The plan of announces; `I` names an interface.
#[derive(Debug)]
pub(super) struct Schedule<I> {
    interfaces: Vec<Plan<I>>,
    swarms: BTreeSet<SwarmHash>,
    acquaintances: HashMap<(SwarmHash, SocketAddr), Instant>,
    forgot: Option<Instant>,
    not_before: Option<Instant>,
}

/// The plan of one interface.
#[derive(Debug)]
struct Plan<I> {
    interface: I,
    queue: BTreeSet<(Instant, SwarmHash)>,
    swarms: HashMap<SwarmHash, Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: Instant,
    last: Option<Instant>,
}

impl<I: Clone + PartialEq> Schedule<I> {
    pub(super) fn new() -> Self {
        Self {
            interfaces: Vec::new(),
            swarms: BTreeSet::new(),
            acquaintances: HashMap::new(),
            forgot: None,
            not_before: None,
        }
    }

    pub(super) fn swarms(&self) -> usize {
        self.swarms.len()
    }

    pub(super) fn contains(&self, swarm: SwarmHash) -> bool {
        self.swarms.contains(&swarm)
    }

    /// These are the interfaces now: on new ones, everything is announced at once.
    pub(super) fn set_interfaces(&mut self, now: Instant, interfaces: &[I]) {
        self.interfaces.retain(|plan| interfaces.contains(&plan.interface));
        for interface in interfaces {
            if self.interfaces.iter().all(|plan| plan.interface != *interface) {
                let mut plan =
                    Plan { interface: interface.clone(), queue: BTreeSet::new(), swarms: HashMap::new() };
                for swarm in &self.swarms {
                    plan.set(*swarm, Turn { due: now, last: None });
                }
                self.interfaces.push(plan);
            }
        }
    }

    pub(super) fn add(&mut self, now: Instant, swarm: SwarmHash) {
        if self.swarms.insert(swarm) {
            for plan in &mut self.interfaces {
                plan.set(swarm, Turn { due: now, last: None });
            }
        }
    }

    pub(super) fn remove(&mut self, swarm: SwarmHash) {
        self.swarms.remove(&swarm);
        for plan in &mut self.interfaces {
            plan.unset(swarm);
        }
        self.acquaintances.retain(|(known, _), _| *known != swarm);
    }

    /// A neighbour announced a swarm of ours. If it is new here, it will hear from us.
    pub(super) fn heard(&mut self, now: Instant, swarm: SwarmHash, neighbour: SocketAddr) {
        if !self.contains(swarm) {
            return;
        }
        if self.acquaintances.len() >= ACQUAINTANCES_MAX
            && self.forgot.is_none_or(|at| at + INTERVAL_MIN <= now)
        {
            self.acquaintances.clear();
            self.forgot = Some(now);
        }
        let key = (swarm, neighbour);
        let is_known = self.acquaintances.get(&key).is_some_and(|until| *until > now);
        if is_known || self.acquaintances.len() >= ACQUAINTANCES_MAX {
            return;
        }
        self.acquaintances.insert(key, now + ACQUAINTED);
        for plan in &mut self.interfaces {
            if let Some(turn) = plan.swarms.get(&swarm).copied() {
                let allowed = turn.last.map_or(now, |last| last + INTERVAL_MIN);
                plan.set(swarm, Turn { due: turn.due.min(allowed.max(now)), ..turn });
            }
        }
    }

    /// The next datagram, if one is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Batch<I>> {
        if self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let plan = self
            .interfaces
            .iter_mut()
            .min_by_key(|plan| plan.first().map_or((1, None), |at| (0, Some(at))))?;
        let mut swarms = Vec::new();
        while let Some((due, swarm)) = plan.queue.first().copied()
            && due <= now
            && swarms.len() < SWARMS_MAX
        {
            swarms.push(swarm);
            plan.set(swarm, Turn { due: now + INTERVAL, last: Some(now) });
        }
        if swarms.is_empty() {
            return None;
        }
        self.not_before = Some(now + DISTANCE);
        Some(Batch { interface: plan.interface.clone(), swarms })
    }

    /// When to call [`Schedule::poll`] next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.interfaces.iter().filter_map(Plan::first).min()?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }
}

impl<I> Plan<I> {
    fn first(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    fn set(&mut self, swarm: SwarmHash, turn: Turn) {
        self.unset(swarm);
        self.swarms.insert(swarm, turn);
        self.queue.insert((turn.due, swarm));
    }

    fn unset(&mut self, swarm: SwarmHash) {
        if let Some(turn) = self.swarms.remove(&swarm) {
            self.queue.remove(&(turn.due, swarm));
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

    fn neighbour(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 168, 1, 9], port))
    }

    /// Everything that is sent until `end`, with the time of each.
    fn run(schedule: &mut Schedule<u8>, now: &mut Instant, end: Instant) -> Vec<(Instant, Batch<u8>)> {
        let mut sent = Vec::new();
        while let Some(at) = schedule.poll_timeout().filter(|at| *at <= end) {
            *now = at.max(*now);
            sent.extend(schedule.poll(*now).map(|batch| (*now, batch)));
        }
        *now = end;
        sent
    }

    #[test]
    fn a_new_swarm_is_announced_at_once_on_every_interface_and_then_every_five_minutes() {
        let start = Instant::now();
        let (mut schedule, mut now) = (Schedule::new(), start);
        schedule.set_interfaces(now, &[1, 2]);
        schedule.add(now, swarm(1));
        let sent = run(&mut schedule, &mut now, start + Duration::from_secs(1));
        assert_eq!(sent.iter().map(|(_, batch)| batch.interface).collect::<Vec<_>>(), [1, 2]);
        let sent = run(&mut schedule, &mut now, start + INTERVAL + Duration::from_secs(1));
        assert_eq!(sent.len(), 2);
        assert!(sent[0].0 >= start + INTERVAL);
    }

    #[test]
    fn a_new_interface_hears_everything() {
        let (mut schedule, start) = (Schedule::new(), Instant::now());
        let mut now = start;
        schedule.add(now, swarm(1));
        assert_eq!(schedule.poll_timeout(), None);
        schedule.set_interfaces(now, &[1]);
        schedule.set_interfaces(now, &[1, 7]);
        assert_eq!(run(&mut schedule, &mut now, start + Duration::from_secs(1)).len(), 2);
        schedule.set_interfaces(now, &[7]);
        assert_eq!(run(&mut schedule, &mut now, start + INTERVAL + Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn a_new_neighbour_is_answered_but_not_within_a_minute_of_the_last_announce() {
        let start = Instant::now();
        let (mut schedule, mut now) = (Schedule::new(), start);
        schedule.set_interfaces(now, &[1]);
        schedule.add(now, swarm(1));
        assert_eq!(run(&mut schedule, &mut now, start + Duration::from_secs(10)).len(), 1);
        schedule.heard(now, swarm(1), neighbour(1));
        let sent = run(&mut schedule, &mut now, start + Duration::from_secs(200));
        assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [start + INTERVAL_MIN]);
        schedule.heard(now, swarm(1), neighbour(2));
        assert_eq!(schedule.poll_timeout(), Some(now), "the last announce is long ago");
    }

    #[test]
    fn two_neighbours_do_not_keep_answering_each_other() {
        let start = Instant::now();
        let (mut one, mut now) = (Schedule::new(), start);
        one.set_interfaces(now, &[1]);
        one.add(now, swarm(1));
        let mut sent = 0;
        for minute in 1..=15 {
            sent += run(&mut one, &mut now, start + INTERVAL_MIN * minute).len();
            one.heard(now, swarm(1), neighbour(1));
        }
        assert!(sent <= 5, "{sent} announces in a quarter of an hour");
    }

    #[test]
    fn strangers_cannot_fill_memory_or_make_us_flood() {
        let start = Instant::now();
        let (mut schedule, mut now) = (Schedule::new(), start);
        schedule.set_interfaces(now, &[1]);
        schedule.add(now, swarm(1));
        let mut sent = 0;
        for second in 0..120 {
            for port in 1..500 {
                let from = SocketAddr::from(([10, 0, 0, second], port));
                schedule.heard(now, swarm(1), from);
                schedule.heard(now, swarm(2), from);
            }
            sent += run(&mut schedule, &mut now, start + Duration::from_secs(u64::from(second))).len();
        }
        assert!(schedule.acquaintances.len() <= ACQUAINTANCES_MAX);
        assert!(sent <= 3, "{sent} announces in two minutes");
    }

    #[test]
    fn thousands_of_swarms_share_datagrams_that_keep_a_distance() {
        let start = Instant::now();
        let (mut schedule, mut now) = (Schedule::new(), start);
        schedule.set_interfaces(now, &[1]);
        for number in 0..10_000 {
            schedule.add(now, swarm(number));
        }
        schedule.remove(swarm(5));
        let sent = run(&mut schedule, &mut now, start + Duration::from_secs(60));
        assert_eq!(sent.len(), 9_999_usize.div_ceil(SWARMS_MAX));
        let mut all: Vec<_> = sent.iter().flat_map(|(_, batch)| batch.swarms.clone()).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9_999);
        assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= DISTANCE));
    }
}
