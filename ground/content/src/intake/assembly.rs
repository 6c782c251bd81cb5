//! Blocks of one piece, gathered until they make a run worth writing.

use std::sync::Arc;

use super::work::{Hashed, PieceWork, Received, Run};
use crate::arrival::Chained;
use crate::{Arrived, BLOCK_LENGTH, Block, Layout, PieceIndex};

/// Blocks in a run: 1 MiB. Fresh pages cost the less the larger the write, and a run of this size is
/// still in a core's own cache when it is written after it was hashed.
const RUN_BLOCKS: u32 = 64;

/// One piece on its way in, on the owner's side.
#[derive(Debug)]
pub(super) struct Assembly {
    work: Arc<PieceWork>,
    /// Which attempt at the piece the blocks belong to.
    attempt: u32,
    slots: Vec<Slot>,
    /// Blocks still to come.
    missing: u32,
    /// Blocks held here.
    held: usize,
    /// Blocks still to come, by run.
    missing_of_run: Vec<u32>,
    /// The first blocks that came hashed, by one chain.
    hashed: Option<Hashed>,
}

#[derive(Debug)]
enum Slot {
    Missing,
    Held(Received),
    Handed,
    /// Nothing but zeros; never comes.
    Padding,
}

impl Assembly {
    pub(super) fn new(layout: &Layout, work: Arc<PieceWork>, attempt: u32) -> Self {
        let piece: PieceIndex = work.piece();
        let blocks = layout.block_count(piece);
        let mut missing_of_run = vec![0; blocks.div_ceil(RUN_BLOCKS) as usize];
        let mut slots = Vec::with_capacity(blocks as usize);
        for index in 0..blocks {
            let is_padding = layout.is_padding(layout.block(piece, index));
            missing_of_run[(index / RUN_BLOCKS) as usize] += u32::from(!is_padding);
            slots.push(if is_padding { Slot::Padding } else { Slot::Missing });
        }
        Self {
            work,
            attempt,
            slots,
            missing: missing_of_run.iter().sum(),
            held: 0,
            missing_of_run,
            hashed: None,
        }
    }

    /// Of an attempt that has brought everything.
    pub(super) fn kept(layout: &Layout, work: Arc<PieceWork>, attempt: u32) -> Self {
        let mut assembly = Self::new(layout, work, attempt);
        for slot in assembly.slots.iter_mut().filter(|slot| matches!(slot, Slot::Missing)) {
            *slot = Slot::Handed;
        }
        assembly.missing = 0;
        assembly.missing_of_run.fill(0);
        assembly
    }

    /// These blocks were bad and have to come again.
    pub(super) fn lack(&mut self, bad: &[Block]) {
        for block in bad {
            let index = block.begin / BLOCK_LENGTH;
            if let Some(slot @ Slot::Handed) = self.slots.get_mut(index as usize) {
                *slot = Slot::Missing;
                self.missing += 1;
                self.missing_of_run[(index / RUN_BLOCKS) as usize] += 1;
            }
        }
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn work(&self) -> &Arc<PieceWork> {
        &self.work
    }

    /// Whether the piece is still open; not after a failed write.
    pub(super) fn is_live(&self) -> bool {
        self.work.is_live(self.attempt)
    }

    /// Whether all blocks have come, and with the last of them went to the workers.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Blocks held here.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Keeps a block; returns a run if it was the last one missing in it. A block that is here already is dropped.
    pub(super) fn accept(&mut self, index: u32, arrived: Arrived) -> Option<Run> {
        let slot = self.slots.get_mut(index as usize)?;
        if !matches!(slot, Slot::Missing) {
            return None;
        }
        *slot = Slot::Held(Received { index, data: arrived.data, leaf: arrived.leaf });
        self.follow(index, arrived.chained);
        self.held += 1;
        self.missing -= 1;
        let run = index / RUN_BLOCKS;
        let missing = &mut self.missing_of_run[run as usize];
        *missing -= 1;
        if *missing > 0 {
            return None;
        }
        let start = run * RUN_BLOCKS;
        let end = (start + RUN_BLOCKS).min(self.slots.len() as u32);
        Some(self.take(start, end))
    }

    /// Follows the chain that went over every block from the first to this one.
    fn follow(&mut self, index: u32, chained: Option<Chained>) {
        let Some(Chained { chain, digest }) = chained else { return };
        let goes_on = match &self.hashed {
            None => index == 0,
            Some(hashed) => hashed.chain == chain && hashed.blocks == index,
        };
        if goes_on {
            self.hashed = Some(Hashed { chain, blocks: index + 1, digest });
        }
    }

    /// Everything held, as runs without holes, whole or not.
    pub(super) fn take_held(&mut self) -> Vec<Run> {
        let mut runs = Vec::new();
        let blocks = self.slots.len() as u32;
        let mut start = 0;
        while start < blocks {
            let is_held = |slot: &Slot| matches!(slot, Slot::Held(_));
            let length = self.slots[start as usize..]
                .iter()
                .take(RUN_BLOCKS as usize)
                .take_while(|slot| is_held(slot))
                .count();
            if length > 0 {
                runs.push(self.take(start, start + length as u32));
            }
            start += length.max(1) as u32;
        }
        runs
    }

    /// Takes what is held from `start` to `end`.
    fn take(&mut self, start: u32, end: u32) -> Run {
        let mut blocks = Vec::with_capacity((end - start) as usize);
        for slot in &mut self.slots[start as usize..end as usize] {
            if let Slot::Held(_) = slot
                && let Slot::Held(block) = std::mem::replace(slot, Slot::Handed)
            {
                self.held -= 1;
                blocks.push(block);
            }
        }
        Run { attempt: self.attempt, blocks, hashed: self.hashed.clone() }
    }
}
