//! When files are hashed again because somebody touched them: at once, but a file that is touched all the time must not be hashed all
//! the time.

use std::time::{Duration, Instant};

/// Rest after files were hashed for being touched, at least.
const REST_MIN: Duration = Duration::from_secs(2);
/// The same as a multiple of how long that took: at most a fifth of the time goes into it.
const REST_RATIO: u32 = 4;

/// Paces the hashing of files that were touched.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Since when files are in doubt; `None` when none is known to be.
    since: Option<Instant>,
    rests_until: Option<Instant>,
    /// When the hashing under way began.
    began: Option<Instant>,
}

impl Doubts {
    /// Files are in doubt.
    pub(super) fn arise(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// When to hash them.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| self.rests_until.map_or(since, |rested| rested.max(since)))
    }

    /// Its time has come, if there still is anything to hash.
    pub(super) fn take_up(&mut self) {
        self.since = None;
    }

    /// They are being hashed.
    pub(super) fn begin(&mut self, now: Instant) {
        self.take_up();
        self.began = Some(now);
    }

    /// What was being hashed, for whatever reason, has been.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(began) = self.began.take() {
            let took = now.saturating_duration_since(began);
            self.rests_until = Some(now + REST_MIN.max(took * REST_RATIO));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_touched_for_the_first_time_is_hashed_at_once() {
        let (mut doubts, now) = (Doubts::default(), Instant::now());
        assert_eq!(doubts.due(), None);
        doubts.arise(now);
        doubts.arise(now + SECOND);
        assert_eq!(doubts.due(), Some(now));
        doubts.begin(now);
        assert_eq!(doubts.due(), None);
    }

    #[test]
    fn what_is_touched_all_the_time_is_hashed_for_a_fifth_of_it() {
        let (mut doubts, mut now) = (Doubts::default(), Instant::now());
        let (begin, mut hashed) = (now, Duration::ZERO);
        for _ in 0..10 {
            doubts.arise(now);
            now = doubts.due().unwrap();
            doubts.begin(now);
            doubts.arise(now + SECOND);
            now += 30 * SECOND;
            hashed += 30 * SECOND;
            doubts.end(now);
            doubts.end(now);
        }
        doubts.arise(now);
        assert_eq!(doubts.due().unwrap() - begin, 5 * hashed);
    }

    #[test]
    fn small_files_rest_too_and_other_checks_cost_no_rest() {
        let (mut doubts, now) = (Doubts::default(), Instant::now());
        doubts.end(now);
        doubts.arise(now);
        assert_eq!(doubts.due(), Some(now));
        doubts.begin(now);
        doubts.end(now);
        doubts.arise(now);
        assert_eq!(doubts.due(), Some(now + REST_MIN));
        doubts.begin(now + REST_MIN);
        doubts.end(now + REST_MIN);
        doubts.arise(now + 60 * SECOND);
        assert_eq!(doubts.due(), Some(now + 60 * SECOND), "long ago");
    }
}
