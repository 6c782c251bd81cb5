//! How fast bytes flow: a moving average over a window of whole seconds.
//!
//! Constant memory and constant work per addition, whatever the rate; reading sums at most the window.

use std::time::{Duration, Instant};

/// Seconds of the long window, over which tit for tat compares peers.
pub const WINDOW_SECONDS: usize = 20;

/// Bytes counted second by second.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Bytes of the last seconds; second `s` lies at `s % WINDOW_SECONDS`.
    seconds: [u32; WINDOW_SECONDS],
    /// The sum of `seconds`.
    recent: u64,
    start: Instant,
    /// The second since `start` that is being filled.
    newest: u64,
    total: u64,
}

impl Rate {
    /// Nothing so far; averages are taken from `now` on, so a young rate is not watered down by a past it did not have.
    pub fn new(now: Instant) -> Self {
        Self { seconds: [0; WINDOW_SECONDS], recent: 0, start: now, newest: 0, total: 0 }
    }

    /// Counts bytes.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.advance(now);
        let slot = &mut self.seconds[(self.newest % WINDOW_SECONDS as u64) as usize];
        let before = *slot;
        *slot = slot.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.recent += u64::from(*slot - before);
        self.total = self.total.saturating_add(bytes);
    }

    /// Bytes a second over the whole window.
    pub fn per_second(&self, now: Instant) -> u64 {
        self.over(now, WINDOW_SECONDS as u64)
    }

    /// Bytes a second over the last `seconds` full seconds and the one that is being filled.
    pub fn over(&self, now: Instant, seconds: u64) -> u64 {
        let age = now.saturating_duration_since(self.start);
        let second = age.as_secs();
        let window = seconds.clamp(1, WINDOW_SECONDS as u64 - 1);
        // Of the ring only the seconds that still lie in the window count; those after `newest` are silent.
        let oldest = second.saturating_sub(window);
        let silent = second.saturating_sub(self.newest);
        let sum: u64 = if silent == 0 && window == WINDOW_SECONDS as u64 - 1 {
            self.recent
        } else {
            (oldest..=self.newest)
                .filter(|&at| at + WINDOW_SECONDS as u64 > self.newest)
                .map(|at| u64::from(self.seconds[(at % WINDOW_SECONDS as u64) as usize]))
                .sum()
        };
        let span = age.saturating_sub(Duration::from_secs(oldest)).max(SHORTEST);
        (sum as f64 / span.as_secs_f64()) as u64
    }

    /// All bytes ever counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Empties the seconds that passed without bytes.
    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.start).as_secs();
        let passed = second.saturating_sub(self.newest);
        if passed == 0 {
            return;
        }
        if passed >= WINDOW_SECONDS as u64 {
            self.seconds = [0; WINDOW_SECONDS];
            self.recent = 0;
        } else {
            for at in self.newest + 1..=second {
                let slot = &mut self.seconds[(at % WINDOW_SECONDS as u64) as usize];
                self.recent -= u64::from(*slot);
                *slot = 0;
            }
        }
        self.newest = second;
    }
}

/// A shorter span than this says nothing about a rate: a first block would look like gigabytes a second.
const SHORTEST: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_steady_flow_is_read_as_it_is() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for tenth in 0..600 {
            rate.add(at(start, f64::from(tenth) / 10.0), 1_000);
        }
        let now = at(start, 60.0);
        for read in [rate.per_second(now), rate.over(now, 3)] {
            assert!((9_000..=11_000).contains(&read), "{read}");
        }
        assert_eq!(rate.total(), 600_000);
    }

    #[test]
    fn a_young_rate_is_not_watered_down() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.add(at(start, 0.5), 50_000);
        assert_eq!(rate.per_second(at(start, 0.5)), 100_000);
    }

    #[test]
    fn silence_fades_to_zero() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.add(at(start, 1.0), 1_000_000);
        assert!(rate.over(at(start, 2.0), 3) > 0);
        assert_eq!(rate.over(at(start, 8.0), 3), 0);
        assert!(rate.per_second(at(start, 19.0)) > 0);
        assert_eq!(rate.per_second(at(start, 45.0)), 0);
        rate.add(at(start, 100.0), 19_000);
        assert!((900..=1_100).contains(&rate.per_second(at(start, 100.5))), "the old second was forgotten");
    }

    #[test]
    fn a_second_of_many_gigabytes_does_not_overflow() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.add(start, u64::MAX);
        rate.add(start, u64::MAX);
        assert!(rate.per_second(at(start, 1.0)) > 1 << 31);
    }
}
