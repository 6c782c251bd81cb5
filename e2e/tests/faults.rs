//! Dying processes, full and vanished disks, files that change: nothing is lost, and the words are clear.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peerage_e2e::faults::{ALONE, Chance, Diary, SmallDisk, bytes_over, problem, progress, words};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, alone, until};

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
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(SIZE);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let slowly = ["--limit-down", "900k"];
        let mut chance = Chance::new(20_261_121);
        let mut get = pair.get(&link, &slowly);
        let mut diary = Diary::default();
        let mut seen: Vec<(Instant, u64)> = Vec::new();
        // What the next life of the getter must begin with.
        let mut kept = 0;
        let mut lives = 1;
        let before = bytes_over("lo");
        for _ in 0..KILLS {
            let moment = Instant::now() + chance.span(50, 1_500);
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
            if let Some((_, first)) = diary.verified().next() {
                assert!(first >= kept, "life {lives} began with {first} of {kept}");
            }
            seen.extend(diary.verified());
            let old = seen.iter().filter(|(at, _)| *at + KEPT_AFTER <= killed);
            kept = old.map(|(_, verified)| *verified).max().unwrap_or(0);
            get = pair.get(&link, &slowly);
            diary = Diary::default();
            lives += 1;
        }
        get.signal("KILL");
        get.end();
        let mut get = pair.get(&link, &[]);
        get.complete();
        assert!(get.end().success());
        assert_same(&film, &pair.path("out/film.mkv"));
        let moved = bytes_over("lo") - before;
        println!("{lives} lives, kept {kept}, {moved} bytes moved for {SIZE}");
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
fn a_pulled_disk_is_told_and_the_rest_is_fetched_when_it_is_back() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let out = pair.path("out");
        let disk = SmallDisk::mount(&out, 40);
        let mut share = pair.share(&film);
        let link = link_of(&mut share);
        let mut get = pair.get(&link, &["--limit-down", "4M"]);
        progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        fs::remove_file(out.join("film.mkv")).unwrap();
        disk.pull();
        let told = get.find("words about it", |event| {
            event["event"] == "state" && !event["problem"].is_null() || event["event"] == "complete"
        });
        println!("{told}");
        let told = words(&told["problem"]);
        assert!(told.contains("out/film.mkv"), "{told}");
        get.signal("INT");
        assert_eq!(get.end().code(), Some(130));
        // Nothing of it is there any more: the same command fetches it all.
        let mut get = pair.get(&link, &[]);
        get.complete();
        assert_same(&film, &out.join("film.mkv"));
    });
}
