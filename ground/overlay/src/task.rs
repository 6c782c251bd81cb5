//! The task that owns the libp2p swarm: takes commands, tells events, keeps what the handle shows.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError as SwarmDialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, identify, ping};
use peerage_identity::PeerId;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::convert;
use crate::dial::{DialError, Target};
use crate::event::{OverlayEvent, Path};
use crate::overlay::StartError;
use crate::peers::{ConnectedPeer, Peers};
use crate::streams::Request;
use crate::transport::Permits;

type DialReply = oneshot::Sender<Result<PeerId, DialError>>;

/// What handles ask for. Replies go nowhere when whoever asked has gone.
#[derive(Debug)]
pub(crate) enum Command {
    Dial { target: Target, reply: DialReply },
    Disconnect { peer: PeerId, reply: oneshot::Sender<()> },
    Deny { peer: PeerId, denied: bool, reply: oneshot::Sender<()> },
    OpenStream { peer: PeerId, request: Request },
    Peers(oneshot::Sender<Vec<ConnectedPeer>>),
}

/// What handles read without asking. Written by the task alone.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) listening: Vec<Address>,
    pub(crate) reachable: Vec<Address>,
}

impl View {
    pub(crate) fn read(view: &RwLock<Self>) -> RwLockReadGuard<'_, Self> {
        view.read().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    permits: Permits,
    peers: Peers,
    dials: HashMap<ConnectionId, DialReply>,
    /// Who waits for a dial that was under way before.
    joined: HashMap<libp2p::PeerId, Vec<DialReply>>,
    events: broadcast::Sender<OverlayEvent>,
    view: Arc<RwLock<View>>,
}

impl Task {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        permits: Permits,
        events: broadcast::Sender<OverlayEvent>,
        view: Arc<RwLock<View>>,
    ) -> Self {
        let (peers, dials, joined) = Default::default();
        Self { swarm, permits, peers, dials, joined, events, view }
    }

    /// Returns when every address is listened on.
    pub(crate) async fn listen(&mut self, addresses: &[Address]) -> Result<(), StartError> {
        let mut starting: HashMap<ListenerId, Address> = HashMap::new();
        for address in addresses {
            let failed = |error: &dyn std::error::Error| StartError::Listen {
                address: address.clone(),
                reason: error.to_string(),
            };
            let id = self.swarm.listen_on(address.multiaddr().clone()).map_err(|error| failed(&error))?;
            starting.insert(id, address.clone());
        }
        while !starting.is_empty() {
            let event = self.swarm.select_next_some().await;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    starting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                    if let Some(address) = starting.remove(listener_id) {
                        return Err(StartError::Listen { address, reason: error.to_string() });
                    }
                }
                _ => {}
            }
            self.handle(event);
        }
        Ok(())
    }

    /// Until `cancel`, or until the last handle is gone. Connections are closed with the swarm.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                command = inbox.recv() => match command {
                    Some(command) => self.carry_out(command),
                    None => break,
                },
                event = self.swarm.select_next_some() => self.handle(event),
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Dial { target, reply } => self.dial(target, reply),
            Command::Disconnect { peer, reply } => {
                if let Some(peer) = convert::to_libp2p(peer) {
                    // An error says that there is no connection.
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
                let _ = reply.send(());
            }
            Command::Deny { peer, denied, reply } => {
                if let Some(peer) = convert::to_libp2p(peer) {
                    let list = &mut self.swarm.behaviour_mut().denied;
                    if denied {
                        list.block_peer(peer)
                    } else {
                        list.unblock_peer(peer)
                    };
                }
                let _ = reply.send(());
            }
            Command::OpenStream { peer, request } => {
                if let Some(peer) = convert::to_libp2p(peer) {
                    self.swarm.behaviour_mut().streams.open(peer, request);
                }
            }
            Command::Peers(reply) => {
                let _ = reply.send(self.peers.list());
            }
        }
    }

    fn dial(&mut self, target: Target, reply: DialReply) {
        let opts = match target {
            Target::Peer(peer) => {
                let Some(id) = convert::to_libp2p(peer) else { return };
                if self.swarm.is_connected(&id) {
                    let _ = reply.send(Ok(peer));
                    return;
                }
                DialOpts::peer_id(id).condition(PeerCondition::DisconnectedAndNotDialing).build()
            }
            Target::Address(address) => {
                self.permits.give(address.multiaddr());
                match last_peer(address.multiaddr()) {
                    Some(id) => DialOpts::peer_id(id)
                        .condition(PeerCondition::Always)
                        .addresses(vec![address.multiaddr().clone()])
                        .build(),
                    None => address.multiaddr().clone().into(),
                }
            }
        };
        let (id, peer) = (opts.connection_id(), opts.get_peer_id());
        if let Some(peer) = &peer {
            self.swarm.behaviour_mut().back_off.forgive(peer);
        }
        match (self.swarm.dial(opts), peer) {
            (Ok(()), _) => {
                self.dials.insert(id, reply);
            }
            (Err(SwarmDialError::DialPeerConditionFalse(_)), Some(peer)) => {
                self.joined.entry(peer).or_default().push(reply);
            }
            (Err(error), _) => {
                let _ = reply.send(Err(DialError::of(&error)));
            }
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                if let Some(peer) = convert::from_libp2p(&peer_id)
                    && self.peers.closed(peer, connection_id)
                {
                    self.tell(OverlayEvent::Disconnected { peer });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listening_ended(address),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(?addresses, "a listener ended: {error}");
                }
                addresses.into_iter().for_each(|address| self.listening_ended(address));
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!("a listener failed: {error}"),
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, "no connection: {error}");
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                let address = Address::from(address);
                self.view().reachable.push(address.clone());
                self.tell(OverlayEvent::Reachable(address));
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                let address = Address::from(address);
                self.view().reachable.retain(|known| *known != address);
                self.tell(OverlayEvent::Unreachable(address));
            }
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                if let Some(peer) = convert::from_libp2p(&peer_id) {
                    self.peers.identified(peer, &info);
                    self.tell(OverlayEvent::Identified { peer });
                }
            }
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. }) => {
                if let Some(peer) = convert::from_libp2p(&peer) {
                    self.peers.measured(peer, round_trip);
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer_id: libp2p::PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(peer) = convert::from_libp2p(&peer_id) else { return };
        let address = Address::from(endpoint.get_remote_address().clone());
        let path = if endpoint.is_relayed() { Path::Relayed } else { Path::Direct };
        let dialled = endpoint.is_dialer();
        self.peers.connected(peer, id, address.clone(), path, dialled);
        self.tell(OverlayEvent::Connected { peer, address, path, dialled });
        let joined = self.joined.remove(&peer_id).unwrap_or_default();
        for reply in joined.into_iter().chain(self.dials.remove(&id)) {
            let _ = reply.send(Ok(peer));
        }
    }

    fn dial_failed(&mut self, id: ConnectionId, peer: Option<libp2p::PeerId>, error: &SwarmDialError) {
        let joined = peer.and_then(|peer| self.joined.remove(&peer)).unwrap_or_default();
        for reply in joined.into_iter().chain(self.dials.remove(&id)) {
            let _ = reply.send(Err(DialError::of(error)));
        }
    }

    fn listening(&mut self, address: Multiaddr) {
        let address = Address::from(address);
        self.view().listening.push(address.clone());
        self.tell(OverlayEvent::Listening(address));
    }

    fn listening_ended(&mut self, address: Multiaddr) {
        let address = Address::from(address);
        self.view().listening.retain(|known| *known != address);
        self.tell(OverlayEvent::ListeningEnded(address));
    }

    fn view(&self) -> std::sync::RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: OverlayEvent) {
        // An error says that nobody listens.
        let _ = self.events.send(event);
    }
}

fn last_peer(address: &Multiaddr) -> Option<libp2p::PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
