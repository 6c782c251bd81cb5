//! Buffers of one block each, recycled, and bounded for the whole process.
//!
//! A connection reads straight into them, the hash reads them, one vectored write puts a run of them
//! on disk: received bytes are never copied in user space. When the pool is empty, connections stop
//! reading, and TCP tells the sender to wait.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::BLOCK_LENGTH;

/// Hands out [`BlockBuf`]s up to a fixed number.
#[derive(Clone, Debug)]
pub struct BlockPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// One permit a buffer that may still be handed out.
    permits: Semaphore,
    /// Idle buffers, last used on top: it is the one most likely still in cache.
    idle: Mutex<Vec<Box<[u8]>>>,
    bound: usize,
}

/// A buffer of [`BLOCK_LENGTH`] bytes, given back when dropped. Derefs to `[u8]` of its `len()`.
/// Its bytes are whatever its last user left there.
#[derive(Debug)]
pub struct BlockBuf {
    bytes: Box<[u8]>,
    len: usize,
    shared: Arc<Shared>,
}

impl BlockPool {
    /// A pool of at most `blocks` buffers; memory is taken when first used, kept for reuse, and given back by [`BlockPool::shrink`].
    pub fn new(blocks: usize) -> Self {
        let bound = blocks.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared { permits: Semaphore::new(bound), idle: Mutex::new(Vec::new()), bound }),
        }
    }

    /// A buffer if one is free, without waiting.
    pub fn try_take(&self) -> Option<BlockBuf> {
        self.shared.permits.try_acquire().ok()?.forget();
        Some(self.issue())
    }

    /// A buffer, waiting for one. Cancel-safe; those who wait are served in order.
    pub async fn take(&self) -> BlockBuf {
        match self.shared.permits.acquire().await {
            Ok(permit) => permit.forget(),
            // The semaphore is never closed; should that change, waiting is the safe answer.
            Err(_closed) => std::future::pending().await,
        }
        self.issue()
    }

    /// Buffers in use, and the bound.
    pub fn usage(&self) -> (usize, usize) {
        (self.shared.bound - self.shared.permits.available_permits(), self.shared.bound)
    }

    /// Frees the memory of idle buffers.
    pub fn shrink(&self) {
        let idle = std::mem::take(&mut *self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }

    /// A buffer for a permit that was taken.
    fn issue(&self) -> BlockBuf {
        let idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BLOCK_LENGTH as usize].into_boxed_slice());
        BlockBuf { bytes, len: BLOCK_LENGTH as usize, shared: Arc::clone(&self.shared) }
    }
}

impl BlockBuf {
    /// Bytes that count; at first [`BLOCK_LENGTH`].
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes count.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the first `len` bytes; `len` is at most [`BLOCK_LENGTH`], more is taken as that.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.bytes.len());
    }
}

impl std::ops::Deref for BlockBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::ops::DerefMut for BlockBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for BlockBuf {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // Back on the stack before the permit is out, so that whoever it wakes finds it there.
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        self.shared.permits.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn hands_out_no_more_than_its_bound() {
        let pool = BlockPool::new(2);
        let first = pool.try_take().unwrap();
        let second = pool.try_take().unwrap();
        assert!(pool.try_take().is_none());
        assert_eq!(pool.usage(), (2, 2));
        drop(first);
        assert_eq!(pool.usage(), (1, 2));
        assert!(pool.try_take().is_some());
        drop(second);
    }

    #[test]
    fn a_waiter_is_served_when_a_buffer_comes_back() {
        let pool = BlockPool::new(1);
        let held = pool.try_take().unwrap();
        let mut waiting = pin!(pool.take());
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(held);
        assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(_)));
    }

    #[test]
    fn a_waiter_that_gives_up_loses_no_buffer() {
        let pool = BlockPool::new(1);
        let held = pool.try_take().unwrap();
        {
            let mut waiting = pin!(pool.take());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(held);
        }
        assert!(pool.try_take().is_some());
    }

    #[test]
    fn memory_is_reused_and_can_be_given_back() {
        let pool = BlockPool::new(4);
        let mut buf = pool.try_take().unwrap();
        assert_eq!(buf.len(), BLOCK_LENGTH as usize);
        buf[0] = 7;
        buf.set_len(3);
        assert_eq!(buf.len(), 3);
        buf.set_len(usize::MAX);
        assert_eq!(buf.len(), BLOCK_LENGTH as usize);
        drop(buf);
        assert_eq!(pool.try_take().unwrap()[0], 7, "the same memory, not zeroed");
        pool.shrink();
        assert_eq!(pool.try_take().unwrap()[0], 0, "fresh memory");
    }
}
