//! The cores of bitswap against each other: whole crowds in simulated time, from seeds.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod crowd;

use std::time::Duration;

use crowd::{Link, Manners, Network};
use rand::RngExt;
use rand::seq::SliceRandom;

const KIB: usize = 1024;
const MB: f64 = 1e6;

fn link(megabytes: f64, latency_ms: u64) -> Link {
    Link { up: megabytes * MB, down: megabytes * MB, latency: Duration::from_millis(latency_ms) }
}

fn seconds(time: Option<Duration>) -> f64 {
    time.expect("everything arrives").as_secs_f64()
}

/// Nothing is left of a transfer: no wants at those who served, none at those who fetched, no bytes in flight.
fn nothing_is_left(network: &mut Network) {
    network.loss = 0.0;
    network.settle(Duration::from_secs(10));
    for (id, node) in network.nodes.iter().enumerate() {
        assert_eq!(node.fetch.wants(), 0, "node {id}");
        assert_eq!((node.server.wants(), node.server.in_flight()), (0, 0), "node {id}");
        assert_eq!(node.fetch.poll_timeout(), None, "node {id}");
    }
}

/// Bytes that were wanted, and bytes that came for nothing.
fn bytes(network: &Network) -> (u64, u64) {
    let stats = (0..network.nodes.len()).map(|node| network.stats(node));
    stats.fold((0, 0), |(bytes, late), stats| (bytes + stats.bytes, late + stats.late_bytes))
}

/// The part that came for nothing.
fn waste(network: &Network) -> f64 {
    let (bytes, late) = bytes(network);
    late as f64 / bytes.max(1) as f64
}

#[test]
fn one_peer_gives_as_fast_as_its_link() {
    for latency in [1, 20, 150] {
        let mut network = Network::new(1, 256 * KIB);
        let seed = network.add(link(10.0, latency), Manners::Honest, 0..400);
        let leech = network.add(link(100.0, 0), Manners::Honest, []);
        network.connect(seed, leech);
        network.want(leech, 0..400);
        network.run(Duration::from_secs(100));
        let ideal = 400.0 * 256.0 * 1024.0 / (10.0 * MB);
        let took = seconds(network.nodes[leech].done);
        assert!(
            took < 1.1 * ideal + 6.0 * latency as f64 / 1000.0,
            "{took} s, ideal {ideal} s at {latency} ms"
        );
        assert_eq!(waste(&network), 0.0);
        nothing_is_left(&mut network);
    }
}

#[test]
fn many_peers_give_the_sum_of_their_links() {
    let mut network = Network::new(2, 256 * KIB);
    let leech = network.add(link(50.0, 5), Manners::Honest, []);
    for at in 0..10 {
        let seed = network.add(
            link(1.0 + f64::from(at % 3), 10 + u64::from(at as u32) * 8),
            Manners::Honest,
            0..800,
        );
        network.connect(leech, seed);
    }
    network.want(leech, 0..800);
    network.run(Duration::from_secs(200));
    let sum = (0..10).map(|at| 1.0 + f64::from(at % 3)).sum::<f64>() * MB;
    let ideal = 800.0 * 256.0 * 1024.0 / sum;
    let took = seconds(network.nodes[leech].done);
    assert!(took < 1.25 * ideal, "{took} s, ideal {ideal} s");
    assert!(waste(&network) < 0.02, "{}", waste(&network));
    nothing_is_left(&mut network);
}

#[test]
fn slow_peers_do_not_hold_up_the_end() {
    let mut network = Network::new(3, 256 * KIB);
    let leech = network.add(link(50.0, 5), Manners::Honest, []);
    let fast = network.add(link(10.0, 10), Manners::Honest, 0..400);
    network.connect(leech, fast);
    for _ in 0..4 {
        let slow = network.add(link(0.1, 10), Manners::Honest, 0..400);
        network.connect(leech, slow);
    }
    network.want(leech, 0..400);
    network.run(Duration::from_secs(200));
    let ideal = 400.0 * 256.0 * 1024.0 / (10.0 * MB);
    let took = seconds(network.nodes[leech].done);
    assert!(took < ideal + 5.0, "{took} s, ideal {ideal} s");
    nothing_is_left(&mut network);
}

#[test]
fn a_crowd_with_one_seed_is_served_without_waste() {
    let mut network = Network::new(4, 256 * KIB);
    let seed = network.add(link(4.0, 10), Manners::Honest, 0..200);
    let crowd: Vec<_> = (0..12).map(|_| network.add(link(4.0, 10), Manners::Honest, [])).collect();
    for (at, &leech) in crowd.iter().enumerate() {
        network.connect(seed, leech);
        crowd[..at].iter().for_each(|&other| network.connect(other, leech));
        network.want(leech, 0..200);
    }
    network.run(Duration::from_secs(400));
    let alone = 12.0 * 200.0 * 256.0 * 1024.0 / (4.0 * MB);
    let last = network.nodes.iter().filter_map(|node| node.done).max();
    assert!(seconds(last) < 1.05 * alone, "{} s, from the seed alone {alone} s", seconds(last));
    assert!(network.nodes.iter().all(|node| node.wanted.is_empty()));
    assert!(waste(&network) < 0.05, "{}", waste(&network));
    nothing_is_left(&mut network);
}

#[test]
fn providers_are_sought_when_nobody_near_has_it() {
    let mut network = Network::new(5, 64 * KIB);
    let leech = network.add(link(10.0, 5), Manners::Honest, []);
    let other = network.add(link(10.0, 5), Manners::Honest, []);
    let provider = network.add(link(10.0, 50), Manners::Honest, 0..300);
    network.connect(leech, other);
    network.providers.insert(0, vec![provider]);
    network.want(leech, 0..300);
    network.run(Duration::from_secs(20));
    // Everybody near said no, which is quicker than waiting.
    assert!(seconds(network.nodes[leech].done) < 3.5, "{:?}", network.nodes[leech].done);
    nothing_is_left(&mut network);
}

#[test]
fn a_block_that_appears_later_is_got_when_it_does() {
    let mut network = Network::new(6, 64 * KIB);
    let leech = network.add(link(10.0, 5), Manners::Honest, []);
    let middle = network.add(link(10.0, 5), Manners::Honest, []);
    let seed = network.add(link(10.0, 5), Manners::Honest, 0..10);
    network.connect(leech, middle);
    network.want(leech, 0..10);
    network.run(Duration::from_secs(3));
    network.want(middle, 0..10);
    network.connect(middle, seed);
    network.run(Duration::from_secs(6));
    assert!(seconds(network.nodes[leech].done) < 5.0);
    nothing_is_left(&mut network);
}

#[test]
fn thousands_of_wants_at_once_are_cheap() {
    let mut network = Network::new(7, 4 * KIB);
    let leech = network.add(link(100.0, 1), Manners::Honest, []);
    for at in 0..20 {
        let part = (0..50_000).filter(move |number| (number + at) % 4 != 0);
        let seed = network.add(link(100.0, 1), Manners::Honest, part);
        network.connect(leech, seed);
    }
    network.want(leech, 0..50_000);
    network.run(Duration::from_secs(60));
    assert!(network.nodes[leech].wanted.is_empty());
    assert!(waste(&network) < 0.02, "{}", waste(&network));
    nothing_is_left(&mut network);
}

/// Parts of the content here and there, connections that break, peers that come and go, and liars: everything arrives.
fn rough(seed: u64) -> (u64, u64) {
    let mut network = Network::new(seed, 128 * KIB);
    let blocks = network.rng().random_range(50..300_u32);
    let mut everything: Vec<u32> = (0..blocks).collect();
    everything.shuffle(network.rng());
    let peers = network.rng().random_range(4..20_usize);
    let mut nodes = Vec::new();
    for at in 0..peers {
        let rate = network.rng().random_range(1.0..10.0);
        let latency = network.rng().random_range(1..120);
        let manners = match at {
            0 => Manners::Corrupts,
            1 => Manners::Promises,
            2 => Manners::Silent,
            _ => Manners::Honest,
        };
        let share = network.rng().random_range(0.05..1.0);
        // Every block is somewhere among the honest.
        let own: Vec<u32> = everything
            .iter()
            .enumerate()
            .filter(|(index, _)| index % (peers - 3) + 3 == at || network.rng().random_bool(share))
            .map(|(_, &number)| number)
            .collect();
        let own = if manners == Manners::Honest { own } else { Vec::new() };
        nodes.push(network.add(link(rate, latency), manners, own));
    }
    let leeches: Vec<_> = (0..3).map(|_| network.add(link(8.0, 20), Manners::Honest, [])).collect();
    for &leech in &leeches {
        for &node in nodes.iter().chain(&leeches) {
            network.connect(leech, node);
        }
        network.want(leech, 0..blocks);
    }
    for _ in 0..peers {
        let (at, node) = (network.rng().random_range(100..20_000), network.rng().random_range(0..peers));
        let leech = leeches[network.rng().random_range(0..3)];
        network.break_at(Duration::from_millis(at), leech, nodes[node]);
        network.connect_at(Duration::from_millis(at + 5000), leech, nodes[node]);
    }
    network.loss = 0.002;
    network.run(Duration::from_secs(600));
    for &leech in &leeches {
        let missing = &network.nodes[leech].wanted;
        assert!(missing.is_empty(), "seed {seed}: {} of {blocks} are missing", missing.len());
        assert!(network.nodes[leech].dismissed.iter().all(|&node| node == nodes[0]), "seed {seed}");
    }
    // These are small: a few blocks are much of one.
    assert!(waste(&network) < 0.2, "seed {seed}: {}", waste(&network));
    nothing_is_left(&mut network);
    bytes(&network)
}

#[test]
fn everything_arrives_from_a_rough_crowd() {
    let sums = (0..60).map(rough).fold((0, 0), |sum, (bytes, late)| (sum.0 + bytes, sum.1 + late));
    assert!(sums.1 * 20 < sums.0, "{} of {} bytes came for nothing", sums.1, sums.0);
}
