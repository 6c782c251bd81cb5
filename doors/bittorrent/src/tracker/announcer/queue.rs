//! Announces that wait for a free place, fairly between servers, without IO.
//!
//! Thousands of transfers often share a handful of servers. A server gets a few announces at a time, servers take turns, and one
//! that does not answer at all is believed dead for a moment: whoever waits for it fails at once
//! instead of holding a place for a time-out each.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::tracker::TrackerError;

/// How long a server that did not answer is not asked for anybody.
const DEAD_FOR: Duration = Duration::from_secs(30);

/// Servers remembered although nothing waits for them.
const IDLE_HOSTS_MAX: usize = 1_000;

/// Jobs by server.
#[derive(Debug)]
pub(super) struct Queue<J> {
    hosts: HashMap<String, Host<J>>,
    /// Servers with waiting jobs, each once.
    turns: VecDeque<String>,
    active: usize,
    active_max: usize,
    active_per_host_max: usize,
}

#[derive(Debug)]
struct Host<J> {
    active: usize,
    waiting: VecDeque<J>,
    dead: Option<(Instant, TrackerError)>,
}

impl<J> Queue<J> {
    pub(super) fn new(active_max: usize, active_per_host_max: usize) -> Self {
        Self {
            hosts: HashMap::new(),
            turns: VecDeque::new(),
            active: 0,
            active_max: active_max.max(1),
            active_per_host_max: active_per_host_max.max(1),
        }
    }

    /// Lets a job wait for its server.
    ///
    /// # Errors
    /// The job and the reason, when the server is believed dead.
    pub(super) fn push(&mut self, now: Instant, host: &str, job: J) -> Result<(), (J, TrackerError)> {
        if self.hosts.len() > IDLE_HOSTS_MAX {
            self.hosts.retain(|_, host| !host.is_forgettable(now));
        }
        let entry = self.hosts.entry(host.to_owned()).or_insert_with(Host::new);
        if let Some((until, error)) = &entry.dead
            && *until > now
        {
            return Err((job, error.clone()));
        }
        if entry.waiting.is_empty() {
            self.turns.push_back(host.to_owned());
        }
        entry.waiting.push_back(job);
        Ok(())
    }

    /// The next job to start, if there is a place for one.
    pub(super) fn take(&mut self) -> Option<J> {
        if self.active >= self.active_max {
            return None;
        }
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            if host.active >= self.active_per_host_max {
                self.turns.push_back(name);
                continue;
            }
            let Some(job) = host.waiting.pop_front() else { continue };
            host.active += 1;
            self.active += 1;
            if !host.waiting.is_empty() {
                self.turns.push_back(name);
            }
            return Some(job);
        }
        None
    }

    /// A job has ended. When it failed for the server's fault, all that wait for that server come back, to fail like it.
    pub(super) fn finish(&mut self, now: Instant, host: &str, failure: Option<&TrackerError>) -> Vec<J> {
        self.active = self.active.saturating_sub(1);
        let Some(entry) = self.hosts.get_mut(host) else { return Vec::new() };
        entry.active = entry.active.saturating_sub(1);
        entry.dead = failure.filter(|error| error.is_of_host()).map(|error| (now + DEAD_FOR, error.clone()));
        if entry.dead.is_none() {
            return Vec::new();
        }
        self.turns.retain(|name| name != host);
        std::mem::take(&mut entry.waiting).into()
    }

    /// Drops what waits, but for what is to be kept, and makes room for more at a time.
    pub(super) fn hasten(
        &mut self,
        active_max: usize,
        active_per_host_max: usize,
        keep: impl Fn(&J) -> bool,
    ) {
        self.active_max = self.active_max.max(active_max);
        self.active_per_host_max = self.active_per_host_max.max(active_per_host_max);
        for host in self.hosts.values_mut() {
            host.waiting.retain(&keep);
        }
        let hosts = &self.hosts;
        self.turns.retain(|name| hosts.get(name).is_some_and(|host| !host.waiting.is_empty()));
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

impl<J> Host<J> {
    fn new() -> Self {
        Self { active: 0, waiting: VecDeque::new(), dead: None }
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        self.active == 0
            && self.waiting.is_empty()
            && self.dead.as_ref().is_none_or(|(until, _)| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn servers_take_turns_within_bounds() {
        let (mut queue, now) = (Queue::new(5, 3), Instant::now());
        for job in 0..10 {
            queue.push(now, "busy", job).unwrap();
        }
        queue.push(now, "quiet", 100).unwrap();
        assert_eq!(
            drain(&mut queue),
            [0, 100, 1, 2],
            "three of the busy one, and the quiet one does not wait"
        );
        assert!(queue.finish(now, "busy", None).is_empty());
        assert_eq!(drain(&mut queue), [3]);
        queue.push(now, "third", 200).unwrap();
        queue.push(now, "third", 201).unwrap();
        assert_eq!(drain(&mut queue), [200], "five in all");
    }

    #[test]
    fn a_dead_server_fails_everybody_at_once_for_a_while() {
        let (mut queue, now) = (Queue::new(10, 1), Instant::now());
        for job in 0..3 {
            queue.push(now, "dead", job).unwrap();
        }
        assert_eq!(drain(&mut queue), [0]);
        let silence = TrackerError::TimedOut(Duration::from_secs(60));
        assert_eq!(queue.finish(now, "dead", Some(&silence)), [1, 2]);
        assert_eq!(queue.push(now, "dead", 3), Err((3, silence)));
        assert!(drain(&mut queue).is_empty());
        queue.push(now + DEAD_FOR, "dead", 4).unwrap();
        assert_eq!(drain(&mut queue), [4]);
    }

    #[test]
    fn a_refusal_is_about_one_swarm_only() {
        let (mut queue, now) = (Queue::new(10, 1), Instant::now());
        queue.push(now, "host", 1).unwrap();
        queue.push(now, "host", 2).unwrap();
        assert_eq!(drain(&mut queue), [1]);
        let refused = TrackerError::Refused("not registered".to_owned());
        assert!(queue.finish(now, "host", Some(&refused)).is_empty());
        assert_eq!(drain(&mut queue), [2]);
    }

    #[test]
    fn at_the_end_only_what_matters_is_kept_and_many_are_served_at_a_time() {
        let (mut queue, now) = (Queue::new(2, 1), Instant::now());
        for job in 0..10 {
            queue.push(now, if job < 8 { "host" } else { "other" }, job).unwrap();
        }
        assert_eq!(drain(&mut queue), [0, 8]);
        queue.hasten(10, 10, |job| *job % 2 == 0);
        assert_eq!(drain(&mut queue), [2, 4, 6]);
        assert!(queue.is_empty());
    }

    #[test]
    fn idle_servers_are_forgotten() {
        let (mut queue, now) = (Queue::new(10_000, 1), Instant::now());
        for job in 0..3_000 {
            let host = format!("host{job}");
            queue.push(now, &host, job).unwrap();
            drain(&mut queue);
            queue.finish(now, &host, None);
        }
        assert!(queue.hosts.len() <= IDLE_HOSTS_MAX + 1);
    }
}
