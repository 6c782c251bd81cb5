//! Peers that take requests and send nothing.
//!
//! A peer that gave no block for [`SNUB_AFTER`] is snubbed: its blocks are free for others, and it is asked for one block at a
//! time, once per [`SNUB_AFTER`], until it sends something. One that stays silent for [`STALLED_AFTER`] is sent away.

use std::time::{Duration, Instant};

/// Silence after which a peer is snubbed.
pub(super) const SNUB_AFTER: Duration = Duration::from_secs(30);
/// Silence after which a snubbed peer is sent away.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(300);

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
    /// It never answers.
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

    /// It choked us, so that silence is no fault.
    pub(super) fn on_choked(&mut self) {
        *self = Self::default();
    }

    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether a snubbed peer may be tried again.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.snubbed.is_none_or(|(_, tried)| now.saturating_duration_since(tried) >= SNUB_AFTER)
    }

    pub(super) fn look(&mut self, now: Instant) -> Verdict {
        if let Some((since, _)) = self.snubbed
            && now.saturating_duration_since(since) >= STALLED_AFTER
        {
            return Verdict::Stalled;
        }
        let Some(since) = self.waiting_since else { return Verdict::Fine };
        if now.saturating_duration_since(since) < SNUB_AFTER {
            return Verdict::Fine;
        }
        self.waiting_since = None;
        let first = self.snubbed.map_or(since, |(first, _)| first);
        self.snubbed = Some((first, now));
        Verdict::TakeBack
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
        assert_eq!(snub.look(start + SNUB_AFTER / 2), Verdict::Fine);
        let later = start + SNUB_AFTER;
        assert_eq!(snub.look(later), Verdict::TakeBack);
        assert!(snub.is_snubbed() && !snub.may_try(later) && snub.may_try(later + SNUB_AFTER));
        assert!(snub.on_block(later, false));
        assert!(!snub.is_snubbed());
        assert_eq!(snub.look(later + STALLED_AFTER), Verdict::Fine, "nothing was asked");
    }

    #[test]
    fn one_that_never_answers_is_stalled() {
        let start = Instant::now();
        let mut snub = Snub::default();
        snub.on_request(start);
        assert_eq!(snub.look(start + SNUB_AFTER), Verdict::TakeBack);
        snub.on_request(start + 2 * SNUB_AFTER);
        assert_eq!(snub.look(start + 3 * SNUB_AFTER), Verdict::TakeBack);
        assert_eq!(snub.look(start + STALLED_AFTER), Verdict::Stalled);
    }
}
