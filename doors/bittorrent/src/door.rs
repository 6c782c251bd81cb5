//! The door itself: listens, dials, and joins what finds peers to the torrents that want them.
//!
//! The door owns the listeners, the registry of torrents by swarm hash, and the handles of the trackers' announcer, the DHT and
//! local discovery. It decides only what concerns every connection alike: how many there may be, and who may
//! be dialled at all.

mod finding;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peerage_content::BlockPool;
use peerage_swarm::core::Found;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::address::DialRules;
use crate::dht::Dht;
use crate::discovery::Discovery;
use crate::hash::{InfoHashes, SwarmHash};
use crate::lan::{Lan, LanConfig};
use crate::listen;
use crate::mse::{Encryption, lookup_key};
use crate::peer::greet::{self, Finder, GreetError};
use crate::peer::{Conversation, Hello, Local, Parted, Pulse};
use crate::torrent::{Arrival, Torrent};
use crate::tracker::{Announcer, AnnouncerConfig, AnnouncerError};
use crate::webseed::{self, WebSeed, WebSeedClient};
use crate::wire::{Handshake, HandshakeHead, PeerId, Reserved};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Accepted connections that have not greeted yet; more wait in the system's queue.
const GREETINGS_MAX: usize = 128;
/// Discoveries waiting to be routed.
const DISCOVERIES: usize = 128;
/// Web seeds of one torrent that are asked.
const WEB_SEEDS_MAX: usize = 8;
/// How long trackers get to take our goodbye.
const GOODBYE: Duration = Duration::from_millis(1_200);

/// Settings of the door.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Where to listen; port 0: any.
    pub listen: Vec<SocketAddr>,
    /// When a port is taken, take any other.
    pub listen_elsewhere: bool,
    /// Message-stream encryption.
    pub encryption: Encryption,
    /// Connections in all.
    pub connections_max: usize,
    /// The DHT's bootstrap nodes and table; `None`: off.
    pub dht: Option<DhtSettings>,
    /// Local discovery.
    pub lan: bool,
    /// Name and version, for peers and trackers.
    pub client: String,
    /// The first 8 bytes of the peer id (`-XX0000-`).
    pub peer_id_prefix: [u8; 8],
}

/// Settings of the DHT node.
#[derive(Clone, Debug, Default)]
pub struct DhtSettings {
    /// `host:port` of nodes to begin with; empty: the well-known ones.
    pub bootstrap: Vec<String>,
    /// Where the table is kept between runs.
    pub nodes_file: Option<std::path::PathBuf>,
}

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// An address cannot be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Trackers cannot be spoken to.
    #[error(transparent)]
    Announcer(#[from] AnnouncerError),
}

/// A cheap handle to the door.
#[derive(Clone, Debug)]
pub struct Door(Arc<DoorInner>);

#[derive(Debug)]
pub(crate) struct DoorInner {
    peer_id: PeerId,
    local: Arc<Local>,
    encryption: Encryption,
    listening: Vec<SocketAddr>,
    registry: Mutex<Registry>,
    rules: DialRules,
    /// Where others see us, as far as it is known.
    public: watch::Sender<Option<SocketAddr>>,
    announcer: Announcer,
    dht: Option<Dht>,
    lan: Option<Lan>,
    connections: Arc<Semaphore>,
    discoveries: mpsc::Sender<Discovery>,
    pool: BlockPool,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Registry {
    torrents: HashMap<SwarmHash, Arc<Torrent>>,
    /// Swarms by what encrypted greetings name them with.
    keys: HashMap<[u8; 20], SwarmHash>,
}

impl Door {
    /// Opens the door: listens and starts what finds peers. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`DoorError`]. A DHT or local discovery that cannot start is only warned of.
    pub async fn open(
        config: DoorConfig,
        pool: BlockPool,
        tasks: TaskTracker,
        cancel: CancellationToken,
    ) -> Result<Self, DoorError> {
        // Another door of this process may have done so: either way there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listeners = listen::listen(&config.listen, config.listen_elsewhere)?;
        let listening: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let (port, announced) = listen::announced(&listening);
        let rules = DialRules::new();
        rules.set_own(listen::own_addresses(&listening, &[]));
        let (discoveries, routed) = mpsc::channel(DISCOVERIES);
        let announcer = Announcer::start(
            AnnouncerConfig {
                port: port.unwrap_or_default(),
                bind: announced.clone(),
                user_agent: config.client.clone(),
                ..AnnouncerConfig::default()
            },
            rules.clone(),
            discoveries.clone(),
            cancel.clone(),
        )?;
        let dht = match &config.dht {
            Some(settings) => finding::start_dht(settings, &listening, &rules, &discoveries, &cancel).await,
            None => None,
        };
        let lan = port.filter(|_| config.lan).and_then(|port| {
            let has = |ipv6| announced.iter().any(|ip| ip.is_ipv6() == ipv6);
            let interfaces = listen::interfaces(&listening);
            let config = LanConfig { port, v4: has(false), v6: has(true), interfaces };
            Lan::start(config, rules.clone(), discoveries.clone(), cancel.clone())
                .inspect_err(|error| warn!(%error, "local discovery is off"))
                .ok()
        });
        let local = Local {
            client: config.client,
            port,
            dht_port: dht.as_ref().and_then(Dht::address).map(|address| address.port()),
        };
        let inner = Arc::new(DoorInner {
            peer_id: PeerId::new(config.peer_id_prefix, rand::random()),
            local: Arc::new(local),
            encryption: config.encryption,
            listening,
            registry: Mutex::default(),
            rules,
            public: watch::Sender::new(None),
            announcer,
            dht,
            lan,
            connections: Arc::new(Semaphore::new(config.connections_max)),
            discoveries,
            pool,
            tasks,
            cancel,
        });
        for listener in listeners {
            inner.tasks.spawn(inner.clone().accept_all(listener));
        }
        inner.tasks.spawn(inner.clone().route(routed));
        inner.tasks.spawn(inner.clone().follow_addresses());
        Ok(Self(inner))
    }

    /// The addresses it listens on.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.0.listening
    }

    /// Brings a torrent in: it can be connected to from now on. `private` is known only with metadata.
    pub fn add(&self, hashes: InfoHashes, private: Option<bool>) -> Arc<Torrent> {
        let torrent = Torrent::new(
            hashes,
            private,
            Arc::downgrade(&self.0),
            self.0.pool.clone(),
            self.0.cancel.child_token(),
        );
        self.name(&torrent, hashes);
        torrent
    }

    /// Makes a torrent reachable under further names (the metadata of a magnet named both).
    pub fn name(&self, torrent: &Arc<Torrent>, hashes: InfoHashes) {
        let mut registry = self.0.registry();
        for swarm in hashes.swarms() {
            registry.torrents.insert(swarm, torrent.clone());
            registry.keys.insert(lookup_key(swarm), swarm);
        }
    }

    /// Lets web seeds serve a torrent that is fetched, as far as their URLs make sense.
    pub fn web_seeds(&self, torrent: &Torrent, urls: &[String], folder: Option<&[u8]>) {
        let Some(ready) = torrent.ready() else { return };
        let bind = listen::specific(&self.0.listening).into_iter().next();
        let client = match WebSeedClient::new(bind, &self.0.local.client) {
            Ok(client) => client,
            Err(error) => return warn!(%error, "web seeds are off"),
        };
        for url in urls.iter().take(WEB_SEEDS_MAX) {
            let seed = match WebSeed::new(url, folder) {
                Ok(seed) => seed,
                Err(error) => {
                    debug!(%url, %error, "a web seed is left out");
                    continue;
                }
            };
            let (transfer, client, cancel) =
                (ready.transfer.clone(), client.clone(), torrent.cancellation().clone());
            self.0.tasks.spawn(async move {
                tokio::select! {
                    () = webseed::serve(transfer, client, seed) => {}
                    () = cancel.cancelled() => {}
                }
            });
        }
    }

    /// Closes a torrent: its connections end.
    pub fn remove(&self, torrent: &Torrent) {
        let mut registry = self.0.registry();
        for swarm in torrent.swarms() {
            registry.torrents.remove(&swarm);
            registry.keys.remove(&lookup_key(swarm));
        }
        drop(registry);
        torrent.close();
    }

    /// The announcer, for status and haste.
    pub fn announcer(&self) -> &Announcer {
        &self.0.announcer
    }

    /// The DHT node, if it runs.
    pub fn dht(&self) -> Option<&Dht> {
        self.0.dht.as_ref()
    }

    /// Local discovery, if it runs.
    pub fn lan(&self) -> Option<&Lan> {
        self.0.lan.as_ref()
    }

    /// Says goodbye to trackers and saves the DHT's table; connections end with the token given to [`Door::open`].
    pub async fn close(&self) {
        let dht = async {
            if let Some(dht) = &self.0.dht {
                dht.stop().await;
            }
        };
        tokio::join!(self.0.announcer.stop(GOODBYE), dht);
    }
}

impl DoorInner {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self, torrent: &Torrent) -> Reserved {
        let mut reserved = Reserved::NONE.with_extended().with_fast();
        if self.dht.is_some() && !torrent.is_private() {
            reserved = reserved.with_dht();
        }
        // A hybrid never asks for the upgrade to v2: libtorrent, upgraded, fetches piece layers while blocks come in, and the one can make
        // it take the other for a contradiction, which stops its torrent for good.
        let hashes = torrent.hashes_now();
        if hashes.v1.is_none() && hashes.v2.is_some() {
            reserved = reserved.with_v2();
        }
        reserved
    }

    async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
        loop {
            let Ok(greeting) = greetings.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.cancel.cancelled() => return,
            };
            let (mut socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting is all that helps.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let door = self.clone();
            self.tasks.spawn(async move {
                let Ok(permit) = door.connections.clone().try_acquire_owned() else { return };
                let address = crate::address::canonical(address);
                let greeted = tokio::select! {
                    greeted = greet::accept(&mut socket, address, door.peer_id, door.encryption, &*door) => greeted,
                    () = door.cancel.cancelled() => return,
                };
                drop(greeting);
                match greeted {
                    Ok(hello) => {
                        door.converse(socket, hello, Found::INCOMING).await;
                    }
                    Err(error) => debug!(%address, %error, "an incoming connection came to nothing"),
                }
                drop(permit);
            });
        }
    }

    /// Talks on a greeted connection until it ends; false when it was not wanted.
    async fn converse(&self, socket: TcpStream, hello: Hello, found: Found) -> bool {
        let torrent = self.registry().torrents.get(&hello.handshake.swarm).cloned();
        let Some(torrent) = torrent else { return false };
        let (id, outgoing, address) = (hello.handshake.peer_id, hello.outgoing, hello.address);
        let Some(cancel) = torrent.admit(self.peer_id, &Arrival { id, outgoing, address, found }) else {
            debug!(%address, "connected to this peer already, or not to be");
            return false;
        };
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "set TCP_NODELAY");
        }
        let pulse = Pulse::new(Instant::now());
        let talk = Conversation::new(socket, hello, torrent.clone(), self.local.clone()).run(cancel, &pulse);
        let Parted { ending, .. } = Box::pin(talk).await;
        torrent.dismiss(id, outgoing);
        debug!(%address, %ending, "connection ended");
        true
    }

    /// Dials for a running transfer, which hears of failure.
    pub(crate) fn dial_for_transfer(self: Arc<Self>, torrent: Arc<Torrent>, address: SocketAddr) {
        let tasks = self.tasks.clone();
        tasks.spawn(async move {
            // The transfer knows whom it may dial.
            let dialled = self.dial(&torrent, address, Found::GIVEN, None).await;
            let Some(ready) = torrent.ready() else { return };
            match dialled {
                Ok(()) => {}
                Err(GreetError::NoRoom) => ready.transfer.no_room(address).await,
                Err(_) => ready.transfer.dial_failed(address).await,
            }
        });
    }

    /// Connects, greets (then tells `greeted`) and talks; returns when the conversation is over, or why there was none.
    async fn dial(
        &self,
        torrent: &Arc<Torrent>,
        address: SocketAddr,
        found: Found,
        greeted: Option<mpsc::Sender<SocketAddr>>,
    ) -> Result<(), GreetError> {
        let cancelled = || GreetError::Socket(io::ErrorKind::Interrupted.into());
        let Ok(_permit) = self.connections.clone().try_acquire_owned() else {
            return Err(GreetError::NoRoom);
        };
        let Some(swarm) = torrent.swarms().next() else { return Err(cancelled()) };
        let ours = Handshake { reserved: self.reserved(torrent), swarm, peer_id: self.peer_id };
        let mut failure = cancelled();
        for way in self.encryption.dials() {
            let greeting = async {
                let mut socket = self.connect(address).await?;
                let hello = greet::dial(&mut socket, address, ours, (*way, self.encryption)).await?;
                Ok::<_, GreetError>((socket, hello))
            };
            let greeting = tokio::select! {
                greeting = greeting => greeting,
                () = torrent.cancellation().cancelled() => return Err(cancelled()),
            };
            match greeting {
                Ok((socket, hello)) => {
                    if let Some(greeted) = greeted {
                        // An error: nobody seeks any longer.
                        let _ = greeted.send(address).await;
                    }
                    let wanted = self.converse(socket, hello, found).await;
                    return if wanted { Ok(()) } else { Err(GreetError::Present) };
                }
                Err(error) => {
                    debug!(%address, ?way, %error, "dial came to nothing");
                    let again = error.may_want_another_way();
                    failure = error;
                    if !again {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, GreetError> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let same_family = |own: &&IpAddr| own.is_ipv4() == address.is_ipv4();
        if let Some(own) = listen::specific(&self.listening).iter().find(same_family) {
            socket.bind(SocketAddr::new(*own, 0))?;
        }
        let connected = tokio::time::timeout(CONNECT_MAX, socket.connect(address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(GreetError::NoConnection)
    }

    pub(crate) fn rules(&self) -> &DialRules {
        &self.rules
    }
}

impl Finder for DoorInner {
    fn by_key(&self, key: &[u8; 20]) -> Option<SwarmHash> {
        self.registry().keys.get(key).copied()
    }

    fn answer(&self, head: &HandshakeHead) -> Option<(Reserved, SwarmHash)> {
        let torrent = self.registry().torrents.get(&head.swarm).cloned()?;
        let reserved = self.reserved(&torrent);
        // Everybody is answered in the name that they came with. libtorrent takes our bit for v2 beside a v1 name for the upgrade
        // of BEP 52, and hangs up because the name is not v2's.
        let by_v2 = torrent.hashes_now().swarm_v2() == Some(head.swarm);
        Some((if by_v2 { reserved.with_v2() } else { reserved }, head.swarm))
    }
}
