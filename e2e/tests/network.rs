//! Two machines with a wire between them: delay and loss, a link that fails, a network without any server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use peerage_e2e::faults::{ALONE, progress};
use peerage_e2e::peers::libtorrent::PYTHON;
use peerage_e2e::peers::{Libtorrent, Program};
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Machines, Peerage, alone, until};
use serde_json::json;

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

/// What counts is libtorrent, which fetches the same from the same share over the same wire: the rate of one TCP connection is
/// that of the system's congestion control, but a pipeline that is too short makes it less.
#[test]
fn over_50_ms_and_one_percent_loss_it_is_as_fast_as_others() {
    const SIZE: usize = 6 * MEBIBYTE;
    const PART_OF_THEIRS: f64 = 0.6;
    alone(|| {
        let pair = Pair::new();
        let _bad = pair.machines.add_bad_wire(Duration::from_millis(50), 0.01);
        let torrent = pair.path("x.torrent");
        let listen = ["--listen", "10.80.0.1:7001", "--torrent", torrent.to_str().unwrap()];
        let (_share, link) = pair.share(SIZE, &[&ALONE[..], &listen].concat());
        let timed = |fetch: &mut dyn FnMut()| {
            let began = Instant::now();
            fetch();
            SIZE as f64 / MEBIBYTE as f64 / began.elapsed().as_secs_f64()
        };
        let theirs = timed(&mut || {
            let config = json!({
                "listen": "10.80.0.2:6900", "torrent": torrent, "save": pair.path("theirs"), "peers": ["10.80.0.1:7001"],
            });
            Libtorrent::run_in(pair.machines.command_of_ben(PYTHON), &config).complete();
        });
        let ours = timed(&mut || {
            let mut get = pair.get(&link, &[&ALONE[..], &["--listen", "10.80.0.2:7002"]].concat());
            get.complete();
            assert!(get.end().success());
        });
        println!("{ours:.2} MiB/s over 50 ms and 1 % loss, libtorrent {theirs:.2} MiB/s");
        pair.assert_arrived();
        assert!(ours >= PART_OF_THEIRS * theirs, "{ours:.2} MiB/s, libtorrent {theirs:.2} MiB/s");
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
    /// The rest of the film takes five seconds. TCP doubles its pauses while the link is down: the last may be as long as the
    /// link was.
    const REST_MAX: Duration = Duration::from_secs(25);
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
        let up = Instant::now();
        get.complete();
        assert!(get.end().success());
        pair.assert_arrived();
        println!("{:?} from the mended link to the end", up.elapsed());
        assert!(up.elapsed() < REST_MAX, "{:?} from the mended link to the end", up.elapsed());
    });
}
