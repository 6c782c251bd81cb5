//! What handles ask of the task.

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError as SwarmDialError};
use peerage_identity::PeerId;
use tokio::sync::oneshot;

use super::Task;
use super::reach::last_peer;
use crate::address::Address;
use crate::convert;
use crate::dht::Ask;
use crate::dial::{DialError, Target};
use crate::gossip::{self, GossipError, Judge, Subscription};
use crate::peers::ConnectedPeer;
use crate::streams::Request;

pub(super) type DialReply = oneshot::Sender<Result<PeerId, DialError>>;

/// What handles ask for. Replies go nowhere when whoever asked has gone.
#[derive(Debug)]
pub(crate) enum Command {
    Dial {
        target: Target,
        reply: DialReply,
    },
    /// A connection to the peer of an address, a new one only where there is none.
    Reach {
        address: Address,
        reply: DialReply,
    },
    Disconnect {
        peer: PeerId,
        reply: oneshot::Sender<()>,
    },
    Deny {
        peer: PeerId,
        denied: bool,
        reply: oneshot::Sender<()>,
    },
    Subscribe {
        topic: String,
        judge: Judge,
        reply: oneshot::Sender<Result<Subscription, GossipError>>,
    },
    Publish {
        topic: String,
        data: Vec<u8>,
        reply: oneshot::Sender<Result<(), GossipError>>,
    },
    Announce {
        address: Address,
        reply: oneshot::Sender<()>,
    },
    Ask(Ask),
    OpenStream {
        peer: PeerId,
        request: Request,
    },
    Peers(oneshot::Sender<Vec<ConnectedPeer>>),
}

impl Task {
    pub(super) fn carry_out(&mut self, command: Command) {
        match command {
            Command::Dial { target, reply } => self.dial(target, reply),
            Command::Reach { address, reply } => self.reach(&address, reply),
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
            Command::Subscribe { topic, judge, reply } => {
                let listeners = &mut self.listeners;
                let gossip = self.swarm.behaviour_mut().gossip.as_mut().ok_or(GossipError::Off);
                let _ = reply.send(gossip.and_then(|gossip| listeners.subscribe(gossip, &topic, judge)));
            }
            Command::Publish { topic, data, reply } => {
                let gossip = self.swarm.behaviour_mut().gossip.as_mut().ok_or(GossipError::Off);
                let _ = reply.send(gossip.and_then(|gossip| gossip::publish(gossip, &topic, data)));
            }
            Command::Announce { address, reply } => {
                self.announce(address);
                let _ = reply.send(());
            }
            Command::Ask(ask) => self.queries.begin(ask, self.swarm.behaviour_mut().dhts()),
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
        self.start_dial(opts, reply);
    }

    /// Is content with a connection that there is, or is about to be.
    fn reach(&mut self, address: &Address, reply: DialReply) {
        self.permits.give(address.multiaddr());
        let Some(id) = last_peer(address.multiaddr()) else {
            let _ = reply.send(Err(DialError::NoAddress));
            return;
        };
        if self.swarm.is_connected(&id) {
            let _ = reply.send(convert::from_libp2p(&id).ok_or(DialError::NoAddress));
            return;
        }
        let opts = DialOpts::peer_id(id).addresses(vec![address.multiaddr().clone()]);
        self.start_dial(opts.condition(PeerCondition::DisconnectedAndNotDialing).build(), reply);
    }

    fn start_dial(&mut self, opts: DialOpts, reply: DialReply) {
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

    pub(super) fn dial_failed(
        &mut self,
        id: ConnectionId,
        peer: Option<libp2p::PeerId>,
        error: &SwarmDialError,
    ) {
        let joined = peer.and_then(|peer| self.joined.remove(&peer)).unwrap_or_default();
        for reply in joined.into_iter().chain(self.dials.remove(&id)) {
            let _ = reply.send(Err(DialError::of(error)));
        }
    }
}
