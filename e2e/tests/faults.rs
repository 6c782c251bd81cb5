//! Dying processes, full and vanished disks, files that change: nothing is lost, and the words are clear.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, FileTimes, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peerage_e2e::faults::{
    ALONE, Chance, Diary, SmallDisk, bytes_over, bytes_read, problem, progress, words,
};
use peerage_e2e::peerage::{objects, output};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, alone, until};
use serde_json::Value;

const MEBIBYTE: usize = 1 << 20;

/// Two users on one machine: `ada` shares, `ben` gets.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes what is shared.
    fn film(&self, size: usize) -> PathBuf {
        let film = self.path("ada/film.mkv");
        sample::file(&film, 5, size);
        film
    }

    fn share(&self, path: &Path) -> Peerage {
        let args = [&[path.to_str().unwrap(), "--listen", "127.0.0.1:7001"], &ALONE[..]].concat();
        Peerage::share(&self.path("ada"), &args)
    }

    fn get(&self, link: &str, more: &[&str]) -> Peerage {
        let out = self.path("out");
        let out = out.to_str().unwrap();
        let args = [&[link, "-o", out, "--listen", "127.0.0.1:7002"], &ALONE[..], more].concat();
        Peerage::get(&self.path("ben"), &args)
    }
}

/// Shares and gives the link.
fn link_of(share: &mut Peerage) -> String {
    share.metadata()["magnet"].as_str().unwrap().to_owned()
}

#[test]
fn fifty_kills_of_either_side_lose_nothing() {
    const KILLS: usize = 50;
    const SIZE: usize = 40 * MEBIBYTE;
    const KEPT_AFTER: Duration = Duration::from_secs(5);
    /// What is under way at a kill: less than a second's worth at the rate of the test.
    const LOST_PER_LIFE: usize = 384 << 10;
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let slowly = ["--limit-down", "400k"];
        let mut chance = Chance::new(20_261_121);
        let mut get = pair.get(&link, &slowly);
        let mut diary = Diary::default();
        let mut seen: Vec<(Instant, u64)> = Vec::new();
        // What the next life of the getter must begin with.
        let mut kept = 0;
        let mut lives = 1;
        let before = bytes_over("lo");
        for _ in 0..KILLS {
            // Nobody is killed before it has said with what it began.
            until("the beginning of a life", || {
                diary.update(&get.process);
                diary.verified().next()
            });
            let moment = Instant::now() + chance.span(10, 1_200);
            until("the moment of the kill", || {
                diary.update(&get.process);
                (Instant::now() >= moment).then_some(())
            });
            if chance.below(10) < 3 {
                share.signal("KILL");
                share.end();
                share = pair.share(&film);
                continue;
            }
            assert!(get.process.runs(), "complete before all kills");
            get.signal("KILL");
            let killed = Instant::now();
            get.end();
            diary.update(&get.process);
            let (_, first) = diary.verified().next().unwrap();
            assert!(first >= kept, "life {lives} began with {first} of {kept}");
            seen.extend(diary.verified());
            let old = seen.iter().filter(|(at, _)| *at + KEPT_AFTER <= killed);
            kept = old.map(|(_, verified)| *verified).max().unwrap_or(0);
            get = pair.get(&link, &slowly);
            diary = Diary::default();
            lives += 1;
        }
        get.signal("KILL");
        get.end();
        let mut get = pair.get(&link, &["--limit-down", "4M"]);
        let begins = progress(&mut get, "the last life", |transfer| transfer["state"] == "downloading");
        let first = begins["verified"].as_u64().unwrap();
        assert!(first >= kept, "the last life began with {first} of {kept}");
        get.complete();
        assert!(get.end().success());
        assert_same(&film, &pair.path("out/film.mkv"));
        let moved = bytes_over("lo") - before;
        println!("{lives} lives, {moved} bytes moved for {SIZE}");
        // 3 % is what TCP and the protocol add.
        let bound = SIZE + SIZE / 33 + lives * LOST_PER_LIFE;
        assert!(moved < bound as u64, "{moved} bytes moved in {lives} lives for {SIZE}");
    });
}

#[test]
fn a_full_disk_is_told_and_waited_out() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let out = pair.path("out");
        let disk = SmallDisk::mount(&out, 8);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &[]);
        let told = words(&problem(&mut get, "error"));
        assert!(told.contains("out/film.mkv") && told.contains("No space left"), "{told}");
        let stalled = progress(&mut get, "what is verified", |transfer| transfer["state"] == "error");
        let verified = stalled["verified"].as_u64().unwrap();
        assert!(verified > 0);

        // Neither the fault nor a kill in the middle of it loses what is verified.
        get.signal("KILL");
        get.end();
        let mut get = pair.get(&link, &[]);
        problem(&mut get, "error");
        let again = progress(&mut get, "what is kept", |transfer| transfer["state"] == "error");
        assert!(again["verified"].as_u64().unwrap() >= verified, "{again}");
        assert!(again["downloaded"].as_u64().unwrap() < 20 * MEBIBYTE as u64, "{again}");

        disk.resize(40);
        get.complete();
        assert!(get.end().success());
        assert_same(&film, &out.join("film.mkv"));
    });
}

/// A disk that takes writes into memory and cannot put them on its device: the flush fails, and the next one would not, because the kernel
/// calls clean what it dropped.
#[test]
fn what_a_disk_failed_to_keep_is_fetched_again() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(12 * MEBIBYTE);
        let (under, out) = (pair.path("under"), pair.path("out"));
        let device = SmallDisk::mount(&under, 6);
        let image = under.join("image");
        let disk = SmallDisk::mount_image(&out, &image, 64);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--seed"]);
        let told = words(&problem(&mut get, "error"));
        assert!(told.contains("flush") && told.contains("out/film.mkv"), "{told}");
        device.resize(100);
        progress(&mut get, "all of it", |transfer| {
            transfer["state"] == "seeding" && transfer["verified"] == 12 * MEBIBYTE
        });
        get.signal("INT");
        get.end();
        // Nothing that is only in memory.
        disk.pull_out();
        let _disk = SmallDisk::mount_image(&out, &image, 64);
        assert_same(&film, &out.join("film.mkv"));
    });
}

#[test]
fn a_read_only_folder_is_told_and_waited_out() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(2 * MEBIBYTE);
        let out = pair.path("out");
        let disk = SmallDisk::mount(&out, 8);
        disk.set_read_only(true);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &[]);
        let told = words(&problem(&mut get, "error"));
        assert!(told.contains("out/film.mkv") && told.contains("Read-only"), "{told}");
        disk.set_read_only(false);
        get.complete();
        assert_same(&film, &out.join("film.mkv"));
    });
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(2 * MEBIBYTE);
        let disk_at = pair.path("out");
        let disk = SmallDisk::mount(&disk_at, 8);
        disk.set_read_only(true);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let below = disk_at.join("below");
        let args =
            [&[&link, "-o", below.to_str().unwrap(), "--listen", "127.0.0.1:7002"], &ALONE[..]].concat();
        let mut get = Peerage::get(&pair.path("ben"), &args);
        let told = get.find("an error", |event| !event["problem"].is_null() || event["event"] == "error");
        let told = words(if told["event"] == "error" { &told } else { &told["problem"] });
        assert!(told.contains("out/below") && told.contains("Read-only"), "{told}");
    });
}

#[test]
fn a_file_removed_under_a_download_is_fetched_anew() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--limit-down", "6M"]);
        progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        fs::remove_file(pair.path("out/film.mkv")).unwrap();
        let complete = get.complete();
        assert_eq!(complete["transfer"]["verified"], 20 * MEBIBYTE, "{complete}");
        assert_same(&film, &pair.path("out/film.mkv"));
    });
}

#[test]
fn a_folder_removed_under_a_download_is_told_and_waited_for() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let out = pair.path("out");
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--limit-down", "6M"]);
        progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        // At once, as a mount goes: emptied file by file, it would be filled again while it is emptied.
        fs::rename(&out, pair.path("gone")).unwrap();
        fs::remove_dir_all(pair.path("gone")).unwrap();
        // It may have been a mount: nothing is written elsewhere in its stead.
        let told = words(&problem(&mut get, "error"));
        assert!(told.contains(out.to_str().unwrap()) && told.contains("No such file"), "{told}");
        assert!(!out.exists());
        fs::create_dir(&out).unwrap();
        get.complete();
        assert_same(&film, &out.join("film.mkv"));
    });
}

/// Waits until a `get` says that it cannot begin, and gives its words. A state that came before it looked is in its progress.
fn refusal(get: &mut Peerage) -> String {
    let problem_of = |event: &Value| {
        let places = [&event["problem"], &event["transfer"]["problem"]];
        let found = places
            .into_iter()
            .find(|problem| !problem.is_null())
            .or((event["event"] == "error").then_some(event));
        found.cloned()
    };
    let told = get.find("an error", |event| problem_of(event).is_some());
    words(&problem_of(&told).unwrap())
}

#[test]
fn a_disk_that_vanished_between_two_runs_is_not_taken_for_an_empty_folder() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let (out, home) = (pair.path("out"), pair.path("disk"));
        let disk = SmallDisk::mount(&home, 40);
        let mounted = disk.also_at(&out);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--limit-down", "2M"]);
        progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        get.signal("INT");
        get.end();
        mounted.pull();
        let mut get = pair.get(&link, &[]);
        let told = refusal(&mut get);
        assert!(told.contains(out.to_str().unwrap()) && told.contains("another disk"), "{told}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "nothing is written in the place of the disk");
        let before = bytes_over("lo");
        let _mounted = disk.also_at(&out);
        get.complete();
        assert_same(&film, &out.join("film.mkv"));
        assert!(bytes_over("lo") - before < 8 * MEBIBYTE as u64, "what was on it is not fetched again");
    });
}

#[test]
fn a_share_whose_disk_is_not_there_at_the_start_waits_for_it() {
    alone(|| {
        let pair = Pair::new();
        let (out, home, ada) = (pair.path("out"), pair.path("disk"), pair.path("ada"));
        let disk = SmallDisk::mount(&home, 40);
        let mounted = disk.also_at(&out);
        sample::file(&out.join("album/song.ogg"), 5, MEBIBYTE);
        let listen = [&["--listen", "127.0.0.1:7001"], &ALONE[..]].concat();
        let up = || {
            let mut daemon = Peerage::up(&ada, &listen);
            daemon.event("listening");
            daemon
        };
        let shown = || objects(&ada, &["show", "1"]).remove(0);
        let daemon = up();
        output(&ada, &["share", out.join("album").to_str().unwrap(), "--background"]);
        let shared = shown();
        output(&ada, &["down"]);
        drop(daemon);
        mounted.pull();
        let _daemon = up();
        let told = until("words about the disk", || {
            let view = shown();
            (view["state"] == "error").then(|| words(&view["problem"]))
        });
        assert!(
            told.contains("out/album") && told.contains("No such file") && told.contains("mount"),
            "{told}"
        );
        let _mounted = disk.also_at(&out);
        let back = until("the share", || Some(shown()).filter(|view| view["state"] == "seeding"));
        assert_eq!(back["magnet"], shared["magnet"], "it is what it was");
        assert_eq!(back["hashed"], 0, "and is not hashed again");
    });
}

#[test]
fn a_folder_deleted_between_two_runs_is_asked_for_and_filled_anew() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let out = pair.path("out");
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--limit-down", "2M"]);
        progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        get.signal("INT");
        get.end();
        fs::remove_dir_all(&out).unwrap();
        let mut get = pair.get(&link, &[]);
        let told = refusal(&mut get);
        assert!(told.contains(out.to_str().unwrap()) && told.contains("gone"), "{told}");
        assert!(!out.exists());
        fs::create_dir(&out).unwrap();
        get.complete();
        assert_same(&film, &out.join("film.mkv"));
    });
}

#[test]
fn a_file_cut_short_after_a_kill_is_fetched_again() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let film_got = pair.path("out/film.mkv");
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--seed"]);
        get.complete();
        // On record within a second, and without the stamp of a clean end perhaps.
        progress(&mut get, "a moment later", |transfer| transfer["state"] == "seeding");
        get.signal("KILL");
        get.end();
        OpenOptions::new().write(true).open(&film_got).unwrap().set_len(3 * MEBIBYTE as u64).unwrap();
        let mut get = pair.get(&link, &[]);
        get.complete();
        assert!(get.end().success());
        assert_same(&film, &film_got);
    });
}

#[test]
fn a_download_that_was_edited_is_named_and_left_alone_until_its_user_says_otherwise() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let film_got = pair.path("out/film.mkv");
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &[]);
        get.complete();
        assert!(get.end().success());
        let (_, edit) = CHANGES[0];
        edit(&film_got);
        let edited = fs::read(&film_got).unwrap();
        // It ends and says so, however often it is asked for.
        for _ in 0..2 {
            let mut get = pair.get(&link, &[]);
            let told = get.event("error");
            let told = words(&told);
            assert!(
                told.contains("out/film.mkv") && told.contains("changed since it was verified"),
                "{told}"
            );
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
    });
}

#[test]
fn an_edit_while_the_daemon_was_down_is_left_alone_until_verify() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let film_got = pair.path("out/film.mkv");
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let (ben, out) = (pair.path("ben"), pair.path("out"));
        let listen = [&["--listen", "127.0.0.1:7002"], &ALONE[..]].concat();
        let mut daemon = Peerage::up(&ben, &listen);
        daemon.event("listening");
        Peerage::start(&ben, "get", &[&link, "-o", out.to_str().unwrap()]).complete();
        // Nothing but the record that was kept while it ran speaks for the file.
        daemon.signal("KILL");
        daemon.end();
        let (_, edit) = CHANGES[0];
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
    });
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
            let mut share = pair.share(&film);
            let link = link_of(&mut share);
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
            assert_same_pieces(&copy, &pair.path("out/film.mkv"));

            // Whoever has the true bytes can go on serving them.
            share.signal("INT");
            share.end();
            let mut share = pair.share(&copy);
            assert_eq!(link_of(&mut share), link, "the same bytes have the same name");
            get.complete();
            assert_same(&copy, &pair.path("out/film.mkv"));
        }
    });
}

#[test]
fn a_shared_file_whose_mode_changed_is_hashed_again_and_served_on() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(8 * MEBIBYTE);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        for mode in [0o600, 0o644] {
            fs::set_permissions(&film, Permissions::from_mode(mode)).unwrap();
            let mut get = pair.get(&link, &[]);
            get.complete();
            assert!(get.end().success());
            let got = pair.path("out/film.mkv");
            assert_same(&film, &got);
            fs::remove_file(got).unwrap();
        }
        share.signal("INT");
        share.end();
        let mut share = pair.share(&film);
        assert_eq!(link_of(&mut share), link);
    });
}

#[test]
fn a_download_is_hashed_again_only_if_somebody_touched_it_and_never_fetched_again() {
    alone(|| {
        let pair = Pair::new();
        let tool = pair.path("ada/tools/tool");
        sample::file(&tool, 5, 8 * MEBIBYTE);
        fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
        let mut share = pair.share(tool.parent().unwrap());
        let link = link_of(&mut share);
        let (ben, out) = (pair.path("ben"), pair.path("out"));
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
        let mut share = pair.share(&film);
        let old = link_of(&mut share);
        share.signal("INT");
        assert_eq!(share.end().code(), Some(130));
        OpenOptions::new().append(true).open(&film).unwrap().write_all(b"the end").unwrap();
        let mut share = pair.share(&film);
        let new = link_of(&mut share);
        assert_ne!(new, old);
        let mut get = pair.get(&new, &[]);
        get.complete();
        assert_same(&film, &pair.path("out/film.mkv"));
    });
}
