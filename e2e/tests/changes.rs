//! Files that their owner changes while they are shared, or after they were fetched: what differs is named, never served, and never
//! written over.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, FileTimes, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use peerage_e2e::faults::{ALONE, bytes_over, bytes_read, problem, progress, words};
use peerage_e2e::pair::Pair;
use peerage_e2e::peerage::{objects, output};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, alone, until};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn a_download_that_was_edited_is_named_and_left_alone_until_its_user_says_otherwise() {
    alone(|| is_left_alone(CHANGES[0].1));
}

#[test]
fn a_download_that_was_added_to_is_named_and_left_alone_until_its_user_says_otherwise() {
    alone(|| is_left_alone(CHANGES[5].1));
}

fn is_left_alone(edit: Change) {
    let pair = Pair::new();
    let film = pair.film(8 * MEBIBYTE);
    let film_got = pair.path("ben/out/film.mkv");
    let (_share, link) = pair.share(&film, &[]);
    let mut get = pair.get(&link, &[]);
    get.complete();
    assert!(get.end().success());
    edit(&film_got);
    let edited = fs::read(&film_got).unwrap();
    // It ends and says so, however often it is asked for.
    for _ in 0..2 {
        let mut get = pair.get(&link, &[]);
        let told = get.event("error");
        let told = words(&told);
        assert!(told.contains("out/film.mkv") && told.contains("changed since it was verified"), "{told}");
        assert!(told.contains("--overwrite"), "{told}");
        assert_eq!(get.end().code(), Some(1));
        assert!(fs::read(&film_got).unwrap() == edited, "what was edited is as it was");
    }
    // Moved elsewhere, it is kept, and the original is fetched again.
    let kept = pair.path("kept.mkv");
    fs::rename(&film_got, &kept).unwrap();
    let mut get = pair.get(&link, &[]);
    get.complete();
    assert!(get.end().success());
    assert_same(&film, &film_got);
    assert!(fs::read(&kept).unwrap() == edited);
    // And written over when that is asked for; what is still true is not fetched again.
    edit(&film_got);
    let before = bytes_over("lo");
    let mut get = pair.get(&link, &["--overwrite"]);
    get.complete();
    assert!(get.end().success());
    assert_same(&film, &film_got);
    assert!(bytes_over("lo") - before < MEBIBYTE as u64);
}

#[test]
fn an_edit_while_the_daemon_was_down_is_left_alone_until_verify() {
    alone(|| is_left_alone_by_the_daemon(CHANGES[0].1));
}

#[test]
fn what_was_added_while_the_daemon_was_down_is_left_alone_until_verify() {
    alone(|| is_left_alone_by_the_daemon(CHANGES[5].1));
}

fn is_left_alone_by_the_daemon(edit: Change) {
    let pair = Pair::new();
    let film = pair.film(8 * MEBIBYTE);
    let film_got = pair.path("ben/out/film.mkv");
    let (_share, link) = pair.share(&film, &[]);
    let (ben, out) = (pair.path("ben"), pair.path("ben/out"));
    let listen = [&["--listen", "127.0.0.1:7002"], &ALONE[..]].concat();
    let mut daemon = Peerage::up(&ben, &listen);
    daemon.event("listening");
    Peerage::start(&ben, "get", &[&link, "-o", out.to_str().unwrap()]).complete();
    // Nothing but the record that was kept while it ran speaks for the file.
    daemon.signal("KILL");
    daemon.end();
    edit(&film_got);
    let edited = fs::read(&film_got).unwrap();
    let mut daemon = Peerage::up(&ben, &listen);
    daemon.event("listening");
    let told = words(&Peerage::start(&ben, "get", &[&link, "-o", out.to_str().unwrap()]).event("error"));
    assert!(told.contains("out/film.mkv") && told.contains("verify"), "{told}");
    assert!(fs::read(&film_got).unwrap() == edited, "what was edited is as it was");
    // What does not match is fetched then.
    output(&ben, &["verify", "1"]);
    until("the original", || (fs::read(&film_got).unwrap() == fs::read(&film).unwrap()).then_some(()));
}

/// Does something to a file.
type Change = fn(&Path);

/// The changes that a user may make to a file that is shared, by name.
const CHANGES: [(&str, Change); 6] = [
    ("edited", |film| {
        let mut file = OpenOptions::new().write(true).open(film).unwrap();
        file.seek(SeekFrom::Start(3 * MEBIBYTE as u64)).unwrap();
        file.write_all(b"another scene").unwrap();
    }),
    ("edited and dated back", |film| {
        let file = OpenOptions::new().write(true).open(film).unwrap();
        let found = file.metadata().unwrap();
        let modified = found.modified().unwrap();
        // In every piece: those that it leaves true go on being served.
        for at in (0..found.len()).step_by(16_384) {
            file.write_all_at(b"another scene", at).unwrap();
        }
        file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    }),
    ("truncated", |film| {
        OpenOptions::new().write(true).open(film).unwrap().set_len(MEBIBYTE as u64).unwrap()
    }),
    ("replaced", |film| {
        let other = film.with_extension("new");
        sample::file(&other, 99, 20 * MEBIBYTE);
        fs::rename(other, film).unwrap();
    }),
    ("removed", |film| fs::remove_file(film).unwrap()),
    ("longer", |film| OpenOptions::new().append(true).open(film).unwrap().write_all(b"the end").unwrap()),
];

#[test]
fn a_shared_file_that_changed_is_told_and_never_served() {
    alone(|| {
        for (how, change) in CHANGES {
            println!("{how}");
            let pair = Pair::new();
            let film = pair.film(20 * MEBIBYTE);
            let copy = pair.path("copy/film.mkv");
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(&film, &copy).unwrap();
            let (mut share, link) = pair.share(&film, &[]);
            let mut get = pair.get(&link, &["--limit-down", "5M"]);
            progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
            // What the kernel already holds for sending would change with the file: nothing is on its way when it changes.
            get.signal("INT");
            get.end();
            change(&film);
            let mut get = pair.get(&link, &["--limit-down", "5M"]);
            let told = words(&problem(&mut share, "changed"));
            assert!(
                told.contains("film.mkv") && told.contains("changed") && told.contains("verify"),
                "{told}"
            );
            // The getter waits and says so: it neither ends nor takes other bytes for true.
            let waits = progress(&mut get, "a getter that waits", |transfer| {
                transfer["state"] == "downloading" && transfer["download_rate"] == 0
            });
            assert!(waits["verified"].as_u64().unwrap() < 20 * MEBIBYTE as u64, "{waits}");
            assert_same_pieces(&copy, &pair.path("ben/out/film.mkv"));

            // Whoever has the true bytes can go on serving them.
            share.signal("INT");
            share.end();
            let (_share, again) = pair.share(&copy, &[]);
            assert_eq!(again, link, "the same bytes have the same name");
            get.complete();
            assert_same(&copy, &pair.path("ben/out/film.mkv"));
        }
    });
}

#[test]
fn a_shared_file_whose_mode_changed_is_hashed_again_and_served_on() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let (mut share, link) = pair.share(&film, &[]);
        for mode in [0o600, 0o644] {
            fs::set_permissions(&film, Permissions::from_mode(mode)).unwrap();
            let mut get = pair.get(&link, &[]);
            get.complete();
            assert!(get.end().success());
            let got = pair.path("ben/out/film.mkv");
            assert_same(&film, &got);
            fs::remove_file(got).unwrap();
        }
        share.signal("INT");
        share.end();
        let (_share, again) = pair.share(&film, &[]);
        assert_eq!(again, link);
    });
}

#[test]
fn a_download_is_hashed_again_only_if_somebody_touched_it_and_never_fetched_again() {
    alone(|| {
        let pair = Pair::new();
        let tool = pair.path("ada/tools/tool");
        sample::file(&tool, 5, 8 * MEBIBYTE);
        fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
        let (mut share, link) = pair.share(tool.parent().unwrap(), &[]);
        let (ben, out) = (pair.path("ben"), pair.path("ben/out"));
        let listen = [&["--listen", "127.0.0.1:7002"], &ALONE[..]].concat();
        let up = || {
            let mut daemon = Peerage::up(&ben, &listen);
            daemon.event("listening");
            daemon
        };
        let whole = || {
            let view = objects(&ben, &["show", "1"]).remove(0);
            (view["state"] == "seeding").then_some(view)
        };
        // One life: whether it read the file.
        let hashes = || {
            let daemon = up();
            let view = until("the download", whole);
            assert_eq!(view["verified"], 8 * MEBIBYTE, "{view}");
            let read = bytes_read(daemon.process.id());
            output(&ben, &["down"]);
            read >= 8 * MEBIBYTE as u64
        };
        let daemon = up();
        Peerage::start(&ben, "get", &[&link, "-o", out.to_str().unwrap()]).complete();
        let got = out.join("tools/tool");
        assert_eq!(fs::metadata(&got).unwrap().permissions().mode() & 0o111, 0o111);
        output(&ben, &["down"]);
        drop(daemon);
        share.signal("INT");
        share.end();
        assert!(!hashes(), "what it did to the file itself is no reason");
        fs::set_permissions(&got, Permissions::from_mode(0o700)).unwrap();
        assert!(hashes());
        assert!(!hashes(), "once");
        assert_same(&tool, &got);
    });
}

/// Every block of a download is either that of the original or not written.
fn assert_same_pieces(original: &Path, partial: &Path) {
    let (original, partial) = (fs::read(original).unwrap(), fs::read(partial).unwrap());
    for (index, (block, true_block)) in partial.chunks(16_384).zip(original.chunks(16_384)).enumerate() {
        let is_empty = block.iter().all(|byte| *byte == 0);
        assert!(is_empty || true_block.starts_with(block), "block {index}");
    }
}

#[test]
fn what_changed_is_shared_again_under_a_new_link() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(3 * MEBIBYTE);
        let (mut share, old) = pair.share(&film, &[]);
        share.signal("INT");
        assert_eq!(share.end().code(), Some(130));
        OpenOptions::new().append(true).open(&film).unwrap().write_all(b"the end").unwrap();
        let (_share, new) = pair.share(&film, &[]);
        assert_ne!(new, old);
        let mut get = pair.get(&new, &[]);
        get.complete();
        assert_same(&film, &pair.path("ben/out/film.mkv"));
    });
}
