//! The peers that the node is connected to.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::identify;
use libp2p::swarm::ConnectionId;
use peerage_identity::PeerId;

use crate::address::Address;
use crate::event::Path;

/// Of what a peer tells about itself, so much is kept.
const AGENT_LENGTH_MAX: usize = 128;
const PROTOCOLS_MAX: usize = 128;
const PROTOCOL_LENGTH_MAX: usize = 140;

/// A peer with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectedPeer {
    /// Who.
    pub id: PeerId,
    /// Where, over the best connection.
    pub address: Address,
    /// How that connection goes.
    pub path: Path,
    /// Whether this node dialled it.
    pub dialled: bool,
    /// Connections to it.
    pub connections: usize,
    /// The program that it says it is.
    pub agent: Option<String>,
    /// The protocols that it says it speaks.
    pub protocols: Vec<String>,
    /// The round trip, as last measured.
    pub round_trip: Option<Duration>,
}

#[derive(Default)]
struct Known {
    links: Vec<Link>,
    agent: Option<String>,
    protocols: Vec<String>,
    round_trip: Option<Duration>,
}

struct Link {
    id: ConnectionId,
    address: Address,
    path: Path,
    dialled: bool,
}

/// Who is connected, and how.
#[derive(Default)]
pub(crate) struct Peers(HashMap<PeerId, Known>);

impl Peers {
    pub(crate) fn connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        address: Address,
        path: Path,
        dialled: bool,
    ) {
        self.0.entry(peer).or_default().links.push(Link { id, address, path, dialled });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it was the last connection.
    pub(crate) fn closed(&mut self, peer: PeerId, id: ConnectionId) -> bool {
        let Some(known) = self.0.get_mut(&peer) else { return false };
        known.links.retain(|link| link.id != id);
        let last = known.links.is_empty();
        if last {
            self.0.remove(&peer);
        }
        last
    }

    /// Whether all there is to a peer are connections that it opened through a relay.
    pub(crate) fn came_through_relay(&self, peer: PeerId) -> bool {
        let links = self.0.get(&peer).map_or(&[][..], |known| &known.links);
        !links.is_empty() && links.iter().all(|link| !link.dialled && link.path == Path::Relayed)
    }

    /// Where this node reached a peer itself, without a relay.
    pub(crate) fn dialled_at(&self, peer: PeerId) -> Option<Address> {
        let links = &self.0.get(&peer)?.links;
        let direct = links.iter().find(|link| link.dialled && link.path == Path::Direct)?;
        Some(direct.address.clone())
    }

    pub(crate) fn identified(&mut self, peer: PeerId, info: &identify::Info) {
        let Some(known) = self.0.get_mut(&peer) else { return };
        known.agent = Some(info.agent_version.chars().take(AGENT_LENGTH_MAX).collect());
        let named = info.protocols.iter().map(|protocol| protocol.as_ref());
        let named = named.filter(|name: &&str| name.len() <= PROTOCOL_LENGTH_MAX);
        known.protocols = named.take(PROTOCOLS_MAX).map(str::to_owned).collect();
    }

    pub(crate) fn measured(&mut self, peer: PeerId, round_trip: Duration) {
        if let Some(known) = self.0.get_mut(&peer) {
            known.round_trip = Some(round_trip);
        }
    }

    pub(crate) fn list(&self) -> Vec<ConnectedPeer> {
        let mut peers: Vec<_> = self.0.iter().filter_map(|(id, known)| known.told(*id)).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }
}

impl Known {
    fn told(&self, id: PeerId) -> Option<ConnectedPeer> {
        let best = self.links.iter().max_by_key(|link| link.path)?;
        Some(ConnectedPeer {
            id,
            address: best.address.clone(),
            path: best.path,
            dialled: best.dialled,
            connections: self.links.len(),
            agent: self.agent.clone(),
            protocols: self.protocols.clone(),
            round_trip: self.round_trip,
        })
    }
}
