use super::*;
use proptest::prelude::*;

const KIB: u32 = 1024;

fn entry(name: &str, length: u64, kind: EntryKind) -> Entry {
    Entry { path: RelPath::from_components([name]).unwrap(), length, kind, offset: 99 }
}

fn file(name: &str, length: u64) -> Entry {
    entry(name, length, EntryKind::File { executable: false })
}

fn pad(length: u64) -> Entry {
    entry("pad", length, EntryKind::Pad)
}

fn spans(layout: &Layout, piece: PieceIndex, begin: u32, length: u32) -> Vec<(usize, u64, u32)> {
    layout.spans(Block { piece, begin, length }).map(|span| (span.entry, span.offset, span.length)).collect()
}

#[test]
fn a_stream_runs_over_file_boundaries() {
    let entries = vec![file("a", 10), file("empty", 0), file("b", 30)];
    let layout = Layout::new(entries, 16, Alignment::Stream).unwrap();
    assert_eq!(layout.piece_count(), 3);
    assert_eq!((layout.piece_size(0), layout.piece_size(2), layout.piece_size(3)), (16, 8, 0));
    assert_eq!(spans(&layout, 0, 0, 16), [(0, 0, 10), (2, 0, 6)]);
    assert_eq!(spans(&layout, 1, 4, 4), [(2, 10, 4)]);
    assert_eq!((layout.pieces_of(0), layout.pieces_of(1), layout.pieces_of(2)), (0..1, 0..0, 0..3));
    assert_eq!(layout.locate(2, 6), (1, 0));
}

#[test]
fn per_file_every_file_starts_a_piece_and_the_last_one_is_short() {
    let entries = vec![file("a", 20), file("empty", 0), file("b", 5)];
    let layout = Layout::new(entries, 16, Alignment::PerFile).unwrap();
    assert_eq!(layout.piece_count(), 3);
    assert_eq!([0, 1, 2].map(|piece| layout.piece_size(piece)), [16, 4, 5]);
    assert_eq!(spans(&layout, 1, 0, 16), [(0, 16, 4)], "the gap belongs to nobody");
    assert_eq!((layout.pieces_of(0), layout.pieces_of(2)), (0..2, 2..3));
    assert_eq!(layout.content_length(), 25);
}

#[test]
fn blocks_that_are_only_padding_are_told_apart() {
    let block = u64::from(BLOCK_LENGTH);
    let entries = vec![file("a", block + 1), pad(2 * block - 1), file("b", 1)];
    let layout = Layout::new(entries, 3 * BLOCK_LENGTH, Alignment::Stream).unwrap();
    assert_eq!([0, 1, 2].map(|index| layout.is_padding(layout.block(0, index))), [false, false, true]);
    assert!(!layout.is_padding(layout.block(1, 0)));
    assert!(!layout.is_padding(Block { piece: 9, begin: 0, length: 1 }), "no block, no padding");
    assert_eq!(layout.content_length(), block + 2);
    assert_eq!((layout.block_count(0), layout.block_count(1)), (3, 1));
}

#[test]
fn blocks_outside_their_piece_do_not_exist() {
    let layout = Layout::of_length(u64::from(40 * KIB), 32 * KIB);
    for (piece, begin, length, exists) in [
        (0, 0, 32 * KIB, true),
        (0, 16 * KIB, 16 * KIB, true),
        (0, 16 * KIB, 16 * KIB + 1, false),
        (1, 0, 8 * KIB, true),
        (1, 0, 8 * KIB + 1, false),
        (1, 0, 0, false),
        (2, 0, 1, false),
        (0, u32::MAX, 2, false),
    ] {
        assert_eq!(layout.contains(Block { piece, begin, length }), exists, "{piece} {begin} {length}");
    }
    assert_eq!(layout.block(0, u32::MAX).length, 0);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let new = |entries, piece_length| Layout::new(entries, piece_length, Alignment::Stream).map(|_| ());
    assert_eq!(new(vec![], 0), Err(LayoutError::PieceLength(0)));
    assert_eq!(new(vec![], (512 << 20) + 1), Err(LayoutError::PieceLength((512 << 20) + 1)));
    assert_eq!(new(vec![file("a", 1 << 40)], 1), Err(LayoutError::TooManyPieces(1 << 40)));
    assert!(matches!(new(vec![file("a", u64::MAX), file("b", 1)], 16), Err(LayoutError::TooManyPieces(_))));
    assert!(matches!(
        Layout::new(vec![file("a", u64::MAX), file("b", 1)], 16, Alignment::PerFile),
        Err(LayoutError::TooManyPieces(_))
    ));
    assert_eq!(new(vec![], 16), Ok(()));
}

#[test]
fn a_link_has_no_bytes() {
    let target = RelPath::from_components(["a"]).unwrap();
    let entries = vec![entry("l", 7, EntryKind::Symlink { target }), file("a", 3)];
    let layout = Layout::new(entries, 16, Alignment::Stream).unwrap();
    assert_eq!((layout.content_length(), layout.entries()[1].offset), (3, 0));
}

fn lengths() -> impl Strategy<Value = Vec<(u64, bool)>> {
    prop::collection::vec((0_u64..70, any::<bool>()), 0..12)
}

proptest! {
    /// The spans of all pieces, one after the other, are all bytes of all entries, once and in order.
    #[test]
    fn spans_cover_every_byte_once(lengths in lengths(), piece_length in 1_u32..40, per_file: bool) {
        let entries: Vec<Entry> =
            lengths.iter().map(|&(length, is_pad)| if is_pad { pad(length) } else { file("f", length) }).collect();
        let alignment = if per_file { Alignment::PerFile } else { Alignment::Stream };
        let layout = Layout::new(entries, piece_length, alignment).unwrap();
        let mut covered = vec![0_u64; lengths.len()];
        for piece in 0..layout.piece_count() {
            prop_assert!((1..=piece_length).contains(&layout.piece_size(piece)));
            let mut begin = 0;
            for span in layout.piece_spans(piece) {
                prop_assert_eq!(span.offset, covered[span.entry]);
                prop_assert_eq!(layout.locate(span.entry, span.offset), (piece, begin));
                prop_assert!(layout.pieces_of(span.entry).contains(&piece));
                covered[span.entry] += u64::from(span.length);
                begin += span.length;
            }
            prop_assert_eq!(begin, layout.piece_size(piece));
        }
        prop_assert!(covered.iter().zip(&lengths).all(|(covered, (length, _))| covered == length));
    }

    /// Nothing a peer can ask for makes the layout panic or answer outside the content.
    #[test]
    fn any_block_is_answered(piece: u32, begin: u32, length: u32, size in 0_u64..200, piece_length in 1_u32..40) {
        let layout = Layout::of_length(size, piece_length);
        let block = Block { piece, begin, length };
        let total: u64 = layout.spans(block).map(|span| u64::from(span.length)).sum();
        prop_assert_eq!(total == u64::from(length) && length > 0, layout.contains(block));
        layout.is_padding(block);
        layout.block(piece, begin);
    }
}
