//! Access links.

use std::collections::VecDeque;
use std::time::Duration;

/// What connects a node to the network.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Bytes a second out.
    pub up: u64,
    /// Bytes a second in.
    pub down: u64,
    /// Time to the middle of the network, one way.
    pub latency: Duration,
    /// Share of packets lost, 0 to below 1.
    pub loss: f64,
}

impl Link {
    /// A link that loses nothing, 10 ms from the middle.
    pub fn new(up: u64, down: u64) -> Self {
        Self { up, down, latency: Duration::from_millis(10), loss: 0.0 }
    }

    /// How long so many bytes occupy the way out; lost packets are sent again.
    pub(crate) fn time_up(&self, bytes: u32) -> Duration {
        Duration::from_secs_f64(f64::from(bytes) / self.up as f64 / (1.0 - self.loss))
    }

    pub(crate) fn time_down(&self, bytes: u32) -> Duration {
        Duration::from_secs_f64(f64::from(bytes) / self.down as f64)
    }
}

/// Bytes in a TCP segment.
const SEGMENT: f64 = 1_448.0;

/// The least time between two blocks of one TCP flow: with loss, its rate is bounded by segment / round trip * sqrt(3 / 2 loss)
/// (Mathis et al., 1997). Loss of both ends adds up.
pub(crate) fn pace(from: &Link, to: &Link, bytes: u32) -> Duration {
    let loss = from.loss + to.loss;
    if loss <= 0.0 {
        return Duration::ZERO;
    }
    let round_trip = 2.0 * (from.latency + to.latency).as_secs_f64();
    let rate = SEGMENT / round_trip.max(1e-4) * (1.5 / loss).sqrt();
    Duration::from_secs_f64(f64::from(bytes) / rate)
}

/// The uploads that share a node's way out, in turn.
#[derive(Debug, Default)]
pub(crate) struct Uplink {
    /// Connections with blocks to send, the next first.
    pub(crate) turns: VecDeque<usize>,
    /// A block is being sent, or a flow is waited for.
    pub(crate) busy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_bounds_one_flow_as_mathis_says() {
        let lossy = Link { latency: Duration::from_millis(25), loss: 0.01, ..Link::new(1 << 30, 1 << 30) };
        let clean = Link { latency: Duration::ZERO, ..Link::new(1 << 30, 1 << 30) };
        let rate = 16_384.0 / pace(&lossy, &clean, 16_384).as_secs_f64();
        assert!((340_000.0..370_000.0).contains(&rate), "{rate}");
        assert_eq!(pace(&clean, &clean, 16_384), Duration::ZERO);
    }
}
