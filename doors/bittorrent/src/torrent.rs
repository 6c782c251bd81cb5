//! One torrent as the door knows it: its names, its metadata once there is any, and who is connected.
//!
//! A torrent begins as [`Stage::Seeking`] (a magnet link) or [`Stage::Ready`]. Connections belong to it in both stages; when the
//! metadata arrives they stay and enter the transfer. The torrent owns no socket and no bytes of content.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerage_content::BlockPool;
use peerage_swarm::core::{Found, PeerKey};
use peerage_swarm::driver::{Activity, Dialer, Transfer};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::address::DialRules;
use crate::door::DoorInner;
use crate::hash::{InfoHashes, SwarmHash};
use crate::metadata::Fetch;
use crate::peer::Pulse;
use crate::pex::Flood;
use crate::trees::Trees;
use crate::wire::PeerId;

/// Addresses that wait while the metadata is sought.
const SEEK_INBOX: usize = 64;
/// Peers remembered for exchange.
const MET_MAX: usize = 1_000;

/// Peers that may connect to a torrent without a transfer yet.
const UNREADY_MAX: usize = 80;
/// Of these, those from one address.
const UNREADY_HOST_MAX: usize = 20;
/// A connection that nothing was heard of for this long gives way when its peer comes again.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Where peers of a private torrent may come from (BEP 27): its trackers, and whoever was told of it by hand or came by itself.
const PRIVATE_SOURCES: u16 = Found::GIVEN.0 | Found::TRACKER.0 | Found::INCOMING.0 | Found::RESUME.0;

/// Addresses, and where they were learnt.
pub(crate) type Named = (Vec<SocketAddr>, Found);

/// How far a torrent is.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Its metadata is not known.
    Seeking,
    /// It is transferred.
    Ready(Arc<Ready>),
    /// It ended.
    Closed,
}

/// What a torrent is once its metadata is known.
#[derive(Debug)]
pub struct Ready {
    /// Both hashes, as far as the torrent has them.
    pub hashes: InfoHashes,
    /// The bytes of the info dictionary.
    pub info: Bytes,
    /// The transfer.
    pub transfer: Transfer,
    pub(crate) trees: Trees,
}

impl Ready {
    /// A torrent whose transfer has started.
    pub fn new(hashes: InfoHashes, info: Bytes, transfer: Transfer) -> Self {
        Self { trees: Trees::new(&transfer), hashes, info, transfer }
    }

    /// The info dictionary as served to peers (BEP 9).
    pub fn info_bytes(&self) -> &Bytes {
        &self.info
    }
}

/// A torrent in the door.
#[derive(Debug)]
pub struct Torrent {
    hashes: InfoHashes,
    private: OnceLock<bool>,
    stage: watch::Sender<Stage>,
    metadata: watch::Sender<Option<Bytes>>,
    search: Mutex<Search>,
    fetch_turn: tokio::sync::Notify,
    met: Mutex<HashMap<SocketAddr, Met>>,
    present: Mutex<HashMap<PeerId, Presence>>,
    seek: Mutex<Option<mpsc::Sender<Named>>>,
    /// Addresses that the search for the metadata knows of.
    sought: AtomicUsize,
    door: Weak<DoorInner>,
    pool: BlockPool,
    cancel: CancellationToken,
}

/// The search for the metadata, shared by all connections.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) fetch: Fetch,
    /// Connected peers that say they have the metadata.
    pub(crate) holders: HashSet<SocketAddr>,
    /// Requests that wait for their connection to send them.
    requests: Vec<(PeerKey, u32)>,
    peers: u64,
}

impl Search {
    /// A peer is gone, and with it what it was to be asked.
    pub(crate) fn left(&mut self, peer: PeerKey, address: SocketAddr) {
        self.fetch.left(peer);
        self.holders.remove(&address);
        self.requests.retain(|(key, _)| *key != peer);
    }
}

/// A connection that has been greeted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: PeerId,
    pub(crate) outgoing: bool,
    pub(crate) address: SocketAddr,
    /// Where its address was learnt.
    pub(crate) found: Found,
}

/// A connection that stands for a peer.
#[derive(Debug)]
struct Presence {
    outgoing: bool,
    address: SocketAddr,
    /// Where its address was learnt.
    found: Found,
    since: Instant,
    pulse: Arc<Pulse>,
    connection: CancellationToken,
}

/// Leave to stand for a peer.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Ends the connection: a better one has come, or the torrent ends.
    pub(crate) cancel: CancellationToken,
    /// Beats with what is heard.
    pub(crate) pulse: Arc<Pulse>,
}

/// What a connected peer said of itself.
#[derive(Clone, Debug)]
pub struct Met {
    /// Where it can be dialled, as far as it said.
    pub listen: Option<SocketAddr>,
    /// What it calls itself; printable.
    pub client: Option<String>,
    /// The connection is encrypted.
    pub encrypted: bool,
    /// It says that it downloads nothing.
    pub upload_only: bool,
}

impl Torrent {
    pub(crate) fn new(
        hashes: InfoHashes,
        private: Option<bool>,
        door: Weak<DoorInner>,
        pool: BlockPool,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let known_private = OnceLock::new();
        if let Some(private) = private {
            let _ = known_private.set(private);
        }
        Arc::new(Self {
            hashes,
            private: known_private,
            stage: watch::channel(Stage::Seeking).0,
            metadata: watch::channel(None).0,
            search: Mutex::new(Search {
                fetch: Fetch::new(hashes),
                holders: HashSet::new(),
                requests: Vec::new(),
                peers: 0,
            }),
            fetch_turn: tokio::sync::Notify::new(),
            met: Mutex::default(),
            present: Mutex::default(),
            seek: Mutex::default(),
            sought: AtomicUsize::new(0),
            door,
            pool,
            cancel,
        })
    }

    /// The names it was opened by.
    pub fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// How far it is, as it changes.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// The transfer, once there is one.
    pub fn ready(&self) -> Option<Arc<Ready>> {
        match &*self.stage.borrow() {
            Stage::Ready(ready) => Some(ready.clone()),
            Stage::Seeking | Stage::Closed => None,
        }
    }

    /// Whether peers may come from its trackers alone (BEP 27). Not known before the metadata: then it counts as public, as every magnet link must.
    pub fn is_private(&self) -> bool {
        self.private.get().copied().unwrap_or(false)
    }

    /// The metadata says whether it is private. If so, connections to peers that were found elsewhere than private torrents allow end.
    pub(crate) fn set_private(&self, private: bool) {
        let _ = self.private.set(private);
        self.present().values().filter(|presence| !self.allows(presence.found)).for_each(|presence| {
            presence.connection.cancel();
        });
    }

    /// Whether peers that were found there may be talked to.
    pub(crate) fn allows(&self, found: Found) -> bool {
        !self.is_private() || found.0 & PRIVATE_SOURCES != 0
    }

    /// Waits for the bytes of the info dictionary, verified against the hashes.
    ///
    /// `None` when the torrent was closed before.
    pub async fn metadata(&self) -> Option<Bytes> {
        let mut metadata = self.metadata.subscribe();
        let found = tokio::select! {
            found = metadata.wait_for(Option::is_some) => found.ok()?.clone(),
            () = self.cancel.cancelled() => None,
        };
        found
    }

    /// The transfer begins: connections enter it, and addresses go to it.
    pub fn begin(&self, ready: Ready, private: bool) {
        self.set_private(private);
        // The stage first: what the search hands over when it ends must find the transfer.
        self.stage.send_replace(Stage::Ready(Arc::new(ready)));
        *self.seek_sender() = None;
    }

    /// Computes the piece layers (BEP 52) that peers did not tell from what is here in full, so that others can be told and the
    /// torrent saved with them. Returns at once when there is nothing to compute.
    pub async fn compute_layers(&self) {
        let Some(ready) = self.ready().filter(|ready| !ready.trees.is_complete()) else { return };
        let cancel = self.cancel.clone();
        // It does not panic; and if it did, the layers would be missing as before.
        let _ = tokio::task::spawn_blocking(move || ready.trees.compute_layers(&cancel)).await;
    }

    /// Tells of addresses that may have the content; they have passed the dial rules. A private torrent takes them only from where it may.
    pub async fn known(&self, addresses: Vec<SocketAddr>, found: Found) {
        if !self.allows(found) {
            return;
        }
        match self.ready() {
            Some(ready) => ready.transfer.known(addresses, found).await,
            None => {
                let seek = self.seek_sender().clone();
                let Some(seek) = seek else { return };
                // The search may end while its inbox is full.
                if let Err(SendError((addresses, found))) = seek.send((addresses, found)).await
                    && let Some(ready) = self.ready()
                {
                    ready.transfer.known(addresses, found).await;
                }
            }
        }
    }

    /// A dialer for the transfer of this torrent.
    pub fn dialer(self: &Arc<Self>) -> Arc<dyn Dialer> {
        Arc::new(TorrentDialer(Arc::downgrade(self)))
    }

    /// Addresses to try while the metadata is sought; ends the seeking of an earlier call.
    pub(crate) fn seek(&self) -> mpsc::Receiver<Named> {
        let (sender, receiver) = mpsc::channel(SEEK_INBOX);
        *self.seek_sender() = Some(sender);
        receiver
    }

    /// Whether its metadata is being asked of peers.
    pub(crate) fn is_seeking(&self) -> bool {
        self.metadata.borrow().is_none() && self.seek_sender().is_some()
    }

    fn seek_sender(&self) -> MutexGuard<'_, Option<mpsc::Sender<Named>>> {
        self.seek.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn metadata_found(&self, info: Bytes) {
        self.metadata.send_replace(Some(info));
    }

    /// The search for the metadata.
    pub(crate) fn search(&self) -> MutexGuard<'_, Search> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key for a peer in the search.
    pub(crate) fn seek_key(&self) -> PeerKey {
        let mut search = self.search();
        search.peers += 1;
        PeerKey(search.peers)
    }

    /// The pieces of metadata that one connection is to ask for now; others are woken when there is something for them.
    pub(crate) fn requests_of(&self, peer: PeerKey, now: Instant) -> Vec<u32> {
        let mut search = self.search();
        while let Some(request) = search.fetch.poll_request(now) {
            search.requests.push(request);
        }
        let (own, others): (Vec<_>, Vec<_>) = search.requests.drain(..).partition(|(key, _)| *key == peer);
        if !others.is_empty() {
            self.metadata_turn();
        }
        search.requests = others;
        own.into_iter().map(|(_, piece)| piece).collect()
    }

    /// Another connection changed what is to be fetched of the metadata.
    pub(crate) fn metadata_turn(&self) {
        self.fetch_turn.notify_waiters();
    }

    /// Waits until [`Torrent::metadata_turn`].
    pub(crate) async fn metadata_changed(&self) {
        self.fetch_turn.notified().await;
    }

    pub(crate) fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// Two peers that dial each other end up with two connections. Both sides keep the one that was dialled by the greater peer id; `None`: not
    /// this one. A peer that comes again has lost its connection, though we may not have heard of that.
    pub(crate) fn admit(&self, own: PeerId, peer: &Arrival, now: Instant) -> Option<Admission> {
        let is_ready = self.ready().is_some();
        let mut present = self.present();
        if !self.allows(peer.found) {
            return None;
        }
        if let Some(other) = present.get(&peer.id) {
            let preferred = other.outgoing != peer.outgoing && peer.outgoing == (own > peer.id);
            let lost = !peer.outgoing && other.pulse.heard() + LOST_AFTER <= now;
            if !preferred && !lost {
                return None;
            }
            other.connection.cancel();
        } else if !is_ready && !peer.outgoing {
            // A transfer bounds its connections itself.
            let of_host = present.values().filter(|other| other.address.ip() == peer.address.ip()).count();
            if present.len() >= UNREADY_MAX || of_host >= UNREADY_HOST_MAX {
                return None;
            }
        }
        let (cancel, pulse) = (self.cancel.child_token(), Arc::new(Pulse::new(now)));
        let Arrival { outgoing, address, found, .. } = *peer;
        let (connection, beat) = (cancel.clone(), pulse.clone());
        let presence = Presence { outgoing, address, found, since: now, pulse: beat, connection };
        present.insert(peer.id, presence);
        Some(Admission { cancel, pulse })
    }

    /// How many connections it could spare: all but one of those that move nothing.
    pub(crate) fn spare_connections(&self) -> usize {
        let idle = self.ready().is_some_and(|ready| {
            let progress = ready.transfer.progress();
            let progress = progress.borrow();
            let still = progress.stats.download_rate == 0 && progress.stats.upload_rate == 0;
            still && progress.activity != Activity::Downloading
        });
        if idle { self.connected().saturating_sub(1) } else { 0 }
    }

    /// Ends the connection that was heard of least recently, if it can spare one.
    pub(crate) fn spare_one(&self) -> bool {
        if self.spare_connections() == 0 {
            return false;
        }
        let present = self.present();
        let open = present.values().filter(|presence| !presence.connection.is_cancelled());
        let oldest = open.min_by_key(|presence| presence.pulse.heard());
        oldest.map(|presence| presence.connection.cancel()).is_some()
    }

    /// Whether a connection that we dialled leads there.
    pub(crate) fn has_dialled(&self, address: SocketAddr) -> bool {
        self.present().values().any(|presence| presence.outgoing && presence.address == address)
    }

    /// Peers that are connected, before and after the metadata is known.
    pub fn connected(&self) -> usize {
        self.present().len()
    }

    /// Addresses at which the metadata was asked for, or will be.
    pub fn sought(&self) -> usize {
        self.sought.load(Ordering::Relaxed)
    }

    pub(crate) fn seeks_at(&self, addresses: usize) {
        self.sought.store(addresses, Ordering::Relaxed);
    }

    /// Sends away up to `count` peers that do not offer the metadata, those first that we have talked to for longest, and at least for
    /// `patience`.
    pub(crate) fn dismiss_quiet(&self, now: Instant, patience: Duration, count: usize) {
        let holders = self.search().holders.clone();
        let present = self.present();
        let is_quiet = |presence: &&Presence| {
            presence.outgoing
                && presence.since + patience <= now
                && !presence.connection.is_cancelled()
                && !holders.contains(&presence.address)
        };
        let mut quiet: Vec<&Presence> = present.values().filter(is_quiet).collect();
        quiet.sort_unstable_by_key(|presence| presence.since);
        quiet.iter().take(count).for_each(|presence| presence.connection.cancel());
    }

    /// Whether nobody is connected.
    pub(crate) fn is_alone(&self) -> bool {
        self.present().is_empty()
    }

    /// An admitted connection is over.
    pub(crate) fn dismiss(&self, theirs: PeerId, admission: &Admission) {
        let mut present = self.present();
        if present.get(&theirs).is_some_and(|presence| Arc::ptr_eq(&presence.pulse, &admission.pulse)) {
            present.remove(&theirs);
        }
    }

    fn present(&self) -> MutexGuard<'_, HashMap<PeerId, Presence>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the peer at this address said of itself.
    pub fn met_at(&self, address: SocketAddr) -> Option<Met> {
        self.met().get(&address).cloned()
    }

    pub(crate) fn meet_peer(&self, address: SocketAddr, peer: Met) {
        let mut met = self.met();
        if met.len() < MET_MAX || met.contains_key(&address) {
            met.insert(address, peer);
        }
    }

    pub(crate) fn forget_peer(&self, address: SocketAddr) {
        self.met().remove(&address);
    }

    /// Connected peers by the address of the connection.
    pub(crate) fn met(&self) -> MutexGuard<'_, HashMap<SocketAddr, Met>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer named its DHT node (BEP 5).
    pub(crate) fn dht_node(&self, address: SocketAddr) {
        if let Some(door) = self.door.upgrade() {
            door.dht_node(address);
        }
    }

    /// A peer told us of others (BEP 11): `judge` says which of them to believe.
    pub(crate) fn exchanged(
        &self,
        judge: impl FnOnce(&DialRules) -> Result<Vec<SocketAddr>, Flood>,
    ) -> Result<(), Flood> {
        let (Some(door), Some(swarm)) = (self.door.upgrade(), self.swarms().next()) else { return Ok(()) };
        door.exchanged(swarm, judge(door.rules())?);
        Ok(())
    }

    pub(crate) fn swarms(&self) -> impl Iterator<Item = SwarmHash> + use<> {
        self.hashes_now().swarms()
    }

    /// All names that it ever had: its metadata may have fewer than a link claimed.
    pub(crate) fn names(&self) -> BTreeSet<SwarmHash> {
        self.hashes.swarms().chain(self.swarms()).collect()
    }

    /// Those of the metadata once it is known, those that a link named until then.
    pub(crate) fn hashes_now(&self) -> InfoHashes {
        self.ready().map_or(self.hashes, |ready| ready.hashes)
    }

    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    pub(crate) fn close(&self) {
        self.stage.send_replace(Stage::Closed);
        self.cancel.cancel();
    }
}

#[derive(Debug)]
struct TorrentDialer(Weak<Torrent>);

impl Dialer for TorrentDialer {
    fn dial(&self, address: SocketAddr) {
        if let Some(torrent) = self.0.upgrade()
            && let Some(door) = torrent.door.upgrade()
        {
            door.dial_for_transfer(torrent, address);
        }
    }
}
