use peerage_content::{Alignment, EntryKind, LayerError, LayoutError, merkle_root};
use proptest::prelude::*;

use super::{Info, Metainfo, MetainfoError, Node, PATH_LENGTH_MAX, Reason};
use crate::bencode::{DecodeError, Fault, Item, Kind};

const KIB16: u64 = 16 << 10;

/// A dictionary to make torrents of; `with` adds or replaces a key, `without` removes one.
#[derive(Clone)]
struct Build(std::collections::BTreeMap<bytes::Bytes, Item>);

impl Build {
    fn new() -> Self {
        Self(Default::default())
    }

    fn with(mut self, key: &'static str, value: impl Into<Item>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.0.remove(key.as_bytes());
        self
    }
}

impl From<Build> for Item {
    fn from(build: Build) -> Self {
        Self::Dict(build.0)
    }
}

fn file(length: i64, path: &[&str]) -> Build {
    Build::new().with("length", length).with("path", Item::list(path.iter().copied()))
}

fn pad(length: i64) -> Build {
    file(length, &[".pad", "x"]).with("attr", "p")
}

fn link(path: &[&str], target: &[&str]) -> Build {
    file(0, path).with("attr", "l").with("symlink path", Item::list(target.iter().copied()))
}

/// `info` of a v1 torrent of `pieces` pieces of 16 KiB, without files.
fn v1(pieces: usize) -> Build {
    Build::new()
        .with("name", "name")
        .with("piece length", i64::try_from(KIB16).unwrap())
        .with("pieces", vec![7; pieces * 20])
}

fn v1_single(length: i64, pieces: usize) -> Build {
    v1(pieces).with("length", length)
}

fn v1_files(files: impl IntoIterator<Item = Build>, pieces: usize) -> Build {
    v1(pieces).with("files", Item::list(files))
}

/// A file of a v2 tree.
fn leaf(length: i64) -> Build {
    let file = Build::new().with("length", length);
    let file = if length > 0 { file.with("pieces root", [9; 32]) } else { file };
    Build::new().with("", file)
}

fn v2(tree: Build) -> Build {
    v1(0).without("pieces").with("meta version", 2).with("file tree", tree)
}

fn parse(info: Build) -> Result<Info, MetainfoError> {
    Info::parse(Item::from(info).encode().into())
}

/// Where and why `info` is refused.
fn refusal(info: Build) -> (String, Reason) {
    at_and_reason(parse(info).unwrap_err())
}

fn at_and_reason(error: MetainfoError) -> (String, Reason) {
    match error {
        MetainfoError::Refused { at, reason } => (at, reason),
        other => panic!("{other:?}"),
    }
}

fn refused(info: Build, at: &str, reason: Reason) {
    assert_eq!(refusal(info), (at.to_owned(), reason));
}

fn paths(info: &Info) -> Vec<String> {
    info.layout.entries().iter().map(|entry| entry.path.as_path().display().to_string()).collect()
}

#[test]
fn a_single_file() {
    let odd = |value: i64| parse(v1_single(20_000, 2).with("private", value)).unwrap().private;
    assert_eq!([-1, 0, 2].map(odd), [true, false, true]);
    let info = parse(v1_single(20_000, 2).with("private", 1).with("source", "here")).unwrap();
    assert!(info.single && info.private && info.root().is_none());
    assert_eq!((info.display_name().as_ref(), info.source.as_deref()), ("name", Some("here")));
    assert_eq!((paths(&info), info.layout.piece_count()), (vec!["name".to_owned()], 2));
    assert_eq!(info.v1_hashes().unwrap().as_ref(), [[7; 20]; 2]);
    assert!(info.hashes.v1.is_some() && info.hashes.v2.is_none());
    assert!(info.truth(&Default::default()).unwrap().knows(1));
}

#[test]
fn an_empty_file_alone_has_no_pieces() {
    assert_eq!(parse(v1_single(0, 0)).unwrap().layout.piece_count(), 0);
    let info = parse(v2(Build::new().with("name", leaf(0)))).unwrap();
    assert!(info.single && info.layout.piece_count() == 0);
}

#[test]
fn a_folder() {
    let files =
        [file(5, &["a", "b"]), pad(10), link(&["l"], &["a", "b"]), file(7, &["x"]).with("attr", "hx")];
    let info = parse(v1_files(files, 1)).unwrap();
    assert_eq!(info.root().unwrap().as_path().to_str(), Some("name"));
    assert_eq!(paths(&info), ["a/b", ".pad/10", "l", "x"]);
    let kinds: Vec<_> = info.layout.entries().iter().map(|entry| entry.kind.clone()).collect();
    assert_eq!(kinds[0], EntryKind::File { executable: false });
    assert_eq!(kinds[1], EntryKind::Pad);
    assert!(matches!(&kinds[2], EntryKind::Symlink { target } if target.as_path().to_str() == Some("a/b")));
    assert_eq!(kinds[3], EntryKind::File { executable: true });
    assert_eq!(info.layout.content_length(), 12);
}

#[test]
fn a_v2_tree() {
    let folder = Build::new().with("a", leaf(20_000)).with("b", leaf(0));
    let info = parse(v2(Build::new().with("dir", folder).with("z", leaf(5)))).unwrap();
    assert_eq!(
        (paths(&info), info.layout.alignment()),
        (vec!["dir/a".into(), "dir/b".into(), "z".into()], Alignment::PerFile)
    );
    assert_eq!(info.layout.piece_count(), 3);
    assert_eq!((info.v2_root(0), info.v2_root(1)), (Some([9; 32]), None));
    assert!(info.hashes.v1.is_none() && info.hashes.v2.is_some());
    assert_eq!(info.truth(&Default::default()).unwrap().missing_layers(), [0]);
    // One file called like the torrent is a single file.
    assert!(parse(v2(Build::new().with("name", leaf(5)))).unwrap().single);
    assert!(!parse(v2(Build::new().with("other", leaf(5)))).unwrap().single);
}

fn hybrid(files: impl IntoIterator<Item = Build>, pieces: usize) -> Build {
    let tree = Build::new().with("a", leaf(20_000)).with("b", leaf(0)).with("c", leaf(5));
    v1_files(files, pieces).with("meta version", 2).with("file tree", tree)
}

#[test]
fn a_hybrid() {
    let files = || vec![file(20_000, &["a"]), pad(12_768), file(0, &["b"]), file(5, &["c"])];
    let info = parse(hybrid(files(), 3)).unwrap();
    assert_eq!((info.layout.alignment(), info.layout.piece_count()), (Alignment::Stream, 3));
    assert_eq!((info.v2_root(0), info.v2_root(1), info.v2_root(3)), (Some([9; 32]), None, Some([9; 32])));
    assert!(info.hashes.v1.is_some() && info.hashes.v2.is_some());
    info.truth(&Default::default()).unwrap();
    // With a pad behind the last file, as libtorrent writes it, and pads anywhere before the next file with bytes.
    let tail = [files(), vec![pad(16_379)]].concat();
    assert_eq!(parse(hybrid(tail, 3)).unwrap().layout.piece_count(), 3);
    let later = [file(20_000, &["a"]), file(0, &["b"]), pad(12_768), file(5, &["c"])];
    parse(hybrid(later, 3)).unwrap();
    let single = v1_single(20_000, 2).with("meta version", 2);
    let single = single.with("file tree", Build::new().with("name", leaf(20_000)));
    assert!(parse(single).unwrap().single);
}

#[test]
fn hybrids_whose_lists_differ_are_refused() {
    let misaligned = [file(20_000, &["a"]), file(0, &["b"]), file(5, &["c"])];
    let expected = Reason::Misaligned { found: 20_000, expected: 32_768 };
    refused(hybrid(misaligned, 2), "info.files[2]", expected);
    let too_far = [file(20_000, &["a"]), pad(12_768 + 16_384), file(0, &["b"]), file(5, &["c"])];
    let expected = Reason::Misaligned { found: 49_152, expected: 32_768 };
    refused(hybrid(too_far, 4), "info.files[3]", expected);
    let cases: [(Vec<Build>, &str, &'static str); 5] = [
        (vec![file(20_000, &["a"]), pad(12_768), file(0, &["b"])], "info.files", "it has more files"),
        (vec![file(20_000, &["a"]), pad(12_768), file(0, &["c"])], "info.files[2]", "another path"),
        (vec![file(20_001, &["a"])], "info.files[0]", "another length"),
        (vec![link(&["a"], &["c"])], "info.files[0]", "another length"),
        (
            vec![file(20_000, &["a"]), pad(12_768), file(0, &["b"]), file(5, &["c"]), file(0, &["d"])],
            "info.files[4]",
            "it has fewer files",
        ),
    ];
    for (files, at, difference) in cases {
        refused(hybrid(files, 3), at, Reason::Hybrid(difference));
    }
    let link_or_empty = [file(20_000, &["a"]), pad(12_768), link(&["b"], &["c"]), file(5, &["c"])];
    refused(hybrid(link_or_empty, 3), "info.files[2]", Reason::Hybrid("another link"));
    let long_tail = [file(20_000, &["a"]), pad(12_768), file(0, &["b"]), file(5, &["c"]), pad(16_380)];
    refused(hybrid(long_tail, 4), "info.files", Reason::Hybrid("it has no pieces for the last pad"));
    let single = v1_single(5, 1).with("meta version", 2);
    let single = single.with("file tree", Build::new().with("other", leaf(5)));
    refused(single, "info.files[0]", Reason::Hybrid("another path"));
}

#[test]
fn the_hash_is_of_the_original_bytes() {
    let unsorted = b"d12:piece lengthi16384e4:name1:n6:pieces0:6:lengthi0ee";
    let info = Info::parse(unsorted.as_slice().into()).unwrap();
    assert_eq!(info.raw, unsorted.as_slice());
    use sha1::Digest;
    assert_eq!(info.hashes.v1, Some(sha1::Sha1::digest(unsorted).into()));
    let torrent = [b"d4:info".as_slice(), unsorted, b"e"].concat();
    let torrent = Metainfo::parse(&torrent).unwrap();
    assert_eq!(torrent.info.hashes, info.hashes);
    assert_eq!(Metainfo::parse(&torrent.to_bytes()).unwrap().info.hashes, info.hashes);
}

/// Editors and shells leave a line break at the end of a file.
#[test]
fn bytes_behind_a_torrent_mean_nothing() {
    let torrent = Metainfo::from(parse(v1_single(20_000, 2)).unwrap()).to_bytes();
    let read = Metainfo::parse(&[&torrent[..], b"\r\n"].concat()).unwrap();
    assert_eq!(read.to_bytes(), torrent);
}

#[test]
fn repeated_keys_are_refused() {
    let twice = b"d6:lengthi0e4:name1:n12:piece lengthi16384e6:pieces0:4:name1:me";
    let error = Info::parse(twice.as_slice().into()).unwrap_err();
    assert!(matches!(error, MetainfoError::Bencode(DecodeError { fault: Fault::DuplicateKey, .. })));
}

#[test]
fn parts_must_be_there_and_of_their_type() {
    let whole = || v1_single(5, 1);
    for key in ["name", "piece length", "length"] {
        refused(whole().without(key), &format!("info.{key}"), Reason::Missing);
    }
    refused(whole().without("pieces"), "info", Reason::NoHashes);
    let wrong = |expected, found| Reason::WrongKind { expected, found };
    refused(whole().with("name", 5), "info.name", wrong(Kind::Bytes, Kind::Int));
    refused(whole().with("pieces", 5), "info.pieces", wrong(Kind::Bytes, Kind::Int));
    refused(whole().with("length", "5"), "info.length", wrong(Kind::Int, Kind::Bytes));
    refused(v1(1).with("files", 5), "info.files", wrong(Kind::List, Kind::Int));
    refused(v1(1).with("files", Item::list([5])), "info.files[0]", wrong(Kind::Dict, Kind::Int));
    let no_path = file(5, &[]).without("path");
    refused(v1_files([file(5, &["a"]), no_path], 1), "info.files[1].path", Reason::Missing);
    let no_length = file(5, &["a"]).without("length");
    refused(v1_files([no_length], 1), "info.files[0].length", Reason::Missing);
    let odd = file(5, &[]).with("path", Item::list([Item::from("a"), 5.into()]));
    refused(v1_files([odd], 1), "info.files[0].path[1]", wrong(Kind::Bytes, Kind::Int));
    let error = Info::parse(b"le".as_slice().into()).unwrap_err();
    assert_eq!(at_and_reason(error), ("info".to_owned(), wrong(Kind::Dict, Kind::List)));
    let error = Metainfo::parse(b"de").unwrap_err();
    assert_eq!(at_and_reason(error), ("info".to_owned(), Reason::Missing));
}

#[test]
fn a_file_list_has_one_form() {
    refused(v1_files([file(5, &["a"])], 1).with("length", 5), "info.files", Reason::LengthAndFiles);
    refused(v1_files([], 0), "info.files", Reason::NoFiles);
    refused(v2(Build::new()), "info.file tree", Reason::NoFiles);
    refused(v1_single(5, 1).with("attr", "p"), "info.attr", Reason::NotAFile);
}

#[test]
fn lengths_and_piece_counts_match() {
    refused(v1_single(-1, 0), "info.length", Reason::Negative(-1));
    refused(v1_files([file(-7, &["a"])], 0), "info.files[0].length", Reason::Negative(-7));
    refused(v1_single(5, 1).with("piece length", -1), "info.piece length", Reason::Negative(-1));
    let bounds = |length| Reason::Layout(LayoutError::PieceLength(length));
    refused(v1_single(5, 1).with("piece length", 0), "info.piece length", bounds(0));
    refused(v1_single(5, 1).with("piece length", i64::MAX), "info.piece length", bounds(i64::MAX as u64));
    refused(
        v1_single(5, 1).with("pieces", vec![7; 21]),
        "info.pieces",
        Reason::CutHashes { found: 21, hash: 20 },
    );
    refused(v1_single(20_000, 1), "info.pieces", Reason::PieceCount { found: 1, expected: 2 });
    refused(v1_single(5, 2), "info.pieces", Reason::PieceCount { found: 2, expected: 1 });
    let huge = [file(i64::MAX, &["a"]), file(i64::MAX, &["b"]), file(i64::MAX, &["c"])];
    let (at, reason) = refusal(v1_files(huge, 1));
    assert_eq!(at, "info.piece length");
    assert!(matches!(reason, Reason::Layout(LayoutError::TooManyPieces(_))));
    // A v2 torrent needs few bytes to claim many.
    let (at, reason) = refusal(v2(Build::new().with("a", leaf(1 << 37))));
    assert_eq!((at.as_str(), reason), ("info.piece length", Reason::TooManyPieces(1 << 23)));
}

#[test]
fn v2_pieces_are_powers_of_two() {
    for length in [1_i64, 8192, 16_385, 49_152] {
        let info = v2(Build::new().with("a", leaf(5))).with("piece length", length);
        refused(info, "info.piece length", Reason::PieceLengthV2(length as u64));
    }
    // In v1 they need not be.
    parse(v1_single(5, 1).with("piece length", 49_152)).unwrap();
}

#[test]
fn only_version_2_is_known() {
    let tree = Build::new().with("a", leaf(5));
    refused(v2(tree.clone()).with("meta version", 3), "info.meta version", Reason::MetaVersion(3));
    refused(v2(tree.clone()).without("meta version"), "info.meta version", Reason::Missing);
    refused(v1_single(5, 1).with("meta version", 2), "info.file tree", Reason::Missing);
}

#[test]
fn v2_trees_are_sorted_and_of_files_or_folders() {
    let raw = |tree: &'static str| v2(Build::new()).with("file tree", Item::Raw(tree.into()));
    let unsorted = raw("d1:bd0:d6:lengthi0eee1:ad0:d6:lengthi0eeee");
    refused(unsorted, "info.file tree.\"a\"", Reason::Unsorted);
    let both = Build::new().with("a", leaf(0).with("b", leaf(0)));
    refused(
        raw("d1:ai5ee"),
        "info.file tree.\"a\"",
        Reason::WrongKind { expected: Kind::Dict, found: Kind::Int },
    );
    refused(v2(both), "info.file tree.\"a\".\"b\"", Reason::FileAndFolder);
    let nameless = v2(leaf(0));
    refused(nameless, "info.file tree.\"\"", Reason::EmptyPath);
    let rootless = Build::new().with("a", Build::new().with("", Build::new().with("length", 5)));
    refused(v2(rootless), "info.file tree.\"a\".\"\".pieces root", Reason::Missing);
    let short = Build::new().with("", Build::new().with("length", 5).with("pieces root", [9; 31]));
    let reason = Reason::HashLength { found: 31, expected: 32 };
    refused(v2(Build::new().with("a", short)), "info.file tree.\"a\".\"\".pieces root", reason);
    let pad = Build::new().with("", Build::new().with("length", 5).with("attr", "p"));
    refused(v2(Build::new().with("a", pad)), "info.file tree.\"a\".\"\".attr", Reason::PadInTree);
    let control = v2(Build::new().with("\x1b[31m", 5));
    assert_eq!(refusal(control).0, "info.file tree.\"\\x1b[31m\"");
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let climbs = || Reason::Name("climbs out of the folder");
    refused(v1_files([file(5, &["a"]), file(5, &["b", "..", "c"])], 1), "info.files[1].path[1]", climbs());
    refused(v1_single(5, 1).with("name", ".."), "info.name", climbs());
    refused(v2(Build::new().with("..", leaf(5))), "info.file tree.\"..\"", climbs());
    refused(v1_files([link(&["l"], &["..", "x"])], 0), "info.files[0].symlink path[0]", climbs());
    let slash = || Reason::Name("contains a slash");
    refused(v1_files([file(5, &["/etc/passwd"])], 1), "info.files[0].path[0]", slash());
    refused(v1_single(5, 1).with("name", "a/b"), "info.name", slash());
    refused(v2(Build::new().with("a/b", leaf(5))), "info.file tree.\"a/b\"", slash());
    refused(v1_single(5, 1).with("name", "a\0b"), "info.name", Reason::Name("contains a NUL byte"));
    refused(v1_single(5, 1).with("name", "."), "info.name", Reason::Name("names the folder itself"));
    refused(
        v2(Build::new().with(".", leaf(5))),
        "info.file tree.\".\"",
        Reason::Name("names the folder itself"),
    );
    refused(v1_single(5, 1).with("name", ""), "info.name", Reason::Name("is empty"));
    refused(v1_files([file(5, &["", "."])], 1), "info.files[0].path", Reason::EmptyPath);
    let deep: Vec<&str> = vec!["a"; PATH_LENGTH_MAX];
    refused(v1_files([file(5, &deep)], 1), "info.files[0].path", Reason::PathTooLong(2 * PATH_LENGTH_MAX));
}

#[test]
fn names_are_cleaned_as_written() {
    let one = |file| parse(v1_files([file], 1)).map(|info| paths(&info).remove(0)).unwrap();
    assert_eq!(one(file(5, &["", "etc", ".", "passwd"])), "etc/passwd");
    assert_eq!(one(file(5, &["old"]).with("path.utf-8", Item::list(["new"]))), "new");
    assert_eq!(one(file(5, &["aux.c"])), "aux.c");
    let info = parse(v1_single(5, 1).with("name.utf-8", "näme")).unwrap();
    assert_eq!(info.display_name(), "näme");
    let info = parse(v1_single(5, 1).with("name", b"\xff\xfe".as_slice())).unwrap();
    assert_eq!(info.name.components().next(), Some(b"\xff\xfe".as_slice()));
}

#[test]
fn long_names_are_shortened_and_stay_different() {
    let long = |end: &str| format!("{}{end}", "é".repeat(200));
    let info = parse(v1_files([file(5, &[&long("1.tar.gz")]), file(5, &[&long("2.tar.gz")])], 1)).unwrap();
    for path in paths(&info) {
        assert!(path.len() <= 255 && path.len() > 250 && path.ends_with(".gz"), "{path}");
        assert!(path.starts_with("éé") && !path.contains(char::REPLACEMENT_CHARACTER));
    }
    assert_ne!(paths(&info)[0], paths(&info)[1]);
    let whole = "x".repeat(255);
    assert_eq!(paths(&parse(v1_single(5, 1).with("name", whole.clone())).unwrap()), [whole]);
}

#[test]
fn colliding_paths_are_refused() {
    let same = [file(5, &["a"]), file(5, &["c"]), file(5, &["", "a"])];
    refused(v1_files(same, 1), "info.files[2].path", Reason::SamePath("files[0].path".into()));
    let through = [file(5, &["a", "b", "c"]), file(5, &["a", "b-c"]), file(5, &["a", "b"])];
    refused(v1_files(through, 1), "info.files[0].path", Reason::ThroughFile("files[2].path".into()));
    let link = [link(&["a"], &["b"]), file(5, &["a", "x"])];
    refused(v1_files(link, 1), "info.files[1].path", Reason::ThroughFile("files[0].path".into()));
    // Pads may: they are never stored.
    parse(v1_files([pad(5), pad(5), file(5, &[".pad", "5"])], 1)).unwrap();
}

#[test]
fn paths_that_differ_in_case_are_kept_and_found() {
    let files = [file(5, &["xt_DSCP.h"]), file(5, &["b"]), file(5, &["xt_dscp.h"])];
    assert_eq!(parse(v1_files(files, 1)).unwrap().case_collision(), Some((0, 2)));
    let accents = [file(5, &["\u{e9}"]), file(5, &["e\u{301}"])];
    assert_eq!(parse(v1_files(accents, 1)).unwrap().case_collision(), Some((0, 1)));
    let none = [file(5, &["a"]), file(5, &["b"]), pad(5), pad(5)];
    assert_eq!(parse(v1_files(none, 1)).unwrap().case_collision(), None);
}

/// A torrent of a v2 file of three pieces, with its layer.
fn layered() -> (Build, Vec<[u8; 32]>, [u8; 32]) {
    let layer: Vec<[u8; 32]> = (1..4).map(|byte| [byte; 32]).collect();
    let root = merkle_root(&layer, 4, [0; 32]);
    let file = Build::new().with("length", 40_000).with("pieces root", root);
    let info = v2(Build::new().with("a", Build::new().with("", file)));
    (Build::new().with("info", info), layer, root)
}

fn with_layers(torrent: &Build, pairs: Vec<(Vec<u8>, Item)>) -> Result<Metainfo, MetainfoError> {
    Metainfo::parse(&Item::from(torrent.clone().with("piece layers", Item::dict(pairs))).encode())
}

#[test]
fn piece_layers_belong_to_their_roots() {
    let (torrent, layer, root) = layered();
    let one = |layer: &[[u8; 32]]| vec![(root.to_vec(), Item::from(layer.concat()))];
    let parsed = with_layers(&torrent, one(&layer)).unwrap();
    assert_eq!(parsed.piece_layers[&root].as_ref(), layer);
    assert!(parsed.truth().unwrap().missing_layers().is_empty());
    let refused = |pairs| match with_layers(&torrent, pairs).unwrap_err() {
        MetainfoError::Refused { at, reason } if at == "piece layers of \"a\"" => reason,
        other => panic!("{other:?}"),
    };
    let mut wrong = layer.clone();
    wrong[2] = [0; 32];
    assert_eq!(refused(one(&wrong)), Reason::Layer(LayerError::Root));
    let expected = Reason::Layer(LayerError::Count { found: 2, expected: 3 });
    assert_eq!(refused(one(&layer[..2])), expected);
    let cut = layer.concat()[..95].to_vec();
    assert_eq!(refused(vec![(root.to_vec(), cut.into())]), Reason::CutHashes { found: 95, hash: 32 });
    assert!(matches!(refused(vec![(root.to_vec(), 5.into())]), Reason::WrongKind { .. }));
}

#[test]
fn missing_and_unknown_piece_layers_are_passed_over() {
    let (torrent, layer, root) = layered();
    let parsed = with_layers(&torrent, vec![(vec![1; 32], "x".into()), (b"y".to_vec(), 5.into())]).unwrap();
    assert!(parsed.piece_layers.is_empty());
    // They come later, from a peer, and are saved with the torrent.
    let truth = parsed.truth().unwrap();
    assert_eq!(truth.missing_layers(), [0]);
    truth.set_layer(&parsed.info.layout, 0, layer.clone().into()).unwrap();
    let mut learnt = parsed;
    learnt.take_layers(&truth);
    let again = Metainfo::parse(&learnt.to_bytes()).unwrap();
    assert_eq!(again.piece_layers[&root].as_ref(), layer);
}

#[test]
fn addresses_are_read_and_written_again() {
    let tiers = Item::list([Item::list(["http://a/", "udp://b:1"]), Item::list(["http://c/"])]);
    let nodes = Item::list([
        Item::list([Item::from("::1"), 6881.into()]),
        Item::list([Item::from("host"), 70_000.into()]),
        Item::list([Item::from("host"), 1.into()]),
    ]);
    let torrent = Build::new()
        .with("announce", "http://ignored/")
        .with("announce-list", tiers)
        .with("url-list", "http://web/")
        .with("httpseeds", Item::list(["http://old/"]))
        .with("nodes", nodes)
        .with("comment", "hello")
        .with("created by", "me")
        .with("creation date", 7)
        .with("info", v1_single(5, 1));
    let check = |bytes: &[u8]| {
        let torrent = Metainfo::parse(bytes).unwrap();
        assert_eq!(torrent.trackers, [vec!["http://a/", "udp://b:1"], vec!["http://c/"]]);
        assert_eq!(torrent.web_seeds, ["http://web/"]);
        assert_eq!(torrent.http_seeds, ["http://old/"]);
        let node = |host: &str, port| Node { host: host.to_owned(), port };
        assert_eq!(torrent.nodes, [node("::1", 6881), node("host", 1)]);
        assert_eq!(torrent.nodes.iter().map(Node::to_string).collect::<Vec<_>>(), ["[::1]:6881", "host:1"]);
        assert_eq!(torrent.comment.as_deref(), Some("hello"));
        assert_eq!(torrent.created_by.as_deref(), Some("me"));
        assert_eq!(torrent.creation_date, Some(7));
        torrent
    };
    check(&check(&Item::from(torrent).encode()).to_bytes());
}

#[test]
fn addresses_of_no_use_are_passed_over() {
    let announce = |build: Build| {
        Metainfo::parse(&Item::from(build.with("info", v1_single(5, 1))).encode()).unwrap().trackers
    };
    // An empty list is no list: BEP 12.
    let empty = Build::new().with("announce", "http://a/").with("announce-list", Item::List(Vec::new()));
    assert_eq!(announce(empty), [["http://a/"]]);
    let odd = Item::list([Item::from(5), Item::list([Item::from(b"\xff".as_slice()), " http://b/ ".into()])]);
    assert_eq!(announce(Build::new().with("announce-list", odd)), [["http://b/"]]);
    let many = Item::list((0..1000).map(|index| Item::list([format!("http://{index}/"), "x".into()])));
    let tiers = announce(Build::new().with("announce-list", many));
    assert_eq!(tiers.iter().flatten().count(), super::ADDRESSES_MAX);
    let wrong = Build::new().with("comment", 5).with("url-list", 7).with("nodes", "x").with("announce", 5);
    assert!(announce(wrong).is_empty());
}

#[test]
fn bombs_cost_nothing() {
    let deep = [b"d4:info".as_slice(), &vec![b'l'; 1 << 20]].concat();
    let error = Metainfo::parse(&deep).unwrap_err();
    assert!(matches!(error, MetainfoError::Bencode(DecodeError { fault: Fault::TooDeep, .. })));
    let files = [b"d5:filesl".as_slice(), &b"de".repeat(1 << 20), b"e4:name1:n12:piece lengthi1e6:pieces0:e"]
        .concat();
    assert_eq!(at_and_reason(Info::parse(files.into()).unwrap_err()).0, "info.files[0].length");
    let huge = vec![b'd'; super::METAINFO_LENGTH_MAX + 1];
    assert_eq!(Metainfo::parse(&huge).unwrap_err(), MetainfoError::TooLarge(huge.len()));
}

/// A folder that is written down once, and repeated in the path of each of its files.
#[test]
fn deep_trees_do_not_multiply() {
    let folders = 15;
    let mut tree = Vec::new();
    for _ in 0..folders {
        tree.extend_from_slice(format!("d255:{}", "x".repeat(255)).as_bytes());
    }
    tree.push(b'd');
    for file in 0..20_000 {
        tree.extend_from_slice(format!("5:{file:05}d0:d6:lengthi0eee").as_bytes());
    }
    tree.extend_from_slice(&vec![b'e'; folders + 1]);
    let (at, reason) = refusal(v2(Build::new()).with("file tree", Item::Raw(tree.into())));
    assert!(at.ends_with(".\"\""));
    assert_eq!(reason, Reason::PathsTooLong);
}

#[test]
fn errors_read_as_sentences() {
    let error = parse(v1_files([file(5, &["a"]), file(5, &["b", ".."])], 1)).unwrap_err();
    assert_eq!(error.to_string(), "info.files[1].path[1]: climbs out of the folder");
    let error = parse(v1_single(5, 2)).unwrap_err();
    assert_eq!(error.to_string(), "info.pieces: has 2 hashes for 1 pieces");
    let error = parse(v1_single(5, 1).with("name", 5)).unwrap_err();
    assert_eq!(error.to_string(), "info.name: is a number, not a string");
}

proptest! {
    /// Changing any bytes of a torrent gives a torrent or a refusal, never a panic.
    #[test]
    fn damaged_torrents_never_panic(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let (torrent, layer, root) = layered();
        let torrent = torrent.with("piece layers", Item::dict([(root.to_vec(), Item::from(layer.concat()))]));
        let mut bytes = Item::from(torrent).encode();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut).max(1));
        if let Ok(torrent) = Metainfo::parse(&bytes) {
            torrent.truth().unwrap();
        }
    }
}
