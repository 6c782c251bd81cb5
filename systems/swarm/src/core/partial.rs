//! Pieces that have been begun: which block was asked of whom, and who sent it.
//!
//! A piece stays here from its first request until its verdict (verified or corrupt), because only here is it known who sent what.
//! A piece is *open* while it has a block that nobody was asked for; strict piece completion asks open pieces
//! before it begins another.

use peerage_content::{BLOCK_LENGTH, Block, Layout, PieceIndex};

use super::PeerKey;

/// A block of a piece that has been begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockState {
    /// Nobody was asked.
    Free,
    /// Asked of this peer; further ones, in the end game, are in [`Partial::spare`].
    Asked(PeerKey),
    /// Here, sent by this peer.
    Here(PeerKey),
    /// Nothing but padding: never asked for, always here.
    Padding,
}

/// A piece that has been begun.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) piece: PieceIndex,
    blocks: Vec<BlockState>,
    free: u32,
    asked: u32,
    /// No free block lies before this one.
    cursor: u32,
    /// Bytes here.
    bytes: u64,
    /// Second requests of the end game.
    spare: Vec<(u32, PeerKey)>,
    /// Only this peer may send blocks of it, because somebody is suspected.
    pub(super) owner: Option<PeerKey>,
    /// It proved corrupt, and somebody is asked which block is bad.
    pub(super) under_inquiry: bool,
}

/// What became of a request that ended without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// Nobody is asked for the block any more.
    Free,
    /// Another peer still is.
    StillAsked,
    /// It was not asked of this peer.
    Unknown,
}

impl Partial {
    fn new(layout: &Layout, piece: PieceIndex, pads: bool, mut blocks: Vec<BlockState>) -> Self {
        let count = layout.block_count(piece);
        blocks.clear();
        blocks.resize(count as usize, BlockState::Free);
        let mut free = count;
        if pads {
            for (index, state) in (0..).zip(&mut blocks) {
                if layout.is_padding(layout.block(piece, index)) {
                    *state = BlockState::Padding;
                    free -= 1;
                }
            }
        }
        Self {
            piece,
            blocks,
            free,
            asked: 0,
            cursor: 0,
            bytes: 0,
            spare: Vec::new(),
            owner: None,
            under_inquiry: false,
        }
    }

    pub(super) fn state(&self, index: u32) -> Option<BlockState> {
        self.blocks.get(index as usize).copied()
    }

    /// Whether a block is neither asked for nor here.
    pub(super) fn is_open(&self) -> bool {
        self.free > 0
    }

    /// Whether every block is here, so that the verdict is awaited.
    pub(super) fn is_complete(&self) -> bool {
        self.free == 0 && self.asked == 0
    }

    /// Blocks that somebody was asked for and that are not here.
    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    /// Whoever sent blocks, each once, ascending.
    pub(super) fn contributors(&self) -> Vec<PeerKey> {
        let mut peers: Vec<PeerKey> = self.blocks.iter().filter_map(BlockState::sender).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Who sent a block.
    pub(super) fn sender(&self, index: u32) -> Option<PeerKey> {
        self.state(index).as_ref().and_then(BlockState::sender)
    }

    /// How many peers are asked for a block.
    pub(super) fn askers(&self, index: u32) -> usize {
        match self.state(index) {
            Some(BlockState::Asked(_)) => 1 + self.spare.iter().filter(|(block, _)| *block == index).count(),
            _ => 0,
        }
    }

    /// Whether this peer is asked for the block.
    pub(super) fn is_asked_of(&self, index: u32, peer: PeerKey) -> bool {
        self.state(index) == Some(BlockState::Asked(peer)) || self.spare.contains(&(index, peer))
    }
}

impl BlockState {
    fn sender(&self) -> Option<PeerKey> {
        match self {
            Self::Here(peer) => Some(*peer),
            _ => None,
        }
    }
}

/// Not begun.
const NO_SLOT: u32 = u32::MAX;

/// All pieces that have been begun. The only place that changes a [`Partial`], because the sums must follow.
#[derive(Debug, Default)]
pub(super) struct Partials {
    /// By piece: the slot, or [`NO_SLOT`]. Empty while nothing was ever begun.
    slot_of: Vec<u32>,
    slots: Vec<Option<Partial>>,
    vacant: Vec<u32>,
    /// Slots of open pieces, in no order.
    open: Vec<u32>,
    /// Bytes here, in pieces that are still moving; see [`Partials::buffered`].
    buffered: u64,
    /// Block vectors of pieces that are done, to be used again.
    spent: Vec<Vec<BlockState>>,
}

/// Block vectors kept for reuse.
const SPENT_MAX: usize = 16;

impl Partials {
    pub(super) fn get(&self, piece: PieceIndex) -> Option<&Partial> {
        let slot = *self.slot_of.get(piece as usize)?;
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vacant.len() == self.slots.len()
    }

    /// The pieces that have been begun.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Partial> {
        self.slots.iter().flatten()
    }

    /// The pieces with blocks that nobody was asked for.
    pub(super) fn open(&self) -> impl Iterator<Item = &Partial> {
        self.open.iter().filter_map(|&slot| self.slots[slot as usize].as_ref())
    }

    /// Received bytes that wait for their verdict or for blocks that are on their way. Pieces that are stuck because nobody
    /// is asked for the rest do not count, nor do those under inquiry: they must not keep others from being begun.
    pub(super) fn buffered(&self) -> u64 {
        self.buffered
    }

    /// Begins a piece; false when there is nothing in it to ask for.
    pub(super) fn begin(&mut self, layout: &Layout, piece: PieceIndex, pads: bool) -> bool {
        if self.slot_of.is_empty() {
            self.slot_of = vec![NO_SLOT; layout.piece_count() as usize];
        }
        let Some(&NO_SLOT) = self.slot_of.get(piece as usize) else { return false };
        let partial = Partial::new(layout, piece, pads, self.spent.pop().unwrap_or_default());
        if partial.free == 0 {
            return false;
        }
        let slot = self.vacant.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot as usize] = Some(partial);
        self.slot_of[piece as usize] = slot;
        self.open.push(slot);
        true
    }

    /// Gives up what is known of a piece: verified, corrupt or not wanted any more.
    pub(super) fn end(&mut self, piece: PieceIndex) -> Option<Partial> {
        let slot = self.slot_of.get_mut(piece as usize).map(|slot| std::mem::replace(slot, NO_SLOT))?;
        let partial = self.slots.get_mut(slot as usize)?.take()?;
        self.buffered -= counted(&partial);
        self.open.retain(|&open| open != slot);
        self.vacant.push(slot);
        Some(partial)
    }

    /// Gives back the memory of a piece that [`Partials::end`] handed out.
    pub(super) fn recycle(&mut self, partial: Partial) {
        if self.spent.len() < SPENT_MAX {
            self.spent.push(partial.blocks);
        }
    }

    /// Asks a peer for the first free block of a piece; its number.
    pub(super) fn ask_next(&mut self, piece: PieceIndex, peer: PeerKey) -> Option<u32> {
        let partial = self.get(piece)?;
        let first = partial.cursor;
        let free =
            partial.blocks.get(first as usize..)?.iter().position(|state| *state == BlockState::Free)?;
        let index = first + free as u32;
        self.change(piece, |partial| {
            partial.blocks[index as usize] = BlockState::Asked(peer);
            partial.cursor = index + 1;
            partial.free -= 1;
            partial.asked += 1;
        });
        Some(index)
    }

    /// Asks a further peer for a block that another was asked for.
    pub(super) fn ask_again(&mut self, piece: PieceIndex, index: u32, peer: PeerKey) {
        self.change(piece, |partial| partial.spare.push((index, peer)));
    }

    /// A request ended without data.
    pub(super) fn release(&mut self, piece: PieceIndex, index: u32, peer: PeerKey) -> Released {
        let Some(partial) = self.get(piece) else { return Released::Unknown };
        if let Some(at) = partial.spare.iter().position(|&entry| entry == (index, peer)) {
            self.change(piece, |partial| {
                partial.spare.swap_remove(at);
            });
            return Released::StillAsked;
        }
        if partial.state(index) != Some(BlockState::Asked(peer)) {
            return Released::Unknown;
        }
        let heir = partial.spare.iter().position(|(block, _)| *block == index);
        self.change(piece, |partial| {
            if let Some(at) = heir {
                partial.blocks[index as usize] = BlockState::Asked(partial.spare.swap_remove(at).1);
            } else {
                partial.blocks[index as usize] = BlockState::Free;
                partial.cursor = partial.cursor.min(index);
                partial.free += 1;
                partial.asked -= 1;
            }
        });
        if heir.is_some() { Released::StillAsked } else { Released::Free }
    }

    /// A block that was missing is here. Returns who else was asked for it.
    pub(super) fn put(&mut self, piece: PieceIndex, index: u32, length: u32, peer: PeerKey) -> Vec<PeerKey> {
        let mut others = Vec::new();
        self.change(piece, |partial| {
            match std::mem::replace(&mut partial.blocks[index as usize], BlockState::Here(peer)) {
                BlockState::Free => partial.free -= 1,
                BlockState::Asked(asked) => {
                    partial.asked -= 1;
                    if asked != peer {
                        others.push(asked);
                    }
                }
                BlockState::Here(_) | BlockState::Padding => {}
            }
            partial.bytes += u64::from(length);
            if !partial.spare.is_empty() {
                others.extend(
                    partial
                        .spare
                        .extract_if(.., |(block, _)| *block == index)
                        .map(|(_, spare)| spare)
                        .filter(|spare| *spare != peer),
                );
            }
        });
        others
    }

    /// A block that was here is bad: it is missing again. Returns who sent it.
    pub(super) fn take_out(&mut self, piece: PieceIndex, index: u32, length: u32) -> Option<PeerKey> {
        let sender = self.get(piece)?.sender(index)?;
        self.change(piece, |partial| {
            partial.blocks[index as usize] = BlockState::Free;
            partial.cursor = partial.cursor.min(index);
            partial.free += 1;
            partial.bytes -= u64::from(length);
        });
        Some(sender)
    }

    /// Whether it is being found out which block of a piece is bad.
    pub(super) fn set_under_inquiry(&mut self, piece: PieceIndex, under_inquiry: bool) {
        self.change(piece, |partial| partial.under_inquiry = under_inquiry);
    }

    /// Lets only this peer send blocks of a piece, or anyone.
    pub(super) fn set_owner(&mut self, piece: PieceIndex, owner: Option<PeerKey>) {
        self.change(piece, |partial| partial.owner = owner);
    }

    /// Applies a change and lets the list of open pieces and the sum of bytes follow.
    fn change(&mut self, piece: PieceIndex, change: impl FnOnce(&mut Partial)) {
        let Some(&slot) = self.slot_of.get(piece as usize) else { return };
        let Some(Some(partial)) = self.slots.get_mut(slot as usize) else { return };
        let (was_open, before) = (partial.is_open(), counted(partial));
        change(partial);
        self.buffered = self.buffered + counted(partial) - before;
        match (was_open, partial.is_open()) {
            (false, true) => self.open.push(slot),
            (true, false) => self.open.retain(|&open| open != slot),
            _ => {}
        }
    }
}

/// What a piece adds to [`Partials::buffered`].
fn counted(partial: &Partial) -> u64 {
    if !partial.under_inquiry && (partial.asked > 0 || partial.is_complete()) { partial.bytes } else { 0 }
}

/// The number of a block within its piece, if it is one that the engine asks for: aligned, whole, inside the content.
pub(super) fn block_index(layout: &Layout, block: Block) -> Option<u32> {
    let index = block.begin / BLOCK_LENGTH;
    let exact = block.length > 0 && layout.block(block.piece, index) == block;
    exact.then_some(index)
}
