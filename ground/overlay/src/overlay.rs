//! The handle that the rest of the house holds.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::metrics::{BandwidthTransport, Metrics};
use libp2p::swarm::{self, Swarm};
use libp2p::{StreamProtocol, Transport as _, relay};
use peerage_identity::PeerId;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::behaviour::{Behaviour, Parts};
use crate::book::Book;
use crate::config::OverlayConfig;
use crate::convert;
use crate::dht::{Ask, DhtError, FoundPeer, Providers, Queries};
use crate::dial::{DialError, Target};
use crate::event::{OverlayEvent, Reachability};
use crate::gossip::{GossipError, Judge, Subscription};
use crate::peers::ConnectedPeer;
use crate::storage::{Bounds, Storage, WriterThread, now};
use crate::stream::{Incoming, Stream};
use crate::streams::{self, Request, StreamError};
use crate::task::{Command, Task, View};
use crate::transport::{self, Permits};

/// Commands that wait to be taken up; whoever gives more waits.
const INBOX: usize = 128;
/// Events that a slow listener can be behind.
const EVENTS: usize = 1024;

/// Providers that one search gives at most.
const PROVIDERS_MAX: usize = 1024;

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
    /// The file of known peers and records can't be used; another process may have it open.
    #[error("open {}: {reason}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No socket to find peers of the local network.
    #[error("listen for peers of the local network: {reason}")]
    Multicast {
        /// What the system said.
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
    registry: streams::Registry,
    metrics: Arc<Registry>,
    permits: Permits,
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
        let (relays, relay_client) = relay::client::new(keypair.public().to_peer_id());
        let private = config.private_network.as_ref();
        let transport = transport::build(&keypair, private, &config.limits, &permits, relays)
            .map_err(|error| StartError::Key { reason: error.to_string() })?;
        let registry = streams::Registry::default();
        let mut counters = Registry::default();
        let metrics = Metrics::new(&mut counters);
        let transport = counted(transport, &mut counters);
        let (storage, writer) = open_storage(&config)?;
        let parts = Parts {
            keypair: &keypair,
            registry: registry.clone(),
            book: Book::from_rows(storage.peers(), now()),
            storage: &storage,
            permits: &permits,
            relay_client,
        };
        let behaviour = Behaviour::new(&config, parts)
            .map_err(|error| StartError::Multicast { reason: error.to_string() })?;
        let swarm_config =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(config.limits.idle);
        let swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), swarm_config);

        let (commands, inbox) = mpsc::channel(INBOX);
        let (events, _) = broadcast::channel(EVENTS);
        let listeners = events.downgrade();
        let view = Arc::new(RwLock::new(View::default()));
        let queries = Queries::new(config.validators.clone());
        let mut task = Task::new(swarm, permits.clone(), queries, metrics, &config, events, view.clone());
        task.listen(&config.listen).await?;
        config.announce.into_iter().for_each(|address| task.announce(address));
        tokio::spawn(task.run(inbox, storage, writer, cancel));
        Ok(Self {
            id: config.key.peer_id(),
            commands,
            events: listeners,
            registry,
            view,
            metrics: Arc::new(counters),
            permits,
        })
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

    /// Whether others can reach the node.
    pub fn reachability(&self) -> Reachability {
        View::read(&self.view).reachability
    }

    /// Bytes, connections and messages by protocol, as Prometheus reads them (without the end mark: more may follow).
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = encode_registry(&mut text, &self.metrics);
        text
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
        if let Target::Address(address) = &target {
            self.permit_name(address).await;
            if let Some(address) = address.relay() {
                // Else a dial of the relay that is under way would end this one.
                let relay = self.ask(|reply| Command::Reach { address, reply }).await;
                relay.unwrap_or(Err(DialError::Ended))?;
            }
        }
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

    /// Has others told that this node can be reached at an address: the user's word.
    pub async fn announce(&self, address: Address) {
        self.ask(|reply| Command::Announce { address, reply }).await;
    }

    /// Where a peer is, as the hash tables know it.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn find_peer(&self, peer: PeerId) -> Result<FoundPeer, DhtError> {
        let peer = convert::to_libp2p(peer).ok_or(DhtError::Key)?;
        self.search(|reply| Ask::Find { peer, reply }).await
    }

    /// The peers whose ids are closest to a key: those that keep its records.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn closest_peers(&self, key: &[u8]) -> Result<Vec<FoundPeer>, DhtError> {
        self.search(|reply| Ask::Closest { key: key.to_vec(), reply }).await
    }

    /// Tells the hash tables that this node has what the key (a multihash) names. They forget it after a day or two: tell it again before.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn provide(&self, key: &[u8]) -> Result<(), DhtError> {
        self.search(|reply| Ask::Provide { key: key.to_vec(), reply }).await
    }

    /// Who has what the key (a multihash) names, `limit` peers at most. To drop the search ends it.
    pub async fn providers(&self, key: &[u8], limit: usize) -> Providers {
        let limit = limit.clamp(1, PROVIDERS_MAX);
        let (sink, found) = mpsc::channel(limit);
        let ask = Ask::Providers { key: key.to_vec(), limit, sink };
        // An error drops the sink, and so ends the search.
        let _ = self.commands.send(Command::Ask(ask)).await;
        Providers(found)
    }

    /// Has the hash tables keep a value that the validator of its namespace accepts.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn put_value(&self, key: &[u8], value: &[u8]) -> Result<(), DhtError> {
        self.search(|reply| Ask::Put { key: key.to_vec(), value: value.to_vec(), reply }).await
    }

    /// The best of the valid values under a key that peers have.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn get_value(&self, key: &[u8]) -> Result<Vec<u8>, DhtError> {
        self.search(|reply| Ask::Get { key: key.to_vec(), reply }).await
    }

    /// Listens to a topic; `judge` says which messages are passed on to others, and to this listener.
    ///
    /// # Errors
    /// [`GossipError`].
    pub async fn subscribe(&self, topic: &str, judge: Judge) -> Result<Subscription, GossipError> {
        let topic = topic.to_owned();
        self.ask(|reply| Command::Subscribe { topic, judge, reply }).await.unwrap_or(Err(GossipError::Ended))
    }

    /// Says something to all who listen to a topic.
    ///
    /// # Errors
    /// [`GossipError`].
    pub async fn publish(&self, topic: &str, data: Vec<u8>) -> Result<(), GossipError> {
        let topic = topic.to_owned();
        self.ask(|reply| Command::Publish { topic, data, reply }).await.unwrap_or(Err(GossipError::Ended))
    }

    /// Until the node has ended, and all that it keeps is on disk.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// A name that the user says may lead to a private address.
    async fn permit_name(&self, address: &Address) {
        let Some((name, port)) = address.name() else { return };
        // Who can't be found is told by the dial.
        let found = tokio::net::lookup_host((name, port)).await;
        found.into_iter().flatten().for_each(|socket| self.permits.give_socket(socket));
    }

    async fn search<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, DhtError>>) -> Ask,
    ) -> Result<T, DhtError> {
        self.ask(|reply| Command::Ask(ask(reply))).await.unwrap_or(Err(DhtError::Ended))
    }

    /// `None` when the task has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

type Connections = Boxed<(libp2p::PeerId, StreamMuxerBox)>;

fn counted(transport: Connections, registry: &mut Registry) -> Connections {
    let counted = BandwidthTransport::new(transport, registry);
    counted.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}

fn open_storage(config: &OverlayConfig) -> Result<(Storage, WriterThread), StartError> {
    let path = config.data_dir.as_ref().map(|folder| folder.join("overlay.redb"));
    let bounds = Bounds { providers: config.limits.provider_records, values: config.limits.values };
    Storage::open(path.as_deref(), bounds).map_err(|error| StartError::Storage {
        path: path.unwrap_or_else(|| "a table in memory".into()),
        reason: error.to_string(),
    })
}
