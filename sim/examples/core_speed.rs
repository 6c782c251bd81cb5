//! Measures what the core costs by itself: `cargo run --release -p peerage-sim --example core_speed`.
#![allow(clippy::print_stdout, reason = "it is made to print")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, Layout, PieceSet};
use peerage_swarm::core::{Availability, Config, Input, Output, PeerCaps, PeerKey, Received, Swarm};

fn caps(host: u32) -> PeerCaps {
    PeerCaps {
        address: std::net::SocketAddr::new(std::net::IpAddr::V4((0x0a00_0000 + host).into()), 6881),
        listen_address: None,
        outgoing: true,
        fast: true,
        requests_max: 2_000,
        serves_only: false,
    }
}

/// Nanoseconds a block, from request to verdict, when `peers` seeds deliver `pieces` x `blocks` at a gigabyte a second.
fn blocks(peers: u64, pieces: u32, blocks: u32) -> f64 {
    let layout = Arc::new(Layout::of_length(
        u64::from(pieces) * u64::from(blocks * BLOCK_LENGTH),
        blocks * BLOCK_LENGTH,
    ));
    let start = Instant::now();
    let mut now = start;
    let mut swarm = Swarm::new(Config::default(), layout, PieceSet::empty(pieces), 1, now);
    let mut queues = vec![std::collections::VecDeque::new(); peers as usize];
    let mut gathered = vec![0; pieces as usize];
    for key in 0..peers {
        let peer = PeerKey(key);
        swarm.handle(now, Input::Joined { peer, caps: caps(key as u32) });
        swarm.handle(now, Input::Has { peer, availability: Availability::All });
        swarm.handle(now, Input::Choked { peer, choked: false });
    }
    let total = u64::from(pieces) * u64::from(blocks);
    let mut received = 0;
    while !swarm.is_finished() {
        while let Some(output) = swarm.poll_output() {
            match output {
                Output::Request { peer, blocks } => queues[peer.0 as usize].extend(blocks),
                Output::Cancel { peer, blocks } => {
                    queues[peer.0 as usize].retain(|block| !blocks.contains(block));
                }
                _ => {}
            }
        }
        for key in 0..peers {
            // Blocks come in bursts, as from a socket.
            for _ in 0..16 {
                let Some(block) = queues[key as usize].pop_front() else { break };
                now += Duration::from_micros(16);
                if swarm.receive(now, PeerKey(key), block) == Received::Wanted {
                    received += 1;
                    gathered[block.piece as usize] += 1;
                    if gathered[block.piece as usize] == blocks {
                        swarm.handle(now, Input::Verified { piece: block.piece });
                    }
                }
            }
        }
    }
    assert_eq!(received, total);
    start.elapsed().as_nanos() as f64 / total as f64
}

/// Nanoseconds a Have, when `peers` announce `pieces` each in an order of their own.
fn haves(peers: u64, pieces: u32, have: PieceSet) -> f64 {
    let layout = Arc::new(Layout::of_length(u64::from(pieces) * 262_144, 262_144));
    let now = Instant::now();
    let mut swarm = Swarm::new(Config { connections_max: 200, ..Config::default() }, layout, have, 1, now);
    (0..peers).for_each(|key| {
        swarm.handle(now, Input::Joined { peer: PeerKey(key), caps: caps(key as u32) });
    });
    while swarm.poll_output().is_some() {}
    let start = Instant::now();
    for at in 0..pieces {
        for key in 0..peers {
            let piece = (u64::from(at) * 7_919 + key * 104_729) % u64::from(pieces);
            swarm.handle(now, Input::Have { peer: PeerKey(key), piece: piece as u32 });
        }
        while swarm.poll_output().is_some() {}
    }
    start.elapsed().as_nanos() as f64 / (f64::from(pieces) * peers as f64)
}

fn main() {
    println!("one seed, 2 GiB in pieces of 1 MiB: {:.0} ns a block", blocks(1, 2_048, 64));
    println!("four seeds, 2 GiB in pieces of 1 MiB: {:.0} ns a block", blocks(4, 2_048, 64));
    println!("fifty seeds, 2 GiB in pieces of 256 KiB: {:.0} ns a block", blocks(50, 8_192, 16));
    println!(
        "200 peers x 10,000 pieces while fetching: {:.0} ns a Have",
        haves(200, 10_000, PieceSet::empty(10_000))
    );
    println!(
        "200 peers x 10,000 pieces while seeding: {:.0} ns a Have",
        haves(200, 10_000, PieceSet::full(10_000))
    );
    println!("an idle Swarm: {} bytes", std::mem::size_of::<Swarm>());
}
