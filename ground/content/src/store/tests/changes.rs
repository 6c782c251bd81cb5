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
