//! Finding others, and being found: those to begin with, the local network, relays.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, identify};
use peerage_identity::PeerId;

use super::{Task, View};
use crate::address::{Address, Scope, without_peer};
use crate::convert;
use crate::event::{OverlayEvent, Reachability};

/// Peers of former runs that are tried at once.
const ACQUAINTANCES: usize = 16;
/// Peers that failed to reach this node before it counts as private.
const FAILURES: u32 = 3;
/// Addresses of one peer that are tried of those that it tells.
const DISCOVERED_MAX: usize = 8;
/// What a peer speaks that relays for others.
const RELAY_PROTOCOL: &str = "/libp2p/circuit/relay/0.2.0/hop";

impl Task {
    pub(crate) fn announce(&mut self, address: Address) {
        self.swarm.add_external_address(address.multiaddr().clone());
        self.reachable(address);
    }

    /// Dials those to begin with, and acquaintances of former runs, as long as nobody is connected or none of the hash tables knows anybody.
    pub(super) fn look_around(&mut self) {
        let sizes: Vec<usize> = self.swarm.behaviour_mut().dhts().map(|dht| dht.size()).collect();
        let lost = !sizes.is_empty() && sizes.iter().all(|size| *size == 0);
        if !lost && !self.peers.is_empty() {
            return;
        }
        for address in self.bootstrap.clone() {
            self.permits.give(address.multiaddr());
            let Some(peer) = last_peer(address.multiaddr()) else { continue };
            let opts = DialOpts::peer_id(peer).addresses(vec![address.multiaddr().clone()]);
            self.try_dial(opts.condition(PeerCondition::DisconnectedAndNotDialing).build());
        }
        for peer in self.swarm.behaviour().book.book.latest(ACQUAINTANCES) {
            self.try_dial(
                DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build(),
            );
        }
    }

    /// Listens through a relay where nobody reaches this node directly.
    pub(super) fn look_for_relays(&mut self) {
        let Some(relays) = &mut self.relays else { return };
        let Some((relay, address)) = relays.next(Instant::now()) else { return };
        match self.swarm.listen_on(address.clone()) {
            Ok(listener) => relays.listening(relay, listener),
            Err(error) => tracing::debug!(%address, "no relay: {error}"),
        }
    }

    fn try_dial(&mut self, opts: DialOpts) {
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!("not dialled: {}", crate::dial::reason(&error));
        }
    }

    /// Peers of the local network are dialled: there are few, and what they say of themselves is about this network.
    pub(super) fn discovered(&mut self, peers: Vec<(libp2p::PeerId, Multiaddr)>) {
        let mut of_peer: HashMap<libp2p::PeerId, Vec<Multiaddr>> = HashMap::new();
        for (peer, address) in peers {
            let addresses = of_peer.entry(peer).or_default();
            if addresses.len() < DISCOVERED_MAX {
                self.permits.give(&address);
                addresses.push(address);
            }
        }
        for (id, addresses) in of_peer {
            if let Some(peer) = convert::from_libp2p(&id) {
                self.tell(OverlayEvent::Discovered { peer });
            }
            let opts = DialOpts::peer_id(id).addresses(addresses);
            self.try_dial(opts.condition(PeerCondition::DisconnectedAndNotDialing).build());
        }
    }

    /// A peer that came through a relay may be open itself: it is dialled where it says it listens. Hole punching does not do that: there both
    /// sides take part, and an open host that was not behind a router does not answer as it expects.
    pub(super) fn turn_around(&mut self, peer: PeerId, id: libp2p::PeerId, info: &identify::Info) {
        if !self.peers.came_through_relay(peer) {
            return;
        }
        let open = info.listen_addrs.iter().filter(|address| {
            let address = Address::from((*address).clone());
            address.scope() == Scope::Public && !address.is_relayed()
        });
        let addresses: Vec<_> = open.take(DISCOVERED_MAX).cloned().collect();
        if !addresses.is_empty() {
            let opts = DialOpts::peer_id(id).addresses(addresses);
            self.try_dial(opts.condition(PeerCondition::NotDialing).build());
        }
    }

    /// A relay is used at an address that this node has reached itself.
    pub(super) fn offered_relay(&mut self, peer: PeerId, id: libp2p::PeerId, info: &identify::Info) {
        let relays = info.protocols.iter().any(|protocol| protocol.as_ref() == RELAY_PROTOCOL);
        if let Some(address) = self.peers.dialled_at(peer)
            && let Some(known) = &mut self.relays
            && relays
        {
            known.offered(id, without_peer(address.multiaddr().clone()), Instant::now());
        }
    }

    pub(super) fn judge_reachability(&mut self) {
        let reachability = {
            let view = View::read(&self.view);
            let directly = view.reachable.iter().any(|address| !address.is_relayed());
            self.relays.iter_mut().for_each(|relays| relays.reachable(directly));
            match (directly, view.reachable.is_empty()) {
                (true, _) => Reachability::Public,
                (false, false) => Reachability::Relayed,
                (false, true) if self.unreached >= FAILURES => Reachability::Private,
                (false, true) => view.reachability,
            }
        };
        if reachability != View::read(&self.view).reachability {
            self.view().reachability = reachability;
            self.tell(OverlayEvent::Reachability(reachability));
        }
    }

    pub(super) fn reachable(&mut self, address: Address) {
        if self.view().reachable.contains(&address) {
            return;
        }
        self.view().reachable.push(address.clone());
        self.tell(OverlayEvent::Reachable(address));
        self.judge_reachability();
    }
}

pub(super) fn last_peer(address: &Multiaddr) -> Option<libp2p::PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
