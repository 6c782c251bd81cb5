//! Streams by protocol name, opened by us and by peers.
//!
//! The [`Behaviour`] knows which connections there are and gives each request to open a stream to the best of them, dialling when there is none;
//! the handler of that connection negotiates. A stream that a peer opens goes into the bounded queue of whoever accepts its protocol.
//!
//! Why not `libp2p-stream` 0.5: its queue holds one stream and drops what comes meanwhile, so that peers which open several at a time lose
//! some; it keeps an entry for every connection there ever was; and it takes any connection of a peer, a relayed one also where there is a direct one.

mod handler;
mod registry;

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::oneshot;

use self::handler::Handler;
pub(crate) use self::registry::Registry;
use crate::event::Path;

/// Requests that wait for a connection to one peer; more are refused.
const WAITING_PER_PEER_MAX: usize = 64;

/// No stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer answers, and does not speak the protocol.
    #[error("the peer does not speak {protocol}")]
    Unsupported {
        /// The protocol.
        protocol: String,
    },
    /// No connection to the peer.
    #[error("no connection to the peer: {reason}")]
    Unreachable {
        /// What was tried and how it ended.
        reason: String,
    },
    /// The connection broke, or the peer did not answer in time.
    #[error("open a stream: {reason}")]
    Broken {
        /// How.
        reason: String,
    },
    /// Too many requests wait for a connection to this peer.
    #[error("{WAITING_PER_PEER_MAX} streams to this peer wait already")]
    Busy,
    /// No name of a protocol: it begins with `/`.
    #[error("`{protocol}` is no protocol: a name begins with `/`")]
    Name {
        /// What was given.
        protocol: String,
    },
    /// The overlay has ended.
    #[error("the overlay has ended")]
    Ended,
}

/// Somebody wants a stream.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) protocol: StreamProtocol,
    pub(crate) reply: oneshot::Sender<Result<libp2p::Stream, StreamError>>,
}

impl Request {
    fn refuse(self, error: StreamError) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Err(error));
    }
}

/// A connection that streams can be opened on.
struct Link {
    id: ConnectionId,
    path: Path,
}

/// Opens and accepts streams.
pub(crate) struct Behaviour {
    registry: Registry,
    links: HashMap<PeerId, Vec<Link>>,
    waiting: HashMap<PeerId, Vec<Request>>,
    outbox: VecDeque<ToSwarm<std::convert::Infallible, Request>>,
}

impl Behaviour {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, links: HashMap::new(), waiting: HashMap::new(), outbox: VecDeque::new() }
    }

    /// Opens a stream on the best connection; dials when there is none. The swarm is to be polled afterwards.
    pub(crate) fn open(&mut self, peer: PeerId, request: Request) {
        if let Some(link) = self.links.get(&peer).and_then(|links| links.iter().max_by_key(|link| link.path))
        {
            return self.outbox.push_back(hand(peer, link.id, request));
        }
        let waiting = self.waiting.entry(peer).or_default();
        if waiting.len() >= WAITING_PER_PEER_MAX {
            return request.refuse(StreamError::Busy);
        }
        waiting.push(request);
        if waiting.len() == 1 {
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
            self.outbox.push_back(ToSwarm::Dial { opts });
        }
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, path: Path) {
        self.links.entry(peer).or_default().push(Link { id, path });
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            self.outbox.push_back(hand(peer, id, request));
        }
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(links) = self.links.get_mut(&peer) {
            links.retain(|link| link.id != id);
            if links.is_empty() {
                self.links.remove(&peer);
            }
        }
    }

    fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        // Another dial is under way, and what comes of it is told as well.
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            request.refuse(StreamError::Unreachable { reason: crate::dial::reason(error) });
        }
    }
}

/// Requests go to one connection; when it closes before they are answered, whoever waits sees the reply dropped.
fn hand(peer_id: PeerId, id: ConnectionId, request: Request) -> ToSwarm<std::convert::Infallible, Request> {
    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event: request }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.registry.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.registry.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let path = if endpoint.is_relayed() { Path::Relayed } else { Path::Direct };
                self.connected(peer_id, connection_id, path);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.closed(peer_id, connection_id);
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, .. }) => {
                self.dial_failed(peer, error);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.outbox.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
