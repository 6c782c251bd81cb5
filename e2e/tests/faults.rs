//! Dying processes, full and vanished disks, files that are gone: nothing is lost, and the words are clear.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, OpenOptions};
use std::time::{Duration, Instant};

use peerage_e2e::faults::{ALONE, Chance, Diary, SmallDisk, bytes_over, problem, progress, words};
use peerage_e2e::pair::Pair;
use peerage_e2e::peerage::{objects, output};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, alone, until};
use serde_json::Value;

const MEBIBYTE: usize = 1 << 20;

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
        let (mut share, link) = pair.share(&film, &[]);
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
                (share, _) = pair.share(&film, &[]);
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
        assert_same(&film, &pair.path("ben/out/film.mkv"));
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
        let out = pair.path("ben/out");
        let disk = SmallDisk::mount(&out, 8);
        let (_share, link) = pair.share(&film, &[]);
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
        let (under, out) = (pair.path("under"), pair.path("ben/out"));
        let device = SmallDisk::mount(&under, 6);
        let image = under.join("image");
        let disk = SmallDisk::mount_image(&out, &image, 64);
        let (_share, link) = pair.share(&film, &[]);
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
        let out = pair.path("ben/out");
        let disk = SmallDisk::mount(&out, 8);
        disk.set_read_only(true);
        let (_share, link) = pair.share(&film, &[]);
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
        let disk_at = pair.path("ben/out");
        let disk = SmallDisk::mount(&disk_at, 8);
        disk.set_read_only(true);
        let (_share, link) = pair.share(&film, &[]);
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
        let (_share, link) = pair.share(&film, &[]);
        let mut get = pair.get(&link, &["--limit-down", "6M"]);
        progress(&mut get, "something verified", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        fs::remove_file(pair.path("ben/out/film.mkv")).unwrap();
        let complete = get.complete();
        assert_eq!(complete["transfer"]["verified"], 20 * MEBIBYTE, "{complete}");
        assert_same(&film, &pair.path("ben/out/film.mkv"));
    });
}

#[test]
fn a_folder_removed_under_a_download_is_told_and_waited_for() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let out = pair.path("ben/out");
        let (_share, link) = pair.share(&film, &[]);
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
        let (out, home) = (pair.path("ben/out"), pair.path("disk"));
        let disk = SmallDisk::mount(&home, 40);
        let mounted = disk.also_at(&out);
        let (_share, link) = pair.share(&film, &[]);
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
        let (out, home, ada) = (pair.path("ben/out"), pair.path("disk"), pair.path("ada"));
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
        let out = pair.path("ben/out");
        let (_share, link) = pair.share(&film, &[]);
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
        let film_got = pair.path("ben/out/film.mkv");
        let (_share, link) = pair.share(&film, &[]);
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
