//! What happens next: events in the order of their time, equal times in the order they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Events by time.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    planned: u64,
    now: Duration,
}

#[derive(Debug)]
struct Planned<E> {
    at: Duration,
    order: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0, now: Duration::ZERO }
    }

    /// The time of the event that is happening.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Plans an event; one in the past happens now.
    pub(crate) fn plan(&mut self, at: Duration, event: E) {
        self.planned += 1;
        self.heap.push(Planned { at: at.max(self.now), order: self.planned, event });
    }

    /// The next event that happens not after `end`; time moves on to it.
    pub(crate) fn next(&mut self, end: Duration) -> Option<E> {
        if self.heap.peek().is_none_or(|next| next.at > end) {
            return None;
        }
        let next = self.heap.pop()?;
        self.now = next.at;
        Some(next.event)
    }
}

// The heap gives the greatest first: the earliest is the greatest.
impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_by_time_then_by_order_of_planning() {
        let mut queue = Queue::new();
        let at = Duration::from_secs;
        for (time, event) in [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b')] {
            queue.plan(at(time), event);
        }
        let happened: String = std::iter::from_fn(|| queue.next(at(3))).collect();
        assert_eq!(happened, "abcd");
        queue.plan(at(1), 'e');
        assert_eq!((queue.next(at(3)), queue.now()), (Some('e'), at(3)), "the past is now");
    }
}
