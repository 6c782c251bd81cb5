//! The task that owns the libp2p swarm: takes commands, tells events, keeps what the handle shows.

mod commands;
mod reach;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::metrics::{Metrics, Recorder as _};
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{Multiaddr, autonat, dcutr, gossipsub, identify, kad, mdns, ping};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) use self::commands::Command;
use self::commands::DialReply;
use crate::address::Address;
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::config::OverlayConfig;
use crate::convert;
use crate::dht::Queries;
use crate::event::{OverlayEvent, Path, Reachability};
use crate::gossip::Listeners;
use crate::overlay::StartError;
use crate::peers::Peers;
use crate::relays::Relays;
use crate::storage::{Network, Storage, WriterThread};
use crate::transport::Permits;

/// While nobody is known, those to begin with are tried this often.
const LOOK_AROUND: Duration = Duration::from_secs(30);
/// Known peers are put on disk this often, and at the end.
const SAVE: Duration = Duration::from_secs(5 * 60);

/// Whether a relay is needed is looked at this often.
const LOOK_FOR_RELAYS: Duration = Duration::from_secs(2);

/// What handles read without asking. Written by the task alone.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) listening: Vec<Address>,
    pub(crate) reachable: Vec<Address>,
    pub(crate) reachability: Reachability,
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
    metrics: Metrics,
    queries: Queries,
    listeners: Listeners,
    /// `None` where relays are not used.
    relays: Option<Relays>,
    /// Peers in a row that could not reach this node.
    unreached: u32,
    bootstrap: Vec<Address>,
    events: broadcast::Sender<OverlayEvent>,
    view: Arc<RwLock<View>>,
}

impl Task {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        permits: Permits,
        queries: Queries,
        metrics: Metrics,
        config: &OverlayConfig,
        events: broadcast::Sender<OverlayEvent>,
        view: Arc<RwLock<View>>,
    ) -> Self {
        let (peers, dials, joined, listeners) = Default::default();
        let relays = config.relay_client.then(|| Relays::new(Instant::now() + config.relay_after));
        let bootstrap = config.bootstrap.clone();
        let unreached = 0;
        Self {
            swarm,
            permits,
            metrics,
            peers,
            dials,
            joined,
            queries,
            listeners,
            relays,
            unreached,
            bootstrap,
            events,
            view,
        }
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

    /// Until `cancel`, or until the last handle is gone. Connections are closed with the swarm; handles see the end when all is on disk.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        storage: Storage,
        writer: WriterThread,
        cancel: CancellationToken,
    ) {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        let mut relays = tokio::time::interval(LOOK_FOR_RELAYS);
        let mut save = tokio::time::interval(SAVE);
        save.reset(); // the first tick would be now
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = look_around.tick() => self.look_around(),
                _ = relays.tick() => self.look_for_relays(),
                _ = save.tick() => storage.put_peers(self.swarm.behaviour().book.book.rows()),
                command = inbox.recv() => match command {
                    Some(command) => self.carry_out(command),
                    None => break,
                },
                event = self.swarm.select_next_some() => self.handle(event),
            }
        }
        storage.put_peers(self.swarm.behaviour().book.book.rows());
        let Self { swarm, events, .. } = self;
        drop(swarm);
        if tokio::task::spawn_blocking(move || storage.close(writer)).await.is_err() {
            tracing::debug!("the runtime ended before the overlay's storage was closed");
        }
        drop((events, inbox));
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                if let Some(peer) = convert::from_libp2p(&peer_id)
                    && self.peers.closed(peer, connection_id)
                {
                    self.relays.iter_mut().for_each(|relays| relays.gone(&peer_id));
                    self.tell(OverlayEvent::Disconnected { peer });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listening_ended(address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.relays.iter_mut().for_each(|relays| relays.ended(listener_id));
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
                self.reachable(address.into());
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                let address = Address::from(address);
                self.view().reachable.retain(|known| *known != address);
                self.tell(OverlayEvent::Unreachable(address));
                self.judge_reachability();
            }
            _ => {}
        }
    }

    fn count(&self, event: &BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.metrics.record(event),
            BehaviourEvent::Ping(event) => self.metrics.record(event),
            BehaviourEvent::Dht(event) | BehaviourEvent::LanDht(event) => self.metrics.record(event),
            BehaviourEvent::Gossip(event) => self.metrics.record(event),
            BehaviourEvent::RelayServer(event) => self.metrics.record(event),
            BehaviourEvent::Dcutr(event) => self.metrics.record(event),
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent) {
        self.count(&event);
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                if let Some(peer) = convert::from_libp2p(&peer_id) {
                    self.peers.identified(peer, &info);
                    self.swarm.behaviour_mut().dhts().for_each(|dht| dht.identified(peer_id, &info));
                    self.offered_relay(peer, peer_id, &info);
                    if self.relays.is_some() {
                        self.turn_around(peer, peer_id, &info);
                    }
                    self.tell(OverlayEvent::Identified { peer });
                }
            }
            BehaviourEvent::Dht(event) => self.handle_dht(Network::Public, event),
            BehaviourEvent::LanDht(event) => self.handle_dht(Network::Lan, event),
            BehaviourEvent::Gossip(event) => self.gossiped(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(peers)) => self.discovered(peers),
            BehaviourEvent::Autonat(autonat::v2::client::Event { result, .. }) => {
                self.unreached = if result.is_ok() { 0 } else { self.unreached.saturating_add(1) };
                self.judge_reachability();
            }
            BehaviourEvent::Dcutr(dcutr::Event { remote_peer_id, result }) => {
                if let Some(peer) = convert::from_libp2p(&remote_peer_id) {
                    self.tell(match result {
                        Ok(_) => OverlayEvent::HolePunched { peer },
                        Err(error) => OverlayEvent::StaysRelayed { peer, reason: error.to_string() },
                    });
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

    fn gossiped(&mut self, event: gossipsub::Event) {
        if let gossipsub::Event::Subscribed { peer_id, topic } = &event
            && let Some(peer) = convert::from_libp2p(peer_id)
        {
            self.tell(OverlayEvent::Listens { peer, topic: topic.to_string() });
        }
        if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
            self.listeners.handle(gossip, event);
        }
    }

    fn handle_dht(&mut self, network: Network, event: kad::Event) {
        if let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event
            && let Some((dht, book)) = self.swarm.behaviour_mut().dht(network)
        {
            self.queries.progress(dht, book, id, result, step.last);
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
