//! Measures flash crowds: `cargo run --release -p peerage-sim --example flash_crowd -- --leechers 1000 --seed 1`.
//!
//! Options: `--leechers N`, `--pieces N`, `--blocks N` (blocks a piece), `--up BYTES` (a second), `--seed-up N` (uplinks of a leecher), `--connections N` (of a node),
//! `--free-riders SHARE`, `--seed N`, `--seeds N` (so many runs), `--super-seeding`.
#![allow(clippy::print_stdout, reason = "it is made to print")]

use std::time::Instant;

use peerage_sim::scenario::FlashCrowd;

fn main() {
    let mut crowd = FlashCrowd::default();
    let mut runs = 1;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--super-seeding" {
            crowd.super_seeding = true;
            continue;
        }
        let value = arguments.next().unwrap_or_default();
        let number: f64 = value.parse().unwrap_or_else(|_| panic!("{name} wants a number, got {value:?}"));
        match name.as_str() {
            "--leechers" => crowd.leechers = number as usize,
            "--pieces" => crowd.pieces = number as u32,
            "--blocks" => crowd.blocks = number as u32,
            "--up" => crowd.up = number as u64,
            "--seed-up" => crowd.seed_up = number as u64,
            "--connections" => crowd.connections = number as usize,
            "--free-riders" => crowd.free_riders = number,
            "--seed" => crowd.seed = number as u64,
            "--seeds" => runs = number as u64,
            _ => panic!("unknown option {name}"),
        }
    }
    println!("{crowd:?}");
    for seed in crowd.seed..crowd.seed + runs {
        let start = Instant::now();
        let outcome = FlashCrowd { seed, ..crowd }.run();
        let seconds = |time: Option<std::time::Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64());
        println!(
            "seed {seed}: last {:.1} s / bound {:.1} s = {:.3}; wasted {:.2} %; seed sent {:.2} copies; \
             a copy was out at {:.1} s; last contributor {:.1} s, first free rider {:.1} s; {:.1} M events in {:.1} s, trace {:016x}",
            seconds(outcome.last),
            outcome.bound.as_secs_f64(),
            outcome.ratio(),
            100.0 * outcome.wasted,
            outcome.seed_sent,
            seconds(outcome.copy_out),
            seconds(outcome.last_contributor),
            seconds(outcome.first_free_rider),
            outcome.events as f64 / 1e6,
            start.elapsed().as_secs_f64(),
            outcome.trace,
        );
    }
}
