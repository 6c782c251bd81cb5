use super::*;
use crate::testing::{BLOCK, Content, edit_unseen, file, touch};
use crate::{Alignment, BLOCK_LENGTH, Entry, EntryKind, FilePool, Place};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const BOOT: Option<&[u8]> = Some(b"boot 1");
const LATER_BOOT: Option<&[u8]> = Some(b"boot 2");
const PIECES: u32 = 300;

fn open(path: &Path, boot: Option<&[u8]>) -> (Journal, Resumed) {
    Journal::open_under(path, b"content", PIECES, 2, boot).unwrap()
}

fn sets(resumed: &Resumed) -> (Vec<PieceIndex>, Vec<PieceIndex>) {
    (resumed.verified.iter().collect(), resumed.suspect.iter().collect())
}

fn stamp(length: u64) -> Option<FileStamp> {
    Some(FileStamp { length, modified_ns: -5, inode: u64::MAX, changed_ns: Some(-3) })
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

#[test]
fn what_was_committed_is_believed_under_the_same_boot() {
    let (_dir, path) = place();
    let (mut journal, resumed) = open(&path, BOOT);
    assert_eq!(sets(&resumed), (vec![], vec![]));
    journal.verified(&[3, 1, 2]);
    journal.verified(&[200]);
    journal.lost(&[2]);
    journal.describe(&[stamp(7), None], b"note", (1, u64::MAX));
    journal.commit(false).unwrap();
    journal.verified(&[9]);
    drop(journal);
    let (_, resumed) = open(&path, BOOT);
    assert_eq!(sets(&resumed), (vec![1, 3, 200], vec![]));
    assert_eq!(
        (resumed.stamps, resumed.note, resumed.totals),
        (vec![stamp(7), None], b"note".to_vec(), (1, u64::MAX))
    );
}

#[test]
fn after_a_power_loss_only_what_was_synced_is_believed() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    journal.verified(&[1, 2]);
    journal.commit(true).unwrap();
    journal.verified(&[3]);
    journal.commit(false).unwrap();
    drop(journal);
    for _ in 0..2 {
        let (_, resumed) = open(&path, LATER_BOOT);
        assert_eq!(sets(&resumed), (vec![1, 2], vec![3]));
    }
    // Rechecked under the new boot, one is true and one is not.
    let (mut journal, _) = open(&path, LATER_BOOT);
    journal.verified(&[3]);
    journal.lost(&[1]);
    journal.commit(false).unwrap();
    drop(journal);
    assert_eq!(sets(&open(&path, LATER_BOOT).1), (vec![2, 3], vec![]));
    assert_eq!(
        sets(&open(&path, BOOT).1),
        (vec![2], vec![3]),
        "a boot before or after is another one all the same"
    );
}

#[test]
fn a_flush_covers_what_was_verified_before_it_began() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    journal.verified(&[1, 2]);
    journal.commit(false).unwrap();
    journal.verified(&[3]);
    journal.begin_flush();
    journal.verified(&[4]);
    journal.lost(&[2]);
    journal.verified(&[2]);
    journal.commit(false).unwrap();
    journal.verified(&[5]);
    journal.commit(true).unwrap();
    drop(journal);
    assert_eq!(sets(&open(&path, BOOT).1), (vec![1, 2, 3, 4, 5], vec![]));
    assert_eq!(sets(&open(&path, LATER_BOOT).1), (vec![1, 3], vec![2, 4, 5]));
}

#[test]
fn what_a_former_process_left_unflushed_is_told() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    journal.verified(&[1]);
    journal.commit(true).unwrap();
    journal.verified(&[2]);
    journal.commit(false).unwrap();
    drop(journal);
    assert!(open(&path, BOOT).1.unsynced.iter().eq([2]));
}

#[test]
fn doubt_survives_until_a_verdict() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    journal.verified(&[1, 2, 3]);
    journal.suspect(&[1, 2]);
    journal.commit(false).unwrap();
    drop(journal);
    let (mut journal, resumed) = open(&path, BOOT);
    assert_eq!(sets(&resumed), (vec![3], vec![1, 2]));
    journal.verified(&[1]);
    journal.lost(&[2]);
    journal.commit(false).unwrap();
    drop(journal);
    assert_eq!(sets(&open(&path, BOOT).1), (vec![1, 3], vec![]));
}

#[test]
fn where_the_boot_is_not_known_only_what_was_synced_is_believed() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, None);
    journal.verified(&[1]);
    journal.commit(true).unwrap();
    journal.verified(&[2]);
    journal.commit(false).unwrap();
    drop(journal);
    assert_eq!(sets(&open(&path, None).1), (vec![1], vec![2]));
}

#[test]
fn one_process_at_a_time_even_after_it_was_written_anew() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    for _ in 0..2 {
        let error = Journal::open_under(&path, b"content", PIECES, 2, BOOT).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::WouldBlock);
        journal.write_anew(true).unwrap();
    }
    drop(journal);
    open(&path, BOOT);
}

#[test]
fn a_journal_of_other_content_is_refused() {
    let (_dir, path) = place();
    drop(open(&path, BOOT));
    for (identity, pieces, entries) in
        [(b"another".as_slice(), PIECES, 2), (b"content", 5, 2), (b"content", PIECES, 3)]
    {
        let error = Journal::open_under(&path, identity, pieces, entries, BOOT).unwrap_err();
        assert!(error.in_full().contains("other content"), "{error}");
    }
    std::fs::write(&path, "something else entirely").unwrap();
    assert!(Journal::open_under(&path, b"content", PIECES, 2, BOOT).is_err());
    assert!(Journal::peek(&path).is_err());
}

#[test]
fn a_look_neither_locks_nor_repairs() {
    let (_dir, path) = place();
    let (mut journal, _) = Journal::open(&path, b"content", PIECES, 2).unwrap();
    journal.verified(&[5]);
    journal.describe(&[None, None], b"note", (1, 2));
    journal.commit(false).unwrap();
    let (identity, resumed) = Journal::peek(&path).unwrap();
    assert_eq!((identity, resumed.note, resumed.totals), (b"content".to_vec(), b"note".to_vec(), (1, 2)));
    assert_eq!(resumed.verified.count(), 1);
}

/// Written before change times were asked for.
#[test]
fn a_stamp_of_an_old_journal_is_read() {
    let untimed = stamp(9).map(|stamp| FileStamp { changed_ns: None, ..stamp });
    let mut old = vec![7, 1, 1, 9];
    old.extend([[0xff; 9].as_slice(), &[1], &(-5_i128).to_le_bytes()].concat());
    let item = Item::Stamp(1, untimed);
    assert_eq!(frame::encode(std::slice::from_ref(&item))[12..], old);
    let (_dir, path) = place();
    drop(open(&path, BOOT));
    let journal = [std::fs::read(&path).unwrap(), frame::encode(&[item])].concat();
    std::fs::write(&path, journal).unwrap();
    let (mut journal, resumed) = open(&path, BOOT);
    assert_eq!(resumed.stamps, [None, untimed]);
    journal.describe(&[None, stamp(9)], b"", (0, 0));
    journal.commit(false).unwrap();
    drop(journal);
    assert_eq!(open(&path, BOOT).1.stamps, [None, stamp(9)]);
}

#[test]
fn it_stays_short() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    for round in 0..5_000 {
        journal.verified(&[round % PIECES]);
        journal.describe(&[stamp(round.into()), None], b"note", (round.into(), 0));
        journal.commit(false).unwrap();
        assert!(journal.end <= 2 * COMPACT_MIN, "{}", journal.end);
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), journal.end);
    drop(journal);
    assert!(open(&path, BOOT).1.verified.is_full());
}

#[test]
fn nothing_new_writes_nothing() {
    let (_dir, path) = place();
    let (mut journal, _) = open(&path, BOOT);
    journal.verified(&[1]);
    journal.describe(&[stamp(1), None], b"n", (1, 1));
    journal.commit(true).unwrap();
    let end = journal.end;
    journal.verified(&[]);
    journal.describe(&[stamp(1), None], b"n", (1, 1));
    journal.commit(true).unwrap();
    assert_eq!(journal.end, end);
}

#[test]
fn a_failed_write_keeps_the_queue() {
    let Some(disk) = crate::testing::TinyDisk::new("size=64k") else { return };
    let path = disk.path().join("journal");
    let (mut journal, _) = open(&path, BOOT);
    std::fs::write(disk.path().join("full"), vec![1; 56 << 10]).unwrap();
    journal.verified(&[7]);
    journal.describe(&[None, None], &vec![2; 9 << 10], (0, 0));
    let error = journal.commit(false).unwrap_err();
    assert_eq!(error.kind(), crate::StorageErrorKind::NoSpace, "{error}");
    std::fs::remove_file(disk.path().join("full")).unwrap();
    journal.commit(false).unwrap();
    drop(journal);
    let (_, resumed) = open(&path, BOOT);
    assert_eq!((sets(&resumed).0, resumed.note.len()), (vec![7], 9 << 10));
}

/// A journal with a history in which every order matters, and the pieces that were believed after each of its commits, by the length
/// that the file had then.
fn history(path: &Path) -> Vec<(usize, BTreeSet<PieceIndex>)> {
    let (mut journal, _) = open(path, BOOT);
    let mut commits = vec![(journal.end as usize, BTreeSet::new())];
    let mut believed = BTreeSet::new();
    for round in 0..12 {
        let new = [round * 3, round * 3 + 1];
        journal.verified(&new);
        believed.extend(new);
        if round % 3 == 1 {
            // In the same commit a piece is verified and lost: no half of it may count.
            let lost = [round * 3, round];
            journal.lost(&lost);
            lost.iter().for_each(|piece| {
                believed.remove(piece);
            });
        }
        journal.describe(&[stamp(round.into()), None], &[round as u8; 5], (1, 1));
        journal.commit(round % 4 == 2).unwrap();
        commits.push((journal.end as usize, believed.clone()));
    }
    commits
}

#[test]
fn cut_off_anywhere_it_believes_what_the_last_whole_commit_said() {
    let (_dir, path) = place();
    let commits = history(&path);
    let bytes = std::fs::read(&path).unwrap();
    for cut in 1..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let Ok((mut journal, resumed)) = Journal::open_under(&path, b"content", PIECES, 2, BOOT) else {
            assert!(cut < commits[0].0, "only a journal without a head is refused");
            continue;
        };
        let (_, believed) = commits.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        assert!(resumed.verified.iter().eq(believed.iter().copied()), "cut at {cut}");
        // It goes on from there.
        journal.verified(&[299]);
        journal.commit(false).unwrap();
        drop(journal);
        let (_, resumed) = open(&path, BOOT);
        assert!(resumed.verified.iter().eq(believed.iter().copied().chain([299])), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_makes_it_believe_nothing_wrong() {
    let (_dir, path) = place();
    let truth = history(&path).pop().unwrap().1;
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            for _ in 0..2 {
                let Ok((mut journal, resumed)) = Journal::open_under(&path, b"content", PIECES, 2, BOOT)
                else {
                    break;
                };
                assert!(resumed.verified.iter().all(|piece| truth.contains(&piece)), "flip {flip} at {at}");
                // Nor after it went on as if nothing had been.
                journal.describe(&[None, None], b"x", (0, 0));
                journal.commit(false).unwrap();
            }
        }
    }
}

proptest! {
    /// Garbage is refused or believed in nothing, and never panics.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 1..200), keep_head: bool) {
        let (_dir, path) = place();
        let mut content = Vec::new();
        if keep_head {
            drop(open(&path, BOOT));
            content = std::fs::read(&path).unwrap();
        }
        content.extend(bytes);
        std::fs::write(&path, &content).unwrap();
        match Journal::open_under(&path, b"content", PIECES, 2, BOOT) {
            Ok((_, resumed)) => prop_assert!(keep_head && resumed.verified.is_empty()),
            Err(_) => prop_assert!(!keep_head),
        }
    }

    /// Items survive the disk, whatever they say.
    #[test]
    fn pieces_round_trip(pieces in prop::collection::btree_set(any::<u32>().prop_map(|piece| piece % (u32::MAX - 1)), 0..50)) {
        let untimed = stamp(8).map(|stamp| FileStamp { changed_ns: None, ..stamp });
        let stamps = [Item::Stamp(3, stamp(9)), Item::Stamp(4, untimed), Item::Stamp(5, None)];
        let mut items = vec![Item::Verified(pieces.iter().copied().collect()), Item::Totals(u64::MAX, 0)];
        items.extend(stamps);
        let bytes = frame::encode(&items);
        prop_assert_eq!(frame::decode(&bytes), Ok((items, bytes.len())));
    }
}

mod resuming {
    use super::*;

    const PIECE: u32 = 2 * BLOCK_LENGTH;

    /// A share of two files of three pieces each, its journal at rest, and what happens to it before it is resumed.
    fn check(stamped: bool, between: impl FnOnce(&Path), verified: &[PieceIndex], suspect: &[PieceIndex]) {
        let dir = tempfile::tempdir().unwrap();
        let entries = vec![file("a", 6 * BLOCK), file("b", 6 * BLOCK)];
        let content = Content::new(entries, PIECE, Alignment::PerFile);
        let folder = dir.path().join("folder");
        let stamps = content.shared(&folder).stamps();
        between(&folder);
        let full = PieceSet::full(6);
        let stamps = if stamped { stamps } else { vec![None; 2] };
        let mut resumed = Resumed {
            verified: full.clone(),
            suspect: PieceSet::empty(6),
            unsynced: PieceSet::empty(6),
            stamps: stamps.clone(),
            note: vec![],
            totals: (0, 0),
        };
        let place = Place::InPlace(folder.clone());
        let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(4), full, stamps);
        resumed.check(&store).unwrap();
        assert_eq!(sets(&resumed), (verified.to_vec(), suspect.to_vec()));
        assert_eq!(store.verified(), resumed.verified);
    }

    #[test]
    fn files_that_are_as_they_were_are_believed() {
        check(true, |_| {}, &[0, 1, 2, 3, 4, 5], &[]);
        check(false, |_| {}, &[0, 1, 2, 3, 4, 5], &[]);
    }

    #[test]
    fn an_edited_file_is_suspect_as_far_as_it_reaches() {
        let edit = |folder: &Path, blocks| {
            std::fs::write(folder.join("a"), vec![0; blocks * BLOCK as usize]).unwrap();
        };
        check(true, |folder| edit(folder, 4), &[3, 4, 5], &[0, 1]);
        // A part of a piece, too, is somebody's.
        check(true, |folder| edit(folder, 5), &[3, 4, 5], &[0, 1, 2]);
    }

    #[test]
    fn a_file_that_is_gone_is_gone() {
        check(true, |folder| std::fs::remove_file(folder.join("b")).unwrap(), &[0, 1, 2], &[]);
        check(false, |folder| std::fs::remove_file(folder.join("b")).unwrap(), &[0, 1, 2], &[]);
    }

    #[test]
    fn an_unfinished_file_is_believed_up_to_its_end() {
        let cut = |folder: &Path| {
            let file = std::fs::File::options().write(true).open(folder.join("a")).unwrap();
            file.set_len(3 * BLOCK).unwrap();
        };
        check(false, cut, &[0, 3, 4, 5], &[]);
    }

    /// A complete download of two files that have a piece in common, after something happened to it while nobody ran; `unsynced` was
    /// lost with the power. Gives what a recheck of what is suspect leaves.
    fn download(unsynced: &[PieceIndex], between: impl FnOnce(&Path)) -> Store {
        let dir = tempfile::tempdir().unwrap();
        let content =
            Content::new(vec![file("a", 5 * BLOCK), file("b", 5 * BLOCK)], PIECE, Alignment::Stream);
        content.write_to(dir.path());
        let full = PieceSet::full(5);
        let make = |verified: &PieceSet, stamps: Vec<_>| {
            let preallocation = crate::Preallocation::Sparse;
            let place = Place::Download { folder: dir.path().to_owned(), root: None, preallocation };
            Store::new(Arc::clone(&content.layout), place, FilePool::new(4), verified.clone(), stamps)
        };
        let stamps = make(&full, vec![]).stamps();
        assert!(stamps.iter().all(Option::is_some));
        between(dir.path());
        let mut resumed = Resumed {
            verified: full,
            suspect: PieceSet::empty(5),
            unsynced: PieceSet::empty(5),
            stamps: stamps.clone(),
            note: vec![],
            totals: (0, 0),
        };
        unsynced.iter().for_each(|piece| {
            resumed.verified.remove(*piece);
            resumed.suspect.insert(*piece);
        });
        let store = make(&resumed.verified, stamps.clone());
        resumed.check(&store).unwrap();
        let truth = content.truth(crate::testing::Hashes::V1);
        crate::recheck(&store, &truth, &resumed.suspect, 1, &|_| true);
        let on_record = store.stamps()[0] == stamps[0];
        assert!(store.in_the_way().is_none() || on_record, "the record keeps the stamp of what was verified");
        store
    }

    fn damage(folder: &Path, at: u64) {
        use std::os::unix::fs::FileExt;
        let file = file_in(folder);
        file.write_all_at(b"edited", at).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn what_somebody_edited_is_held_for_them_until_they_say_otherwise() {
        let store = download(&[], |folder| damage(folder, 9));
        assert_eq!(store.in_the_way(), Some(0));
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(store.is_disputed(0) && store.is_disputed(2) && !store.is_disputed(3));
        store.end_disputes();
        assert!(store.in_the_way().is_none() && !store.is_disputed(0));
    }

    #[test]
    fn what_was_only_touched_is_as_true_as_before() {
        let store = download(&[], |folder| {
            file_in(folder).set_modified(std::time::UNIX_EPOCH).unwrap();
        });
        assert!(store.verified().is_full() && store.in_the_way().is_none() && !store.is_disputed(0));
    }

    #[test]
    fn an_edit_behind_its_time_is_held_like_any_other() {
        let edit = |folder: &Path| edit_unseen(&folder.join("a"), 9, b"edited");
        let store = download(&[], edit);
        assert_eq!(store.in_the_way(), Some(0));
        assert!(store.verified().iter().eq([1, 2, 3, 4]) && store.is_disputed(0));
    }

    #[test]
    fn a_file_of_which_only_the_mode_changed_is_hashed_again_and_as_true_as_before() {
        let change_mode = |folder: &Path| touch(&folder.join("a"));
        check(true, change_mode, &[3, 4, 5], &[0, 1, 2]);
        let store = download(&[], change_mode);
        assert!(store.verified().is_full() && store.in_the_way().is_none() && !store.is_disputed(0));
    }

    #[test]
    fn an_old_stamp_is_believed_and_gets_the_change_time() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::new(vec![file("a", BLOCK)], PIECE, Alignment::PerFile);
        let timed = content.shared(dir.path()).stamps();
        let untimed = timed.iter().flatten().map(|stamp| Some(FileStamp { changed_ns: None, ..*stamp }));
        let untimed: Vec<_> = untimed.collect();
        let full = PieceSet::full(1);
        let place = Place::InPlace(dir.path().to_owned());
        let store = Store::new(content.layout, place, FilePool::new(4), full.clone(), untimed.clone());
        let none = PieceSet::empty(1);
        let (suspect, unsynced) = (none.clone(), none);
        let mut resumed =
            Resumed { verified: full, suspect, unsynced, stamps: untimed, note: vec![], totals: (0, 0) };
        resumed.check(&store).unwrap();
        assert!(resumed.verified.is_full() && resumed.suspect.is_empty());
        assert_eq!(store.stamps(), timed);
    }

    /// What we do to a file ourselves comes before its stamp.
    #[test]
    fn a_download_with_executable_files_is_not_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let executable = |name| Entry { kind: EntryKind::File { executable: true }, ..file(name, 2 * BLOCK) };
        let empty = Entry { length: 0, ..executable("empty") };
        let content =
            Content::new(vec![executable("new"), executable("found"), empty], PIECE, Alignment::PerFile);
        for name in ["found", "empty"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let preallocation = crate::Preallocation::Full;
        let place = Place::Download { folder: dir.path().to_owned(), root: None, preallocation };
        let store = content.download_to(place.clone());
        for piece in 0..2 {
            store.write(piece, 0, &[&content.bytes_of(content.piece(piece))]).unwrap();
            store.complete(piece);
        }
        store.finish().unwrap();
        store.sync().unwrap();
        let stamps = store.stamps();
        assert_eq!(stamps.iter().flatten().count(), 3);
        assert!(store.check_stamps().is_empty());
        drop(store);
        let full = PieceSet::full(2);
        let none = PieceSet::empty(2);
        let store = Store::new(content.layout, place, FilePool::new(4), full.clone(), stamps.clone());
        let (suspect, unsynced) = (none.clone(), none);
        let mut resumed = Resumed { verified: full, suspect, unsynced, stamps, note: vec![], totals: (0, 0) };
        resumed.check(&store).unwrap();
        store.finish().unwrap();
        assert!(resumed.suspect.is_empty() && resumed.verified.is_full());
        assert!(store.check_stamps().is_empty());
    }

    #[test]
    fn what_a_power_loss_ate_is_nobodys_work() {
        let store = download(&[0], |folder| damage(folder, 9));
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(store.in_the_way().is_none() && !store.is_disputed(0));
    }

    #[test]
    fn a_file_cut_short_between_pieces_lost_nothing_that_is_anybodys() {
        let cut = |length| move |folder: &Path| file_in(folder).set_len(length).unwrap();
        let store = download(&[], cut(4 * BLOCK));
        assert!(store.in_the_way().is_none() && !store.is_disputed(2));
        let store = download(&[], cut(4 * BLOCK + 1));
        assert_eq!(store.in_the_way(), Some(0));
        let store = download(&[], |folder| std::fs::remove_file(folder.join("a")).unwrap());
        assert!(store.in_the_way().is_none() && store.verified().iter().eq([3, 4]));
    }

    fn file_in(folder: &Path) -> std::fs::File {
        std::fs::File::options().write(true).open(folder.join("a")).unwrap()
    }

    #[test]
    fn a_folder_that_is_not_mounted_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::new(vec![file("a", 9), file("b", 9)], PIECE, Alignment::PerFile);
        let folder = dir.path().join("folder");
        let store = content.shared(&folder);
        let mut resumed = Resumed {
            verified: PieceSet::full(2),
            suspect: PieceSet::empty(2),
            unsynced: PieceSet::empty(2),
            stamps: store.stamps(),
            note: vec![],
            totals: (0, 0),
        };
        store.close();
        std::fs::rename(&folder, dir.path().join("away")).unwrap();
        let error = resumed.check(&store).unwrap_err();
        assert_eq!(error.kind(), crate::StorageErrorKind::Vanished);
        assert!(resumed.verified.is_full() && store.verified().is_full());
    }
}
