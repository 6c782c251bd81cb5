//! Finding peers through the door: where a torrent is announced, whom to ask for its metadata, and what becomes of addresses.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{DhtSettings, Door, DoorInner, connections};
use crate::address::{DialRules, Origin, Reach, reach};
use crate::dht::{Dht, DhtConfig, DhtError};
use crate::discovery::{Discovery, Haste};
use crate::hash::SwarmHash;
use crate::listen;
use crate::metainfo::Node;
use crate::seek::{DIALS_MAX, KNOWN_MAX, Seek};
use crate::torrent::{Named, Stage, Torrent};
use crate::tracker::{Counters, Registration, TrackerUrl};

/// Peers that are talked to while metadata is sought; beyond it the quiet ones make room.
const SEEK_TALKS: usize = 64;
/// How long a peer may be quiet about the metadata before it makes room.
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
/// How often the search for metadata looks whether there is room, and whether anybody is there at all.
const SEEK_ROUND: Duration = Duration::from_secs(5);
/// How often we look under which addresses we are known.
const OWN_ADDRESSES_EVERY: Duration = Duration::from_secs(60);
/// DHT nodes of one torrent that are asked.
const TORRENT_NODES_MAX: usize = 16;

impl Door {
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
                    dht.add(swarm, self.0.local.ports).await;
                }
                if let Some(lan) = &self.0.lan {
                    lan.add(swarm).await;
                }
            }
        }
    }

    /// The metadata has come and says whether the torrent is private. If it is (BEP 27), only its trackers go on looking for peers, and what
    /// was found elsewhere is forgotten. To be called before the torrent [begins](Torrent::begin).
    pub async fn learn_private(&self, torrent: &Torrent, private: bool) {
        torrent.set_private(private);
        if private {
            self.unpublish(torrent.names()).await;
        }
    }

    /// Takes swarms off the DHT and the local network.
    async fn unpublish(&self, swarms: impl IntoIterator<Item = SwarmHash>) {
        for swarm in swarms {
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
                match tokio::time::timeout(connections::CONNECT_MAX, tokio::net::lookup_host(&node)).await {
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

    /// Ends announcing; trackers are told. A name that another torrent has come to meanwhile goes on being announced for that one.
    pub async fn withdraw(&self, torrent: &Torrent) {
        let is_its_own = |swarm: &SwarmHash| !self.0.registry().is_wanted_by_others(*swarm, torrent);
        let swarms: Vec<SwarmHash> = torrent.names().into_iter().filter(is_its_own).collect();
        for swarm in &swarms {
            self.0.announcer.remove(*swarm).await;
        }
        self.unpublish(swarms).await;
    }

    /// Tells the trackers that a download is complete.
    pub async fn completed(&self, torrent: &Torrent) {
        for swarm in torrent.swarms() {
            self.0.announcer.completed(swarm).await;
        }
    }

    /// Gives a torrent addresses that the user named.
    pub async fn introduce(&self, torrent: &Torrent, addresses: Vec<SocketAddr>) {
        let addresses = self.0.rules.keep(addresses, Origin::Given, KNOWN_MAX);
        torrent.known(addresses, Found::GIVEN).await;
    }
}

impl DoorInner {
    /// Dials addresses of a torrent until its metadata is known; then hands them all to the transfer.
    pub(super) async fn seek(self: Arc<Self>, torrent: Arc<Torrent>, mut inbox: mpsc::Receiver<Named>) {
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
                    let _ = door.dial(&torrent, address, Some(found), Some(told)).await;
                    address
                });
            }
            torrent.seeks_at(seek.len());
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
        inbox.close();
        while let Some((addresses, found)) = inbox.recv().await {
            addresses.into_iter().for_each(|address| seek.learn(Instant::now(), address, found));
        }
        for (address, found) in seek.idle() {
            torrent.known(vec![address], found).await;
        }
        // What is dialled or talked to goes on and tells the transfer by itself. Whatever it comes to, the address is worth another try.
        while let Some(ended) = tokio::select! {
            ended = talks.join_next() => ended,
            () = torrent.cancellation().cancelled() => None,
        } {
            if let Some((address, found)) = ended.ok().and_then(|address| seek.known(address)) {
                torrent.known(vec![address], found).await;
            }
        }
        talks.detach_all();
    }

    pub(super) async fn hurry(&self, torrent: &Torrent) {
        for swarm in torrent.swarms() {
            self.announcer.hurry(swarm).await;
            if let Some(dht) = self.dht.as_ref().filter(|_| !torrent.is_private()) {
                dht.hurry(swarm).await;
            }
        }
    }

    /// Keeps what is known of our own addresses fresh: interfaces come and go, and trackers and DHT nodes tell under which we are seen.
    pub(super) async fn follow_addresses(self: Arc<Self>) {
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
    pub(super) async fn route(self: Arc<Self>, mut routed: mpsc::Receiver<Discovery>) {
        loop {
            let discovery = tokio::select! {
                discovery = routed.recv() => discovery,
                () = self.cancel.cancelled() => return,
            };
            let Some(Discovery { swarm, addresses, found, from }) = discovery else { return };
            let torrent = self.registry().holder(swarm);
            if let Some(torrent) = torrent.filter(|torrent| torrent.allows(found)) {
                debug!(%swarm, peers = addresses.len(), %from, "found peers");
                torrent.known(addresses, found).await;
            }
        }
    }

    /// A peer named its DHT node.
    pub(crate) fn dht_node(&self, address: SocketAddr) {
        if let Some(dht) = &self.dht {
            dht.hear_of_node(address);
        }
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

pub(super) async fn start_dht(
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
