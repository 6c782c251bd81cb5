//! Buffers of one block each, recycled, and bounded for the whole process.
//!
//! A connection reads straight into them, the hash reads them, one vectored write puts a run of them
//! on disk: received bytes are never copied in user space. When the pool is empty, connections stop
//! reading, and TCP tells the sender to wait.

use crate::BLOCK_LENGTH;

/// Hands out [`BlockBuf`]s up to a fixed number.
#[derive(Clone, Debug)]
pub struct BlockPool {
    _private: (),
}

/// A buffer of [`BLOCK_LENGTH`] bytes, given back when dropped. Derefs to `[u8]` of its `len()`.
#[derive(Debug)]
pub struct BlockBuf {
    _private: (),
}

impl BlockPool {
    /// A pool of at most `blocks` buffers; memory is taken when first used, kept for reuse, and given back by [`BlockPool::shrink`].
    pub fn new(blocks: usize) -> Self {
        let _ = blocks;
        todo!()
    }
    /// A buffer if one is free, without waiting.
    pub fn try_take(&self) -> Option<BlockBuf> {
        todo!()
    }
    /// A buffer, waiting for one. Cancel-safe.
    pub async fn take(&self) -> BlockBuf {
        std::future::pending().await
    }
    /// Buffers in use, and the bound.
    pub fn usage(&self) -> (usize, usize) {
        todo!()
    }
    /// Frees the memory of idle buffers.
    pub fn shrink(&self) {}
}

impl BlockBuf {
    /// Bytes that count; at first [`BLOCK_LENGTH`].
    pub fn len(&self) -> usize {
        BLOCK_LENGTH as usize
    }
    /// Whether no bytes count.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Keeps the first `len` bytes; `len` is at most [`BLOCK_LENGTH`].
    pub fn set_len(&mut self, len: usize) {
        let _ = len;
        todo!()
    }
}

impl std::ops::Deref for BlockBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        todo!()
    }
}

impl std::ops::DerefMut for BlockBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        todo!()
    }
}
