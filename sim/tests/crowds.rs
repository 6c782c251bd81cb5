//! Crowds as large as real ones. Built for speed only (`cargo test --release -p peerage-sim --test crowds`, which `./dev test` does): a thousand
//! engines without optimisation take an hour.
#![cfg(not(debug_assertions))]

use peerage_sim::scenario::FlashCrowd;

/// A thousand leechers, and the last is done within five quarters of what no protocol could beat.
#[test]
fn a_flash_crowd_of_a_thousand_is_served_near_the_bound() {
    let crowd = FlashCrowd::default();
    assert_eq!(crowd.leechers, 1_000);
    let outcome = crowd.run();
    assert!(outcome.ratio() <= 1.25, "{outcome:?}");
    assert!(outcome.wasted < 0.01, "{outcome:?}");
}

#[test]
fn a_crowd_of_a_hundred_is_served_near_the_bound() {
    for seed in 1..=3 {
        let outcome = FlashCrowd { leechers: 100, seed, ..FlashCrowd::default() }.run();
        assert!(outcome.ratio() <= 1.25, "seed {seed}: {outcome:?}");
        assert!(outcome.wasted < 0.01, "seed {seed}: {outcome:?}");
    }
}

/// Under contention: the seed has uplink enough, so that leechers wait for each other's.
#[test]
fn free_riders_of_a_large_crowd_finish_after_the_slowest_contributor() {
    for seed in 1..=3 {
        let crowd = FlashCrowd {
            leechers: 200,
            pieces: 300,
            free_riders: 0.1,
            seed_up: 4,
            seed,
            ..FlashCrowd::default()
        };
        let outcome = crowd.run();
        assert!(outcome.first_free_rider > outcome.last_contributor, "seed {seed}: {outcome:?}");
        assert!(outcome.last.is_some(), "but they do finish");
    }
}
