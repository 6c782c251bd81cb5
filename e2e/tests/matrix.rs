//! Every program × every variant × both directions. The table below is the whole of it: read it first.
//!
//! `both` means that they seed and we get, and that we share and they get; each is a test of its own, such as
//! `folder_hybrid::aria2::they_seed`, and ends with the comparison of all SHA-256. A reason in place of `both` says why
//! there is nothing to test; beside `gets`, why they cannot seed. All torrents are made by `peerage hash`; torrents that they make, and what is particular to
//! one program, are in the file of that program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use peerage_e2e::faults::ALONE;
use peerage_e2e::machines::{ADA, ADA_FAR, BEN, BEN_FAR};
use peerage_e2e::namespace::run;
use peerage_e2e::peers::{
    Aria2, DhtNet, Find, Libtorrent, OpenTracker, Place, Program, QBittorrent, Role, Rqbit, Transmission,
    dht_net,
};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Machines, Peerage, alone, peerage};

/// A module for each row, in it a module for each program, in it a test for each direction.
macro_rules! matrix {
    ($($row:ident: [$libtorrent:tt $qbittorrent:tt $transmission:tt $aria2:tt $rqbit:tt] $case:expr;)*) => {
        $(mod $row {
            use super::*;
            const CASE: Case = $case;
            matrix!(@cell libtorrent Libtorrent $libtorrent);
            matrix!(@cell qbittorrent QBittorrent $qbittorrent);
            matrix!(@cell transmission Transmission $transmission);
            matrix!(@cell aria2 Aria2 $aria2);
            matrix!(@cell rqbit Rqbit $rqbit);
        })*
    };
    (@cell $name:ident $program:ident both) => {
        mod $name {
            use super::*;
            #[test]
            fn they_seed() {
                alone(|| super::super::they_seed::<$program>(CASE));
            }
            #[test]
            fn they_get() {
                alone(|| super::super::they_get::<$program>(CASE));
            }
        }
    };
    (@cell $name:ident $program:ident [gets $why:ident]) => {
        const _: &str = $why;
        mod $name {
            use super::*;
            #[test]
            fn they_get() {
                alone(|| super::super::they_get::<$program>(CASE));
            }
        }
    };
    (@cell $name:ident $program:ident ($why:ident)) => {
        const _: &str = $why;
    };
}

/// transmission 3.00 cannot read the `file tree` of hybrids, whoever made them.
const FILE_TREE: &str = "cannot read a file tree";
/// aria2 1.36 computes a wrong info hash for hybrids, whoever made them.
const WRONG_HASH: &str = "computes a wrong info hash for hybrids";
/// transmission, aria2 and rqbit know v1 alone.
const NO_V2: &str = "does not know v2";
/// libtorrent, and with it qBittorrent, transmission and rqbit refuse a torrent without a single byte, whoever made it.
const NO_BYTES: &str = "refuses torrents without content";
/// The 5 GiB of libtorrent are in `swarm.rs`, where nothing is there beforehand.
const IN_FULL: &str = "moves it in full elsewhere";
/// qBittorrent is libtorrent inside: its half a minute of hashing would show nothing that the other's does not.
const SAME_LIBRARY: &str = "has the storage of libtorrent";
/// rqbit announces itself only to nodes whose ids are as near as there are in the real DHT, not among a dozen.
const FAR_NODES: &str = "announces to near nodes only";
/// rqbit speaks plain connections alone.
const NO_ENCRYPTION: &str = "does not encrypt";

matrix! {
    //                   libtorrent  qbittorrent  transmission    aria2           rqbit
    file_v1:            [both        both         both            both            both           ] FILE;
    file_v2:            [both        both         (NO_V2)         (NO_V2)         (NO_V2)        ] Case { kind: Kind::V2, ..FILE };
    file_hybrid:        [both        both         (FILE_TREE)     (WRONG_HASH)    both           ] Case { kind: Kind::Hybrid, ..FILE };
    folder_v1:          [both        both         both            both            both           ] FOLDER;
    folder_v2:          [both        both         (NO_V2)         (NO_V2)         (NO_V2)        ] Case { kind: Kind::V2, ..FOLDER };
    folder_hybrid:      [both        both         (FILE_TREE)     (WRONG_HASH)    both           ] Case { kind: Kind::Hybrid, ..FOLDER };
    link_v1:            [both        both         both            both            both           ] Case { link: true, ..FOLDER };
    link_v2:            [both        both         (NO_V2)         (NO_V2)         (NO_V2)        ] Case { link: true, kind: Kind::V2, ..FOLDER };
    link_hybrid:        [both        both         (FILE_TREE)     (WRONG_HASH)    both           ] Case { link: true, kind: Kind::Hybrid, ..FOLDER };
    tracker:            [both        both         both            both            both           ] Case { meet: Meet::Tracker, ..FILE };
    private:            [both        both         both            both            both           ] Case { meet: Meet::Tracker, private: true, ..FILE };
    dht:                [both        both         both            both            [gets FAR_NODES]] Case { meet: Meet::Dht, ..FILE };
    lan:                [both        both         both            both            both           ] Case { meet: Meet::Lan, ..FILE };
    encrypted_only:     [both        both         both            both            (NO_ENCRYPTION)] Case { encrypted: true, ..FILE };
    ipv6:               [both        both         both            both            both           ] Case { meet: Meet::Ipv6, ..FILE };
    bad_wire:           [both        both         both            both            both           ] Case { meet: Meet::BadWire, ..SMALL };
    empty:              [(NO_BYTES)  (NO_BYTES)  (NO_BYTES)      both            (NO_BYTES)     ] Case { what: What::File(0), ..FILE };
    huge:               [(IN_FULL)   (SAME_LIBRARY) both         both            both           ] Case { what: What::Huge, ..FILE };
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Case {
    what: What,
    kind: Kind,
    /// The downloader has a link without any address, and not the torrent.
    link: bool,
    meet: Meet,
    private: bool,
    /// They take encrypted connections only.
    encrypted: bool,
}

const FILE: Case = Case {
    what: What::File(5_000_001),
    kind: Kind::V1,
    link: false,
    meet: Meet::Named,
    private: false,
    encrypted: false,
};
const FOLDER: Case = Case { what: What::Folder, ..FILE };
const SMALL: Case = Case { what: What::File(1_000_001), ..FILE };

/// What is transferred.
#[derive(Clone, Copy, Debug)]
enum What {
    /// `film.mkv`, of so many bytes.
    File(usize),
    /// [`sample::odd_folder`]: unicode and odd names, empty files.
    Folder,
    /// [`sample::sparse`], of which the downloader has all but the bytes that are not zero: what is left to fetch lies on both
    /// sides of 4 GiB.
    Huge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
    Hybrid,
}

/// How the two find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meet {
    /// We are told their address and dial: not all of them can be told ours.
    Named,
    /// The same over IPv6.
    Ipv6,
    /// The same over 50 ms and a loss of 1 %.
    BadWire,
    /// Through an HTTP tracker alone.
    Tracker,
    /// Through the DHT alone.
    Dht,
    /// Through multicast in the local network alone.
    Lan,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::File(_) | Self::Huge => "film.mkv",
            Self::Folder => "odd",
        }
    }
}

/// The stage of one test: who is where, and what there is between them.
struct Stage {
    case: Case,
    room: Room,
    /// Names of the torrent, by their keys in `peerage hash`.
    hash: serde_json::Value,
    theirs: Place<'static>,
    machines: Option<Machines>,
    tracker: Option<OpenTracker>,
    dht: Option<DhtNet>,
    _wire: Option<peerage_e2e::Process>,
}

impl Stage {
    /// The content lies with `owner`, `ours` or `theirs`; the torrent lies between the two.
    #[track_caller]
    fn set(case: Case, owner: &str) -> Self {
        let (room, name) = (Room::new(), case.what.name());
        if matches!(case.what, What::Huge) {
            // Holes in memory cost nothing, not even when they are read.
            run("mount", &["-t", "tmpfs", "tmpfs", room.path("").to_str().unwrap()]);
        }
        let files = room.path(&format!("{owner}/{name}"));
        match case.what {
            What::File(size) => sample::file(&files, 7, size),
            What::Folder => sample::odd_folder(&files),
            What::Huge => {
                sample::sparse(&files);
                let other = if owner == "ours" { "theirs" } else { "ours" };
                sample::holes(&room.path(&format!("{other}/{name}")));
            }
        }
        let host = match case.meet {
            Meet::Named => "10.77.0.3",
            Meet::Ipv6 => "fd77::1",
            Meet::BadWire => ADA_FAR,
            Meet::Tracker | Meet::Dht | Meet::Lan => ADA,
        };
        let find = match case.meet {
            Meet::Dht => Find::Dht,
            Meet::Lan => Find::Lan,
            _ => Find::Nobody,
        };
        let theirs = Place { find, encrypted: case.encrypted, ..Place::new(host, 6900) };
        let machines = (!matches!(case.meet, Meet::Named | Meet::Ipv6)).then(Machines::new);
        let bad = machines.filter(|_| case.meet == Meet::BadWire);
        let wire = bad.map(|machines| machines.add_bad_wire(Duration::from_millis(50), 0.01));
        let kind = match case.kind {
            Kind::V1 => "--v1-only",
            Kind::V2 => "--v2-only",
            Kind::Hybrid => "--hybrid",
        };
        let mut args = vec!["hash", name, kind, "--torrent", "../x.torrent"];
        if case.meet == Meet::Tracker {
            args.extend(["--tracker", "http://10.79.0.1:6969/announce"]);
        }
        if case.private {
            args.push("--private");
        }
        let hash = peerage::objects(&room.path(owner), &args).remove(0);
        let swarm = hash["info_hash_v1"].as_str().or(hash["info_hash_v2"].as_str()).unwrap();
        let tracker = (case.meet == Meet::Tracker).then(|| OpenTracker::start(ADA, 6969, &[swarm]));
        let dht = machines.filter(|_| case.meet == Meet::Dht);
        let dht = dht.map(|machines| DhtNet::watching(&machines, swarm));
        Self { case, room, theirs, machines, tracker, dht, _wire: wire, hash }
    }

    fn files(&self, owner: &str) -> PathBuf {
        self.room.path(&format!("{owner}/{}", self.case.what.name()))
    }

    /// What the downloader is given.
    fn source(&self) -> String {
        if self.case.link {
            self.hash["magnet"].as_str().unwrap().to_owned()
        } else {
            self.room.text("x.torrent")
        }
    }

    #[track_caller]
    fn they<P: Program>(&self, role: Role) -> P {
        let source = if role == Role::Seed { self.room.text("x.torrent") } else { self.source() };
        P::start(&self.theirs, role, &source, &self.room.path("theirs"))
    }

    #[track_caller]
    fn we(&self, verb: &str, args: &[&str]) -> Peerage {
        let (theirs, near, far) = (self.theirs.address(), format!("{BEN}:6881"), format!("{BEN_FAR}:6881"));
        let find: &[&str] = match self.case.meet {
            Meet::Named => &["--listen", "10.77.0.1:6881", "--peer", &theirs],
            Meet::Ipv6 => &["--listen", "[fd77::1]:6881", "--peer", &theirs],
            Meet::BadWire => &["--listen", &far, "--peer", &theirs],
            Meet::Tracker | Meet::Lan => &["--listen", &near],
            Meet::Dht => &["--listen", &near, "--dht-bootstrap", dht_net::ROUTER],
        };
        let off: &[&str] = match self.case.meet {
            Meet::Dht => &["--no-lan"],
            Meet::Lan => &["--no-dht"],
            _ => &ALONE,
        };
        let args = [args, find, off].concat();
        let home = self.room.path("ours");
        match self.machines {
            Some(machines) => machines.ben(&home, verb, &args),
            None => Peerage::start(&home, verb, &args),
        }
    }

    /// That all of `from` is in `to`, but for what the program leaves out.
    #[track_caller]
    fn assert_arrived(&self, from: &str, to: &str, left_out: &[&str]) {
        if matches!(self.case.what, What::Huge) {
            return sample::assert_sparse(&self.files(to));
        }
        let mut expected = sample::digests(&self.files(from));
        expected.retain(|name, _| !left_out.contains(&name.as_str()));
        assert_eq!(expected, sample::digests(&self.files(to)));
    }

    /// Waits until whoever looks for the swarm from now on finds its seed.
    #[track_caller]
    fn until_found(&mut self) {
        let swarm = self.hash["info_hash_v1"].as_str().or(self.hash["info_hash_v2"].as_str()).unwrap();
        if let Some(tracker) = &self.tracker {
            tracker.until_seeded(swarm);
        }
        if let Some(dht) = &mut self.dht {
            dht.until_announced();
        }
    }
}

#[track_caller]
fn they_seed<P: Program>(case: Case) {
    let mut stage = Stage::set(case, "theirs");
    let source = stage.source();
    // In the local network, whoever looks hears those that come later.
    let args: &[&str] = if matches!(case.what, What::Huge) { &[&source, "--overwrite"] } else { &[&source] };
    let early = (case.meet == Meet::Lan).then(|| stage.we("get", args));
    let mut seed: P = stage.they(Role::Seed);
    seed.complete();
    stage.until_found();
    let mut get = early.unwrap_or_else(|| stage.we("get", args));
    get.complete();
    assert!(get.end().success());
    stage.assert_arrived("theirs", "ours", &[]);
}

#[track_caller]
fn they_get<P: Program>(case: Case) {
    let mut stage = Stage::set(case, "ours");
    // Those that can be found are dialled; those that are dialled must be there first.
    let told_of_us = case.link && P::LINK_NEEDS_PEER;
    let must_be_first = !matches!(case.meet, Meet::Tracker | Meet::Dht) && !told_of_us;
    let early = must_be_first.then(|| stage.they::<P>(Role::Leech));
    let mut share = stage.we("share", &[case.what.name(), "--as", "../x.torrent"]);
    share.find("that it serves", |event| event["event"] == "state" && event["state"] == "seeding");
    stage.until_found();
    stage.theirs.peer = told_of_us.then_some("10.77.0.1:6881");
    let mut leech = early.unwrap_or_else(|| stage.they(Role::Leech));
    leech.complete();
    stage.assert_arrived("ours", "theirs", P::NOT_FETCHED);
}
