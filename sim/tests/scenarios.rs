//! The engine among its like, in small networks. A failing test names its seed: the same seed replays it event by event.

use std::time::Duration;

use peerage_content::{BLOCK_LENGTH, Layout};
use peerage_sim::scenario::FlashCrowd;
use peerage_sim::{Behaviour, Link, Network, NodeSpec, Parting, Reader};
use peerage_swarm::core::Config;

const PIECES: u32 = 60;
const BLOCKS: u32 = 4;
const UP: u64 = 128 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);

fn layout() -> Layout {
    let piece_length = BLOCKS * BLOCK_LENGTH;
    Layout::of_length(u64::from(PIECES) * u64::from(piece_length) - 5_000, piece_length)
}

fn link() -> Link {
    Link::new(UP, 10 * UP)
}

/// A seed and so many leechers, made by `spec`.
fn network(seed: u64, leechers: usize, spec: impl Fn(usize) -> NodeSpec) -> Network {
    let mut network = Network::new(layout(), seed);
    network.add(NodeSpec::seed(link()));
    (1..=leechers).for_each(|node| {
        network.add(spec(node));
    });
    network
}

fn small_crowd(seed: u64) -> FlashCrowd {
    FlashCrowd { leechers: 60, pieces: 160, blocks: 4, up: UP / 2, seed, ..FlashCrowd::default() }
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_seed_others() {
    let run = |seed| FlashCrowd { leechers: 15, ..small_crowd(seed) }.run();
    let (one, again, other) = (run(7), run(7), run(8));
    assert_eq!((one.trace, one.events, one.last), (again.trace, again.events, again.last));
    assert_ne!(one.trace, other.trace);
}

/// Large crowds are in `crowds.rs`. The rounds of choking weigh more in so short a fetch, of 160 s at best.
#[test]
fn a_small_crowd_is_served_near_the_bound() {
    for seed in 1..=3 {
        let outcome = small_crowd(seed).run();
        assert!(outcome.ratio() < 1.45, "seed {seed}: {outcome:?}");
        assert!(outcome.wasted < 0.01, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn super_seeding_sends_hardly_a_piece_twice() {
    for seed in 1..=3 {
        let outcome = FlashCrowd { super_seeding: true, ..small_crowd(seed) }.run();
        assert!(outcome.ratio() < 1.4, "seed {seed}: {outcome:?}");
        assert!(outcome.seed_sent < 1.3, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn free_riders_finish_after_the_slowest_contributor() {
    for seed in 1..=3 {
        let crowd = FlashCrowd { free_riders: 0.1, seed_up: 4, ..small_crowd(seed) };
        let outcome = FlashCrowd { leechers: 80, pieces: 200, ..crowd }.run();
        assert!(outcome.first_free_rider > outcome.last_contributor, "seed {seed}: {outcome:?}");
        assert!(outcome.last.is_some(), "but they do finish");
    }
}

#[test]
fn a_swarm_whose_members_leave_when_they_are_done_goes_on() {
    for seed in 1..=3 {
        let mut network = network(seed, 40, |node| NodeSpec {
            joins: Duration::from_secs(3 * node as u64),
            parting: Parting::AfterFinish(Duration::ZERO),
            ..NodeSpec::leecher(link())
        });
        assert!(network.run(HOUR), "seed {seed}: somebody never finished");
    }
}

/// A third of the leechers leave in the middle, with what they have of pieces half fetched and half served.
#[test]
fn those_who_leave_in_the_middle_do_not_hold_up_the_rest() {
    for seed in 1..=3 {
        let mut network = network(seed, 45, |node| NodeSpec {
            parting: if node % 3 == 0 {
                Parting::After(Duration::from_secs(10 + node as u64))
            } else {
                Parting::Stays
            },
            ..NodeSpec::leecher(link())
        });
        assert!(network.run(HOUR), "seed {seed}: somebody never finished");
        let length = f64::from(PIECES * BLOCKS * BLOCK_LENGTH);
        let ratio = network.now().as_secs_f64() / (length / UP as f64);
        assert!(ratio < 2.5, "seed {seed}: {ratio}");
    }
}

#[test]
fn the_seed_may_leave_when_one_copy_is_out() {
    for seed in 1..=3 {
        let mut network = Network::new(layout(), seed);
        network.add(NodeSpec { parting: Parting::WhenACopyIsOut, ..NodeSpec::seed(link()) });
        (0..20).for_each(|_| {
            network.add(NodeSpec::leecher(link()));
        });
        assert!(network.run(HOUR), "seed {seed}: the copy was lost");
    }
}

#[test]
fn a_poisoner_is_banned_by_those_it_served_and_the_honest_never() {
    for seed in 1..=4 {
        let poisoner = 3;
        let mut network = network(seed, 15, |node| NodeSpec {
            behaviour: if node == poisoner { Behaviour::Poisoner(0.2) } else { Behaviour::Honest },
            ..NodeSpec::leecher(link())
        });
        assert!(network.run(HOUR), "seed {seed}: somebody never finished");
        let summaries = network.summaries();
        let bans: Vec<usize> = summaries.iter().flat_map(|node| &node.banned).copied().collect();
        assert!(bans.iter().all(|banned| *banned == poisoner), "seed {seed}: {bans:?}");
        assert!(bans.len() >= 5, "seed {seed}: only {bans:?} banned it");
        let length = u64::from(PIECES * BLOCKS * BLOCK_LENGTH);
        let wasted: u64 = summaries.iter().map(|node| node.stats.wasted).max().unwrap();
        assert!(wasted < length / 3, "seed {seed}: one wasted {wasted} bytes");
    }
}

/// Loss of one in a hundred, 50 ms apart: one flow cannot fill the link, but those of all slots together do.
#[test]
fn loss_slows_one_flow_but_many_together_fill_the_link() {
    for seed in 1..=3 {
        let takes = |loss| {
            let link = Link { latency: Duration::from_millis(25), loss, ..Link::new(UP, 10 * UP) };
            let mut network = Network::new(layout(), seed);
            network.add(NodeSpec::seed(link));
            (0..10).for_each(|_| {
                network.add(NodeSpec::leecher(link));
            });
            assert!(network.run(HOUR), "seed {seed}");
            network.now().as_secs_f64()
        };
        let (clean, lossy) = (takes(0.0), takes(0.01));
        assert!(lossy < 1.2 * clean, "seed {seed}: {lossy} s, and {clean} s without loss");
    }
}

/// One viewer after another, more of them together than the seed's uplink could serve: those who are further on pass the film on.
#[test]
fn viewers_who_come_one_after_another_see_the_film_without_a_stop() {
    let film = Layout::of_length(120 * u64::from(BLOCKS * BLOCK_LENGTH), BLOCKS * BLOCK_LENGTH);
    for seed in 1..=3 {
        let mut network = Network::new(film.clone(), seed);
        network.add(NodeSpec::seed(link()));
        for viewer in 0..8 {
            network.add(NodeSpec {
                joins: Duration::from_secs(20 * viewer),
                reader: Some(Reader { rate: UP * 7 / 10, patience: Duration::from_secs(15), window: 8 }),
                ..NodeSpec::leecher(link())
            });
        }
        assert!(network.run(HOUR), "seed {seed}");
        network.pass(Duration::from_secs(200));
        for (node, summary) in network.summaries().iter().enumerate() {
            let stalled = summary.stalled;
            assert!(stalled < Duration::from_secs(3), "seed {seed}: node {node} stood {stalled:?}");
        }
    }
}

#[test]
fn a_fetch_in_sequence_keeps_its_order_and_finishes() {
    let config = Config { sequential: true, ..Config::default() };
    let mut network = network(1, 1, |_| NodeSpec { config: config.clone(), ..NodeSpec::leecher(link()) });
    network.run(Duration::from_secs(15));
    let have = network.have(1).unwrap();
    let count = have.count();
    assert!(count > 5 && have.iter().last() < Some(count + 2), "{:?}", have.iter().collect::<Vec<_>>());
    assert!(network.run(HOUR));
}

#[test]
fn peers_that_nobody_can_dial_take_part() {
    for seed in 1..=2 {
        let mut network =
            network(seed, 30, |node| NodeSpec { nat: node % 2 == 0, ..NodeSpec::leecher(link()) });
        assert!(network.run(HOUR), "seed {seed}");
    }
}

#[test]
fn wires_without_the_fast_extension_work_as_well() {
    for seed in 1..=2 {
        let mut network =
            network(seed, 20, |node| NodeSpec { fast: node % 3 != 0, ..NodeSpec::leecher(link()) });
        assert!(network.run(HOUR), "seed {seed}");
        let summaries = network.summaries();
        let wasted: u64 = summaries.iter().map(|node| node.stats.wasted).sum();
        let received: u64 = summaries.iter().map(|node| node.stats.downloaded).sum();
        assert!(wasted * 50 < received, "seed {seed}: {wasted} of {received}");
    }
}
