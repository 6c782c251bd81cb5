//! From bytes back to blocks.

use std::collections::HashMap;

use peerage_content::{Block, BlockBuf, EntryKind, Layout};

use super::plan::{Fetch, Part};

/// Blocks that are being filled; a block that spans files is filled by several fetches. Padding is filled in here.
#[derive(Debug, Default)]
pub struct Assembly {
    blocks: HashMap<Block, Filling>,
}

#[derive(Debug)]
struct Filling {
    buffer: BlockBuf,
    /// Bytes still to come.
    missing: u32,
}

impl Assembly {
    /// Nothing to fill yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to fill a block; a block that is being filled already begins anew.
    pub fn expect(&mut self, layout: &Layout, block: Block, mut buffer: BlockBuf) {
        buffer.set_len(block.length as usize);
        let (mut at, mut missing) = (0_usize, 0);
        for span in layout.spans(block) {
            let end = at + span.length as usize;
            let is_file = layout
                .entries()
                .get(span.entry)
                .is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. }));
            if is_file {
                missing += span.length;
            } else if let Some(pad) = buffer.get_mut(at..end) {
                // A recycled buffer holds old bytes.
                pad.fill(0);
            }
            at = end;
        }
        self.blocks.insert(block, Filling { buffer, missing });
    }

    /// Takes bytes of a part, `skip` bytes into it. Gives the block when nothing of it is missing any more. The bytes of a part come
    /// in order and once, as a [`Download`](super::Download) gives them.
    pub fn fill(&mut self, part: Part, skip: u32, bytes: &[u8]) -> Option<(Block, BlockBuf)> {
        let filling = self.blocks.get_mut(&part.block)?;
        let at = part.at as usize + skip as usize;
        filling.buffer.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        filling.missing = filling.missing.saturating_sub(u32::try_from(bytes.len()).ok()?);
        if filling.missing > 0 {
            return None;
        }
        self.blocks.remove(&part.block).map(|filling| (part.block, filling.buffer))
    }

    /// Gives up on what is unfinished: the blocks to reject.
    pub fn abandon(&mut self) -> Vec<Block> {
        self.blocks.drain().map(|(block, _)| block).collect()
    }

    /// Gives up on one block.
    pub fn forget(&mut self, block: Block) {
        self.blocks.remove(&block);
    }

    /// Blocks being filled.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether no block is being filled.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// Walks along the parts of a fetch as bytes arrive.
#[derive(Debug)]
pub(super) struct Cursor {
    parts: std::vec::IntoIter<Part>,
    current: Option<Part>,
    /// Bytes of the current part that have arrived.
    done: u32,
}

impl Cursor {
    pub(super) fn new(fetch: &Fetch) -> Self {
        let mut parts = fetch.parts.clone().into_iter();
        let current = parts.next();
        Self { parts, current, done: 0 }
    }

    /// Cuts off the bytes that belong to one part: the part, where in it they begin, and how many they are. `None` once all has arrived.
    pub(super) fn next(&mut self, available: usize) -> Option<(Part, u32, usize)> {
        let part = self.current?;
        let skip = self.done;
        let taken = available.min((part.length - skip) as usize);
        self.done += taken as u32;
        if self.done == part.length {
            self.current = self.parts.next();
            self.done = 0;
        }
        Some((part, skip, taken))
    }

    /// Whether all has arrived.
    pub(super) fn is_done(&self) -> bool {
        self.current.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webseed::plan::tests::{all_blocks, layout};
    use crate::webseed::{RANGE_MAX, plan};
    use peerage_content::{Alignment, BLOCK_LENGTH, BlockPool};
    use proptest::prelude::*;

    /// What byte `offset` of file `entry` is.
    fn byte(entry: usize, offset: u64) -> u8 {
        (entry as u64 * 31 + offset * 7 + offset / 251) as u8 | 1
    }

    proptest! {
        /// Whatever the sizes of the files and of the chunks, all blocks come out whole and right, each once.
        #[test]
        fn every_block_comes_back(
            lengths in prop::collection::vec(-20_000_i64..40_000, 1..10),
            chunk in 1_usize..30_000,
            range_max in 1..RANGE_MAX,
        ) {
            let layout = layout(&lengths, 2 * BLOCK_LENGTH, Alignment::Stream);
            let blocks: Vec<Block> = all_blocks(&layout).into_iter().filter(|block| !layout.is_padding(*block)).collect();
            let pool = BlockPool::new(blocks.len() + 1);
            pool.try_take().unwrap().fill(0xee);
            let mut assembly = Assembly::new();
            for block in &blocks {
                assembly.expect(&layout, *block, pool.try_take().unwrap());
            }
            let mut whole = Vec::new();
            for fetch in plan(&layout, &blocks, range_max) {
                let body: Vec<u8> = fetch.range().map(|offset| byte(fetch.entry, offset)).collect();
                let mut cursor = Cursor::new(&fetch);
                for mut bytes in body.chunks(chunk) {
                    while let Some((part, skip, taken)) = cursor.next(bytes.len()).filter(|_| !bytes.is_empty()) {
                        whole.extend(assembly.fill(part, skip, &bytes[..taken]));
                        bytes = &bytes[taken..];
                    }
                }
                prop_assert!(cursor.is_done());
            }
            prop_assert!(assembly.is_empty());
            prop_assert_eq!(whole.len(), blocks.len());
            for (block, buffer) in whole {
                let mut at = 0;
                for span in layout.spans(block) {
                    for offset in span.offset..span.offset + u64::from(span.length) {
                        let expected = if lengths[span.entry] < 0 { 0 } else { byte(span.entry, offset) };
                        prop_assert_eq!(buffer[at], expected);
                        at += 1;
                    }
                }
                prop_assert_eq!(at, buffer.len());
            }
        }
    }

    #[test]
    fn what_is_unfinished_can_be_given_up() {
        let layout = layout(&[100, 200], BLOCK_LENGTH, Alignment::Stream);
        let block = layout.block(0, 0);
        let mut assembly = Assembly::new();
        assembly.expect(&layout, block, BlockPool::new(1).try_take().unwrap());
        let part = Part { block, at: 0, length: 100 };
        assert!(assembly.fill(part, 0, &[1; 100]).is_none());
        assert_eq!(assembly.abandon(), [block]);
        assert!(assembly.fill(part, 0, &[1; 100]).is_none(), "bytes that come late are dropped");
    }
}
