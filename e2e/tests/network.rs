//! Two machines with a wire between them: delay and loss, a link that fails, a network without any server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use peerage_e2e::faults::{ALONE, progress};
use peerage_e2e::namespace::run;
use peerage_e2e::peerage::binary;
use peerage_e2e::sample::{self, assert_same};
use peerage_e2e::{Peerage, Process, alone, until};

const MEBIBYTE: usize = 1 << 20;

/// Ada's machine is the namespace of the test, 10.79.0.1; Ben's is another one, 10.79.0.2.
struct Wire {
    folder: tempfile::TempDir,
}

impl Wire {
    fn new() -> Self {
        // Names of namespaces lie in /run, which all tests share otherwise.
        run("mount", &["-t", "tmpfs", "none", "/run"]);
        run("ip", &["netns", "add", "ben"]);
        run("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", "ben"]);
        for (prefix, address) in [(&["-n", "ben"][..], "10.79.0.2/24"), (&[], "10.79.0.1/24")] {
            run("ip", &[prefix, &["address", "add", address, "dev", "wire"]].concat());
            run("ip", &[prefix, &["link", "set", "wire", "up"]].concat());
            run("ip", &[prefix, &["link", "set", "lo", "up"]].concat());
            run("ip", &[prefix, &["route", "add", "default", "dev", "wire"]].concat());
        }
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Another wire beside the first, slow and lossy: Ada is 10.80.0.1 there, Ben 10.80.0.2. `rtt` is there and back.
    fn add_bad_wire(&self, rtt: Duration, loss: f64) -> Process {
        let delay = (rtt / 2).as_secs_f64().to_string();
        let mut command = Command::new("/usr/bin/python3");
        command.args([
            "-c",
            include_str!("../src/faults/relay.py"),
            "bad0",
            "bad1",
            &delay,
            &loss.to_string(),
        ]);
        let mut relay = Process::start("the bad wire", &mut command);
        relay.wait_for("its devices", |line| (line == "ready").then_some(()));
        run("ip", &["link", "set", "bad1", "netns", "ben"]);
        let ends = [(&["-n", "ben"][..], "bad1", "10.80.0.2/24"), (&[], "bad0", "10.80.0.1/24")];
        for (prefix, device, address) in ends {
            run("ip", &[prefix, &["address", "add", address, "dev", device]].concat());
            run("ip", &[prefix, &["link", "set", device, "up", "txqueuelen", "5000"]].concat());
        }
        relay
    }

    fn set_link(&self, state: &str) {
        run("ip", &["link", "set", "wire", state]);
        if state == "up" {
            // The route goes with the link.
            run("ip", &["route", "replace", "default", "dev", "wire"]);
        }
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
        let home = self.path("ben");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "ben"]).arg(binary()).args(["get", "--json", link]).args(flags);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &home)
            .current_dir(&home);
        Peerage { process: Process::start("peerage get", &mut command) }
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
        let wire = Wire::new();
        let _bad = wire.add_bad_wire(Duration::from_millis(50), 0.01);
        let (_share, link) = wire.share(SIZE, &[&ALONE[..], &["--listen", "10.80.0.1:7001"]].concat());
        let began = Instant::now();
        let mut get = wire.get(&link, &[&ALONE[..], &["--listen", "10.80.0.2:7002"]].concat());
        get.complete();
        assert!(get.end().success());
        let seconds = began.elapsed().as_secs_f64();
        println!("{:.2} MiB/s over 50 ms and 1 % loss", SIZE as f64 / MEBIBYTE as f64 / seconds);
        wire.assert_arrived();
    });
}

#[test]
fn two_machines_on_one_lan_find_each_other_without_being_told() {
    alone(|| {
        let wire = Wire::new();
        let (_share, link) = wire.share(3 * MEBIBYTE, &["--no-dht"]);
        // Nothing but the name: no address of a peer, no tracker.
        let name = link.split('&').next().unwrap();
        let mut get = wire.get(name, &["--no-dht"]);
        get.complete();
        assert!(get.end().success());
        wire.assert_arrived();
    });
}

#[test]
fn the_link_of_a_share_names_an_address_that_the_other_machine_reaches() {
    alone(|| {
        let wire = Wire::new();
        let (_share, link) = wire.share(3 * MEBIBYTE, &["--no-dht", "--no-lan"]);
        assert!(link.contains("x.pe=10.79.0.1:"), "{link}");
        let mut get = wire.get(&link, &ALONE);
        get.complete();
        wire.assert_arrived();
    });
}

#[test]
fn a_link_that_was_down_for_some_seconds_costs_no_more_than_that() {
    alone(|| {
        let wire = Wire::new();
        let (_share, link) =
            wire.share(16 * MEBIBYTE, &[&ALONE[..], &["--listen", "10.79.0.1:7001"]].concat());
        let mut get =
            wire.get(&link, &[&ALONE[..], &["--listen", "10.79.0.2:7002", "--limit-down", "3M"]].concat());
        progress(&mut get, "a part", |transfer| transfer["verified"].as_u64().unwrap() > 0);
        wire.set_link("down");
        progress(&mut get, "standstill", |transfer| transfer["download_rate"] == 0);
        let down = Instant::now();
        until("some seconds", || (down.elapsed() > Duration::from_secs(5)).then_some(()));
        wire.set_link("up");
        get.complete();
        assert!(get.end().success());
        wire.assert_arrived();
        println!("{:?} from the standstill to the end", down.elapsed());
    });
}
