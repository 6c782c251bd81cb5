//! Two machines with a wire between them: delay and loss, a link that fails, a network without any server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use peerage_e2e::faults::{ALONE, progress};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Machines, Peerage, alone, until};

const MEBIBYTE: usize = 1 << 20;

/// Ada shares on her machine, Ben gets on his.
struct Pair {
    machines: Machines,
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        Self { machines: Machines::new(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Ada shares; the link.
    fn share(&self, size: usize, flags: &[&str]) -> (Peerage, String) {
        let film = self.path("ada/film.mkv");
        sample::file(&film, 5, size);
        let mut share = Peerage::share(&self.path("ada"), &[&[film.to_str().unwrap()], flags].concat());
        let link = share.metadata()["magnet"].as_str().unwrap().to_owned();
        (share, link)
    }

    /// Ben gets.
    fn get(&self, link: &str, flags: &[&str]) -> Peerage {
        self.machines.ben(&self.path("ben"), "get", &[&[link], flags].concat())
    }

    #[track_caller]
    fn assert_arrived(&self) {
        assert_same(&self.path("ada/film.mkv"), &self.path("ben/film.mkv"));
    }
}

#[test]
fn a_transfer_over_50_ms_and_one_percent_loss_completes() {
    const SIZE: usize = 6 * MEBIBYTE;
    alone(|| {
        let pair = Pair::new();
        let _bad = pair.machines.add_bad_wire(Duration::from_millis(50), 0.01);
        let (_share, link) = pair.share(SIZE, &[&ALONE[..], &["--listen", "10.80.0.1:7001"]].concat());
        let began = Instant::now();
        let mut get = pair.get(&link, &[&ALONE[..], &["--listen", "10.80.0.2:7002"]].concat());
        get.complete();
        assert!(get.end().success());
        let seconds = began.elapsed().as_secs_f64();
        println!("{:.2} MiB/s over 50 ms and 1 % loss", SIZE as f64 / MEBIBYTE as f64 / seconds);
        pair.assert_arrived();
    });
}

#[test]
fn two_machines_on_one_lan_find_each_other_without_being_told() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) = pair.share(3 * MEBIBYTE, &["--no-dht"]);
        // Nothing but the name: no address of a peer, no tracker.
        let name = link.split('&').next().unwrap();
        let mut get = pair.get(name, &["--no-dht"]);
        get.complete();
        assert!(get.end().success());
        pair.assert_arrived();
    });
}

#[test]
fn the_link_of_a_share_names_an_address_that_the_other_machine_reaches() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) = pair.share(3 * MEBIBYTE, &["--no-dht", "--no-lan"]);
        assert!(link.contains("x.pe=10.79.0.1:"), "{link}");
        let mut get = pair.get(&link, &ALONE);
        get.complete();
        pair.assert_arrived();
    });
}

#[test]
fn a_link_that_was_down_for_some_seconds_costs_no_more_than_that() {
    alone(|| {
        let pair = Pair::new();
        let (_share, link) =
            pair.share(16 * MEBIBYTE, &[&ALONE[..], &["--listen", "10.79.0.1:7001"]].concat());
        let mut get =
            pair.get(&link, &[&ALONE[..], &["--listen", "10.79.0.2:7002", "--limit-down", "3M"]].concat());
        progress(&mut get, "a part", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        pair.machines.set_link("down");
        progress(&mut get, "standstill", |transfer| transfer["download_rate"] == 0);
        let down = Instant::now();
        until("some seconds", || (down.elapsed() > Duration::from_secs(5)).then_some(()));
        pair.machines.set_link("up");
        get.complete();
        assert!(get.end().success());
        pair.assert_arrived();
        println!("{:?} from the standstill to the end", down.elapsed());
    });
}
