//! The threads that hash and write, a fixed number for the process.

/// A handle to the worker threads; they end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Workers {
    _private: (),
}

impl Workers {
    /// Starts `threads` threads (0: one a core) with a bounded queue.
    pub fn new(threads: usize) -> Self {
        let _ = threads;
        todo!()
    }
    /// Runs a job on a worker; blocks the caller while the queue is full, so never call it from async code with unbounded work:
    /// the intake's jobs are bounded by the block pool.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let _ = job;
        todo!()
    }
}
