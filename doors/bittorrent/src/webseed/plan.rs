//! From blocks to range requests.

use std::ops::Range;

use peerage_content::{Block, EntryKind, Layout};

/// Bytes of one range request, unless a single block needs more: enough that the pauses between requests do not count, and
/// little enough that a slow server does not hold much back.
pub const RANGE_MAX: u64 = 4 << 20;

/// A part of a block that lies in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The block.
    pub block: Block,
    /// Bytes from the start of the block.
    pub at: u32,
    /// Bytes; never 0.
    pub length: u32,
}

/// One range of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Index into [`Layout::entries`].
    pub entry: usize,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes; never 0.
    pub length: u64,
    /// Bytes of the whole file.
    pub file_length: u64,
    /// What the bytes are, in their order.
    pub parts: Vec<Part>,
}

impl Fetch {
    /// The bytes of the file that are asked for.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.length
    }

    /// The value of the `Range` header (RFC 9110, section 14.2).
    pub fn range_header(&self) -> String {
        format!("bytes={}-{}", self.offset, self.offset + self.length - 1)
    }
}

/// Turns blocks into as few range requests as possible, each within one file and at most `range_max` bytes long (but always
/// at least a part). Neighbours are merged whatever order they come in; padding is not asked for; a block that the layout does not have
/// is skipped.
pub fn plan(layout: &Layout, blocks: &[Block], range_max: u64) -> Vec<Fetch> {
    let mut blocks: Vec<Block> = blocks.iter().copied().filter(|block| layout.contains(*block)).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let mut fetches: Vec<Fetch> = Vec::new();
    for block in blocks {
        let mut at = 0;
        for span in layout.spans(block) {
            let part = Part { block, at, length: span.length };
            at += span.length;
            let Some(entry) = layout.entries().get(span.entry) else { continue };
            if !matches!(entry.kind, EntryKind::File { .. }) {
                continue;
            }
            let length = u64::from(span.length);
            match fetches.last_mut() {
                Some(last)
                    if last.entry == span.entry
                        && last.offset + last.length == span.offset
                        && last.length + length <= range_max =>
                {
                    last.length += length;
                    last.parts.push(part);
                }
                _ => fetches.push(Fetch {
                    entry: span.entry,
                    offset: span.offset,
                    length,
                    file_length: entry.length,
                    parts: vec![part],
                }),
            }
        }
    }
    fetches
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use peerage_content::{Alignment, BLOCK_LENGTH, Entry, RelPath};
    use proptest::prelude::*;

    const B: u64 = BLOCK_LENGTH as u64;

    /// A folder of files with these lengths; a negative length is padding.
    pub(in crate::webseed) fn layout(lengths: &[i64], piece_length: u32, alignment: Alignment) -> Layout {
        let entry = |(number, length): (usize, &i64)| Entry {
            path: RelPath::from_components([b"folder".to_vec(), format!("file {number}").into_bytes()])
                .unwrap(),
            length: length.unsigned_abs(),
            kind: if *length < 0 { EntryKind::Pad } else { EntryKind::File { executable: false } },
            offset: 0,
        };
        Layout::new(lengths.iter().enumerate().map(entry).collect(), piece_length, alignment).unwrap()
    }

    pub(in crate::webseed) fn all_blocks(layout: &Layout) -> Vec<Block> {
        let pieces = 0..layout.piece_count();
        pieces
            .flat_map(|piece| (0..layout.block_count(piece)).map(move |index| layout.block(piece, index)))
            .collect()
    }

    fn ranges(fetches: &[Fetch]) -> Vec<(usize, Range<u64>)> {
        fetches.iter().map(|fetch| (fetch.entry, fetch.range())).collect()
    }

    #[test]
    fn neighbours_are_merged_across_pieces_up_to_the_bound() {
        let layout = layout(&[10 * B as i64], 2 * BLOCK_LENGTH, Alignment::Stream);
        let mut blocks = all_blocks(&layout);
        blocks.reverse();
        assert_eq!(ranges(&plan(&layout, &blocks, RANGE_MAX)), [(0, 0..10 * B)]);
        assert_eq!(
            ranges(&plan(&layout, &blocks, 4 * B)),
            [(0, 0..4 * B), (0, 4 * B..8 * B), (0, 8 * B..10 * B)]
        );
        assert_eq!(plan(&layout, &blocks, 1).len(), 10, "at least a block at a time");
        blocks.remove(5);
        let holed = plan(&layout, &blocks, RANGE_MAX);
        assert_eq!(ranges(&holed), [(0, 0..4 * B), (0, 5 * B..10 * B)]);
        assert_eq!(holed[1].range_header(), format!("bytes={}-{}", 5 * B, 10 * B - 1));
    }

    #[test]
    fn blocks_span_files_and_padding_is_not_asked_for() {
        let layout = layout(&[100, 0, 50, -(B as i64 - 150), 300], BLOCK_LENGTH, Alignment::Stream);
        let fetches = plan(&layout, &all_blocks(&layout), RANGE_MAX);
        assert_eq!(ranges(&fetches), [(0, 0..100), (2, 0..50), (4, 0..300)]);
        assert_eq!(fetches[1].parts, [Part { block: layout.block(0, 0), at: 100, length: 50 }]);
        assert_eq!(fetches[2].file_length, 300);
    }

    #[test]
    fn what_the_layout_does_not_have_is_skipped() {
        let layout = layout(&[100], BLOCK_LENGTH, Alignment::PerFile);
        let beyond = Block { piece: 7, begin: 0, length: 100 };
        assert_eq!(plan(&layout, &[beyond, layout.block(0, 0), layout.block(0, 0)], RANGE_MAX).len(), 1);
    }

    proptest! {
        /// Every byte of every wanted block that lies in a file is asked for exactly once, in order, and nothing else.
        #[test]
        fn a_plan_is_exactly_what_was_asked(
            lengths in prop::collection::vec(-30_000_i64..60_000, 1..12),
            per_file in any::<bool>(),
            keep in prop::collection::vec(any::<bool>(), 64),
            range_max in 1_u64..100_000,
        ) {
            let lengths: Vec<i64> = if per_file { lengths.iter().map(|length| length.abs()).collect() } else { lengths };
            let alignment = if per_file { Alignment::PerFile } else { Alignment::Stream };
            let layout = layout(&lengths, 2 * BLOCK_LENGTH, alignment);
            let blocks: Vec<Block> =
                all_blocks(&layout).into_iter().enumerate().filter(|(number, _)| keep[number % 64]).map(|(_, block)| block).collect();
            let fetches = plan(&layout, &blocks, range_max);
            let mut expected = std::collections::BTreeSet::new();
            for block in &blocks {
                for span in layout.spans(*block) {
                    if lengths[span.entry] > 0 {
                        expected.insert((span.entry, span.offset, span.length));
                    }
                }
            }
            let mut planned = std::collections::BTreeSet::new();
            for fetch in &fetches {
                prop_assert!(fetch.length <= range_max || fetch.parts.len() == 1);
                prop_assert!(fetch.offset + fetch.length <= fetch.file_length);
                prop_assert_eq!(fetch.length, fetch.parts.iter().map(|part| u64::from(part.length)).sum::<u64>());
                let mut offset = fetch.offset;
                for part in &fetch.parts {
                    prop_assert!(planned.insert((fetch.entry, offset, part.length)));
                    offset += u64::from(part.length);
                }
            }
            prop_assert_eq!(planned, expected);
        }
    }
}
