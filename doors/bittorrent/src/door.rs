//! The door itself: listens, dials, and joins what finds peers to the torrents that want them.
//!
//! The door owns the listeners, the registry of torrents by swarm hash, and the handles of the trackers' announcer, the DHT and
//! local discovery. It decides only what concerns every connection alike: how many there may be, and who may
//! be dialled at all.

mod connections;
mod finding;
mod greetings;
mod registry;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use peerage_content::BlockPool;
use peerage_tcp::Pacing;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::address::DialRules;
use crate::dht::Dht;
use crate::discovery::Discovery;
use crate::hash::InfoHashes;
use crate::lan::{Lan, LanConfig};
use crate::listen;
use crate::mse::Encryption;
use crate::peer::Local;
use crate::torrent::Torrent;
use crate::tracker::{Announcer, AnnouncerConfig, AnnouncerError};
use crate::webseed::{self, WebSeed, WebSeedClient};
use crate::wire::PeerId;
use registry::Registry;

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
    web_seed_client: OnceLock<Option<WebSeedClient>>,
    connections: Arc<Semaphore>,
    pacing: Pacing,
    discoveries: mpsc::Sender<Discovery>,
    pool: BlockPool,
    tasks: TaskTracker,
    cancel: CancellationToken,
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
        let pacing = Pacing::of_system();
        listeners.iter().for_each(|listener| pacing.begin(listener));
        let listening: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let (ports, announced) = listen::announced(&listening);
        let rules = DialRules::new();
        rules.set_own(listen::own_addresses(&listening, &[]));
        let (discoveries, routed) = mpsc::channel(DISCOVERIES);
        let announcer = Announcer::start(
            AnnouncerConfig {
                ports,
                bind: announced,
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
        let lan = (config.lan && !ports.is_empty())
            .then(|| {
                let config = LanConfig { ports, interfaces: listen::interfaces(&listening) };
                Lan::start(config, rules.clone(), discoveries.clone(), cancel.clone())
                    .inspect_err(|error| warn!(%error, "local discovery is off"))
                    .ok()
            })
            .flatten();
        let local = Local {
            client: config.client,
            ports,
            dht_ports: dht.as_ref().map(Dht::ports).unwrap_or_default(),
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
            web_seed_client: OnceLock::new(),
            connections: Arc::new(Semaphore::new(config.connections_max)),
            pacing,
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

    /// Makes a torrent reachable under further names (the metadata of a magnet named both). False when another torrent has one of
    /// them: that one keeps it until it is removed.
    pub fn name(&self, torrent: &Arc<Torrent>, hashes: InfoHashes) -> bool {
        let mut registry = self.0.registry();
        let mut own = true;
        for swarm in hashes.swarms() {
            own &= registry.claim(swarm, torrent);
        }
        own
    }

    /// Lets web seeds serve a torrent that is fetched, as far as their URLs make sense.
    pub fn web_seeds(&self, torrent: &Torrent, urls: &[String], folder: Option<&[u8]>) {
        let Some(ready) = torrent.ready() else { return };
        let Some(client) = self.0.web_seed_client() else { return };
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
        torrent.names().into_iter().for_each(|swarm| registry.release(swarm, torrent));
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

    /// One for all web seeds, made when the first is needed.
    fn web_seed_client(&self) -> Option<&WebSeedClient> {
        let make = || {
            let bind = listen::specific(&self.listening).into_iter().next();
            let made = WebSeedClient::new(bind, &self.local.client);
            made.inspect_err(|error| warn!(%error, "web seeds are off")).ok()
        };
        self.web_seed_client.get_or_init(make).as_ref()
    }

    pub(crate) fn rules(&self) -> &DialRules {
        &self.rules
    }
}
