//! How long a transfer has served: the time towards its goal of seeding. Counted on the clock that only runs, never on the clock that is
//! set: a machine that begins in 1970 and learns the date later has not served for half a century.
//!
//! Not here: what follows when the goal is reached ([`super::life`]), and the time of completion, which people read.

use std::time::{Duration, Instant};

/// The longest time that a crash can make it forget.
const KEPT_EVERY: Duration = Duration::from_secs(60);
/// The shortest pause between two writes of the record.
const KEPT_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// A stopwatch that goes on where the run before stopped.
#[derive(Debug)]
pub(super) struct Served {
    before: Duration,
    since: Option<Instant>,
    kept: Duration,
}

impl Served {
    /// `seconds` were kept by the run before.
    pub(super) fn new(seconds: u64) -> Self {
        let before = Duration::from_secs(seconds);
        Self { before, since: None, kept: before }
    }

    /// It serves from now on, or it does not.
    pub(super) fn run(&mut self, now: Instant, serves: bool) {
        if serves != self.since.is_some() {
            self.before = self.total(now);
            self.since = serves.then_some(now);
        }
    }

    /// All of it.
    pub(super) fn total(&self, now: Instant) -> Duration {
        self.before.saturating_add(self.since.map_or(Duration::ZERO, |since| now.duration_since(since)))
    }

    /// Seconds to keep now, if it is time to. A goal of minutes wants to be kept more often than one of days.
    pub(super) fn take_due(&mut self, now: Instant, goal: Duration) -> Option<u64> {
        let total = self.total(now);
        (total >= self.next(goal)).then(|| {
            self.kept = total;
            total.as_secs()
        })
    }

    /// How long until there is something to keep; `None` while it does not serve.
    pub(super) fn next_due(&self, now: Instant, goal: Duration) -> Option<Duration> {
        self.since.map(|_| self.next(goal).saturating_sub(self.total(now)))
    }

    fn next(&self, goal: Duration) -> Duration {
        self.kept.saturating_add((goal / 16).clamp(KEPT_AT_MOST_EVERY, KEPT_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_the_time_in_which_it_serves_counts() {
        let start = Instant::now();
        let mut served = Served::new(10);
        assert_eq!(served.total(start + 5 * SECOND), 10 * SECOND);
        served.run(start + 5 * SECOND, true);
        served.run(start + 6 * SECOND, true);
        assert_eq!(served.total(start + 8 * SECOND), 13 * SECOND);
        served.run(start + 9 * SECOND, false);
        assert_eq!(served.total(start + 100 * SECOND), 14 * SECOND);
        served.run(start + 100 * SECOND, true);
        assert_eq!(served.total(start + 101 * SECOND), 15 * SECOND);
    }

    #[test]
    fn it_is_kept_often_enough_and_no_more() {
        let start = Instant::now();
        let (day, seconds) = (86_400 * SECOND, 8 * SECOND);
        let mut served = Served::new(0);
        assert_eq!(served.next_due(start, day), None);
        served.run(start, true);
        assert_eq!(served.next_due(start, day), Some(KEPT_EVERY));
        assert_eq!(served.next_due(start, seconds), Some(SECOND));
        assert_eq!(served.take_due(start + 59 * SECOND, day), None);
        assert_eq!(served.take_due(start + 61 * SECOND, day), Some(61));
        assert_eq!(served.take_due(start + 62 * SECOND, day), None);
        assert_eq!(served.next_due(start + 62 * SECOND, day), Some(59 * SECOND));
    }
}
