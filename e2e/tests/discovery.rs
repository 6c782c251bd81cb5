//! How nodes find each other when nobody names an address: trackers over HTTP and UDP, the DHT, the local network; each
//! alone, with everything else off. libtorrent is the other side.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use peerage_e2e::faults::bencode::{dict, int};
use peerage_e2e::faults::wire::{RawPeer, hash_bytes, id};
use peerage_e2e::namespace::{add_lan, set_hosts};
use peerage_e2e::peers::ear::{Ear, TRACKER_PORT};
use peerage_e2e::peers::{Libtorrent, OpenTracker, Program};
use peerage_e2e::sample::{self, Room};
use peerage_e2e::{Peerage, alone, peerage};
use serde_json::{Value, json};

/// All are peers of the tracker on one host: a connection to an own address comes from that address.
const HOST: &str = "10.77.0.8";
const OURS: &str = "10.77.0.8:6881";
const THEIRS: &str = "10.77.0.8:6900";

/// Through a tracker alone, as seed and as leech.
#[track_caller]
fn tracker(scheme: &str, flags: &[&str]) {
    let room = Room::new();
    sample::odd_folder(&room.path("ours/odd"));
    let url = format!("{scheme}://{HOST}:6969/announce");
    let flags = [&["odd", "--tracker", &url, "--torrent", "../x.torrent"][..], flags].concat();
    let hash = &peerage::objects(&room.path("ours"), &[&["hash"][..], &flags].concat())[0];
    let listed: Vec<&str> =
        ["info_hash_v1", "info_hash_v2"].iter().filter_map(|key| hash[*key].as_str()).collect();
    let tracker = OpenTracker::start(HOST, 6969, &listed);
    assert_eq!(tracker.url(scheme), url);

    let node = ["--no-dht", "--no-lan", "--listen", OURS];
    let mut share =
        Peerage::share(&room.path("ours"), &[&["odd", "--as", "../x.torrent"][..], &node].concat());
    share.find("an answer of the tracker", |event| event["transfer"]["sources"]["trackers_working"] == 1);
    let mut leech = Libtorrent::run(
        &json!({ "listen": THEIRS, "torrent": room.path("x.torrent"), "save": room.path("theirs") }),
    );
    leech.complete();
    sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));

    // Now they have it, and only they.
    drop(share);
    let node = ["--no-dht", "--no-lan", "--listen", "10.77.0.8:6882"];
    let mut get = Peerage::get(&room.path("third"), &[&["../x.torrent"][..], &node].concat());
    get.complete();
    sample::assert_same(&room.path("ours/odd"), &room.path("third/odd"));
}

#[test]
fn an_http_tracker_is_enough() {
    alone(|| tracker("http", &[]));
}

#[test]
fn a_udp_tracker_is_enough() {
    alone(|| tracker("udp", &[]));
}

#[test]
fn a_v2_torrent_is_announced_by_its_short_hash() {
    alone(|| tracker("http", &["--v2-only"]));
}

#[test]
fn a_private_torrent_goes_through_its_tracker() {
    alone(|| tracker("http", &["--private", "--v1-only"]));
}

/// A private torrent is not spread by the DHT or the local network, even where both work.
#[test]
fn a_private_torrent_is_not_found_without_its_tracker() {
    alone(|| {
        add_lan();
        let room = Room::new();
        sample::file(&room.path("ours/film.mkv"), 3, 1_000_000);
        let _router = Libtorrent::run(&json!({ "listen": "10.78.0.1:6999", "dht": true }));
        let node = ["--listen", "10.78.0.1:6881", "--dht-bootstrap", "10.78.0.1:6999"];
        let args = [&["film.mkv", "--torrent", "../x.torrent", "--private"][..], &node].concat();
        let args = [&args[..], &["--tracker", "http://10.78.0.1:1/announce"]].concat();
        let mut share = Peerage::share(&room.path("ours"), &args);
        share.metadata();
        let mut get = Peerage::get(
            &room.path("theirs"),
            &["../x.torrent", "--listen", "10.78.0.1:6882", "--dht-bootstrap", "10.78.0.1:6999"],
        );
        // It asked the only one it may ask, in vain.
        let told = get.find("a failed tracker", |event| event["transfer"]["sources"]["trackers_failed"] == 1);
        let sources = &told["transfer"]["sources"];
        assert_eq!((&sources["dht_nodes"], &sources["lan"]), (&Value::Null, &false.into()), "{sources}");
        let later = get.find("more progress", |event| event["event"] == "progress");
        assert_eq!(later["transfer"]["peers_known"], 0);
    });
}

/// A peer that wants to exchange peers (BEP 11) as message 1, and metadata (BEP 9) as message 2. It says that it listens at a
/// port, where nobody is.
#[track_caller]
fn exchanger(address: &str, hash: &str, port: i64) -> RawPeer {
    let ids = dict(&[("ut_metadata", int(2)), ("ut_pex", int(1))]);
    let handshake = dict(&[("m", ids), ("p", int(port))]);
    RawPeer::extended(address, &hash_bytes(hash), &handshake).unwrap()
}

/// The next message about an extension: its number, and the rest.
#[track_caller]
fn next_extended(peer: &mut RawPeer) -> (u8, Vec<u8>) {
    let message = peer.receive_until(id::EXTENDED).unwrap();
    (message[0], message[1..].to_vec())
}

/// What it says of its extensions, which comes first.
#[track_caller]
fn handshake_of(peer: &mut RawPeer) -> Vec<u8> {
    let (number, handshake) = next_extended(peer);
    assert_eq!(number, 0);
    handshake
}

/// The number that a handshake gives an extension.
fn number_of(extension: &str, handshake: &[u8]) -> Option<u8> {
    let handshake = String::from_utf8_lossy(handshake).into_owned();
    handshake.split_once(&format!("{extension}i"))?.1.split_once('e')?.0.parse().ok()
}

/// BEP 27. The public twin, which comes after it on the same node, shows that everybody else would have been told by then.
#[test]
fn only_its_tracker_hears_of_a_private_torrent() {
    const NODE: &str = "10.78.0.1:6881";
    alone(|| {
        add_lan();
        let mut ear = Ear::open(&["10.78.0.1"]);
        let room = Room::new();
        let home = room.path("ours");
        let [private, public] =
            [&["--private", "--tracker", "http://10.78.0.1:1/announce"][..], &[]].map(|more| {
                let name = if more.is_empty() { "public" } else { "private" };
                sample::file(&home.join(name), 3, 100_000);
                [&[name, "--v1-only"], more].concat()
            });
        let hash = |flags: &[&str]| {
            let named = &peerage::objects(&home, &[&["hash"], flags].concat())[0];
            named["info_hash_v1"].as_str().unwrap().to_owned()
        };
        let (private_hash, public_hash) = (hash(&private), hash(&public));
        let mut up = Peerage::up(&home, &["--listen", NODE, "--dht-bootstrap", &ear.nodes()[0]]);
        up.event("listening");
        let mut exchangers = Vec::new();
        for (flags, hash) in [(&private, &private_hash), (&public, &public_hash)] {
            peerage::objects(&home, &[&["share", "--background"], &flags[..]].concat());
            exchangers.push([exchanger(NODE, hash, 7001), exchanger(NODE, hash, 7002)]);
        }
        ear.until_heard(&public_hash, &["get_peers", "announce_peer", "lan"]);
        let [[first, _], [second, _]] = &mut exchangers[..] else { unreachable!() };
        // Some seconds after they came, each of them hears of the other.
        assert!(number_of("ut_pex", &handshake_of(second)).is_some());
        assert_eq!(next_extended(second).0, 1);
        // The answer to a question is the next that the other hears, and nothing was before it.
        let handshake = handshake_of(first);
        assert_eq!(number_of("ut_pex", &handshake), None, "exchange is not offered");
        let question = dict(&[("msg_type", int(0)), ("piece", int(0))]);
        let metadata = number_of("ut_metadata", &handshake).unwrap();
        first.send(id::EXTENDED, &[&[metadata], &question[..]].concat()).unwrap();
        assert_eq!(next_extended(first).0, 2);
        assert_eq!(ear.heard(&private_hash), Vec::<Value>::new());
    });
}

/// A node that listens at another port in each family tells everybody the one where he can dial it: the DHT, trackers of both kinds,
/// neighbours, and whoever is connected.
#[test]
fn each_family_is_told_its_own_port() {
    const V4: (&str, u16) = ("10.78.0.1", 7001);
    const V6: (&str, u16) = ("fd78::1", 7002);
    alone(|| {
        add_lan();
        set_hosts(&format!("{} both.test\n{} both.test\n", V4.0, V6.0));
        let mut ear = Ear::open(&[V4.0, V6.0]);
        let nodes = ear.nodes();
        let trackers = ["http", "udp"].map(|scheme| format!("{scheme}://both.test:{TRACKER_PORT}/announce"));
        let room = Room::new();
        let film = room.path("ours/film.mkv");
        sample::file(&film, 3, 100_000);
        let mut args =
            vec!["film.mkv", "--v1-only", "--listen", "10.78.0.1:7001", "--listen", "[fd78::1]:7002"];
        args.extend(nodes.iter().flat_map(|node| ["--dht-bootstrap", node]));
        args.extend(trackers.iter().flat_map(|tracker| ["--tracker", tracker]));
        let mut share = Peerage::share(&room.path("ours"), &args);
        let swarm = share.metadata()["info_hash_v1"].as_str().unwrap().to_owned();

        let ways = ["announce_peer", "http", "udp", "lan"];
        let told = |way| [V4, V6].map(|(host, port)| json!({ "heard": way, "at": host, "port": port }));
        ear.until_told(&swarm, &ways.map(told).concat());
        for told in ear.heard(&swarm).iter().filter(|told| told["heard"] != "get_peers") {
            let own = if told["at"] == V4.0 { V4.1 } else { V6.1 };
            assert_eq!(told["port"], own, "{told}");
        }
        for (address, port) in [("10.78.0.1:7001", 7001_u16), ("[fd78::1]:7002", 7002)] {
            let mut peer = exchanger(address, &swarm, 1);
            let handshake = String::from_utf8_lossy(&handshake_of(&mut peer)).into_owned();
            assert!(handshake.contains(&format!("1:pi{port}e")), "over {address}: {handshake}");
        }
    });
}

/// Both announce and look up in a DHT of a libtorrent node that has no part in the transfer.
#[track_caller]
fn dht(flags: &[&str]) {
    const ROUTER: &str = "10.77.0.2:6999";
    let room = Room::new();
    sample::odd_folder(&room.path("ours/odd"));
    let _router = Libtorrent::run(&json!({ "listen": ROUTER, "dht": true }));
    let node = ["--no-lan", "--listen", "10.77.0.1:6881", "--dht-bootstrap", ROUTER];
    let args = [&["odd", "--torrent", "../x.torrent"][..], flags, &node].concat();
    let mut share = Peerage::share(&room.path("ours"), &args);
    share.metadata();
    share.find("a node of the DHT", |event| event["transfer"]["sources"]["dht_nodes"].as_u64() > Some(0));
    let mut leech = Libtorrent::run(&json!({
        "listen": "10.77.0.3:6900", "torrent": room.path("x.torrent"), "save": room.path("theirs"),
        "dht": true, "dht_nodes": [ROUTER],
    }));
    leech.complete();
    sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));

    // Now they have it, and only they; the link that names no address starts from the DHT, too.
    drop(share);
    let shown = &peerage::objects(&room.path("third"), &["inspect", "../x.torrent"])[0];
    let node = ["--no-lan", "--listen", "10.77.0.4:6883", "--dht-bootstrap", ROUTER];
    let mut get =
        Peerage::get(&room.path("third"), &[&[shown["magnet"].as_str().unwrap()][..], &node].concat());
    get.complete();
    sample::assert_same(&room.path("ours/odd"), &room.path("third/odd"));
}

#[test]
fn the_dht_is_enough() {
    alone(|| dht(&[]));
}

#[test]
fn the_dht_is_enough_for_a_v2_torrent() {
    alone(|| dht(&["--v2-only"]));
}

#[test]
fn the_local_network_is_enough() {
    alone(|| {
        add_lan();
        let room = Room::new();
        sample::odd_folder(&room.path("ours/odd"));
        let node = ["--no-dht", "--listen", "10.78.0.1:6881"];
        let mut share =
            Peerage::share(&room.path("ours"), &[&["odd", "--torrent", "../x.torrent"][..], &node].concat());
        share.metadata();
        let mut leech = Libtorrent::run(&json!({
            "listen": "10.78.0.1:6900", "torrent": room.path("x.torrent"), "save": room.path("theirs"), "lsd": true,
        }));
        leech.complete();
        sample::assert_same(&room.path("ours/odd"), &room.path("theirs/odd"));

        // Now they have it, and only they.
        drop(share);
        let node = ["--no-dht", "--listen", "10.78.0.1:6882"];
        let mut get = Peerage::get(&room.path("third"), &[&["../x.torrent"][..], &node].concat());
        get.complete();
        sample::assert_same(&room.path("ours/odd"), &room.path("third/odd"));
    });
}
