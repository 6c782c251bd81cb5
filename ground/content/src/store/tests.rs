use super::*;
use crate::testing::{BLOCK, Content, FullDevice, TinyDisk, bytes, edit_unseen, file, pad, path, touch};
use crate::{Alignment, BLOCK_LENGTH, BlockPool, Entry, EntryKind, RelPath, StorageErrorKind};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

const PIECE: u32 = 2 * BLOCK_LENGTH;

/// Three files over six pieces; the second piece holds the end of `a`, the third file is in a folder.
fn three_files() -> Content {
    let entries = vec![file("a", 3 * BLOCK + 5), file("b", 100), pad(BLOCK - 105), file("c/d", 7 * BLOCK)];
    Content::new(entries, PIECE, Alignment::Stream)
}

fn write_piece(content: &Content, store: &Store, piece: PieceIndex) -> Result<(), StorageError> {
    let pool = BlockPool::new(64);
    let blocks: Vec<_> = (0..content.layout.block_count(piece))
        .map(|index| content.buf(&pool, content.layout.block(piece, index)))
        .collect();
    let blocks: Vec<&[u8]> = blocks.iter().map(|block| &**block).collect();
    store.write(piece, 0, &blocks)?;
    store.complete(piece);
    Ok(())
}

fn write_all(content: &Content, store: &Store) -> Result<(), StorageError> {
    (0..content.layout.piece_count()).try_for_each(|piece| write_piece(content, store, piece))
}

fn read(store: &Store, block: Block) -> Result<Vec<u8>, ReadError> {
    let mut into = vec![0xee; block.length as usize];
    store.read(block, &mut into).map(|()| into)
}

fn read_pieces(content: &Content, store: &Store) -> Vec<bool> {
    let same = |piece| {
        read(store, content.piece(piece)).is_ok_and(|found| found == content.bytes_of(content.piece(piece)))
    };
    (0..content.layout.piece_count()).map(same).collect()
}

mod reading {
    use super::*;

    #[test]
    fn blocks_run_over_files_and_padding() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = content.shared(dir.path());
        assert!(read_pieces(&content, &store).iter().all(|&same| same));
        let block = Block { piece: 1, begin: BLOCK_LENGTH - 3, length: 300 };
        assert_eq!(read(&store, block).unwrap(), content.bytes_of(block));
        assert!(store.is_resident(content.piece(1), 1 << 20));
    }

    /// libtorrent pads every v2 file to the end of its last piece and asks for whole blocks there.
    #[test]
    fn the_gap_behind_a_v2_file_is_served_as_zeros_but_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        let entry = Entry {
            path: RelPath::from_components(["file"]).unwrap(),
            length: 100,
            kind: EntryKind::File { executable: false },
            offset: 0,
        };
        let layout = Arc::new(Layout::new(vec![entry], 2 * BLOCK_LENGTH, Alignment::PerFile).unwrap());
        let store =
            Store::new(layout.clone(), Place::InPlace(path), FilePool::new(4), PieceSet::full(1), Vec::new());
        let block = Block { piece: 0, begin: 0, length: BLOCK_LENGTH };
        assert!(layout.serves(block) && !layout.contains(block));
        let bytes = read(&store, block).unwrap();
        assert!(bytes[..100] == [7; 100] && bytes[100..].iter().all(|byte| *byte == 0));
        let beyond = Block { piece: 0, begin: BLOCK_LENGTH, length: BLOCK_LENGTH };
        assert!(matches!(read(&store, beyond), Err(ReadError::OutOfBounds(_))));
    }

    #[test]
    fn what_is_not_verified_or_not_there_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = content.shared(dir.path());
        store.set_verified(1, false);
        assert!(matches!(read(&store, content.piece(1)), Err(ReadError::NotVerified(1))));
        assert!(matches!(store.sending(content.piece(1)), Err(ReadError::NotVerified(1))));
        for (piece, begin, length) in [(99, 0, 1), (0, PIECE - 1, 2), (0, 0, 0), (0, u32::MAX, 2)] {
            let block = Block { piece, begin, length };
            assert!(matches!(read(&store, block), Err(ReadError::OutOfBounds(_))), "{block:?}");
        }
        assert_eq!(
            store.verified_bytes(),
            content.layout.content_length() - content.layout.piece_file_bytes(1)
        );
    }

    #[test]
    fn a_file_open_for_others_survives_a_pool_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        content.write_to(dir.path());
        let place = Place::InPlace(dir.path().to_owned());
        let full = PieceSet::full(content.layout.piece_count());
        let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(1), full, vec![]);
        let mut early = store.sending(content.piece(0)).unwrap();
        assert!(read_pieces(&content, &store).iter().all(|&same| same));
        let mut into = vec![0; PIECE as usize];
        assert_eq!(early.copy(&mut into).unwrap(), PIECE as usize);
        assert_eq!(into, content.bytes_of(content.piece(0)));
    }

    #[test]
    fn a_single_file_is_its_own_path_even_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(BLOCK + 1, PIECE);
        content.write_to(dir.path());
        symlink("file", dir.path().join("link")).unwrap();
        for name in ["file", "link"] {
            let place = Place::InPlace(dir.path().join(name));
            let full = PieceSet::full(1);
            let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(8), full, vec![]);
            assert_eq!(read(&store, content.piece(0)).unwrap(), content.files[0]);
            assert_eq!(store.path_of(0), dir.path().join(name));
        }
        // A folder with one file in it is the same content to the layout, and another to the disk.
        let store = content.shared(dir.path());
        assert_eq!(read(&store, content.piece(0)).unwrap(), content.files[0]);
        assert_eq!(store.path_of(0), dir.path().join("file"));
    }
}

mod sending {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_slow_socket_gets_every_byte_once() {
        let dir = tempfile::tempdir().unwrap();
        let entries = vec![file("a", 100_000), pad(50_000), file("b", 300_000)];
        let content = Content::new(entries, 1 << 19, Alignment::Stream);
        let store = content.shared(dir.path());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut sending = store.sending(content.piece(0)).unwrap();
        let mut received = Vec::new();
        let mut waits = 0;
        while sending.remaining() > 0 {
            match sending.send(&ours, false) {
                Ok(sent) => assert!(sent > 0),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    waits += 1;
                    let mut some = [0; 30_000];
                    let read = theirs.read(&mut some).unwrap();
                    received.extend_from_slice(&some[..read]);
                }
            }
        }
        assert!(waits > 0, "the socket was never full");
        assert_eq!(sending.send(&ours, false).unwrap(), 0);
        drop(ours);
        theirs.read_to_end(&mut received).unwrap();
        assert!(received == content.bytes_of(content.piece(0)));
    }

    #[test]
    fn a_copy_in_small_steps_is_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = content.shared(dir.path());
        let mut sending = store.sending(content.piece(1)).unwrap();
        let mut copied = Vec::new();
        while sending.remaining() > 0 {
            let mut some = [0; 1000];
            let filled = sending.copy(&mut some).unwrap();
            copied.extend_from_slice(&some[..filled]);
        }
        assert_eq!(copied, content.bytes_of(content.piece(1)));
        assert_eq!(sending.copy(&mut [0; 4]).unwrap(), 0);
    }

    #[test]
    fn a_block_over_many_files_holds_none_of_them_open() {
        let dir = tempfile::tempdir().unwrap();
        let entries = (0..300).map(|number| file(&format!("{number}"), 40 + number)).collect();
        let content = Content::new(entries, 1 << 17, Alignment::Stream);
        let store = content.shared(dir.path());
        store.close();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        let mut sending = store.sending(content.piece(0)).unwrap();
        store.close();
        // Other tests open files of their own meanwhile, but not hundreds.
        assert!(open() < before + 100, "{} open", open() - before);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(sending.send(&ours, false).unwrap(), content.layout.content_length() as usize);
        drop(ours);
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        assert!(received == content.bytes_of(content.piece(0)));
        assert_eq!(read(&store, content.piece(0)).unwrap(), content.bytes_of(content.piece(0)));
        std::fs::remove_file(dir.path().join("200")).unwrap();
        store.close();
        assert!(matches!(store.sending(content.piece(0)), Err(ReadError::Changed { .. })));
    }

    #[test]
    fn a_file_that_shrinks_meanwhile_ends_early() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(2 * BLOCK, PIECE);
        let store = content.shared(dir.path());
        let mut sending = store.sending(content.piece(0)).unwrap();
        std::fs::File::options().write(true).open(dir.path().join("file")).unwrap().set_len(BLOCK).unwrap();
        let mut into = vec![0; PIECE as usize];
        assert_eq!(sending.copy(&mut into).unwrap(), BLOCK as usize);
        assert_eq!(sending.copy(&mut into).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

mod changes;

mod writing {
    use super::*;

    #[test]
    fn files_appear_with_their_folders_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let run = Entry { kind: EntryKind::File { executable: true }, ..file("bin/run", 10) };
        let link = Entry { kind: EntryKind::Symlink { target: path("bin/run") }, ..file("x/y/link", 0) };
        let entries = vec![run, file("empty", 0), link, file("deep/er/file", 3 * BLOCK)];
        let content = Content::new(entries, PIECE, Alignment::Stream);
        let root = Some(path("root"));
        let place =
            Place::Download { folder: dir.path().to_owned(), root, preallocation: Preallocation::Sparse };
        let store = content.download_to(place);
        write_all(&content, &store).unwrap();
        store.finish().unwrap();
        store.finish().unwrap();
        store.sync().unwrap();
        let root = dir.path().join("root");
        content.assert_at(&root);
        assert_eq!(std::fs::read(root.join("x/y/link")).unwrap(), content.files[0]);
        assert_eq!(std::fs::metadata(root.join("bin/run")).unwrap().permissions().mode() & 0o111, 0o111);
        assert_eq!(std::fs::metadata(root.join("deep/er/file")).unwrap().permissions().mode() & 0o111, 0);
        assert!(store.verified().is_full());
        assert!(read_pieces(&content, &store).iter().all(|&same| same));
    }

    #[test]
    fn own_writes_are_no_change_and_a_complete_file_has_a_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = content.download(dir.path());
        write_piece(&content, &store, 0).unwrap();
        assert_eq!(read(&store, content.piece(0)).unwrap(), content.bytes_of(content.piece(0)));
        assert!(store.stamps().iter().all(Option::is_none), "nothing is complete");
        write_piece(&content, &store, 1).unwrap();
        assert_eq!(read(&store, content.piece(0)).unwrap(), content.bytes_of(content.piece(0)));
        let stamps = store.stamps();
        assert_eq!(stamps.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, false]);
        let found = std::fs::metadata(dir.path().join("a")).unwrap();
        assert_eq!(stamps[0].map(|stamp| (stamp.inode, stamp.length)), Some((found.ino(), found.len())));
        std::fs::write(dir.path().join("a"), bytes(3 * BLOCK + 5, 77)).unwrap();
        assert!(matches!(read(&store, content.piece(0)), Err(ReadError::Changed { .. })));
        // It is not ours to write over before its owner says so. Fetched again, it is served again.
        assert!(write_piece(&content, &store, 0).is_err());
        store.end_disputes();
        write_piece(&content, &store, 0).unwrap();
        write_piece(&content, &store, 1).unwrap();
        assert_eq!(read(&store, content.piece(0)).unwrap(), content.bytes_of(content.piece(0)));
        assert!(store.changed().is_empty());
    }

    #[test]
    fn a_changed_file_that_is_moved_away_or_put_back_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = content.download(dir.path());
        write_all(&content, &store).unwrap();
        let (film, kept, edited) = (dir.path().join("a"), dir.path().join("kept"), dir.path().join("edited"));
        std::fs::rename(&film, &kept).unwrap();
        std::fs::write(&film, "edited").unwrap();
        assert_eq!((store.check_stamps(), store.in_the_way()), (vec![0], Some(0)));
        let yielded = store.yielded();
        assert!(yielded.gone.is_empty() && yielded.back.is_empty() && store.is_disputed(0));
        // Gone, it is fetched again.
        std::fs::rename(&film, &edited).unwrap();
        let yielded = store.yielded();
        assert!(yielded.gone.iter().eq([0, 1]) && yielded.back.is_empty(), "{yielded:?}");
        assert!(store.in_the_way().is_none() && !store.is_disputed(0) && store.changed().is_empty());
        write_piece(&content, &store, 0).unwrap();
        write_piece(&content, &store, 1).unwrap();
        // What is put back as it was is hashed.
        std::fs::rename(&film, &kept).unwrap();
        std::fs::rename(&edited, &film).unwrap();
        assert_eq!(store.check_stamps(), [0]);
        std::fs::rename(&kept, &film).unwrap();
        let yielded = store.yielded();
        assert!(yielded.back.iter().eq([0, 1]) && yielded.gone.is_empty(), "{yielded:?}");
    }

    #[test]
    fn a_longer_file_that_was_there_is_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(BLOCK, PIECE);
        std::fs::write(dir.path().join("file"), bytes(5 * BLOCK, 9)).unwrap();
        let store = content.download(dir.path());
        let error = write_all(&content, &store).unwrap_err().in_full();
        assert!(error.contains("move it away") && error.contains("81920 bytes"), "{error:?}");
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), bytes(5 * BLOCK, 9));
        std::fs::remove_file(dir.path().join("file")).unwrap();
        write_all(&content, &store).unwrap();
        content.assert_at(dir.path());
    }

    /// A hard link stands for a file system that takes `A` and `a` for the same name.
    #[test]
    fn two_entries_never_share_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let entries = vec![file("A", 3 * BLOCK), file("a", 3 * BLOCK)];
        let content = Content::new(entries, PIECE, Alignment::PerFile);
        let store = content.download(dir.path());
        write_piece(&content, &store, 0).unwrap();
        std::fs::hard_link(dir.path().join("A"), dir.path().join("a")).unwrap();
        let error = write_piece(&content, &store, 2).unwrap_err().in_full();
        assert!(error.contains("same file"), "{error:?}");
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [0]);
        // Nor after a restart, when only the stamp of a complete file tells.
        write_piece(&content, &store, 1).unwrap();
        let (verified, stamps) = (store.verified(), store.stamps());
        let place = store.place.clone();
        let store = Store::new(Arc::clone(&content.layout), place, FilePool::new(8), verified, stamps);
        assert!(write_piece(&content, &store, 2).unwrap_err().in_full().contains("same file"));
        // Once it is another file, it is written, whatever its number was before.
        std::fs::remove_file(dir.path().join("a")).unwrap();
        write_piece(&content, &store, 2).unwrap();
        write_piece(&content, &store, 3).unwrap();
        content.assert_at(dir.path());
    }

    #[test]
    fn what_is_not_wanted_is_neither_created_nor_given_space() {
        let dir = tempfile::tempdir().unwrap();
        let link = Entry { kind: EntryKind::Symlink { target: path("b") }, ..file("link", 0) };
        let entries = vec![file("a", BLOCK), file("b", 64 * BLOCK), file("empty", 0), link];
        let content = Content::new(entries, PIECE, Alignment::Stream);
        let preallocation = Preallocation::Full;
        let place = Place::Download { folder: dir.path().to_owned(), root: None, preallocation };
        let store = content.download_to(place);
        store.want(|entry| entry == 0);
        write_piece(&content, &store, 0).unwrap();
        store.finish().unwrap();
        let neighbour = std::fs::metadata(dir.path().join("b")).unwrap();
        assert_eq!(neighbour.len(), BLOCK, "only what lies in a piece of the wanted file");
        assert!(!dir.path().join("empty").exists());
        assert!(dir.path().join("link").symlink_metadata().is_err());
        store.want(|_| true);
        write_all(&content, &store).unwrap();
        store.finish().unwrap();
        content.assert_at(dir.path());
    }

    #[test]
    fn a_flush_that_could_not_begin_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("downloads");
        std::fs::create_dir(&folder).unwrap();
        let content = three_files();
        let store = content.download(&folder);
        write_piece(&content, &store, 0).unwrap();
        store.close();
        std::fs::rename(&folder, dir.path().join("away")).unwrap();
        let failed = store.sync().unwrap_err();
        assert!(failed.error.kind() == StorageErrorKind::Vanished && failed.lost.is_empty());
        std::fs::rename(dir.path().join("away"), &folder).unwrap();
        assert!(store.lock()[0].dirty, "still to be flushed");
        store.sync().unwrap();
        assert!(!store.lock()[0].dirty);
        store.flush_later(&store.verified());
        assert!(store.lock()[0].dirty && !store.lock()[1].dirty);
    }

    /// After a failed flush the kernel calls clean what it dropped: the next one succeeds, and the bytes are not on the disk.
    #[test]
    fn what_a_failed_flush_covered_is_believed_only_as_far_as_it_is_read_from_the_disk() {
        let Some(disk) = FullDevice::new(6) else { return };
        let content =
            Content::new(vec![file("film", 12 << 20), file("note", 9)], 1 << 20, Alignment::PerFile);
        let store = content.download(&disk.path());
        write_all(&content, &store).unwrap();
        assert!(store.verified().is_full());
        let failed = store.sync().unwrap_err();
        assert!(failed.error.kind().passes(), "{}", failed.error);
        assert!(failed.lost.is_full() && store.verified().is_empty(), "nothing of it is served or recorded");
        disk.make_room();
        let truth = content.truth(crate::testing::Hashes::V1);
        let mut lost = failed.lost;
        // A file may tell late of what failed before there was room.
        for round in 0.. {
            let found = crate::recheck(&store, &truth, &lost, 2, &|_| true);
            assert!(
                round > 0 || !found.refuted.is_empty(),
                "the kernel kept everything: this disk tests nothing"
            );
            match store.sync() {
                Ok(()) => break,
                Err(failed) => lost = failed.lost,
            }
            assert!(round < 3, "{lost:?}");
        }
        store.close();
        let proven = store.verified();
        disk.remount();
        let found = crate::recheck(&store, &truth, &proven, 2, &|_| true);
        assert!(found.refuted.is_empty(), "{:?} of {proven:?}", found.refuted);
        for piece in (0..13).filter(|piece| !proven.contains(*piece)) {
            write_piece(&content, &store, piece).unwrap();
        }
        store.sync().unwrap();
        content.assert_at(&disk.path());
    }

    #[test]
    fn nothing_is_written_through_a_planted_link() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("victim"), "precious").unwrap();
        for plant in ["a", "c"] {
            let dir = tempfile::tempdir().unwrap();
            let content = three_files();
            let target = if plant == "a" { outside.path().join("victim") } else { outside.path().to_owned() };
            symlink(target, dir.path().join(plant)).unwrap();
            let store = content.download(dir.path());
            let error = write_all(&content, &store).unwrap_err();
            assert!(error.in_full().contains("symbolic link"), "{error:?}");
            assert_eq!(std::fs::read(outside.path().join("victim")).unwrap(), b"precious");
            assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_dangling_planted_link_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let content = Content::single(10, PIECE);
        symlink(outside.path().join("new"), dir.path().join("file")).unwrap();
        assert!(write_all(&content, &content.download(dir.path())).is_err());
        assert!(!outside.path().join("new").exists());
    }

    #[test]
    fn space_is_taken_up_front_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(64 * BLOCK, PIECE);
        for (preallocation, full) in [(Preallocation::Sparse, false), (Preallocation::Full, true)] {
            let place = Place::Download { folder: dir.path().to_owned(), root: None, preallocation };
            let store = content.download_to(place);
            write_piece(&content, &store, 0).unwrap();
            let found = std::fs::metadata(dir.path().join("file")).unwrap();
            assert_eq!((found.len() == 64 * BLOCK, found.blocks() * 512 >= 64 * BLOCK), (full, full));
            std::fs::remove_file(dir.path().join("file")).unwrap();
        }
    }

    #[test]
    fn a_file_removed_under_our_hands_takes_its_pieces_along() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::single(6 * BLOCK, PIECE);
        let store = content.download(dir.path());
        write_piece(&content, &store, 0).unwrap();
        std::fs::remove_file(dir.path().join("file")).unwrap();
        write_piece(&content, &store, 1).unwrap();
        assert_eq!(store.verified().iter().collect::<Vec<_>>(), [1]);
        write_piece(&content, &store, 0).unwrap();
        write_piece(&content, &store, 2).unwrap();
        content.assert_at(dir.path());
    }

    #[test]
    fn a_vanished_download_folder_is_told_and_met_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("downloads");
        std::fs::create_dir(&folder).unwrap();
        let content = three_files();
        let store = content.download(&folder);
        write_piece(&content, &store, 0).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let error = write_piece(&content, &store, 5).unwrap_err();
        assert_eq!((error.kind(), error.path.as_path()), (StorageErrorKind::Vanished, folder.as_path()));
        std::fs::create_dir(&folder).unwrap();
        write_all(&content, &store).unwrap();
        content.assert_at(&folder);
    }

    #[test]
    fn a_read_only_disk_is_told() {
        let Some(disk) = TinyDisk::new("size=1m") else { return };
        disk.remount("ro");
        let content = Content::single(BLOCK, PIECE);
        let error = write_all(&content, &content.download(&disk.path())).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::ReadOnly, "{error:?}");
    }

    #[test]
    fn a_full_disk_is_told_and_writing_goes_on_when_there_is_space() {
        for preallocation in [Preallocation::Sparse, Preallocation::Full] {
            let Some(disk) = TinyDisk::new("size=256k") else { return };
            let content = Content::single(32 * BLOCK, PIECE);
            let place = Place::Download { folder: disk.path(), root: None, preallocation };
            let store = content.download_to(place);
            let error = write_all(&content, &store).unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::NoSpace, "{error:?}");
            disk.remount("size=4m");
            write_all(&content, &store).unwrap();
            content.assert_at(&disk.path());
        }
    }

    #[test]
    fn shared_files_are_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let content = three_files();
        let store = content.shared(dir.path());
        let error = write_piece(&content, &store, 0).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::NotPermitted);
    }

    #[test]
    fn a_quota_bounds_what_downloads_take_and_gets_it_back() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let content = Content::single(6 * BLOCK, PIECE);
        let quota = Quota::new(8 * BLOCK);
        let first = content.download(dirs[0].path()).with_quota(quota.clone());
        write_all(&content, &first).unwrap();
        write_all(&content, &first).unwrap();
        assert_eq!(quota.usage().0, 6 * BLOCK, "a piece is charged once");
        let second = content.download(dirs[1].path()).with_quota(quota.clone());
        write_piece(&content, &second, 0).unwrap();
        let error = write_piece(&content, &second, 1).unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::NoSpace);
        assert!(error.in_full().contains("quota"), "{error:?}");
        drop(first);
        write_all(&content, &second).unwrap();
        drop(second);
        assert_eq!(quota.usage().0, 0);
    }
}
