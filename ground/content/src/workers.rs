//! The threads that hash and write, a fixed number for the process.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs that may wait before [`Workers::run`] makes its caller wait.
const QUEUE_BOUND: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the worker threads; they end when the last handle is dropped, after the jobs that wait.
#[derive(Clone, Debug)]
pub struct Workers {
    handle: Arc<Handle>,
}

/// Dropped with the last [`Workers`]: closes the queue.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// A job came, or the queue closed.
    job: Condvar,
    /// A job left a full queue.
    room: Condvar,
    threads: usize,
    /// Sources whose blocks are coming in: they hash, too.
    flows: AtomicUsize,
}

/// A source whose blocks are coming in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flow(Arc<Shared>);

impl Drop for Flow {
    fn drop(&mut self) {
        self.0.flows.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads asleep: a job needs a wake-up only if there are any.
    idle: usize,
    /// Callers of [`Workers::run`] asleep.
    waiting: usize,
    closed: bool,
}

impl Workers {
    /// Starts `threads` threads (0: one a core) with a bounded queue.
    pub fn new(threads: usize) -> Self {
        let threads = thread_count(threads);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            job: Condvar::new(),
            room: Condvar::new(),
            threads,
            flows: AtomicUsize::new(0),
        });
        let mut started = 0;
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("content-{number}"));
            match builder.spawn(move || shared.work()) {
                Ok(_detached) => started += 1,
                Err(error) => {
                    tracing::warn!(%error, started, "fewer worker threads than asked for");
                    break;
                }
            }
        }
        assert!(started > 0, "the system refuses to start even one worker thread");
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Runs a job on a worker; blocks the caller while the queue is full, so never call it from async code.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let shared = &self.handle.shared;
        let mut queue = shared.lock();
        while queue.jobs.len() >= QUEUE_BOUND {
            queue.waiting += 1;
            queue = shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.waiting -= 1;
        }
        shared.push(queue, Box::new(job));
    }

    /// Runs a job on a worker and never waits: for jobs that something else bounds. Whoever takes in what workers report must not wait
    /// for workers that wait to report.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let shared = &self.handle.shared;
        shared.push(shared.lock(), Box::new(job));
    }

    /// Counts a source among those whose blocks are coming in.
    pub(crate) fn flow(&self) -> Flow {
        self.handle.shared.flows.fetch_add(1, Ordering::Relaxed);
        Flow(self.handle.shared.clone())
    }

    /// Whether so few sources send that there is a thread for each beside that which receives, and one of them sleeps.
    pub(crate) fn would_help(&self) -> bool {
        let shared = &self.handle.shared;
        shared.flows.load(Ordering::Relaxed) * 2 < shared.threads && shared.lock().idle > 0
    }
}

/// How many threads `asked` means; 0 is one a core.
pub(crate) fn thread_count(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        asked => asked,
    }
}

/// Runs `work` on `threads` threads at once, this one among them, until all have returned.
pub(crate) fn on_threads(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // The others take over what a thread that does not start would have done.
            let started =
                std::thread::Builder::new().name("content-hash".to_owned()).spawn_scoped(scope, &work);
            if let Err(error) = started {
                tracing::warn!(%error, "fewer hashing threads than asked for");
            }
        }
        work();
    });
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, job: Job) {
        queue.jobs.push_back(job);
        if queue.idle > 0 {
            self.job.notify_one();
        }
    }

    /// The life of one thread.
    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                if queue.waiting > 0 {
                    self.room.notify_one();
                }
                drop(queue);
                // A job that panics is a bug in that job; the other transfers keep their thread.
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a storage job panicked");
                }
                queue = self.lock();
            } else if queue.closed {
                return;
            } else {
                queue.idle += 1;
                queue = self.job.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("jobs", &self.jobs.len())
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.job.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn jobs_run_side_by_side() {
        let workers = Workers::new(2);
        let meeting = Arc::new(Barrier::new(3));
        for _ in 0..2 {
            let meeting = Arc::clone(&meeting);
            workers.run(move || {
                meeting.wait();
            });
        }
        meeting.wait();
    }

    #[test]
    fn a_panicking_job_does_not_take_its_thread_along() {
        let workers = Workers::new(1);
        workers.run(|| std::panic::resume_unwind(Box::new("a bug")));
        let (done, wait) = sync_channel(1);
        workers.run(move || done.send(7).unwrap());
        assert_eq!(wait.recv(), Ok(7));
    }

    #[test]
    fn a_full_queue_makes_the_caller_wait_and_loses_nothing() {
        let workers = Workers::new(1);
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..QUEUE_BOUND * 3 {
            let ran = Arc::clone(&ran);
            workers.run(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
        let (done, wait) = sync_channel(1);
        workers.run(move || done.send(()).unwrap());
        wait.recv().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), QUEUE_BOUND * 3);
    }

    #[test]
    fn threads_end_with_the_last_handle_after_finishing_their_jobs() {
        let workers = Workers::new(1);
        let other = workers.clone();
        let shared = Arc::downgrade(&workers.handle.shared);
        let (done, wait) = sync_channel(1);
        drop(workers);
        other.run(move || done.send(()).unwrap());
        drop(other);
        wait.recv().unwrap();
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
