use super::*;
use crate::testing::{BLOCK, Content, bytes, file, pad, touch};
use crate::{Alignment, PieceSet};
use std::sync::atomic::AtomicUsize;

const GO_ON: Progress<'_> = &|_| true;

fn plan<'a>(
    content: &'a Content,
    folder: &std::path::Path,
    v1: bool,
    v2: bool,
    threads: usize,
) -> HashPlan<'a> {
    let file = |entry: &crate::Entry| match entry.kind {
        EntryKind::File { .. } => {
            Some(HashedFile { path: folder.join(entry.path.as_path()), length: entry.length })
        }
        _ => None,
    };
    let files = content.layout.entries().iter().map(file).collect();
    HashPlan { layout: &content.layout, files, v1, v2, leaves: None, threads }
}

/// Files around every boundary: empty, one byte, blocks and pieces exactly, one more, one less.
fn lengths(piece: u64) -> Vec<u64> {
    vec![1, 0, BLOCK, BLOCK + 1, piece - 1, piece, piece + 1, 3 * piece, 5 * piece + 2 * BLOCK + 9]
}

fn padded(piece_length: u32) -> Content {
    let piece = u64::from(piece_length);
    let mut entries = Vec::new();
    for (index, length) in lengths(piece).into_iter().enumerate() {
        entries.push(file(&format!("f{index}"), length));
        entries.push(pad(length.next_multiple_of(piece) - length));
    }
    Content::new(entries, piece_length, Alignment::Stream)
}

#[test]
fn every_tree_is_the_one_the_definition_gives() {
    for piece_length in [BLOCK_LENGTH, 4 * BLOCK_LENGTH, 128 * BLOCK_LENGTH] {
        let entries: Vec<_> = (0..)
            .zip(lengths(piece_length.into()))
            .map(|(index, length)| file(&format!("f{index}"), length))
            .collect();
        for (content, v1) in [
            (padded(piece_length), true),
            (Content::new(entries.clone(), piece_length, Alignment::PerFile), false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            content.write_to(dir.path());
            for threads in [1, 3] {
                let hashed = hash(&plan(&content, dir.path(), v1, true, threads), GO_ON).unwrap();
                assert_eq!(hashed.v1, v1.then(|| content.v1()));
                assert_eq!(hashed.v2, Some(content.v2()));
            }
        }
    }
}

/// A frame that is longer around longer leaves.
fn frame(length: u32) -> LeafFrame {
    LeafFrame { prefix: length.to_be_bytes().to_vec(), suffix: vec![7; length as usize % 3] }
}

/// What the definition says of the leaves.
fn framed(content: &Content, length: u32) -> Vec<Box<[Hash32]>> {
    use sha2::{Digest, Sha256};
    let leaf = |bytes: &[u8]| {
        let LeafFrame { prefix, suffix } = frame(bytes.len() as u32);
        Sha256::new().chain_update(prefix).chain_update(bytes).chain_update(suffix).finalize().into()
    };
    let is_file = |index: usize| matches!(content.layout.entries()[index].kind, EntryKind::File { .. });
    let of_entry = |(index, bytes): (usize, &Vec<u8>)| match is_file(index) {
        true => bytes.chunks(length as usize).map(leaf).collect(),
        false => Box::default(),
    };
    content.files.iter().enumerate().map(of_entry).collect()
}

#[test]
fn leaves_of_any_length_come_with_the_same_pass() {
    for piece_length in [BLOCK_LENGTH, 4 * BLOCK_LENGTH, 128 * BLOCK_LENGTH] {
        let content = padded(piece_length);
        let dir = tempfile::tempdir().unwrap();
        content.write_to(dir.path());
        for length in [5_000, BLOCK_LENGTH, 4 * BLOCK_LENGTH, 256 * BLOCK_LENGTH] {
            for threads in [1, 3] {
                let leaves = Some(LeafPlan { length, frame: &frame });
                let plan = HashPlan { leaves, ..plan(&content, dir.path(), true, true, threads) };
                let hashed = hash(&plan, GO_ON).unwrap();
                assert!(hashed.leaves == Some(framed(&content, length)), "{piece_length} {length} {threads}");
                assert_eq!((hashed.v1, hashed.v2), (Some(content.v1()), Some(content.v2())));
            }
        }
    }
}

#[test]
fn leaves_of_files_that_begin_within_a_piece_are_refused() {
    let content = Content::new(vec![file("a", 5), file("b", 5)], BLOCK_LENGTH, Alignment::Stream);
    let dir = tempfile::tempdir().unwrap();
    content.write_to(dir.path());
    let leaves = Some(LeafPlan { length: 3, frame: &frame });
    let error = hash(&HashPlan { leaves, ..plan(&content, dir.path(), true, false, 1) }, GO_ON).unwrap_err();
    assert!(error.in_full().contains("not laid out for leaves"), "{error}");
}

#[test]
fn pieces_of_any_length_over_unpadded_files() {
    let entries = (0..60).map(|index| file(&format!("{index}"), index * 613)).collect();
    let content = Content::new(entries, 10_007, Alignment::Stream);
    let dir = tempfile::tempdir().unwrap();
    content.write_to(dir.path());
    let hashed = hash(&plan(&content, dir.path(), true, false, 2), GO_ON).unwrap();
    assert_eq!((hashed.v1, hashed.v2), (Some(content.v1()), None));
    let error = hash(&plan(&content, dir.path(), true, true, 2), GO_ON).unwrap_err();
    assert!(error.in_full().contains("not laid out"), "{error}");
}

#[test]
fn stamps_are_those_the_store_will_see() {
    let dir = tempfile::tempdir().unwrap();
    let content = padded(2 * BLOCK_LENGTH);
    let store = content.shared(dir.path());
    let hashed = hash(&plan(&content, dir.path(), true, true, 0), GO_ON).unwrap();
    assert_eq!(hashed.stamps, store.stamps());
    assert_eq!(store.verified(), PieceSet::full(content.layout.piece_count()));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    for change in [0, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(4 << 20, BLOCK_LENGTH);
        content.write_to(dir.path());
        let path = dir.path().join("file");
        let error = hash(&plan(&content, dir.path(), true, true, 1), &|_| {
            match change {
                0 => std::fs::File::options().write(true).open(&path).unwrap().set_len(3).unwrap(),
                1 => std::fs::write(&path, bytes(4 << 20, 7)).unwrap(),
                _ => std::fs::write(&path, bytes(5 << 20, 7)).unwrap(),
            }
            true
        });
        assert!(error.unwrap_err().in_full().contains("changed"));
    }
}

#[test]
fn a_file_that_is_touched_while_it_is_read_is_hashed_again_by_whoever_serves_it() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::single(4 << 20, BLOCK_LENGTH);
    content.write_to(dir.path());
    let path = dir.path().join("file");
    let hashed = hash(&plan(&content, dir.path(), true, true, 1), &|_| {
        touch(&path);
        true
    });
    let hashed = hashed.unwrap();
    assert_eq!(hashed.v1, Some(content.v1()));
    let (layout, place) = (content.layout, crate::Place::InPlace(path));
    let full = PieceSet::full(layout.piece_count());
    let store = crate::Store::new(layout, place, crate::FilePool::new(4), full, hashed.stamps);
    assert_eq!(store.check_stamps(), [0]);
}

#[test]
fn a_file_that_is_not_what_was_walked_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::new(vec![file("a", 10), file("empty", 0)], BLOCK_LENGTH, Alignment::PerFile);
    content.write_to(dir.path());
    std::fs::write(dir.path().join("empty"), "not any more").unwrap();
    assert!(hash(&plan(&content, dir.path(), true, true, 1), GO_ON).is_err());
    std::fs::write(dir.path().join("empty"), "").unwrap();
    std::fs::remove_file(dir.path().join("a")).unwrap();
    let error = hash(&plan(&content, dir.path(), true, true, 1), GO_ON).unwrap_err();
    assert_eq!(error.kind(), crate::StorageErrorKind::Vanished);
}

#[test]
fn the_caller_can_stop() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::single(8 << 20, BLOCK_LENGTH);
    content.write_to(dir.path());
    let calls = AtomicUsize::new(0);
    let error =
        hash(&plan(&content, dir.path(), true, false, 2), &|_| calls.fetch_add(1, Ordering::Relaxed) < 2);
    assert_eq!(error.unwrap_err().source.kind(), io::ErrorKind::Interrupted);
    assert!(calls.into_inner() <= 4);
}
