//! A token bucket.
use std::time::Instant;
/// x
#[derive(Debug)]
pub struct Limiter {}
impl Limiter {
    /// x
    pub fn new(rate: Option<u64>, now: Instant) -> Self {
        let _ = (rate, now);
        todo!()
    }
    /// x
    pub fn set_rate(&mut self, rate: Option<u64>, now: Instant) {
        let _ = (rate, now);
        todo!()
    }
    /// x
    pub fn rate(&self) -> Option<u64> {
        todo!()
    }
    /// x
    pub fn available(&mut self, now: Instant) -> u64 {
        let _ = now;
        todo!()
    }
    /// x
    pub fn ready_at(&self, now: Instant) -> Instant {
        let _ = now;
        todo!()
    }
    /// x
    pub fn spend(&mut self, bytes: u64, now: Instant) {
        let _ = (bytes, now);
        todo!()
    }
    /// x
    pub fn refund(&mut self, bytes: u64) {
        let _ = bytes;
        todo!()
    }
}
