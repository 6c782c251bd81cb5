//! How many requests to keep at a peer: enough that it never waits for the next, few enough that blocks do not sit in its
//! queue when somebody else could send them.
//!
//! The depth is the bandwidth-delay product with the delay set by the user (`pipeline_seconds`): what the peer delivers in that time.
//! A fresh peer has no rate, so the depth grows as TCP does in slow start: by one with every block, which doubles
//! it every round trip, until rounds no longer get faster.

use std::time::Instant;

use peerage_content::BLOCK_LENGTH;

use super::Config;
use super::rate::Rate;

/// Requests to a peer of which nothing is known.
const DEPTH_FRESH: usize = 8;
/// Never fewer: one on its way while the other is being sent.
const DEPTH_MIN: usize = 2;
/// A round must be this much faster than the last to count as growth.
const GROWTH: f64 = 1.25;
/// Rounds without growth that end slow start.
const FLAT_ROUNDS: u8 = 3;
/// Seconds of the rate that sets the depth: short, to follow a peer that speeds up.
const RATE_SECONDS: u64 = 4;

#[derive(Debug)]
pub(super) struct Pipeline {
    depth: usize,
    slow_start: Option<SlowStart>,
}

/// A round is the time in which as many blocks arrive as were requested when it began.
#[derive(Debug)]
struct SlowStart {
    round_began: Instant,
    blocks_left: usize,
    blocks: usize,
    rate_before: f64,
    flat: u8,
}

impl Pipeline {
    pub(super) fn new(now: Instant) -> Self {
        let round = SlowStart {
            round_began: now,
            blocks_left: DEPTH_FRESH,
            blocks: DEPTH_FRESH,
            rate_before: 0.0,
            flat: 0,
        };
        Self { depth: DEPTH_FRESH, slow_start: Some(round) }
    }

    /// Requests to keep at the peer, of which `requests_max` is what it is willing to queue.
    pub(super) fn depth(&self, config: &Config, requests_max: usize) -> usize {
        self.depth.min(config.pipeline_max).min(requests_max).max(1)
    }

    /// A block has arrived; `rate` has counted it.
    pub(super) fn on_block(&mut self, now: Instant, rate: &Rate, config: &Config) {
        let blocks_a_second = rate.over(now, RATE_SECONDS) as f64 / f64::from(BLOCK_LENGTH);
        let fitting = (blocks_a_second * f64::from(config.pipeline_seconds)).ceil() as usize;
        let Some(round) = &mut self.slow_start else {
            self.depth = fitting.clamp(DEPTH_MIN, config.pipeline_max.max(DEPTH_MIN));
            return;
        };
        // No more than fits: as long as the round trip is shorter than the pipeline that leaves room to double, and a slow peer
        // does not collect a minute's worth of requests.
        self.depth = (self.depth + 1).min(fitting.max(DEPTH_FRESH)).min(config.pipeline_max);
        round.blocks_left = round.blocks_left.saturating_sub(1);
        if round.blocks_left > 0 {
            return;
        }
        let seconds = now.saturating_duration_since(round.round_began).as_secs_f64();
        let rate_now = round.blocks as f64 / seconds.max(1e-6);
        round.flat = if rate_now > GROWTH * round.rate_before { 0 } else { round.flat + 1 };
        round.rate_before = round.rate_before.max(rate_now);
        round.round_began = now;
        round.blocks = self.depth;
        round.blocks_left = self.depth;
        if round.flat >= FLAT_ROUNDS {
            self.slow_start = None;
        }
    }

    /// Starts over with a small depth: the peer was silent for long.
    pub(super) fn restart(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The round begins with the first request, not with the connection.
    pub(super) fn on_first_request(&mut self, now: Instant) {
        if let Some(round) = &mut self.slow_start {
            round.round_began = now;
            round.blocks_left = round.blocks;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A link that delivers `depth` blocks each round trip, but not more than `blocks_a_second`. Returns depth by round.
    fn drive(round_trip: Duration, blocks_a_second: f64, rounds: usize) -> Vec<usize> {
        let config = Config::default();
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        let mut pipeline = Pipeline::new(now);
        let mut depths = Vec::new();
        for _ in 0..rounds {
            let depth = pipeline.depth(&config, usize::MAX);
            depths.push(depth);
            let block_time = Duration::from_secs_f64(1.0 / blocks_a_second);
            let began = now;
            for _ in 0..depth {
                now += block_time;
                rate.add(now, u64::from(BLOCK_LENGTH));
                pipeline.on_block(now, &rate, &config);
            }
            now = now.max(began + round_trip);
        }
        depths
    }

    #[test]
    fn a_fresh_fast_peer_reaches_the_bound_within_seven_round_trips() {
        let depths = drive(Duration::from_millis(1), 65_536.0, 10);
        let bound = Config::default().pipeline_max;
        assert!(depths[7..].iter().all(|&depth| depth == bound), "{depths:?}");
        assert!(depths.windows(2).take(4).all(|pair| pair[1] >= 2 * pair[0] - 1), "doubles: {depths:?}");
    }

    #[test]
    fn a_slow_peer_settles_at_pipeline_seconds_of_its_rate() {
        let depths = drive(Duration::from_millis(50), 5.0, 40);
        assert!(depths.iter().all(|&depth| depth <= 24), "{depths:?}");
        assert!((8..=14).contains(depths.last().unwrap()), "{depths:?}");
    }

    #[test]
    fn what_the_peer_is_willing_to_queue_is_never_exceeded() {
        let pipeline = Pipeline::new(Instant::now());
        assert_eq!(pipeline.depth(&Config::default(), 3), 3);
        assert_eq!(pipeline.depth(&Config::default(), 0), 1);
        assert_eq!(pipeline.depth(&Config { pipeline_max: 2, ..Config::default() }, 9), 2);
    }
}
