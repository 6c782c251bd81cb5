//! Rate limits: a token bucket that is told the time.
//!
//! A bucket fills steadily and holds at most a quarter of a second, so that a limit is kept over any second and bursts stay
//! short. What moves in pieces that cannot be cut (a block, a vectored read) is spent whole and leaves a debt: the average is exact.
//! Limits stack: whoever moves bytes asks every bucket that applies (process, transfer, peer) and spends from each.

use std::time::{Duration, Instant};

/// What a bucket holds at most: this much time at the limit's rate.
const BURST: Duration = Duration::from_millis(250);

/// Waiting for less than this would wake the waiter more often than the bytes are worth.
const WORTH_WAKING: f64 = 16.0 * 1024.0;

/// A limit that refused somebody within this time holds back who is under it.
const BINDS: Duration = Duration::from_secs(5);

/// How long a limit of nothing makes wait before it is asked again: it may have been changed.
const NEVER: Duration = Duration::from_secs(3_600);

/// A limit in bytes a second, or none.
#[derive(Clone, Debug)]
pub struct Limiter {
    rate: Option<u64>,
    /// Bytes that may pass now, negative when more passed than was there; a fraction of a byte is kept, else slow limits would
    /// lose it at every call.
    tokens: f64,
    filled: Instant,
    /// When somebody was refused last.
    refused: Option<Instant>,
}

impl Limiter {
    /// A limit of `rate` bytes a second; `None`: no limit. The bucket starts empty, so that the first second keeps the
    /// limit like any other.
    pub fn new(rate: Option<u64>, now: Instant) -> Self {
        Self { rate, tokens: 0.0, filled: now, refused: None }
    }

    /// The limit, bytes a second.
    pub fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Changes the limit; what the bucket holds stays, as far as it fits, a debt is forgiven.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Instant) {
        self.fill(now);
        self.rate = rate;
        self.tokens = self.tokens.clamp(0.0, self.capacity());
    }

    /// Bytes that may pass now; 0 while the bucket is empty or in debt.
    pub fn available(&mut self, now: Instant) -> u64 {
        if self.rate.is_none() {
            return u64::MAX;
        }
        self.fill(now);
        let available = self.tokens.max(0.0) as u64;
        if available == 0 {
            self.refused = Some(now);
        }
        available
    }

    /// Whether the limit holds anybody back: somebody was refused a moment ago.
    pub fn binds(&self, now: Instant) -> bool {
        self.rate.is_some() && self.refused.is_some_and(|at| now.saturating_duration_since(at) < BINDS)
    }

    /// Counts bytes that pass, whether they were available or not.
    pub fn spend(&mut self, bytes: u64, now: Instant) {
        if self.rate.is_some() {
            self.fill(now);
            self.tokens -= bytes as f64;
        }
    }

    /// When asking again is worth it: now, or when some bytes have gathered.
    pub fn ready_at(&mut self, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        self.fill(now);
        let enough = (self.capacity() / 2.0).clamp(1.0, WORTH_WAKING);
        if self.tokens >= enough {
            now
        } else if rate == 0 {
            now + NEVER
        } else {
            // Rounded up by a microsecond: a waiter that comes back a hair too early would spin.
            now + Duration::from_secs_f64((enough - self.tokens) / rate as f64) + Duration::from_micros(1)
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        if let Some(rate) = self.rate {
            self.tokens = (self.tokens + rate as f64 * passed.as_secs_f64()).min(self.capacity());
        }
    }

    /// Never below a byte, or a limit of a few bytes a second would grant nothing for ever.
    fn capacity(&self) -> f64 {
        match self.rate {
            None | Some(0) => 0.0,
            Some(rate) => (rate as f64 * BURST.as_secs_f64()).max(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves blocks of `block` bytes as fast as `limits` let, for `seconds`; returns bytes passed.
    fn greedy(limits: &mut [&mut Limiter], block: u64, start: Instant, seconds: u64) -> u64 {
        let mut passed = 0;
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            if limits.iter_mut().all(|limit| limit.available(now) > 0) {
                limits.iter_mut().for_each(|limit| limit.spend(block, now));
                passed += block;
            } else if let Some(ready) = limits.iter_mut().map(|limit| limit.ready_at(now)).max() {
                now = ready;
            }
        }
        passed
    }

    #[test]
    fn a_limit_is_kept_within_five_percent_over_seconds() {
        let start = Instant::now();
        for (rate, block) in [(1_000, 10), (50_000, 2_000), (1_000_000, 16_384), (1_000_000_000, 262_144)] {
            let mut limit = Limiter::new(Some(rate), start);
            let total = greedy(&mut [&mut limit], block, start, 4) as f64;
            let exact = (4 * rate) as f64;
            assert!(total > 0.95 * exact && total < 1.05 * exact, "{total} at {rate}");
        }
    }

    #[test]
    fn a_block_larger_than_the_limit_is_paid_for_before_the_next() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(1_000), start);
        let total = greedy(&mut [&mut limit], 16_384, start, 200) as f64;
        assert!((total - 200_000.0).abs() <= 16_384.0, "{total}");
    }

    #[test]
    fn silence_buys_a_burst_of_a_quarter_second_at_most() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(100_000), start);
        assert_eq!(limit.available(start + Duration::from_secs(60)), 25_000);
    }

    #[test]
    fn the_narrowest_of_stacked_limits_rules() {
        let start = Instant::now();
        let mut wide = Limiter::new(Some(1_000_000), start);
        let mut narrow = Limiter::new(Some(100_000), start);
        let total = greedy(&mut [&mut wide, &mut narrow], 1_000, start, 3);
        assert!((285_000..=315_000).contains(&total), "{total}");
        assert!(wide.available(start + Duration::from_secs(3)) > 200_000, "the wide bucket is nearly full");
    }

    #[test]
    fn a_limit_binds_while_more_is_asked_of_it_than_it_gives() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(100_000), start);
        let later = start + Duration::from_secs(1);
        assert!(limit.available(later) > 0 && !limit.binds(later));
        limit.spend(100_000, later);
        assert!(limit.available(later) == 0 && limit.binds(later + BINDS / 2));
        assert!(!limit.binds(later + BINDS));
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_pass_until_it_is_lifted() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(0), start);
        let later = start + Duration::from_secs(9);
        assert_eq!(limit.available(later), 0);
        assert!(limit.ready_at(later) > later);
        limit.set_rate(None, later);
        assert_eq!(limit.available(later), u64::MAX);
    }
}
