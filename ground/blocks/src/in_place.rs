//! Leaves read from where the user's file lies.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::{Block, EntryKind, LeafFrame, ReadError, Store};

use crate::{Leaf, Source};

/// The leaves of a store's files. Only what is verified, and in files that are unchanged, is read.
pub struct InPlace {
    store: Arc<Store>,
    /// Bytes of a leaf.
    length: u32,
    frame: Box<dyn Fn(u32) -> LeafFrame + Send + Sync>,
}

impl InPlace {
    /// Leaves of `length` bytes each, but for the last of a file; `frame` is what stands around them in their blocks.
    pub fn new(
        store: Arc<Store>,
        length: u32,
        frame: impl Fn(u32) -> LeafFrame + Send + Sync + 'static,
    ) -> Self {
        Self { store, length: length.max(1), frame: Box::new(frame) }
    }

    /// Where a leaf begins in its file, and its bytes.
    fn extent(&self, leaf: Leaf) -> Option<(u64, u32)> {
        let entry = self.store.layout().entries().get(leaf.entry as usize)?;
        let begin = u64::from(leaf.number) * u64::from(self.length);
        let is_file = matches!(entry.kind, EntryKind::File { .. });
        let left = entry.length.checked_sub(begin).filter(|left| is_file && *left > 0)?;
        // At most a leaf, so it fits.
        Some((begin, left.min(self.length.into()) as u32))
    }
}

impl fmt::Debug for InPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InPlace").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Source for InPlace {
    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn length(&self, leaf: Leaf) -> Option<usize> {
        let (_, length) = self.extent(leaf)?;
        let LeafFrame { prefix, suffix } = (self.frame)(length);
        Some(prefix.len() + length as usize + suffix.len())
    }

    fn read(&self, leaf: Leaf) -> Result<Bytes, ReadError> {
        let Some((begin, length)) = self.extent(leaf) else {
            return Err(ReadError::OutOfBounds(Block { piece: 0, begin: 0, length: 0 }));
        };
        let LeafFrame { prefix: mut block, suffix } = (self.frame)(length);
        let start = block.len();
        block.resize(start + length as usize, 0);
        let layout = self.store.layout();
        let (mut at, mut rest) = (begin, &mut block[start..]);
        while !rest.is_empty() {
            let (piece, offset) = layout.locate(leaf.entry as usize, at);
            let in_piece = layout.piece_size(piece).saturating_sub(offset);
            // No longer than the rest, so it fits.
            let part = rest.len().min(in_piece as usize) as u32;
            let place = Block { piece, begin: offset, length: part };
            if part == 0 {
                return Err(ReadError::OutOfBounds(place));
            }
            let (now, later) = rest.split_at_mut(part as usize);
            self.store.read(place, now)?;
            at += u64::from(part);
            rest = later;
        }
        block.extend_from_slice(&suffix);
        Ok(block.into())
    }
}
