//! How long a connection may go without a word, and without finishing what it began.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use peerage_content::BLOCK_LENGTH;

use super::error::Ending;

/// A keep-alive is due after this long without a word from us (BEP 3: two minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// Two keep-alives missed.
const SILENCE_MAX: Duration = Duration::from_secs(240);
/// A message, a block included, must be whole after this long.
const DAWDLE_MAX: Duration = Duration::from_secs(120);

/// When a connection was heard last, for those who have to judge from outside whether it still lives.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Instant,
    /// Milliseconds after `since`.
    heard: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, heard: AtomicU64::new(0) }
    }

    /// Something was heard.
    pub(crate) fn beat(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_millis();
        self.heard.store(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something was heard last.
    pub(crate) fn heard(&self) -> Instant {
        self.since + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

/// The clocks of one connection. Those of the peer stand still while we do not read: it cannot help that we hear nothing then.
#[derive(Debug)]
pub(super) struct Patience {
    /// When something was heard last.
    heard: Instant,
    /// When something was said last.
    said: Instant,
    /// When no message was half here, or a block's worth of one came.
    whole: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, said: now, whole: now }
    }

    /// So many bytes came. `reading`: whether the socket is read at all.
    pub(super) fn heard(&mut self, now: Instant, bytes: usize, mid_frame: bool, reading: bool) {
        if bytes > 0 || !reading {
            self.heard = now;
        }
        if !mid_frame || bytes >= BLOCK_LENGTH as usize || !reading {
            self.whole = now;
        }
    }

    /// Something was sent.
    pub(super) fn said(&mut self, now: Instant) {
        self.said = now;
    }

    /// Looks at the clocks; returns whether a keep-alive is due.
    pub(super) fn round(&self, now: Instant) -> Result<bool, Ending> {
        if now.saturating_duration_since(self.heard) > SILENCE_MAX {
            return Err(Ending::Silent(SILENCE_MAX.as_secs()));
        }
        if now.saturating_duration_since(self.whole) > DAWDLE_MAX {
            return Err(Ending::Dawdling(DAWDLE_MAX.as_secs()));
        }
        Ok(now.saturating_duration_since(self.said) > KEEP_ALIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_message_that_never_becomes_whole_ends_the_connection() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.heard(start + SECOND, 100, true, true);
        assert!(patience.round(start + DAWDLE_MAX).is_ok());
        assert!(matches!(patience.round(start + DAWDLE_MAX + SECOND), Err(Ending::Dawdling(_))));
    }

    #[test]
    fn silence_ends_the_connection_and_our_own_asks_for_a_keep_alive() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.heard(start, 0, false, true);
        assert!(!patience.round(start + KEEP_ALIVE).unwrap());
        assert!(patience.round(start + KEEP_ALIVE + SECOND).unwrap());
        patience.heard(start + SILENCE_MAX, 0, false, true);
        assert!(matches!(patience.round(start + SILENCE_MAX + SECOND), Err(Ending::Silent(_))));
    }

    /// A download limit or an empty pool keeps us from reading for minutes.
    #[test]
    fn a_peer_is_not_blamed_while_we_do_not_read() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.heard(start + SECOND, 100, true, true);
        let later = start + 10 * SILENCE_MAX;
        patience.heard(later, 0, true, false);
        assert!(patience.round(later + SECOND).is_ok());
    }
}
