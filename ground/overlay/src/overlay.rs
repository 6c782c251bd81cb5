//! The handle that the rest of the house holds.

use std::sync::{Arc, RwLock};

use libp2p::StreamProtocol;
use libp2p::swarm::{self, Swarm};
use peerage_identity::PeerId;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::behaviour::Behaviour;
use crate::config::OverlayConfig;
use crate::convert;
use crate::dial::{DialError, Target};
use crate::event::OverlayEvent;
use crate::peers::ConnectedPeer;
use crate::stream::{Incoming, Stream};
use crate::streams::{Registry, Request, StreamError};
use crate::task::{Command, Task, View};
use crate::transport::{self, Permits};

/// Commands that wait to be taken up; whoever gives more waits.
const INBOX: usize = 128;
/// Events that a slow listener can be behind.
const EVENTS: usize = 1024;

/// The overlay could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not listening there.
    #[error("listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Address,
        /// What the system or the transport said.
        reason: String,
    },
    /// No encryption with this key.
    #[error("set up encryption: {reason}")]
    Key {
        /// Why.
        reason: String,
    },
}

/// Somebody accepts this protocol already, or it is no name of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Its streams go to somebody else.
    #[error("{protocol} is accepted already")]
    Taken {
        /// The protocol.
        protocol: String,
    },
    /// A name begins with `/`.
    #[error("`{protocol}` is no protocol: a name begins with `/`")]
    Name {
        /// What was given.
        protocol: String,
    },
}

/// A running node of the overlay. Cheap to clone; the node ends with the token that it was started with, or with the last handle.
#[derive(Clone, Debug)]
pub struct Overlay {
    id: PeerId,
    commands: mpsc::Sender<Command>,
    /// The task alone keeps the channel open, so that listeners see its end.
    events: broadcast::WeakSender<OverlayEvent>,
    registry: Registry,
    view: Arc<RwLock<View>>,
}

impl Overlay {
    /// Starts a node on the current runtime. It listens when this returns; on which ports, [`Overlay::listening`] says.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: OverlayConfig, cancel: CancellationToken) -> Result<Self, StartError> {
        let swarm_key = || StartError::Key { reason: "not an Ed25519 key".to_owned() };
        let keypair = convert::keypair(&config.key).ok_or_else(swarm_key)?;
        let permits = Permits::new(config.dial_private);
        let transport =
            transport::build(&keypair, config.private_network.as_ref(), &config.limits, permits.clone())
                .map_err(|error| StartError::Key { reason: error.to_string() })?;
        let registry = Registry::default();
        let behaviour = Behaviour::new(&config, &keypair, registry.clone());
        let swarm_config =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(config.limits.idle);
        let swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), swarm_config);

        let (commands, inbox) = mpsc::channel(INBOX);
        let (events, _) = broadcast::channel(EVENTS);
        let listeners = events.downgrade();
        let view = Arc::new(RwLock::new(View::default()));
        let mut task = Task::new(swarm, permits, events, view.clone());
        task.listen(&config.listen).await?;
        tokio::spawn(task.run(inbox, cancel));
        Ok(Self { id: config.key.peer_id(), commands, events: listeners, registry, view })
    }

    /// Who this node is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// What happens from now on, until the node ends.
    pub fn events(&self) -> broadcast::Receiver<OverlayEvent> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Where the node listens.
    pub fn listening(&self) -> Vec<Address> {
        View::read(&self.view).listening.clone()
    }

    /// Where others can reach the node, as far as that is known.
    pub fn reachable(&self) -> Vec<Address> {
        View::read(&self.view).reachable.clone()
    }

    /// Who is connected.
    pub async fn peers(&self) -> Vec<ConnectedPeer> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Connects to a peer, or finds that it is connected already. The user's word: no back-off and no private range keeps from it.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, target: impl Into<Target>) -> Result<PeerId, DialError> {
        let target = target.into();
        self.ask(|reply| Command::Dial { target, reply }).await.unwrap_or(Err(DialError::Ended))
    }

    /// Closes every connection to a peer; its streams are reset.
    pub async fn disconnect(&self, peer: PeerId) {
        self.ask(|reply| Command::Disconnect { peer, reply }).await;
    }

    /// Never talks to a peer again, and closes what connections there are; or takes that back.
    pub async fn deny(&self, peer: PeerId, denied: bool) {
        self.ask(|reply| Command::Deny { peer, denied, reply }).await;
    }

    /// Opens a stream; dials the peer when there is no connection. Of several connections a direct one is taken.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open_stream(&self, peer: PeerId, protocol: &str) -> Result<Stream, StreamError> {
        let Ok(name) = StreamProtocol::try_from_owned(protocol.to_owned()) else {
            return Err(StreamError::Name { protocol: protocol.to_owned() });
        };
        let (reply, answer) = oneshot::channel();
        let request = Request { protocol: name, reply };
        self.commands.send(Command::OpenStream { peer, request }).await.map_err(|_| StreamError::Ended)?;
        let closed = || StreamError::Broken { reason: "the connection closed".to_owned() };
        answer.await.unwrap_or_else(|_| Err(closed())).map(Stream::new)
    }

    /// Takes the streams of a protocol that peers open; `backlog` of them wait at most, more are reset.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept(&self, protocol: &str, backlog: usize) -> Result<Incoming, AcceptError> {
        let Ok(name) = StreamProtocol::try_from_owned(protocol.to_owned()) else {
            return Err(AcceptError::Name { protocol: protocol.to_owned() });
        };
        let taken = || AcceptError::Taken { protocol: protocol.to_owned() };
        self.registry.accept(name, backlog).map(Incoming).ok_or_else(taken)
    }

    /// `None` when the task has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
