//! All that runs on every connection, put together.

use std::io;

use libp2p::allow_block_list::BlockedPeers;
use libp2p::connection_limits::ConnectionLimits;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    allow_block_list, autonat, connection_limits, dcutr, gossipsub, identify, mdns, memory_connection_limits,
    ping, relay,
};

use crate::book::{self, Book};
use crate::config::{Limits, OverlayConfig};
use crate::convert;
use crate::dht::{AddressRule, Dht};
use crate::dial::BackOff;
use crate::gossip;
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
    pub(crate) gossip: Toggle<gossipsub::Behaviour>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    autonat: Toggle<autonat::v2::client::Behaviour>,
    autonat_server: Toggle<autonat::v2::server::Behaviour>,
    /// Always there: it is what the relays' transport talks to.
    relay_client: relay::client::Behaviour,
    relay_server: Toggle<relay::Behaviour>,
    dcutr: Toggle<dcutr::Behaviour>,
}

/// What a behaviour is made of beside the settings.
pub(crate) struct Parts<'a> {
    pub(crate) keypair: &'a Keypair,
    pub(crate) registry: Registry,
    pub(crate) book: Book,
    pub(crate) storage: &'a Storage,
    pub(crate) permits: &'a Permits,
    pub(crate) relay_client: relay::client::Behaviour,
}

impl Behaviour {
    /// # Errors
    /// No socket for multicast.
    pub(crate) fn new(config: &OverlayConfig, parts: Parts<'_>) -> io::Result<Self> {
        let Parts { keypair, registry, book, storage, permits, relay_client } = parts;
        let local = keypair.public().to_peer_id();
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
            Dht::new(local, rule, mode, storage.clone(), config.validators.clone(), permits.clone()).into()
        };
        let mdns = || mdns::tokio::Behaviour::new(mdns::Config::default(), local);
        Ok(Self {
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
            gossip: config.gossip.then(|| gossip::behaviour(keypair)).flatten().into(),
            mdns: config.mdns.then(mdns).transpose()?.into(),
            autonat: config.autonat.then(autonat::v2::client::Behaviour::default).into(),
            autonat_server: config.autonat.then(autonat::v2::server::Behaviour::default).into(),
            relay_client,
            relay_server: config
                .relay_server
                .then(|| relay::Behaviour::new(local, relay::Config::default()))
                .into(),
            dcutr: config.relay_client.then(|| dcutr::Behaviour::new(local)).into(),
        })
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
