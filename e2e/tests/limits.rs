//! Promises of the command line while bytes flow: rates, signals, resuming, the daemon's commands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use peerage_e2e::faults::{ALONE, Diary, bytes_over, progress, words};
use peerage_e2e::pair::Pair;
use peerage_e2e::peerage::{command, output};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{PATIENCE, Peerage, alone, until};
use serde_json::Value;

const MEBIBYTE: usize = 1 << 20;

/// Payload rate over the next seconds, in bytes a second: what TCP adds is less than a hundredth of it over loopback.
fn rate(over: Duration) -> f64 {
    let (began, before) = (Instant::now(), bytes_over("lo"));
    until("the end of the measurement", || (began.elapsed() >= over).then_some(()));
    (bytes_over("lo") - before) as f64 / began.elapsed().as_secs_f64()
}

#[track_caller]
fn assert_kept(rate: f64, limit: usize) {
    let ratio = rate / limit as f64;
    assert!((0.95..=1.05).contains(&ratio), "{rate:.0} bytes a second, {ratio:.3} of the limit");
}

/// Waits until the beginning, which is faster because buffers fill, is over.
fn settle(get: &mut Peerage, limit: usize) {
    progress(get, "two seconds' worth", |transfer| {
        transfer["downloaded"].as_u64().unwrap() > 2 * limit as u64
    });
}

#[test]
fn a_limit_of_the_getter_is_kept() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) = pair.share(&pair.film(30 * MEBIBYTE), &[]);
        let mut get = pair.get(&link, &["--limit-down", "2M"]);
        settle(&mut get, 2 * MEBIBYTE);
        assert_kept(rate(Duration::from_secs(5)), 2 * MEBIBYTE);
    });
}

#[test]
fn a_limit_of_the_sharer_is_kept() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) = pair.share(&pair.film(30 * MEBIBYTE), &["--limit-up", "2M"]);
        let mut get = pair.get(&link, &[]);
        settle(&mut get, 2 * MEBIBYTE);
        assert_kept(rate(Duration::from_secs(5)), 2 * MEBIBYTE);
    });
}

#[test]
fn the_daemon_changes_its_limits_while_it_runs() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) = pair.share(&pair.film(60 * MEBIBYTE), &[]);
        let _up = pair.up();
        pair.ask(&["limit", "--down", "1M"]);
        let mut get = Peerage::get(&pair.path("ben"), &[&link, "-o", "out"]);
        settle(&mut get, MEBIBYTE);
        assert_kept(rate(Duration::from_secs(5)), MEBIBYTE);
        pair.ask(&["limit", "--down", "3M"]);
        assert_eq!(pair.ask(&["limit"])[0]["down"], 3 * MEBIBYTE);
        // What was allowed before is used up at once.
        rate(Duration::from_secs(1));
        assert_kept(rate(Duration::from_secs(5)), 3 * MEBIBYTE);
        pair.ask(&["limit", "--down", "0"]);
        get.complete();
        assert_same(&pair.path("ada/film.mkv"), &pair.arrived());
    });
}

#[test]
fn ctrl_c_ends_with_130_and_the_same_command_resumes() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let mut get = pair.get(&link, &["--limit-down", "4M"]);
        let before = progress(&mut get, "a part", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        get.signal("INT");
        let began = Instant::now();
        assert_eq!(get.end().code(), Some(130));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let mut get = pair.get(&link, &[]);
        let complete = get.complete();
        assert!(get.end().success());
        assert_same(&film, &pair.arrived());
        let downloaded = complete["transfer"]["downloaded"].as_u64().unwrap();
        assert!(before["verified"].as_u64().unwrap() > 0);
        // At most what was under way is fetched twice.
        assert!(downloaded < 22 * MEBIBYTE as u64, "{downloaded}");
    });
}

#[test]
fn a_daemon_ends_within_two_seconds_and_comes_back_with_its_transfers() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(20 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let own = pair.path("ben/own.bin");
        sample::file(&own, 9, 30 * MEBIBYTE);
        let mut up = pair.up();
        pair.ask(&["share", "own.bin", "--background"]);
        let mut get = Peerage::get(&pair.path("ben"), &[&link, "-o", "out", "--limit-down", "2M"]);
        progress(&mut get, "a part", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        up.signal("TERM");
        let began = Instant::now();
        assert!(up.end().success());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

        let up = pair.up();
        let both = until("both transfers", || {
            let list = pair.ask(&["ls"]);
            let run = list.iter().filter(|one| one["state"] == "seeding" || one["state"] == "downloading");
            (run.count() == 2).then_some(list)
        });
        let of = |name: &str| both.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(of("own.bin")["verified"], 30 * MEBIBYTE);
        assert!(of("film.mkv")["verified"].as_u64().unwrap() > 0, "{both:?}");
        // Nothing was hashed again on the way.
        let mut diary = Diary::default();
        diary.update(&up.process);
        let hashing = diary
            .events
            .iter()
            .find(|(_, event)| event["state"] == "hashing" || event["state"] == "checking");
        assert!(hashing.is_none(), "{hashing:?}");
    });
}

#[test]
fn the_same_thing_twice_is_told() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) = pair.share(&pair.film(20 * MEBIBYTE), &[]);
        let mut first = pair.get(&link, &["--limit-down", "2M"]);
        progress(&mut first, "a part", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        let args = [&["get", &link, "-o", "out", "--json", "--listen", "127.0.0.1:0"], &ALONE[..]].concat();
        let second = output(&pair.path("ben"), &args);
        assert_eq!(second.status.code(), Some(1));
        let told = String::from_utf8(second.stdout).unwrap();
        let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert!(told["code"] == "busy" || told["code"] == "exists", "{told}");
        assert!(!words(&told).is_empty());
        assert!(first.process.runs());
    });
}

/// The beginning is there while the end is not: a reader need not wait.
#[test]
fn stdout_takes_the_file_in_order_while_it_comes() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(10 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let out = pair.path("piped");
        let args = [&["get", &link, "-o", "-", "--limit-down", "2M"], &ALONE[..]].concat();
        let mut command = command(&pair.path("ben"), args);
        let mut get = command.stdout(File::create(&out).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        let prefix = until("the first bytes", || {
            let bytes = fs::read(&out).unwrap();
            (bytes.len() > MEBIBYTE).then_some(bytes)
        });
        assert!(prefix.len() < 9 * MEBIBYTE, "all {} bytes came at once", prefix.len());
        assert!(fs::read(&film).unwrap().starts_with(&prefix));
        assert!(get.try_wait().unwrap().is_none(), "it ended before the end of the file");
        let status = until("the end", || get.try_wait().unwrap());
        assert!(status.success());
        assert_same(&film, &out);
    });
}

#[test]
fn only_what_is_asked_for_is_written() {
    alone(|| {
        let pair = Pair::new();
        let folder = pair.path("ada/holiday");
        for (seed, name) in (1..).zip(["a.mkv", "b.mkv", "notes/c.txt"]) {
            sample::file(&folder.join(name), seed, 300_001);
        }
        let (_share, link) = pair.share(&folder, &[]);
        let mut get = pair.get(&link, &["--only", "*.txt"]);
        get.complete();
        assert!(get.end().success());
        let got = sample::digests(&pair.path("ben/out"));
        let whole = sample::digests(&folder);
        assert_eq!(got.get("holiday/notes/c.txt"), whole.get("notes/c.txt"), "{got:?}");
        for name in ["a.mkv", "b.mkv"] {
            assert_ne!(got.get(&format!("holiday/{name}")), whole.get(name), "{name} was fetched");
        }
        // The others on request, later.
        let mut get = pair.get(&link, &["--only", "*"]);
        get.complete();
        assert!(get.end().success());
        assert_same(&folder, &pair.path("ben/out/holiday"));
    });
}

#[test]
fn what_comes_on_stdin_is_shared() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(3 * MEBIBYTE);
        let args =
            [&["share", "-", "--name", "piped.mkv", "--json", "--listen", "127.0.0.1:7001"], &ALONE[..]];
        let out = pair.path("share.log");
        let mut command = command(&pair.path("ada"), args.concat());
        let mut share =
            command.stdin(File::open(&film).unwrap()).stdout(File::create(&out).unwrap()).spawn().unwrap();
        let link = until("the link", || {
            let text = fs::read_to_string(&out).unwrap();
            let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut links =
                events.filter_map(|event| event["transfer"]["magnet"].as_str().map(str::to_owned));
            links.next()
        });
        let mut get = pair.get(&link, &[]);
        get.complete();
        share.kill().unwrap();
        share.wait().unwrap();
        assert_same(&film, &pair.path("ben/out/piped.mkv"));
    });
}

#[test]
fn a_transfer_of_the_daemon_is_paused_resumed_verified_and_removed() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(12 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let _up = pair.up();
        let mut get = Peerage::get(&pair.path("ben"), &[&link, "-o", "out", "--limit-down", "2M"]);
        let transfer = progress(&mut get, "a part", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        let id = transfer["id"].to_string();
        assert_eq!(pair.ask(&["pause", &id])[0]["event"], "paused");
        let verified = until("standstill", || {
            let shown = &pair.ask(&["show", &id])[0];
            (shown["state"] == "paused").then(|| shown["verified"].as_u64().unwrap())
        });
        assert!(verified < 12 * MEBIBYTE as u64);
        // What was on its way already comes in first.
        until("silence on the wire", || (rate(Duration::from_secs(1)) < 20_000.0).then_some(()));
        pair.ask(&["limit", &id, "--down", "0"]);
        assert_eq!(pair.ask(&["resume", &id])[0]["event"], "resumed");
        get.complete();
        assert_same(&film, &pair.arrived());

        let told = pair.ask(&["verify", &id]).pop().unwrap();
        assert_eq!(told["event"], "verified", "{told}");
        assert_eq!(
            (&told["verified"], &told["wanted"]),
            (&told["wanted"], &Value::from(12 * MEBIBYTE)),
            "{told}"
        );
        assert_eq!(pair.ask(&["remove", &id, "--files"])[0]["event"], "removed");
        assert!(!pair.arrived().exists());
        assert!(pair.ask(&["ls"]).is_empty());
        let gone = output(&pair.path("ben"), &["show", &id]);
        assert_eq!(gone.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&gone.stderr).contains(&id));
    });
}

#[test]
fn verify_finds_a_broken_byte_and_the_piece_is_fetched_again() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(4 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let _up = pair.up();
        let mut get = Peerage::get(&pair.path("ben"), &[&link, "-o", "out", "--seed"]);
        get.complete();
        let mut bytes = fs::read(pair.arrived()).unwrap();
        bytes[MEBIBYTE] ^= 1;
        fs::write(pair.arrived(), bytes).unwrap();
        let told = output(&pair.path("ben"), &["verify", "1"]);
        assert_eq!(told.status.code(), Some(1));
        let words = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(words.contains("are missing or not what they should be"), "{words}");
        until("the true byte", || (sample::digest(&film) == sample::digest(&pair.arrived())).then_some(()));
    });
}

#[test]
fn a_typo_is_answered_with_the_command_that_was_meant() {
    let home = tempfile::tempdir().unwrap();
    let out = output(home.path(), &["shaer", "x"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("share"));
    let out = output(home.path(), &["get"]);
    assert_eq!(out.status.code(), Some(2));
    let out = output(home.path(), &["ls"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("peerage up"), "no daemon runs");
}

#[test]
fn without_any_network_it_says_on_what_it_waits() {
    alone(|| {
        let pair = Pair::new();
        peerage_e2e::namespace::run("ip", &["link", "set", "lo", "down"]);
        let link =
            "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&tr=http://10.77.0.1:1/announce";
        let began = Instant::now();
        let mut get = Peerage::get(&pair.path("ben"), &[link, "-o", "out"]);
        let waits = progress(&mut get, "a view", |transfer| transfer["state"] == "fetching_metadata");
        assert_eq!(waits["peers_connected"], 0);
        let sources = &waits["sources"];
        assert_eq!((&sources["trackers"], &sources["dht_nodes"]), (&1.into(), &0.into()), "{sources}");
        assert_eq!(sources["lan"], true, "{sources}");
        get.signal("INT");
        assert_eq!(get.end().code(), Some(130));
        assert!(began.elapsed() < PATIENCE);
        // The same in words, on stderr.
        let mut command = command(&pair.path("ben"), ["get", link, "-o", "out"]);
        let stderr = pair.path("stderr");
        let mut get = command.stdout(Stdio::null()).stderr(File::create(&stderr).unwrap()).spawn().unwrap();
        until("words", || {
            let told = fs::read_to_string(&stderr).unwrap();
            told.contains("no peers yet: asked 1 tracker, the DHT (0 nodes) and the LAN").then_some(())
        });
        get.kill().unwrap();
        get.wait().unwrap();
    });
}

#[test]
fn a_ratio_counts_what_is_content_and_no_padding() {
    alone(|| {
        let pair = Pair::new();
        let folder = pair.path("ada/notes");
        (0..300).for_each(|number| sample::file(&folder.join(format!("{number}")), number, 1_000));
        let (mut share, link) = pair.share(&folder, &["--ratio", "1"]);
        let mut get = pair.get(&link, &[]);
        // Its last byte is sent before the other side has looked at it.
        share.process.may_end();
        let complete = get.complete();
        assert_eq!(complete["transfer"]["downloaded"], 300_000, "{complete}");
        assert!(share.end().success(), "served once");
        assert_same(&folder, &pair.path("ben/out/notes"));
        // The same command serves once more.
        let (mut share, link) = pair.share(&folder, &["--ratio", "1"]);
        let args = [&[&*link, "--listen", "127.0.0.1:7003"], &ALONE[..]].concat();
        assert!(output(&pair.path("cleo"), &[&["get"], &args[..]].concat()).status.success());
        assert!(share.end().success(), "served once more");
    });
}

#[test]
fn a_command_that_the_daemon_cannot_follow_is_refused() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let _up = pair.up();
        let ben = pair.path("ben");
        assert!(output(&ben, &["get", &link, "-o", "out"]).status.success());
        let refused = |more: &[&str]| {
            let told = output(&ben, &[&["get", &link], more].concat());
            assert_eq!(told.status.code(), Some(1), "{more:?}");
            String::from_utf8(told.stderr).unwrap()
        };
        let told = refused(&["-o", "elsewhere"]);
        assert!(told.contains("ben/out already, not in") && told.contains("peerage remove 1"), "{told}");
        let told = refused(&["--priority", "*=skip"]);
        assert!(told.contains("no file is left to fetch"), "{told}");
        assert!(output(&ben, &["get", &link, "-o", "out"]).status.success(), "the same again");
        assert!(!pair.path("ben/elsewhere").exists());
        let shares = |more: &[&str]| {
            let copy = pair.arrived();
            output(&ben, &[&["share", copy.to_str().unwrap(), "--background"], more].concat())
        };
        assert!(shares(&[]).status.success());
        assert_eq!(shares(&["--ratio", "1"]).status.code(), Some(1));
        let told = shares(&["--web-seed", "http://192.0.2.1/film.mkv"]);
        assert!(String::from_utf8(told.stderr).unwrap().contains("--web-seed"));
    });
}

#[test]
fn a_link_that_selects_nothing_is_refused() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let mut get = pair.get(&format!("{link}&so=7"), &[]);
        let told = get.find("a refusal", |event| event["event"] == "error");
        assert!(words(&told).contains("so="), "{told}");
        assert_eq!(get.end().code(), Some(1));
    });
}
