//! Clocks that are set while the program runs, as on machines that begin in 1970 and ask the network for the date: nothing is lost, and
//! nothing ends before its time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::Cell;

use peerage_e2e::faults::clock::Clock;
use peerage_e2e::faults::{ALONE, bytes_over, progress};
use peerage_e2e::pair::{ADA, BEN, Pair};
use peerage_e2e::peerage::{command, objects};
use peerage_e2e::sample::assert_same;
use peerage_e2e::{Peerage, alone, until};

const MEBIBYTE: usize = 1 << 20;
/// Before 1972, for the next decades.
const LONG_AGO: &str = "-20000d";

/// Starts a command of one of the two with a clock.
#[track_caller]
fn start(pair: &Pair, who: &str, clock: &Clock, verb: &str, args: &[&str]) -> Peerage {
    let args = [&[verb, "--json"], args, &ALONE].concat();
    Peerage::run(verb, clock.worn(&mut command(&pair.path(who), args)))
}

#[test]
fn a_transfer_goes_on_while_the_clocks_of_both_sides_jump() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(24 * MEBIBYTE);
        let (adas, bens) = (Clock::new(&pair, "adas", LONG_AGO), Clock::new(&pair, "bens", "+0"));
        let mut share = start(&pair, "ada", &adas, "share", &[film.to_str().unwrap(), "--listen", ADA]);
        let shared = share.metadata();
        let added = shared["added"].as_u64().unwrap();
        assert!(added < 86_400 * 365 * 30, "the clock is worn: {added}");
        let link = shared["magnet"].as_str().unwrap();
        let limited = [link, "-o", "out", "--listen", BEN, "--limit-down", "6M"];
        let mut get = start(&pair, "ben", &bens, "get", &limited);
        let times = ["+400d", LONG_AGO, "-1h", "+0"];
        let jumps = Cell::new(0);
        get.find("the end", |event| {
            if event["event"] == "progress" {
                let next = jumps.replace(jumps.get() + 1);
                adas.set(times[next % times.len()]);
                bens.set(times[(next + 1) % times.len()]);
            }
            event["event"] == "complete"
        });
        assert!(jumps.get() > 1, "{jumps:?}");
        assert_same(&film, &pair.arrived());
    });
}

#[test]
fn what_was_got_before_a_jump_is_not_fetched_again() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(16 * MEBIBYTE);
        let (_share, link) = pair.share(&film, &[]);
        let clock = Clock::new(&pair, "clock", LONG_AGO);
        let ask = [&*link, "-o", "out", "--listen", BEN];
        let mut get = start(&pair, "ben", &clock, "get", &[&ask[..], &["--limit-down", "6M"]].concat());
        progress(&mut get, "half of it", |transfer| {
            transfer["verified"].as_u64().unwrap() > 8 * MEBIBYTE as u64
        });
        get.signal("INT");
        get.end();
        clock.set("+0");
        let before = bytes_over("lo");
        start(&pair, "ben", &clock, "get", &ask).complete();
        assert_same(&film, &pair.arrived());
        assert!(bytes_over("lo") - before < 9 * MEBIBYTE as u64);
    });
}

#[test]
fn content_is_served_for_its_time_whatever_the_clock_says_meanwhile() {
    alone(|| {
        let pair = Pair::new();
        let film = pair.film(MEBIBYTE);
        let (share, link) = pair.share(&film, &[]);
        let clock = Clock::new(&pair, "clock", LONG_AGO);
        let up = || {
            let mut up = start(&pair, "ben", &clock, "up", &["--listen", BEN]);
            up.event("listening");
            up
        };
        let daemon = up();
        Peerage::get(&pair.path("ben"), &[&link, "-o", "out", "--time", "1h"]).complete();
        drop(share);
        clock.set("+0");
        let rests = || {
            until("all of it", || {
                let view = pair.ask(&["show", "1"]).remove(0);
                let is_busy = ["downloading", "checking", "queued"].map(Into::into).contains(&view["state"]);
                (!is_busy && view["verified"] == MEBIBYTE).then_some(view)
            })
        };
        let got_by = |who: &str| {
            let view = rests();
            assert_eq!(view["state"], "seeding", "{view}");
            let listen =
                [&["get", view["magnet"].as_str().unwrap(), "--listen", "127.0.0.1:7003"], &ALONE[..]];
            objects(&pair.path(who), &listen.concat());
            assert_same(&film, &pair.path(who).join("film.mkv"));
        };
        got_by("cleo");
        pair.ask(&["down"]);
        drop(daemon);
        let _daemon = up();
        got_by("dan");
    });
}
