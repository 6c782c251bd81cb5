//! One of the two networks: libp2p's Kademlia, which gets to see the addresses of its own network only.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identify;
use libp2p::kad::{self, RecordKey};
use libp2p::swarm::behaviour::{
    ExpiredListenAddr, ExternalAddrConfirmed, ExternalAddrExpired, NewListenAddr,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::records::Records;
use super::{DhtMode, Validators};
use crate::address::{self, Scope};
use crate::storage::{Network, Storage};
use crate::transport::Permits;

/// Addresses of one peer that are put into the routing table.
const ADDRESSES_MAX: usize = 8;
/// A lookup takes this long at most.
const QUERY: Duration = Duration::from_secs(60);
/// The routing table is refreshed this often.
const REFRESH: Duration = Duration::from_secs(10 * 60);

impl Network {
    fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Public => "/ipfs/kad/1.0.0",
            Self::Lan => "/ipfs/lan/kad/1.0.0",
        })
    }
}

/// Which addresses a network is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressRule {
    pub(crate) network: Network,
    /// For tests and odd networks: every address counts.
    pub(crate) all: bool,
}

impl AddressRule {
    /// Whether a peer of this network can be dialled there.
    pub(crate) fn admits(self, peer: &PeerId, address: &Multiaddr) -> bool {
        let scope = address::first_ip(address).map_or(Scope::Named, address::scope);
        let ours = match self.network {
            Network::Public => matches!(scope, Scope::Public | Scope::Named),
            Network::Lan => scope == Scope::Private,
        };
        (self.all || ours) && address::is_dialable(address, peer)
    }
}

pub(crate) struct Dht {
    inner: kad::Behaviour<Records>,
    rule: AddressRule,
    protocol: StreamProtocol,
    permits: Permits,
    /// In [`DhtMode::Auto`]: the addresses at which others reach this node without a relay.
    direct: Option<HashSet<Multiaddr>>,
}

impl Dht {
    /// `None` when it is off.
    pub(crate) fn new(
        local: PeerId,
        rule: AddressRule,
        mode: DhtMode,
        storage: Storage,
        validators: Validators,
        permits: Permits,
    ) -> Option<Self> {
        let protocol = rule.network.protocol();
        let mut config = kad::Config::new(protocol.clone());
        config
            .set_query_timeout(QUERY)
            .set_periodic_bootstrap_interval(Some(REFRESH))
            .set_kbucket_inserts(kad::BucketInserts::Manual)
            .set_caching(kad::Caching::Disabled)
            // Whoever published something does it again.
            .set_publication_interval(None)
            .set_replication_interval(None)
            .set_provider_publication_interval(None);
        let records = Records::new(local, rule, storage, validators);
        let mut inner = kad::Behaviour::with_config(local, records, config);
        match mode {
            DhtMode::Off => return None,
            DhtMode::Client | DhtMode::Auto => inner.set_mode(Some(kad::Mode::Client)),
            DhtMode::Server => inner.set_mode(Some(kad::Mode::Server)),
        }
        let direct = (mode == DhtMode::Auto).then(HashSet::new);
        Some(Self { inner, rule, protocol, permits, direct })
    }

    pub(crate) fn network(&self) -> Network {
        self.rule.network
    }

    pub(crate) fn kad(&mut self) -> &mut kad::Behaviour<Records> {
        &mut self.inner
    }

    /// A peer told what it speaks and where it listens: a place in the routing table, or none any more.
    pub(crate) fn identified(&mut self, peer: PeerId, info: &identify::Info) {
        if !info.protocols.contains(&self.protocol) {
            self.inner.remove_peer(&peer);
            return;
        }
        let admitted = info.listen_addrs.iter().filter(|address| self.rule.admits(&peer, address));
        for address in admitted.take(ADDRESSES_MAX) {
            self.inner.add_address(&peer, address.clone());
        }
    }

    /// Peers in the routing table.
    pub(crate) fn size(&mut self) -> usize {
        self.inner.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    /// Where the answers of a search that is still under way say that a peer is.
    pub(crate) fn addresses(&mut self, key: &RecordKey, peer: PeerId) -> Vec<Multiaddr> {
        // What kad would dial it at: it does not tell otherwise.
        let dialled = self.inner.handle_pending_outbound_connection(
            ConnectionId::new_unchecked(0),
            Some(peer),
            &[],
            Endpoint::Dialer,
        );
        let mut addresses = dialled.unwrap_or_default();
        addresses.extend(self.inner.store_mut().addresses(key, &peer));
        addresses.retain(|address| self.rule.admits(&peer, address));
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        addresses
    }

    pub(crate) fn admits(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        self.rule.admits(peer, address)
    }

    /// A server is one that others reach without a relay: of its own accord kad would take a relay's address for that.
    fn choose_mode(&mut self, event: &FromSwarm<'_>) {
        let Some(direct) = &mut self.direct else { return };
        let before = direct.is_empty();
        match event {
            FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr })
                if !address::is_relayed(addr) =>
            {
                direct.insert((*addr).clone());
            }
            FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }) => {
                direct.remove(*addr);
            }
            _ => return,
        }
        if direct.is_empty() != before {
            let mode = if before { kad::Mode::Server } else { kad::Mode::Client };
            self.inner.set_mode(Some(mode));
        }
    }

    /// What is a private address elsewhere is how peers of the local network are reached.
    fn permit<'a>(&self, peer: &PeerId, addresses: impl IntoIterator<Item = &'a Multiaddr>) {
        if self.rule.network == Network::Lan {
            let admitted = addresses.into_iter().filter(|address| self.rule.admits(peer, address));
            admitted.for_each(|address| self.permits.give(address));
        }
    }
}

/// What reaches kad is what it shows others: in the public network its confirmed addresses, in the local one those that it listens on.
fn on_own_network(rule: AddressRule, event: FromSwarm<'_>) -> [Option<FromSwarm<'_>>; 2] {
    let is_private = |address| {
        let scope = address::first_ip(address).map_or(Scope::Named, address::scope);
        matches!(scope, Scope::Private | Scope::Machine)
    };
    match (rule.network, event) {
        (
            Network::Public,
            FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr })
            | FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }),
        ) if is_private(addr) && !rule.all => [None, None],
        (Network::Lan, FromSwarm::ExternalAddrConfirmed(_) | FromSwarm::ExternalAddrExpired(_)) => {
            [None, None]
        }
        (Network::Lan, FromSwarm::NewListenAddr(NewListenAddr { addr, .. })) => {
            [Some(event), Some(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }))]
        }
        (Network::Lan, FromSwarm::ExpiredListenAddr(ExpiredListenAddr { addr, .. })) => {
            [Some(event), Some(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }))]
        }
        _ => [Some(event), None],
    }
}

impl NetworkBehaviour for Dht {
    type ConnectionHandler = THandler<kad::Behaviour<Records>>;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut known = self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        if let Some(peer) = peer {
            known.retain(|address| self.rule.admits(&peer, address));
            self.permit(&peer, &known);
        }
        Ok(known)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        for event in on_own_network(self.rule, event).into_iter().flatten() {
            self.choose_mode(&event);
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}
