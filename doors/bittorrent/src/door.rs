//! The door itself: listens, dials, and joins what finds peers to the torrents that want them.
//!
//! The door owns the listeners, the registry of torrents by swarm hash, and the handles of the trackers' announcer, the DHT and
//! local discovery. It decides only what concerns every connection alike: how many there may be, and who may
//! be dialled at all.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peerage_content::BlockPool;
use peerage_swarm::core::Found;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::address::{DialRules, Origin, Reach, reach};
use crate::dht::{Dht, DhtConfig, DhtError};
use crate::discovery::{Discovery, Haste};
use crate::hash::{InfoHashes, SwarmHash};
use crate::lan::{Lan, LanConfig};
use crate::listen;
use crate::metainfo::Node;
use crate::mse::{Encryption, lookup_key};
use crate::peer::greet::{self, Finder, GreetError};
use crate::peer::{Conversation, Hello, Local, Parted, Pulse};
use crate::seek::{DIALS_MAX, KNOWN_MAX, Seek};
use crate::torrent::{Arrival, Named, Stage, Torrent};
use crate::tracker::{Announcer, AnnouncerConfig, AnnouncerError, Counters, Registration, TrackerUrl};
use crate::webseed::{self, WebSeed, WebSeedClient};
use crate::wire::{Handshake, HandshakeHead, PeerId, Reserved};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Accepted connections that have not greeted yet; more wait in the system's queue.
const GREETINGS_MAX: usize = 128;
/// Peers that are talked to while metadata is sought; beyond it the quiet ones make room.
const SEEK_TALKS: usize = 64;
/// How long a peer may be quiet about the metadata before it makes room.
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
/// How often the search for metadata looks whether there is room, and whether anybody is there at all.
const SEEK_ROUND: Duration = Duration::from_secs(5);
/// DHT nodes of one torrent that are asked.
const TORRENT_NODES_MAX: usize = 16;
/// How often we look under which addresses we are known.
const OWN_ADDRESSES_EVERY: Duration = Duration::from_secs(60);
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
                bind: announced,
                user_agent: config.client.clone(),
                ..AnnouncerConfig::default()
            },
            rules.clone(),
            discoveries.clone(),
            cancel.clone(),
        )?;
        let dht = match &config.dht {
            Some(settings) => start_dht(settings, &listening, &rules, &discoveries, &cancel).await,
            None => None,
        };
        let lan = port.filter(|_| config.lan).and_then(|port| {
            let config = LanConfig { port, interfaces: listen::interfaces(&listening) };
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

    /// Looks for the metadata of a torrent until it is there: dials what becomes known.
    pub fn seek(&self, torrent: &Arc<Torrent>) {
        let inbox = torrent.seek();
        self.0.tasks.spawn(self.0.clone().seek(torrent.clone(), inbox));
    }

    /// Announces a torrent wherever peers may find it: trackers, and for public ones the DHT and the local network.
    pub async fn announce(
        &self,
        torrent: &Torrent,
        tiers: Vec<Vec<TrackerUrl>>,
        counters: Arc<dyn Counters>,
    ) {
        for swarm in torrent.swarms() {
            if !tiers.is_empty() {
                let registration = Registration {
                    swarm,
                    peer_id: self.0.peer_id.0,
                    tiers: tiers.clone(),
                    counters: counters.clone(),
                };
                self.0.announcer.add(registration).await;
            }
            if !torrent.is_private() {
                if let Some(dht) = &self.0.dht {
                    dht.add(swarm, self.0.listening.first().map(SocketAddr::port)).await;
                }
                if let Some(lan) = &self.0.lan {
                    lan.add(swarm).await;
                }
            }
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

    /// The metadata has come and says whether the torrent is private. If it is (BEP 27), only its trackers go on looking for peers, and what
    /// was found elsewhere is forgotten. To be called before the torrent [begins](Torrent::begin).
    pub async fn learn_private(&self, torrent: &Torrent, private: bool) {
        torrent.set_private(private);
        if private {
            self.unpublish(torrent).await;
        }
    }

    /// Takes a torrent off the DHT and the local network.
    async fn unpublish(&self, torrent: &Torrent) {
        for swarm in torrent.swarms() {
            if let Some(dht) = &self.0.dht {
                dht.remove(swarm).await;
            }
            if let Some(lan) = &self.0.lan {
                lan.remove(swarm).await;
            }
        }
    }

    /// Gives the DHT the nodes that a torrent names, unless it is private.
    pub fn dht_nodes(&self, torrent: &Torrent, nodes: &[Node]) {
        let Some(dht) = self.0.dht.clone().filter(|_| !torrent.is_private()) else { return };
        for node in nodes.iter().take(TORRENT_NODES_MAX) {
            let (dht, node, cancel) = (dht.clone(), node.to_string(), torrent.cancellation().clone());
            self.0.tasks.spawn(cancel.run_until_cancelled_owned(async move {
                match tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host(&node)).await {
                    Ok(Ok(mut found)) => {
                        if let Some(address) = found.next() {
                            dht.add_node(address).await;
                        }
                    }
                    Ok(Err(error)) => debug!(%node, %error, "a node of the torrent cannot be found"),
                    Err(_) => debug!(%node, "the name of a node of the torrent leads nowhere in time"),
                }
            }));
        }
    }

    /// Peers are needed: trackers and the DHT are asked as soon as they may be.
    pub async fn hurry(&self, torrent: &Torrent) {
        self.0.hurry(torrent).await;
    }

    /// Where others see us, as it becomes known.
    pub fn public_address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.0.public.subscribe()
    }

    /// Ends announcing; trackers are told.
    pub async fn withdraw(&self, torrent: &Torrent) {
        for swarm in torrent.swarms() {
            self.0.announcer.remove(swarm).await;
        }
        self.unpublish(torrent).await;
    }

    /// Tells the trackers that a download is complete.
    pub async fn completed(&self, torrent: &Torrent) {
        for swarm in torrent.swarms() {
            self.0.announcer.completed(swarm).await;
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

    /// Gives a torrent addresses that the user named.
    pub async fn introduce(&self, torrent: &Torrent, addresses: Vec<SocketAddr>) {
        let addresses = self.0.rules.keep(addresses, Origin::Given, KNOWN_MAX);
        torrent.known(addresses, Found::GIVEN).await;
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

    /// Dials addresses of a torrent until its metadata is known; then hands them all to the transfer.
    async fn seek(self: Arc<Self>, torrent: Arc<Torrent>, mut inbox: mpsc::Receiver<Named>) {
        let mut seek = Seek::default();
        let mut talks = JoinSet::new();
        let (told, mut greeted) = mpsc::channel(SEEK_TALKS);
        let mut talking = HashSet::new();
        let mut stage = torrent.stage();
        let mut round = tokio::time::interval(SEEK_ROUND);
        let mut haste = Haste::new(Instant::now());
        loop {
            let now = Instant::now();
            while talks.len() < SEEK_TALKS
                && let Some((address, found)) = seek.next(now)
            {
                let (door, torrent, told) = (self.clone(), torrent.clone(), told.clone());
                talks.spawn(async move {
                    let _ = door.dial(&torrent, address, found, Some(told)).await;
                    address
                });
            }
            tokio::select! {
                biased;
                () = torrent.cancellation().cancelled() => break,
                changed = stage.changed() => {
                    if changed.is_err() || !matches!(*stage.borrow(), Stage::Seeking) {
                        break;
                    }
                }
                // Before the end of its conversation.
                Some(address) = greeted.recv() => {
                    talking.insert(address);
                    seek.greeted();
                }
                Some(ended) = talks.join_next() => {
                    if let Ok(address) = ended {
                        seek.ended(Instant::now(), address, talking.remove(&address));
                    }
                }
                named = inbox.recv() => match named {
                    Some((addresses, found)) => {
                        addresses.into_iter().for_each(|address| seek.learn(now, address, found));
                    }
                    None => break,
                },
                _ = round.tick() => {
                    if talks.len() >= SEEK_TALKS && seek.is_due(now) {
                        torrent.dismiss_quiet(now, SEEK_PATIENCE, DIALS_MAX);
                    }
                    if haste.is_due(now, torrent.is_alone()) {
                        self.hurry(&torrent).await;
                    }
                }
                () = until(seek.poll_timeout()), if talks.len() < SEEK_TALKS => {}
            }
        }
        for (address, found) in seek.into_known() {
            torrent.known(vec![address], found).await;
        }
        // Conversations begun here go on.
        talks.detach_all();
    }

    async fn hurry(&self, torrent: &Torrent) {
        for swarm in torrent.swarms() {
            self.announcer.hurry(swarm).await;
            if let Some(dht) = self.dht.as_ref().filter(|_| !torrent.is_private()) {
                dht.hurry(swarm).await;
            }
        }
    }

    /// Keeps what is known of our own addresses fresh: interfaces come and go, and trackers and DHT nodes tell under which we are seen.
    async fn follow_addresses(self: Arc<Self>) {
        let mut round = tokio::time::interval(OWN_ADDRESSES_EVERY);
        let mut told = self.announcer.external_ip();
        loop {
            tokio::select! {
                _ = round.tick() => {}
                Ok(()) = told.changed() => {}
                () = self.cancel.cancelled() => return,
            }
            let by_tracker = *told.borrow_and_update();
            // What many nodes agree on is worth more than what one tracker says.
            let by_dht = match &self.dht {
                Some(dht) => dht.status().await.and_then(|status| status.public_address),
                None => None,
            };
            let seen: Vec<IpAddr> =
                by_dht.map(|address| address.ip()).into_iter().chain(by_tracker).collect();
            let own = listen::own_addresses(&self.listening, &seen);
            let is_public = |address: &&SocketAddr| reach(address.ip()) == Reach::Public;
            let public = own.iter().find(is_public).copied();
            self.rules.set_own(own);
            self.public.send_if_modified(|known| std::mem::replace(known, public) != public);
        }
    }

    /// Hands what was found to the torrents.
    async fn route(self: Arc<Self>, mut routed: mpsc::Receiver<Discovery>) {
        loop {
            let discovery = tokio::select! {
                discovery = routed.recv() => discovery,
                () = self.cancel.cancelled() => return,
            };
            let Some(Discovery { swarm, addresses, found, from }) = discovery else { return };
            let torrent = self.registry().torrents.get(&swarm).cloned();
            if let Some(torrent) = torrent.filter(|torrent| torrent.allows(found)) {
                debug!(%swarm, peers = addresses.len(), %from, "found peers");
                torrent.known(addresses, found).await;
            }
        }
    }

    pub(crate) fn dht_node(&self, address: SocketAddr) {
        if let Some(dht) = self.dht.clone() {
            self.tasks.spawn(async move { dht.add_node(address).await });
        }
    }

    pub(crate) fn rules(&self) -> &DialRules {
        &self.rules
    }

    /// Addresses that a peer told us; they have passed the dial rules.
    pub(crate) fn exchanged(&self, swarm: SwarmHash, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() {
            let discovery = Discovery { swarm, addresses, found: Found::EXCHANGE, from: "a peer".into() };
            // A full queue means that there is no lack of addresses.
            let _ = self.discoveries.try_send(discovery);
        }
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

async fn start_dht(
    settings: &DhtSettings,
    listening: &[SocketAddr],
    rules: &DialRules,
    discoveries: &mpsc::Sender<Discovery>,
    cancel: &CancellationToken,
) -> Option<Dht> {
    if listening.is_empty() {
        return None;
    }
    let config = DhtConfig {
        bind: listening.to_vec(),
        bootstrap: (!settings.bootstrap.is_empty()).then(|| settings.bootstrap.clone()),
        nodes_file: settings.nodes_file.clone(),
        ..DhtConfig::default()
    };
    let start = |config: DhtConfig| Dht::start(config, rules.clone(), discoveries.clone(), cancel.clone());
    let mut started = start(config.clone()).await;
    if let Err(DhtError::Socket { source, .. }) = &started
        && source.kind() == io::ErrorKind::AddrInUse
    {
        // Nobody needs to know the port beforehand: peers are told it (BEP 5), and nodes see it.
        debug!("the UDP port of the listener is taken: the DHT takes another");
        let bind = config.bind.iter().map(|address| SocketAddr::new(address.ip(), 0)).collect();
        started = start(DhtConfig { bind, ..config }).await;
    }
    started.inspect_err(|error| warn!(%error, "the DHT is off")).ok()
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
