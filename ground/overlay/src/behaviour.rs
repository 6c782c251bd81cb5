//! All that runs on every connection, put together.

use libp2p::allow_block_list::BlockedPeers;
use libp2p::connection_limits::ConnectionLimits;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{allow_block_list, connection_limits, identify, memory_connection_limits, ping};

use crate::config::{Limits, OverlayConfig};
use crate::convert;
use crate::dial::BackOff;
use crate::streams::{self, Registry};

/// What identify calls the family of protocols; that of the IPFS network.
const FAMILY: &str = "ipfs/0.1.0";

/// The gatekeepers come first: of what they refuse, the others never hear.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) denied: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) back_off: BackOff,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: streams::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(config: &OverlayConfig, keypair: &Keypair, registry: Registry) -> Self {
        let mut denied = allow_block_list::Behaviour::<BlockedPeers>::default();
        for peer in config.deny.iter().filter_map(|peer| convert::to_libp2p(*peer)) {
            denied.block_peer(peer);
        }
        let identify = identify::Config::new(FAMILY.to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // Addresses are remembered by us, with their bounds.
            .with_cache_size(0);
        Self {
            denied,
            limits: connection_limits::Behaviour::new(limits(&config.limits)),
            memory: config.limits.memory.map(memory_connection_limits::Behaviour::with_max_bytes).into(),
            back_off: BackOff::default(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            streams: streams::Behaviour::new(registry),
        }
    }
}

fn limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.handshakes))
        .with_max_pending_outgoing(Some(limits.handshakes))
        .with_max_established_incoming(Some(limits.connections_in))
        .with_max_established(Some(limits.connections))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
}
