//! All that runs on every connection, put together.

use libp2p::allow_block_list::BlockedPeers;
use libp2p::connection_limits::ConnectionLimits;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{allow_block_list, connection_limits, identify, memory_connection_limits, ping};

use crate::book::{self, Book};
use crate::config::{Limits, OverlayConfig};
use crate::convert;
use crate::dht::{AddressRule, Dht};
use crate::dial::BackOff;
use crate::storage::{Network, Storage};
use crate::streams::{self, Registry};
use crate::transport::Permits;

/// What identify calls the family of protocols; that of the IPFS network.
const FAMILY: &str = "ipfs/0.1.0";

/// The gatekeepers come first: of what they refuse, the others never hear.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) denied: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) back_off: BackOff,
    pub(crate) book: book::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: streams::Behaviour,
    dht: Toggle<Dht>,
    lan_dht: Toggle<Dht>,
}

impl Behaviour {
    pub(crate) fn new(
        config: &OverlayConfig,
        keypair: &Keypair,
        registry: Registry,
        book: Book,
        storage: &Storage,
        permits: &Permits,
    ) -> Self {
        let mut denied = allow_block_list::Behaviour::<BlockedPeers>::default();
        for peer in config.deny.iter().filter_map(|peer| convert::to_libp2p(*peer)) {
            denied.block_peer(peer);
        }
        let identify = identify::Config::new(FAMILY.to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // Addresses are remembered by us, with their bounds.
            .with_cache_size(0);
        let dht = |network, mode| {
            let rule = AddressRule { network, all: config.dial_private };
            let local = keypair.public().to_peer_id();
            Dht::new(local, rule, mode, storage.clone(), config.validators.clone(), permits.clone()).into()
        };
        Self {
            denied,
            limits: connection_limits::Behaviour::new(limits(&config.limits)),
            memory: config.limits.memory.map(memory_connection_limits::Behaviour::with_max_bytes).into(),
            back_off: BackOff::default(),
            book: book::Behaviour { book },
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            streams: streams::Behaviour::new(registry),
            dht: dht(Network::Public, config.dht),
            lan_dht: dht(Network::Lan, config.lan_dht),
        }
    }

    /// The hash tables that this node takes part in.
    pub(crate) fn dhts(&mut self) -> impl Iterator<Item = &mut Dht> {
        [self.dht.as_mut(), self.lan_dht.as_mut()].into_iter().flatten()
    }

    /// One of them, and the book that it writes into.
    pub(crate) fn dht(&mut self, network: Network) -> Option<(&mut Dht, &mut Book)> {
        let dht = match network {
            Network::Public => self.dht.as_mut(),
            Network::Lan => self.lan_dht.as_mut(),
        };
        Some((dht?, &mut self.book.book))
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
