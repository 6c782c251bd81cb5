//! How fast a peer delivers, how many blocks to ask of it at once, and how long to wait for it.
//!
//! The requests at a peer are its bandwidth-delay product and a little more ([`HEADROOM`]), so that its rate can grow until it is the
//! link that bounds it. A peer that was not measured gets a few.

use std::time::{Duration, Instant};

/// Blocks that are asked of a peer that was not measured.
const WINDOW_FRESH: usize = 8;
/// Never fewer: one on its way while the other is being read.
const WINDOW_MIN: usize = 2;
/// Never more blocks.
const WINDOW_MAX: usize = 1024;
/// Never more bytes, as far as the size of blocks is known.
const WINDOW_BYTES_MAX: f64 = 16.0 * 1024.0 * 1024.0;
/// Time beyond the round trip for which a peer has requests in its queue.
const HEADROOM: Duration = Duration::from_millis(250);
/// Size of a block of a peer that has sent none.
const SIZE_FRESH: f64 = 256.0 * 1024.0;
/// Bytes that a peer puts into its connection at once: two messages of a server like ours.
const WRITTEN: f64 = 512.0 * 1024.0;
/// How long the least delay is believed.
const DELAY_AGE: Duration = Duration::from_secs(10);
/// Delay of a peer that was not measured, to compare it with others.
const DELAY_FRESH: Duration = Duration::from_millis(500);
/// How long a peer that was not measured may be silent.
const PATIENCE_FRESH: Duration = Duration::from_secs(5);
/// Bounds of how long others may.
const PATIENCE_MIN: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes of blocks that were asked for and came.
    delivered: u64,
    /// Bytes a second; 0 until the first block.
    rate: f64,
    /// Bytes of a block, on average.
    size: f64,
    delay: Delay,
    /// Seconds from one answer to the next while something is asked, and how much they vary.
    service: Option<(f64, f64)>,
}

/// The least time from a request to its block, over the last and this [`DELAY_AGE`].
#[derive(Debug)]
struct Delay {
    before: Option<Duration>,
    now: Option<Duration>,
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let delay = Delay { before: None, now: None, since: now };
        Self { delivered: 0, rate: 0.0, size: 0.0, delay, service: None }
    }

    /// Everything that was delivered: to be given to [`Pace::delivered`] when what is asked now comes.
    pub(super) fn mark(&self) -> u64 {
        self.delivered
    }

    /// A block has come that was asked for at `asked_at`, when the mark was `mark`; the peer last answered at `answered`.
    pub(super) fn delivered(
        &mut self,
        now: Instant,
        asked_at: Instant,
        mark: u64,
        answered: Instant,
        size: usize,
    ) {
        let took = now.saturating_duration_since(asked_at);
        self.delay.add(now, took);
        let service = now.saturating_duration_since(asked_at.max(answered)).as_secs_f64();
        self.service = Some(match self.service {
            None => (service, service / 2.0),
            Some((mean, spread)) => {
                (mean + (service - mean) / 8.0, spread + ((service - mean).abs() - spread) / 4.0)
            }
        });
        let bytes = size as f64;
        self.size = if self.delivered == 0 { bytes } else { self.size + (bytes - self.size) / 16.0 };
        self.delivered += size as u64;
        let rate = (self.delivered - mark) as f64 / took.as_secs_f64().max(1e-4);
        self.rate = if rate > self.rate { rate } else { self.rate + (rate - self.rate) / 16.0 };
    }

    /// Blocks to have asked of the peer.
    pub(super) fn window(&self) -> usize {
        let Some(delay) = self.delay.least() else { return WINDOW_FRESH };
        let bytes = (self.rate * (delay + HEADROOM).as_secs_f64()).min(WINDOW_BYTES_MAX);
        ((bytes / self.size.max(1.0)).ceil() as usize).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    /// The time from a request to its block.
    pub(super) fn latency(&self) -> Duration {
        self.delay.least().unwrap_or(DELAY_FRESH)
    }

    /// How long the peer may be silent while something is asked of it.
    pub(super) fn patience(&self) -> Duration {
        let Some((mean, spread)) = self.service else { return PATIENCE_FRESH };
        Duration::from_secs_f64(4.0 * (mean + 4.0 * spread)).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// Whether a cancel may come too late for a block before which `blocks` others are asked of the peer: it may be on its way.
    pub(super) fn may_be_sent(&self, blocks: usize) -> bool {
        let size = if self.size > 0.0 { self.size } else { SIZE_FRESH };
        blocks as f64 * size < WRITTEN + self.rate * self.latency().as_secs_f64()
    }

    /// How long `blocks` take that are asked of it; nobody knows before the first has come.
    pub(super) fn time_for(&self, blocks: usize) -> Option<Duration> {
        (self.rate > 0.0).then(|| {
            Duration::try_from_secs_f64(blocks as f64 * self.size / self.rate).unwrap_or(PATIENCE_MAX)
        })
    }
}

impl Delay {
    fn add(&mut self, now: Instant, took: Duration) {
        if now.saturating_duration_since(self.since) >= DELAY_AGE {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = Some(self.now.map_or(took, |least| least.min(took)));
    }

    fn least(&self) -> Option<Duration> {
        [self.before, self.now].into_iter().flatten().min()
    }
}
