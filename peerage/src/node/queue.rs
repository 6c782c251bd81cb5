//! Turns for downloading: so many transfers fetch at a time, the others wait in the order in which they asked.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out turns.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Semaphore>);

/// The right to download, until dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Queue {
    /// `active_max` turns at a time; 0: no bound.
    pub(super) fn new(active_max: usize) -> Self {
        let turns = if active_max == 0 { Semaphore::MAX_PERMITS } else { active_max };
        Self(Arc::new(Semaphore::new(turns.min(Semaphore::MAX_PERMITS))))
    }

    /// A turn, if one is free and nobody waits.
    pub(super) fn try_turn(&self) -> Option<Turn> {
        self.0.clone().try_acquire_owned().ok().map(Turn)
    }

    /// Waits for a turn.
    pub(super) async fn turn(self) -> Turn {
        loop {
            // The semaphore is never closed: there is no error to tell.
            if let Ok(permit) = self.0.clone().acquire_owned().await {
                return Turn(permit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_come_in_order() {
        let queue = Queue::new(1);
        let first = queue.try_turn().unwrap();
        assert!(queue.try_turn().is_none());
        let second = queue.clone().turn();
        let third = queue.clone().turn();
        tokio::pin!(second, third);
        assert!(futures_poll(&mut second).is_none() && futures_poll(&mut third).is_none());
        drop(first);
        assert!(futures_poll(&mut third).is_none());
        let second = second.await;
        drop(second);
        third.await;
    }

    #[test]
    fn zero_is_no_bound() {
        let queue = Queue::new(0);
        let turns: Vec<_> = (0..10_000).map_while(|_| queue.try_turn()).collect();
        assert_eq!(turns.len(), 10_000);
    }

    /// Polls once.
    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
