use peerage_content::{
    Alignment, BLOCK_LENGTH, Entry, EntryKind, Hash32, Hashed, Layout, RelPath, V2File, merkle_root,
};
use proptest::prelude::*;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{AuthorError, Format, Options, PIECE_LENGTH_MAX, PIECE_LENGTH_MIN, create, layout, piece_length};
use crate::metainfo::{Metainfo, Node};

const FORMATS: [Format; 3] = [Format::V1, Format::V2, Format::Hybrid];

fn path(path: &str) -> RelPath {
    RelPath::from_components(path.split('/')).unwrap()
}

fn file(at: &str, length: u64) -> Entry {
    Entry { path: path(at), length, kind: EntryKind::File { executable: false }, offset: 0 }
}

/// The trees of files whose every byte is `1`, worked out the long way.
fn hashed(layout: &Layout, format: Format) -> Hashed {
    let piece_length = layout.piece_length() as usize;
    let mut line = Vec::new();
    for entry in layout.entries() {
        let byte = u8::from(entry.kind != EntryKind::Pad);
        line.extend(std::iter::repeat_n(byte, usize::try_from(entry.length).unwrap()));
    }
    let v1 = line.chunks(piece_length).map(|piece| Sha1::digest(piece).into());
    let tree = |entry: &Entry| {
        if entry.length == 0 || entry.kind == EntryKind::Pad {
            return None;
        }
        let bytes = vec![1; usize::try_from(entry.length).unwrap()];
        let leaves: Vec<Hash32> =
            bytes.chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect();
        let per_piece = piece_length / BLOCK_LENGTH as usize;
        let layer = leaves.chunks(per_piece).map(|piece| merkle_root(piece, per_piece, [0; 32]));
        let layer = (bytes.len() > piece_length).then(|| layer.collect());
        Some(V2File { root: merkle_root(&leaves, 0, [0; 32]), layer })
    };
    Hashed {
        v1: format.has_v1().then(|| v1.collect()),
        v2: format.has_v2().then(|| layout.entries().iter().map(tree).collect()),
        leaves: None,
        stamps: Vec::new(),
    }
}

fn torrent(entries: Vec<Entry>, single: bool, options: &Options) -> Metainfo {
    let layout = layout(entries, single, options.format, PIECE_LENGTH_MIN).unwrap();
    create(&layout, &hashed(&layout, options.format), &path("name"), single, options).unwrap()
}

fn lengths(layout: &Layout) -> Vec<(&str, u64)> {
    layout.entries().iter().map(|entry| (entry.path.as_path().to_str().unwrap(), entry.length)).collect()
}

#[test]
fn hybrids_pad_every_file_but_the_last() {
    let entries = || vec![file("b", 20_000), file("a-b", 16_384), file("c", 0), file("a/x", 5), file("z", 7)];
    let hybrid = layout(entries(), false, Format::Hybrid, PIECE_LENGTH_MIN).unwrap();
    let expected = [
        ("a/x", 5),
        (".pad/16379", 16_379),
        ("a-b", 16_384),
        ("b", 20_000),
        ("c", 0),
        (".pad/12768", 12_768),
        ("z", 7),
    ];
    assert_eq!(lengths(&hybrid), expected);
    assert_eq!(hybrid.alignment(), Alignment::Stream);
    for (format, alignment) in [(Format::V1, Alignment::Stream), (Format::V2, Alignment::PerFile)] {
        let plain = layout(entries(), false, format, PIECE_LENGTH_MIN).unwrap();
        assert_eq!(lengths(&plain), [("a/x", 5), ("a-b", 16_384), ("b", 20_000), ("c", 0), ("z", 7)]);
        assert_eq!(plain.alignment(), alignment);
    }
    // Behind the last file with bytes there is nothing to align.
    let empty_end =
        layout(vec![file("a", 5), file("b", 0)], false, Format::Hybrid, PIECE_LENGTH_MIN).unwrap();
    assert_eq!(lengths(&empty_end), [("a", 5), ("b", 0)]);
}

#[test]
fn what_is_made_is_read_back() {
    let executable = Entry { kind: EntryKind::File { executable: true }, ..file("bin/run", 40_000) };
    let link = Entry { kind: EntryKind::Symlink { target: path("bin/run") }, ..file("latest", 0) };
    let odd = Entry { path: RelPath::from_components([b"\xff \x1b".as_slice()]).unwrap(), ..file("x", 9) };
    for format in FORMATS {
        let options = Options { format, ..Options::default() };
        let entries = vec![executable.clone(), link.clone(), odd.clone(), file("empty", 0)];
        let expected = layout(entries.clone(), false, format, PIECE_LENGTH_MIN).unwrap();
        let made = torrent(entries, false, &options);
        let read = Metainfo::parse(&made.to_bytes()).unwrap();
        assert_eq!(read.info.layout.entries(), expected.entries());
        assert_eq!(read.info.hashes, made.info.hashes);
        assert_eq!(
            (read.info.hashes.v1.is_some(), read.info.hashes.v2.is_some()),
            (format.has_v1(), format.has_v2())
        );
        assert_eq!(read.piece_layers.len(), usize::from(format.has_v2()));
        assert!(!read.info.single && read.truth().unwrap().missing_layers().is_empty());
    }
}

#[test]
fn a_single_file_has_the_name_of_the_torrent() {
    for format in FORMATS {
        let made = torrent(vec![file("on disk", 20_000)], true, &Options { format, ..Options::default() });
        assert!(made.info.single);
        assert_eq!(lengths(&made.info.layout), [("name", 20_000)]);
    }
}

#[test]
fn only_format_privacy_and_source_change_the_info_hash() {
    let plain = torrent(vec![file("a", 5)], false, &Options::default());
    let more = Options {
        trackers: vec![vec!["http://a/".into()]],
        web_seeds: vec!["http://b/".into()],
        nodes: vec![Node { host: "c".into(), port: 1 }],
        comment: Some("d".into()),
        created_by: Some("e".into()),
        creation_date: Some(6),
        ..Options::default()
    };
    let made = torrent(vec![file("a", 5)], false, &more);
    assert_eq!(made.info.hashes, plain.info.hashes);
    let read = Metainfo::parse(&made.to_bytes()).unwrap();
    assert_eq!((read.trackers, read.web_seeds, read.nodes), (more.trackers, more.web_seeds, more.nodes));
    assert_eq!(
        (read.comment, read.created_by, read.creation_date),
        (Some("d".into()), Some("e".into()), Some(6))
    );
    for options in [
        Options { private: true, ..Options::default() },
        Options { source: Some("site".into()), ..Options::default() },
        Options { format: Format::V1, ..Options::default() },
    ] {
        let other = torrent(vec![file("a", 5)], false, &options);
        assert_ne!(other.info.hashes, plain.info.hashes);
        assert_eq!((other.info.private, &other.info.source), (options.private, &options.source));
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let try_layout = |entries, single, length| layout(entries, single, Format::Hybrid, length).unwrap_err();
    assert_eq!(try_layout(Vec::new(), false, PIECE_LENGTH_MIN), AuthorError::NoFiles);
    assert_eq!(try_layout(vec![file("a", 5), file("b", 5)], true, PIECE_LENGTH_MIN), AuthorError::NotSingle);
    for length in [0, 8192, 20_000, 2 * PIECE_LENGTH_MAX] {
        assert_eq!(try_layout(vec![file("a", 5)], true, length), AuthorError::PieceLength(length));
    }
    let v1 = layout(vec![file("a", 5)], false, Format::V1, PIECE_LENGTH_MIN).unwrap();
    let hybrid = Options::default();
    let error = create(&v1, &hashed(&v1, Format::V1), &path("name"), false, &hybrid).unwrap_err();
    assert_eq!(error, AuthorError::Hashes("v2 trees are missing"));
    let unpadded = layout(vec![file("a", 5), file("b", 5)], false, Format::V1, PIECE_LENGTH_MIN).unwrap();
    let error =
        create(&unpadded, &hashed(&unpadded, Format::Hybrid), &path("name"), false, &hybrid).unwrap_err();
    assert!(matches!(error, AuthorError::Refused(_)));
    let error = create(&v1, &hashed(&v1, Format::V1), &path("a/b"), false, &hybrid).unwrap_err();
    assert_eq!(error, AuthorError::Hashes("its name is a path"));
    let big = layout(vec![file("a", 40_000)], false, Format::V2, PIECE_LENGTH_MIN).unwrap();
    let mut hashes = hashed(&big, Format::V2);
    hashes.v2.as_mut().unwrap()[0].as_mut().unwrap().layer = None;
    let options = Options { format: Format::V2, ..Options::default() };
    let error = create(&big, &hashes, &path("name"), false, &options).unwrap_err();
    assert_eq!(error, AuthorError::Hashes("a piece layer is missing"));
}

#[test]
fn pieces_are_about_a_thousand_or_two() {
    const MIB: u64 = 1 << 20;
    let of = |length| piece_length([length], Format::Hybrid);
    assert_eq!((of(0), of(MIB), of(32 * MIB)), (16 << 10, 16 << 10, 16 << 10));
    assert_eq!((of(33 * MIB), of(2048 * MIB), of(5 << 30)), (32 << 10, 1 << 20, 4 << 20));
    // The first piece of a file is not counted, a whole last one is.
    assert_eq!((of(2049 << 14), of((2049 << 14) + 1)), (16 << 10, 32 << 10));
    assert_eq!((of(1 << 40), of(u64::MAX)), (16 << 20, 16 << 20));
    // Many small files are as many pieces, however long; in v1 they share pieces.
    let small = || std::iter::repeat_n(10_000, 10_000);
    assert_eq!(piece_length(small(), Format::Hybrid), 16 << 10);
    assert_eq!(piece_length(small(), Format::V1), 64 << 10);
}

fn folder() -> impl Strategy<Value = Vec<Entry>> {
    let name = "[ab.é]{1,3}".prop_filter("not a plain name", |name| name != "." && name != "..");
    let length = prop_oneof![Just(0), Just(16_384), Just(32_768), 1..50_000_u64];
    let paths =
        proptest::collection::btree_map(proptest::collection::vec(name, 1..4), (length, any::<bool>()), 1..8);
    paths.prop_map(|files| {
        let mut entries: Vec<Entry> = Vec::new();
        for (components, (length, executable)) in files {
            let path = RelPath::from_components(components).unwrap();
            // In order of paths a file comes before what lies below it.
            if !entries.iter().any(|entry| path.as_path().starts_with(entry.path.as_path())) {
                entries.push(Entry { path, length, kind: EntryKind::File { executable }, offset: 0 });
            }
        }
        entries
    })
}

proptest! {
    #[test]
    fn any_folder_round_trips(entries in folder(), which in 0..3_usize, rotate in 0..8_usize) {
        let format = FORMATS[which];
        let options = Options { format, ..Options::default() };
        let made = torrent(entries.clone(), false, &options);
        let read = Metainfo::parse(&made.to_bytes()).unwrap();
        let expected = layout(entries.clone(), false, format, PIECE_LENGTH_MIN).unwrap();
        prop_assert_eq!(read.info.layout.entries(), expected.entries());
        prop_assert_eq!(read.info.hashes, made.info.hashes);
        prop_assert_eq!(&read.piece_layers, &made.piece_layers);
        prop_assert_eq!(read.to_bytes(), made.to_bytes());
        // The order of the listing does not matter.
        let mut rotated = entries;
        let count = rotated.len();
        rotated.rotate_left(rotate % count);
        prop_assert_eq!(torrent(rotated, false, &options).info.hashes, made.info.hashes);
    }
}
