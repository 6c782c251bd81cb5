//! Networks that tests and examples measure.

use std::time::Duration;

use peerage_content::{BLOCK_LENGTH, Layout};
use peerage_swarm::core::Config;

use super::{Behaviour, Link, Network, NodeId, NodeSpec};

/// One seed, a crowd of leechers that come all at once, equal uplinks.
///
/// The fluid bound, which this is measured by, has neither pieces nor time: with pieces, the last one takes as many hops as the crowd is deep, and
/// with choking in rounds of ten seconds it takes a few rounds until all uplinks work. So the bound can be approached only by content of
/// some hundred pieces that takes some minutes to fetch. The default is 64 MiB in 500 pieces over uplinks of 1 Mbit/s: 500 s at best.
#[derive(Clone, Copy, Debug)]
pub struct FlashCrowd {
    /// Leechers, free riders included.
    pub leechers: usize,
    /// Pieces of the content.
    pub pieces: u32,
    /// Blocks of a piece.
    pub blocks: u32,
    /// Bytes a second out of every leecher; in comes ten times as much.
    pub up: u64,
    /// The seed's uplink, in those of a leecher. With 1 the crowd waits for the seed, and uplinks stand idle; only with more of
    /// it leechers contend for each other's uplinks.
    pub seed_up: u64,
    /// Share of leechers that never upload.
    pub free_riders: f64,
    /// Connections of a node.
    pub connections: usize,
    /// The seed super-seeds.
    pub super_seeding: bool,
    /// Random choices.
    pub seed: u64,
}

impl Default for FlashCrowd {
    fn default() -> Self {
        Self {
            leechers: 1_000,
            pieces: 500,
            blocks: 8,
            up: 128 * 1024,
            seed_up: 1,
            free_riders: 0.0,
            connections: 50,
            super_seeding: false,
            seed: 1,
        }
    }
}

/// How a flash crowd went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// When the last one had everything; `None`: somebody never had.
    pub last: Option<Duration>,
    /// When the last one that uploads had everything.
    pub last_contributor: Option<Duration>,
    /// When the first free rider had everything.
    pub first_free_rider: Option<Duration>,
    /// No protocol can be quicker than this: max(F / u_seed, N F / (u_seed + sum u)).
    pub bound: Duration,
    /// When every piece had left the seed.
    pub copy_out: Option<Duration>,
    /// Bytes received for nothing, as a share of all received.
    pub wasted: f64,
    /// Bytes that the first seed sent, in copies of the content.
    pub seed_sent: f64,
    /// Events that happened.
    pub events: u64,
    /// Hash of the events.
    pub trace: u64,
}

impl Outcome {
    /// The last completion over the lower bound.
    pub fn ratio(&self) -> f64 {
        self.last.map_or(f64::INFINITY, |last| last.as_secs_f64() / self.bound.as_secs_f64())
    }
}

impl FlashCrowd {
    /// The network before anything happens, and its free riders.
    pub fn build(&self) -> (Network, Vec<NodeId>) {
        let piece_length = self.blocks * BLOCK_LENGTH;
        let layout = Layout::of_length(u64::from(self.pieces) * u64::from(piece_length), piece_length);
        let mut network = Network::new(layout, self.seed);
        let link = Link::new(self.up, 10 * self.up);
        let config = Config { connections_max: self.connections, ..Config::default() };
        let seeding = Config { super_seeding: self.super_seeding, ..config.clone() };
        network.add(NodeSpec {
            config: seeding,
            ..NodeSpec::seed(Link::new(self.seed_up * self.up, 10 * self.up))
        });
        let mut free_riders = Vec::new();
        let every =
            if self.free_riders > 0.0 { (1.0 / self.free_riders).round() as usize } else { usize::MAX };
        for leecher in 0..self.leechers {
            // All within a second: when the tracker answers, it knows them all, and nobody is nearer to the seed for being early.
            let joins = Duration::from_millis(1 + (leecher as u64 * 999) / self.leechers as u64);
            let rides = leecher % every == every - 1;
            let behaviour = if rides { Behaviour::FreeRider } else { Behaviour::Honest };
            let config = config.clone();
            let node = network.add(NodeSpec { config, joins, behaviour, ..NodeSpec::leecher(link) });
            if rides {
                free_riders.push(node);
            }
        }
        (network, free_riders)
    }

    /// The fluid lower bound.
    pub fn bound(&self) -> Duration {
        let length = f64::from(self.pieces) * f64::from(self.blocks) * f64::from(BLOCK_LENGTH);
        let up = self.up as f64;
        let seed_up = (self.seed_up * self.up) as f64;
        let contributors = (self.leechers as f64 * (1.0 - self.free_riders)).round();
        let together = self.leechers as f64 * length / (seed_up + contributors * up);
        Duration::from_secs_f64((length / seed_up).max(together))
    }

    /// Runs it, for at most twenty times the bound.
    pub fn run(&self) -> Outcome {
        let (mut network, free_riders) = self.build();
        let bound = self.bound();
        let done = network.run(20 * bound);
        let summaries = network.summaries();
        let rides = |node: &NodeId| free_riders.contains(node);
        let finished = |node: NodeId| summaries[node].finished;
        let leechers = 1..=self.leechers;
        let last_contributor = leechers.clone().filter(|node| !rides(node)).map(finished).max().flatten();
        let first_free_rider = leechers.clone().filter(rides).filter_map(finished).min();
        let received: u64 = summaries.iter().map(|node| node.stats.downloaded + node.stats.wasted).sum();
        let wasted: u64 = summaries.iter().map(|node| node.stats.wasted).sum();
        let length = u64::from(self.pieces) * u64::from(self.blocks) * u64::from(BLOCK_LENGTH);
        Outcome {
            last: done.then(|| leechers.filter_map(finished).max()).flatten(),
            last_contributor,
            first_free_rider,
            bound,
            copy_out: network.copy_out(),
            wasted: wasted as f64 / received.max(1) as f64,
            seed_sent: summaries[0].stats.uploaded as f64 / length as f64,
            events: network.events(),
            trace: network.trace(),
        }
    }
}
