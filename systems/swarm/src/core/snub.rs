//! Peers that take requests and send nothing.
//!
//! A peer that gave no block for [`SNUB_AFTER`] is snubbed: its blocks are free for others, and it is asked for one block at a
//! time, once per [`SNUB_AFTER`], until it sends something. One that lets such a trial pass after [`STALLED_AFTER`] of silence is
//! sent away. While a limit of our own holds back what peers send, silence says little, and patience is longer.

use std::time::{Duration, Instant};

/// Silence after which a peer is snubbed.
pub(super) const SNUB_AFTER: Duration = Duration::from_secs(30);
/// Silence after which a snubbed peer is sent away.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(300);
/// Patience is so many times longer while a limit of our own holds peers back.
const THROTTLED_PATIENCE: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Snub {
    /// Since when requests wait without an answer.
    waiting_since: Option<Instant>,
    /// Since when it is silent, and the last time it was tried.
    snubbed: Option<(Instant, Instant)>,
}

/// What a look at the clock found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Its requests have waited too long: take them back.
    TakeBack,
    /// It never answers: the same, and nothing more is to be hoped for.
    Stalled,
}

impl Snub {
    pub(super) fn is_snubbed(&self) -> bool {
        self.snubbed.is_some()
    }

    /// Requests went out.
    pub(super) fn on_request(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
        if let Some((_, tried)) = &mut self.snubbed {
            *tried = now;
        }
    }

    /// A block came; `waits` says whether further requests are on their way. True when this ends a snub.
    pub(super) fn on_block(&mut self, now: Instant, waits: bool) -> bool {
        self.waiting_since = waits.then_some(now);
        self.snubbed.take().is_some()
    }

    /// No request is on its way any more.
    pub(super) fn on_idle(&mut self) {
        self.waiting_since = None;
    }

    /// It choked us, or we want nothing more of it: silence is no fault.
    pub(super) fn forgive(&mut self) {
        *self = Self::default();
    }

    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether a snubbed peer may be tried again.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.snubbed.is_none_or(|(_, tried)| now.saturating_duration_since(tried) >= SNUB_AFTER)
    }

    /// Judges by the time. `throttled`: a limit of our own holds back what peers send.
    pub(super) fn look(&mut self, now: Instant, throttled: bool) -> Verdict {
        let Some(since) = self.waiting_since else { return Verdict::Fine };
        let patience = if throttled { THROTTLED_PATIENCE } else { 1 };
        if now.saturating_duration_since(since) < patience * SNUB_AFTER {
            return Verdict::Fine;
        }
        let first = self.snubbed.map_or(since, |(first, _)| first);
        let tried = self.snubbed.replace((first, now)).is_some();
        self.waiting_since = None;
        let stalled = tried && now.saturating_duration_since(first) >= patience * STALLED_AFTER;
        if stalled { Verdict::Stalled } else { Verdict::TakeBack }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_snubs_and_a_block_forgives() {
        let start = Instant::now();
        let mut snub = Snub::default();
        snub.on_request(start);
        assert_eq!(snub.look(start + SNUB_AFTER / 2, false), Verdict::Fine);
        let later = start + SNUB_AFTER;
        assert_eq!(snub.look(later, true), Verdict::Fine, "we hold it back ourselves");
        assert_eq!(snub.look(later, false), Verdict::TakeBack);
        assert!(snub.is_snubbed() && !snub.may_try(later) && snub.may_try(later + SNUB_AFTER));
        assert!(snub.on_block(later, false));
        assert!(!snub.is_snubbed());
        assert_eq!(snub.look(later + STALLED_AFTER, false), Verdict::Fine, "nothing was asked");
    }

    #[test]
    fn one_that_never_answers_is_stalled() {
        let start = Instant::now();
        let mut snub = Snub::default();
        snub.on_request(start);
        assert_eq!(snub.look(start + SNUB_AFTER, false), Verdict::TakeBack);
        snub.on_request(start + 2 * SNUB_AFTER);
        assert_eq!(snub.look(start + 3 * SNUB_AFTER, false), Verdict::TakeBack);
        let later = start + STALLED_AFTER;
        assert_eq!(snub.look(later, false), Verdict::Fine, "nothing was asked since");
        snub.on_request(later);
        assert_eq!(snub.look(later + SNUB_AFTER, false), Verdict::Stalled);
    }
}
