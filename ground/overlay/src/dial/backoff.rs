//! A peer that could not be reached is left alone for a while, twice as long each time.
//!
//! The memory is bounded and has no clock of its own; the [`Behaviour`] around it refuses dials that come too early. What the user asks
//! for by name is forgiven first ([`Behaviour::forgive`]).

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionEstablished, DialFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// The first wait.
const WAIT_MIN: Duration = Duration::from_secs(2);
/// The longest wait: within it a peer that came back is found again.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Peers remembered; beyond, those whose wait ends first are forgotten.
const PEERS_MAX: usize = 4096;

/// The peer failed a moment ago.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it could not be reached {failures} times in a row; to be tried again in {} s", wait.as_secs().max(1))]
pub(crate) struct InBackOff {
    failures: u32,
    wait: Duration,
}

/// When whom not to dial.
#[derive(Debug, Default)]
struct Memory(HashMap<PeerId, Failures>);

#[derive(Debug)]
struct Failures {
    count: u32,
    until: Instant,
}

impl Memory {
    fn failed(&mut self, peer: PeerId, now: Instant) {
        self.make_room(now);
        let failures = self.0.entry(peer).or_insert(Failures { count: 0, until: now });
        failures.count += 1;
        let doublings = (failures.count - 1).min(16);
        failures.until = now + (WAIT_MIN * (1 << doublings)).min(WAIT_MAX);
    }

    fn check(&self, peer: &PeerId, now: Instant) -> Result<(), InBackOff> {
        match self.0.get(peer) {
            Some(failures) if failures.until > now => {
                Err(InBackOff { failures: failures.count, wait: failures.until - now })
            }
            _ => Ok(()),
        }
    }

    fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < PEERS_MAX {
            return;
        }
        self.0.retain(|_, failures| failures.until > now);
        if self.0.len() < PEERS_MAX {
            return;
        }
        let first = self.0.iter().min_by_key(|(_, failures)| failures.until).map(|(peer, _)| *peer);
        if let Some(peer) = first {
            self.0.remove(&peer);
        }
    }
}

/// Refuses dials to peers that failed a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Behaviour {
    memory: Memory,
}

impl Behaviour {
    /// The next dial is let through.
    pub(crate) fn forgive(&mut self, peer: &PeerId) {
        self.memory.forget(peer);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.memory.check(&peer, Instant::now()).map_err(ConnectionDenied::new)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => {
                self.memory.forget(&peer_id);
            }
            // What was never tried, or ended from this side, says nothing about the peer.
            FromSwarm::DialFailure(DialFailure {
                peer_id: Some(peer),
                error: DialError::Transport(_) | DialError::WrongPeerId { .. },
                ..
            }) => self.memory.failed(peer, Instant::now()),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_is_bounded() {
        let (mut memory, peer, mut now) = (Memory::default(), PeerId::random(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            memory.failed(peer, now);
            let wait = memory.check(&peer, now).unwrap_err().wait;
            waits.push(wait.as_secs());
            now += wait;
            assert!(memory.check(&peer, now).is_ok(), "dialled again when the wait is over");
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        memory.forget(&peer);
        memory.failed(peer, now);
        assert_eq!(memory.check(&peer, now).unwrap_err().wait, WAIT_MIN, "a success wipes the slate");
    }

    #[test]
    fn it_remembers_no_more_than_its_bound_and_drops_the_mildest() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let stubborn = PeerId::random();
        memory.failed(stubborn, now);
        memory.failed(stubborn, now);
        for _ in 0..2 * PEERS_MAX {
            memory.failed(PeerId::random(), now);
        }
        assert!(memory.0.len() <= PEERS_MAX);
        assert!(memory.check(&stubborn, now).is_err());
    }
}
