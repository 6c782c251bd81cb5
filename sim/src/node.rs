//! One peer of the network.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerage_content::PieceIndex;
use peerage_swarm::core::{Config, Stats, Swarm};

use super::link::{Link, Uplink};

/// The number of a node, from 0.
pub type NodeId = usize;

/// How a node behaves towards others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// As the engine says.
    Honest,
    /// Never serves anyone.
    FreeRider,
    /// Spoils this share of the blocks that it sends.
    Poisoner(f64),
}

/// When a node leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Never.
    Stays,
    /// This long after it has everything.
    AfterFinish(Duration),
    /// This long after it joined, whatever it has.
    After(Duration),
    /// When all pieces together are at other nodes.
    WhenACopyIsOut,
}

/// A person who watches while it downloads.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Bytes a second played.
    pub rate: u64,
    /// Time between joining and the first picture.
    pub patience: Duration,
    /// Pieces ahead of the player that get a deadline.
    pub window: u32,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its connection to the network.
    pub link: Link,
    /// Settings of its engine.
    pub config: Config,
    /// It has everything from the start.
    pub seed: bool,
    /// When it joins.
    pub joins: Duration,
    /// When it leaves.
    pub parting: Parting,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Nobody can dial it.
    pub nat: bool,
    /// Its wire rejects requests instead of dropping them (BEP 6).
    pub fast: bool,
    /// Somebody watches.
    pub reader: Option<Reader>,
}

impl NodeSpec {
    /// An honest leecher that joins at once and stays.
    pub fn leecher(link: Link) -> Self {
        Self {
            link,
            config: Config::default(),
            seed: false,
            joins: Duration::ZERO,
            parting: Parting::Stays,
            behaviour: Behaviour::Honest,
            nat: false,
            fast: true,
            reader: None,
        }
    }

    /// An honest seed that is there from the start and stays.
    pub fn seed(link: Link) -> Self {
        Self { seed: true, ..Self::leecher(link) }
    }
}

/// How a node fared.
#[derive(Clone, Debug)]
pub struct Summary {
    /// When it had everything; `None`: not yet.
    pub finished: Option<Duration>,
    /// The engine's own numbers, as of now or of its leaving.
    pub stats: Stats,
    /// Nodes it banned.
    pub banned: Vec<NodeId>,
    /// How long its player stood still for want of data.
    pub stalled: Duration,
}

/// A node while it is there.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: NodeSpec,
    /// `None` before it joins and after it left.
    pub(crate) swarm: Option<Box<Swarm>>,
    /// Its open connections, in the order they were made.
    pub(crate) transfers: Vec<usize>,
    pub(crate) uplink: Uplink,
    /// When the way in is free.
    pub(crate) downlink_free: Duration,
    /// Blocks gathered by piece, and whether one of them is bad.
    pub(crate) gathered: BTreeMap<PieceIndex, (u32, bool)>,
    /// The tick that is planned.
    pub(crate) wake: Option<Duration>,
    /// The piece that the player shows.
    pub(crate) playing: PieceIndex,
    pub(crate) summary: Summary,
}

impl Node {
    pub(crate) fn new(spec: NodeSpec) -> Self {
        Self {
            spec,
            swarm: None,
            transfers: Vec::new(),
            uplink: Uplink::default(),
            downlink_free: Duration::ZERO,
            gathered: BTreeMap::new(),
            wake: None,
            playing: 0,
            summary: Summary {
                finished: None,
                stats: Stats::default(),
                banned: Vec::new(),
                stalled: Duration::ZERO,
            },
        }
    }
}

/// Where a node listens.
pub(crate) fn address(node: NodeId) -> SocketAddr {
    SocketAddr::new(IpAddr::V4((0x0b00_0000 + node as u32).into()), 6881)
}

/// The node that lives at an address.
pub(crate) fn node_at(address: SocketAddr) -> Option<NodeId> {
    match address.ip() {
        IpAddr::V4(host) => host.to_bits().checked_sub(0x0b00_0000).map(|node| node as NodeId),
        IpAddr::V6(_) => None,
    }
}
