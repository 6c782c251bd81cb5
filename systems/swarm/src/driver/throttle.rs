//! Rate limits as wires see them: global, transfer and peer, each both ways.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::core::limit::Limiter;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From us.
    Up,
    /// To us.
    Down,
}

/// A pair of limits, shared by all who are under it.
#[derive(Debug)]
pub struct Throttle {
    up: Gate,
    down: Gate,
}

/// One limiter; the flag spares unlimited transfers the lock.
#[derive(Debug)]
struct Gate {
    limited: AtomicBool,
    limiter: Mutex<Limiter>,
}

impl Gate {
    fn new(rate: Option<u64>, now: Instant) -> Self {
        Self { limited: AtomicBool::new(rate.is_some()), limiter: Mutex::new(Limiter::new(rate, now)) }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Limiter) -> R) -> R {
        act(&mut self.limiter.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }
}

impl Throttle {
    /// Limits in bytes a second; `None`: unlimited.
    pub fn new(up: Option<u64>, down: Option<u64>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self { up: Gate::new(up, now), down: Gate::new(down, now) })
    }

    /// Changes one limit from now on.
    pub fn set(&self, direction: Direction, rate: Option<u64>, now: Instant) {
        let gate = self.gate(direction);
        gate.with(|limiter| limiter.set_rate(rate, now));
        gate.limited.store(rate.is_some(), Ordering::Relaxed);
    }

    /// The limit in force, bytes a second.
    pub fn rate(&self, direction: Direction) -> Option<u64> {
        self.gate(direction).with(|limiter| limiter.rate())
    }

    /// Whether the limit holds anybody back at present.
    pub fn binds(&self, direction: Direction, now: Instant) -> bool {
        let gate = self.gate(direction);
        gate.is_limited() && gate.with(|limiter| limiter.binds(now))
    }

    fn gate(&self, direction: Direction) -> &Gate {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// All limits that hold for one peer, from the widest to the narrowest.
#[derive(Clone, Debug)]
pub struct PeerThrottle {
    levels: [Arc<Throttle>; 3],
}

impl PeerThrottle {
    /// The limits of the process, of the transfer and of the peer.
    pub fn new(global: Arc<Throttle>, transfer: Arc<Throttle>, peer: Arc<Throttle>) -> Self {
        Self { levels: [global, transfer, peer] }
    }

    /// Whether any limit holds.
    pub fn is_limited(&self, direction: Direction) -> bool {
        self.levels.iter().any(|level| level.gate(direction).is_limited())
    }

    /// Asks to move `bytes` that cannot be split: when anything may go now all of them may, and the limits go into debt.
    ///
    /// # Errors
    /// The time to ask again, when nothing may go now.
    pub fn take(&self, direction: Direction, bytes: u64, now: Instant) -> Result<(), Instant> {
        self.available(direction, now)?;
        self.spend(direction, bytes, now);
        Ok(())
    }

    /// How many bytes may go now.
    ///
    /// # Errors
    /// The time to ask again, when nothing may.
    pub fn available(&self, direction: Direction, now: Instant) -> Result<u64, Instant> {
        let mut least = u64::MAX;
        let mut ready_at = None;
        for gate in self.gates(direction) {
            match gate.with(|limiter| (limiter.available(now), limiter.ready_at(now))) {
                (0, ready) => ready_at = ready_at.max(Some(ready)),
                (available, _) => least = least.min(available),
            }
        }
        ready_at.map_or(Ok(least), Err)
    }

    /// Counts bytes that went; more than was available is a debt.
    pub fn spend(&self, direction: Direction, bytes: u64, now: Instant) {
        self.gates(direction).for_each(|gate| gate.with(|limiter| limiter.spend(bytes, now)));
    }

    fn gates(&self, direction: Direction) -> impl Iterator<Item = &Gate> {
        self.levels.iter().map(move |level| level.gate(direction)).filter(|gate| gate.is_limited())
    }
}
