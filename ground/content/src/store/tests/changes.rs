//! Files that change under a store.

use super::*;

/// Changes the file `a` of shared content, and checks that it is noticed and that the rest is still served.
fn check_noticed(files: usize, change: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    content.write_to(dir.path());
    let place = Place::InPlace(dir.path().to_owned());
    let full = PieceSet::full(content.layout.piece_count());
    let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(files), full, vec![]);
    let stamps = store.stamps();
    assert_eq!(stamps.iter().flatten().count(), 3);
    assert!(read_pieces(&content, &store).iter().all(|&same| same));
    change(&dir.path().join("a"));
    assert!(
        matches!(read(&store, content.piece(0)), Err(ReadError::Changed { path }) if path.ends_with("a"))
    );
    assert_eq!(store.changed(), [0]);
    let kept: Vec<_> = store.verified().iter().collect();
    assert_eq!(kept, [2, 3, 4, 5], "pieces 0 and 1 hold bytes of the changed file");
    assert_eq!(read_pieces(&content, &store), [false, false, true, true, true, true]);
    assert_eq!(store.stamps()[0], stamps[0], "what was verified stays on record");
}

#[test]
fn an_edited_file_is_no_longer_served() {
    check_noticed(8, |path| std::fs::write(path, bytes(3 * BLOCK + 5, 77)).unwrap());
}

#[test]
fn a_truncated_file_is_no_longer_served() {
    check_noticed(8, |path| std::fs::File::options().write(true).open(path).unwrap().set_len(BLOCK).unwrap());
}

#[test]
fn another_file_of_the_same_name_and_time_is_not_served() {
    check_noticed(1, |path| {
        let modified = std::fs::metadata(path).unwrap().modified().unwrap();
        let other = path.with_extension("new");
        std::fs::write(&other, bytes(3 * BLOCK + 5, 77)).unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        std::fs::rename(other, path).unwrap();
    });
}

#[test]
fn a_removed_file_is_no_longer_served() {
    check_noticed(1, |path| std::fs::remove_file(path).unwrap());
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    content.write_to(dir.path());
    std::fs::rename(dir.path().join("a"), dir.path().join("x")).unwrap();
    symlink("x", dir.path().join("a")).unwrap();
    let place = Place::InPlace(dir.path().to_owned());
    let full = PieceSet::full(content.layout.piece_count());
    let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(8), full, vec![]);
    let error = read(&store, content.piece(0)).unwrap_err();
    assert!(
        matches!(&error, ReadError::Storage(error) if error.in_full().contains("symbolic link")),
        "{error:?}"
    );
}

#[test]
fn a_vanished_folder_loses_nothing_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    let folder = dir.path().join("share");
    content.write_to(&folder);
    let place = Place::InPlace(folder.clone());
    let full = PieceSet::full(content.layout.piece_count());
    let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(1), full, vec![]);
    std::fs::rename(&folder, dir.path().join("away")).unwrap();
    match read(&store, content.piece(0)) {
        Err(ReadError::Storage(error)) => assert_eq!(error.kind(), StorageErrorKind::Vanished),
        other => panic!("{other:?}"),
    }
    assert!(store.verified().is_full());
    std::fs::rename(dir.path().join("away"), &folder).unwrap();
    assert!(read_pieces(&content, &store).iter().all(|&same| same));
}

#[test]
fn files_that_cannot_be_looked_at_are_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::single(BLOCK, PIECE);
    let folder = dir.path().join("mount");
    for path in [folder.clone(), folder.join("file")] {
        content.write_to(&folder);
        let full = PieceSet::full(1);
        let place = Place::InPlace(path);
        let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(8), full, vec![]);
        store.stamps();
        store.close();
        std::fs::rename(&folder, dir.path().join("away")).unwrap();
        assert!(store.check_stamps().is_empty() && store.verified().is_full());
        std::fs::rename(dir.path().join("away"), &folder).unwrap();
        assert!(store.check_stamps().is_empty());
        std::fs::remove_file(folder.join("file")).unwrap();
        assert_eq!(store.check_stamps(), [0]);
    }
}

#[test]
fn all_files_are_checked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    let store = content.shared(dir.path());
    assert_eq!(store.check_stamps(), [0_usize; 0]);
    std::fs::remove_file(dir.path().join("b")).unwrap();
    std::fs::write(dir.path().join("c/d"), "short").unwrap();
    assert_eq!(store.check_stamps(), [1, 3]);
    assert_eq!(store.verified().iter().collect::<Vec<_>>(), [0]);
    assert_eq!(store.changed(), [1, 3]);
}

/// Hashes what is in doubt, as whoever owns the store does.
fn hash_doubted(content: &Content, store: &Store) {
    let truth = content.truth(crate::testing::Hashes::V1);
    crate::recheck(store, &truth, &store.doubted(), 1, &|_| true);
    assert!(store.doubted().is_empty());
}

#[test]
fn a_file_of_which_only_the_mode_changed_is_served_again_once_it_is_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    let store = content.shared(dir.path());
    let before = store.stamps();
    touch(&dir.path().join("a"));
    assert!(
        matches!(read(&store, content.piece(0)), Err(ReadError::Touched { path }) if path.ends_with("a"))
    );
    assert!(matches!(read(&store, content.piece(1)), Err(ReadError::InDoubt { .. })), "told once");
    assert!(store.check_stamps().is_empty(), "known by now");
    assert_eq!(read_pieces(&content, &store), [false, false, true, true, true, true]);
    assert!(store.verified().is_full() && store.changed().is_empty());
    assert!(store.doubted().iter().eq([0, 1]) && store.is_doubted(1) && !store.is_doubted(2));
    assert_eq!(store.stamps(), before, "on record is what was verified");
    hash_doubted(&content, &store);
    assert!(read_pieces(&content, &store).iter().all(|&same| same));
    assert_eq!(store.check_stamps(), [0_usize; 0], "hashed once for each change");
    assert_ne!(store.stamps()[0], before[0]);
    touch(&dir.path().join("a"));
    assert_eq!(store.check_stamps(), [0]);
}

#[test]
fn an_edit_behind_its_time_is_never_served_and_named_once_it_is_hashed() {
    for is_download in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = if is_download { content.download(dir.path()) } else { content.shared(dir.path()) };
        if is_download {
            write_all(&content, &store).unwrap();
        }
        let before = store.stamps();
        let film = dir.path().join("a");
        edit_unseen(&film, 9, b"edited");
        assert_eq!(store.check_stamps(), [0]);
        assert!(matches!(read(&store, content.piece(0)), Err(ReadError::InDoubt { .. })));
        hash_doubted(&content, &store);
        assert_eq!((store.changed(), store.in_the_way()), (vec![0], Some(0)));
        assert_eq!(read_pieces(&content, &store), [false, true, true, true, true, true]);
        assert_eq!(store.stamps()[0], before[0], "what was verified stays on record");
        assert!(store.yielded().back.is_empty(), "it is known to be another");
        // What is still true of it is looked after all the same.
        touch(&film);
        assert_eq!(store.check_stamps(), [0]);
        hash_doubted(&content, &store);
        assert_eq!((store.changed(), store.in_the_way()), (vec![0], Some(0)));
        assert_eq!(read_pieces(&content, &store), [false, true, true, true, true, true]);
        edit_unseen(&film, 2 * BLOCK, b"edited");
        assert!(matches!(read(&store, content.piece(1)), Err(ReadError::Touched { .. })));
        hash_doubted(&content, &store);
        std::fs::write(&film, "edited").unwrap();
        store.check_stamps();
        assert_eq!((store.in_the_way(), store.stamps()[0]), (Some(0), before[0]));
        assert!(store.is_disputed(0), "nothing is written over it");
    }
}

#[test]
fn an_edit_that_was_undone_is_found_true() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    let store = content.download(dir.path());
    write_all(&content, &store).unwrap();
    let film = dir.path().join("a");
    edit_unseen(&film, 9, b"edited");
    store.check_stamps();
    hash_doubted(&content, &store);
    edit_unseen(&film, 9, &content.files[0][9..15]);
    let yielded = store.yielded();
    assert!(yielded.back.iter().eq([0, 1]) && yielded.gone.is_empty(), "{yielded:?}");
    assert_eq!(store.in_the_way(), Some(0), "until it is hashed");
    assert!(store.yielded().back.is_empty(), "once");
    hash_doubted(&content, &store);
    assert!(store.verified().is_full() && store.in_the_way().is_none() && !store.is_disputed(0));
    assert!(store.check_stamps().is_empty() && read_pieces(&content, &store).iter().all(|&same| same));
}

#[test]
fn a_file_touched_while_it_is_hashed_is_hashed_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    let store = content.shared(dir.path());
    let all = PieceSet::full(content.layout.piece_count());
    let truth = content.truth(crate::testing::Hashes::V1);
    let found = crate::recheck(&store, &truth, &all, 1, &|_| {
        touch(&dir.path().join("a"));
        true
    });
    assert!(found.proven.is_full() && store.changed().is_empty());
    assert_eq!(store.check_stamps(), [0], "an edit may hide behind it");
    hash_doubted(&content, &store);
    assert!(store.check_stamps().is_empty() && read_pieces(&content, &store).iter().all(|&same| same));
}

#[test]
fn a_recheck_of_some_pieces_leaves_a_touched_file_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let content = three_files();
    let store = content.shared(dir.path());
    touch(&dir.path().join("c/d"));
    let mut some = PieceSet::empty(content.layout.piece_count());
    some.insert(3);
    crate::recheck(&store, &content.truth(crate::testing::Hashes::V1), &some, 1, &|_| true);
    assert!(store.verified().is_full());
    assert_eq!(store.check_stamps(), [3]);
    assert!(store.doubted().iter().eq([2, 3, 4, 5]));
    crate::recheck(&store, &content.truth(crate::testing::Hashes::V1), &some, 1, &|_| true);
    assert!(store.doubted().iter().eq([2, 4, 5]) && store.is_doubted(3));
    assert!(matches!(read(&store, content.piece(3)), Err(ReadError::InDoubt { .. })), "as long as any is");
    hash_doubted(&content, &store);
    // It may have been touched between the two.
    assert_eq!(store.check_stamps(), [3]);
    hash_doubted(&content, &store);
    assert!(read_pieces(&content, &store).iter().all(|&same| same));
}

#[test]
fn an_empty_file_has_nothing_to_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::new(vec![file("a", 9), file("empty", 0)], PIECE, Alignment::PerFile);
    let store = content.shared(dir.path());
    let before = store.stamps();
    touch(&dir.path().join("empty"));
    assert!(store.check_stamps().is_empty() && store.doubted().is_empty());
    assert_ne!(store.stamps()[1], before[1]);
}
