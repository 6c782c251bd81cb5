//! Rate limits: a token bucket that is told the time.
//!
//! Limits stack: whoever moves bytes asks every bucket that applies (process, transfer, peer) through [`take`], which
//! grants what all of them allow. A bucket fills steadily and holds at most a quarter of a second, so that a limit is
//! kept over any second and short bursts stay short.

use std::time::{Duration, Instant};

/// What a bucket holds at most: this much time at the limit's rate.
const BURST: Duration = Duration::from_millis(250);

/// Waiting for less than this would wake the waiter more often than the bytes are worth.
const WORTH_WAKING: u64 = 16 * 1024;

/// A limit in bytes a second, or none.
#[derive(Clone, Debug)]
pub struct Limiter {
    rate: Option<u64>,
    /// Bytes that may pass now; a fraction of a byte is kept, else slow limits would lose it at every call.
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    /// A limit of `rate` bytes a second; `None`: no limit. The bucket starts empty, so that the first second keeps the
    /// limit like any other.
    pub fn new(rate: Option<u64>, now: Instant) -> Self {
        Self { rate, tokens: 0.0, filled: now }
    }

    /// The limit, bytes a second.
    pub fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Changes the limit; what the bucket holds stays, as far as it fits.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u64>) {
        self.fill(now);
        self.rate = rate;
        self.tokens = self.tokens.min(self.capacity());
    }

    /// Takes up to `want` bytes; returns how many are granted.
    pub fn take(&mut self, now: Instant, want: u64) -> u64 {
        if self.rate.is_none() {
            return want;
        }
        self.fill(now);
        let granted = want.min(self.tokens as u64);
        self.tokens -= granted as f64;
        granted
    }

    /// Gives back what was granted and not used.
    pub fn put_back(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.tokens = (self.tokens + bytes as f64).min(self.capacity());
        }
    }

    /// When asking again is worth it: now, or when some bytes have gathered. `None` when the limit is zero: never.
    pub fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let Some(rate) = self.rate else { return Some(now) };
        self.fill(now);
        let enough = (self.capacity() / 2.0).min(WORTH_WAKING as f64).max(1.0);
        if self.tokens >= enough {
            return Some(now);
        }
        // Rounded up by a microsecond: a waiter that comes back a hair too early would spin.
        (rate > 0).then(|| {
            now + Duration::from_secs_f64((enough - self.tokens) / rate as f64) + Duration::from_micros(1)
        })
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
            None => 0.0,
            Some(0) => 0.0,
            Some(rate) => (rate as f64 * BURST.as_secs_f64()).max(1.0),
        }
    }
}

/// Takes up to `want` bytes that every one of `limits` grants.
pub fn take(limits: &mut [&mut Limiter], now: Instant, want: u64) -> u64 {
    let mut granted = want;
    for at in 0..limits.len() {
        let less = limits[at].take(now, granted);
        for earlier in &mut limits[..at] {
            earlier.put_back(granted - less);
        }
        granted = less;
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a greedy user of `limits` for `seconds`, who sleeps until ready; returns bytes passed in each second.
    fn greedy(limits: &mut [&mut Limiter], start: Instant, seconds: u64) -> Vec<u64> {
        let mut passed = vec![0; seconds as usize];
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            let granted = take(limits, now, 64 * 1024);
            passed[(now - start).as_secs() as usize] += granted;
            if granted == 0 {
                now = limits.iter_mut().filter_map(|limit| limit.ready_at(now)).max().unwrap();
            }
        }
        passed
    }

    #[test]
    fn a_limit_is_kept_within_five_percent_over_seconds() {
        let start = Instant::now();
        for rate in [1_000, 50_000, 1_000_000, 1_000_000_000] {
            let mut limit = Limiter::new(Some(rate), start);
            let total: u64 = greedy(&mut [&mut limit], start, 4).iter().sum();
            let exact = (4 * rate) as f64;
            assert!((total as f64) > 0.95 * exact && (total as f64) < 1.05 * exact, "{total} at {rate}");
        }
    }

    #[test]
    fn silence_buys_a_burst_of_a_quarter_second_at_most() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(100_000), start);
        assert_eq!(limit.take(start + Duration::from_secs(60), u64::MAX), 25_000);
    }

    #[test]
    fn the_narrowest_of_stacked_limits_rules_and_the_others_lose_nothing() {
        let start = Instant::now();
        let mut wide = Limiter::new(Some(1_000_000), start);
        let mut narrow = Limiter::new(Some(100_000), start);
        let total: u64 = greedy(&mut [&mut wide, &mut narrow], start, 3).iter().sum();
        assert!((285_000..=315_000).contains(&total), "{total}");
        let now = start + Duration::from_secs(3);
        assert!(wide.take(now, u64::MAX) > 200_000, "the wide bucket is nearly full");
    }

    #[test]
    fn no_limit_grants_everything_and_zero_grants_nothing() {
        let start = Instant::now();
        assert_eq!(Limiter::new(None, start).take(start, 1 << 40), 1 << 40);
        let mut zero = Limiter::new(Some(0), start);
        assert_eq!(zero.take(start + Duration::from_secs(9), 1), 0);
        assert_eq!(zero.ready_at(start), None);
    }

    #[test]
    fn a_limit_of_a_byte_a_second_still_moves() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(1), start);
        let total: u64 = greedy(&mut [&mut limit], start, 100).iter().sum();
        assert!((95..=100).contains(&total), "{total}");
    }

    #[test]
    fn changing_the_limit_takes_effect_at_once() {
        let start = Instant::now();
        let mut limit = Limiter::new(Some(1_000_000), start);
        let later = start + Duration::from_secs(1);
        limit.set_rate(later, Some(1_000));
        assert_eq!(limit.take(later, u64::MAX), 250);
        limit.set_rate(later, None);
        assert_eq!(limit.take(later, 5_000_000), 5_000_000);
    }
}
