//! Peers in one process, with streams in memory, and blocks in memory.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use peerage_dag::Codec;
use peerage_identity::{NodeKey, PeerId};
use peerage_ipfs::bitswap::driver::{Arrival, Bitswap, Blocks, Streams};
use peerage_ipfs::bitswap::message::Protocol;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a stream holds on its way.
const PIPE: usize = 64 * 1024;

/// Where all peers meet.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<Peers>>);

#[derive(Default)]
struct Peers {
    arrivals: HashMap<PeerId, mpsc::Sender<Arrival<DuplexStream>>>,
    connected: HashSet<(PeerId, PeerId)>,
    providers: HashMap<Cid, Vec<PeerId>>,
    dismissed: Vec<(PeerId, PeerId)>,
}

/// One peer's way to the others.
#[derive(Clone)]
pub struct Port {
    hub: Hub,
    own: PeerId,
}

pub struct Peer {
    pub id: PeerId,
    pub bitswap: Bitswap,
    pub shelf: Arc<Shelf>,
    _guard: DropGuard,
}

/// Blocks in memory.
#[derive(Default)]
pub struct Shelf(pub Mutex<HashMap<Cid, Bytes>>);

impl Shelf {
    /// Numbered blocks of a size; their CIDs in order.
    pub fn fill(&self, count: u32, size: usize) -> Vec<Cid> {
        (0..count).map(|number| self.keep(block(number, size))).collect()
    }

    pub fn keep(&self, data: Bytes) -> Cid {
        let cid = peerage_dag::sha2_256(Codec::Raw, &data);
        self.0.lock().unwrap().insert(cid, data);
        cid
    }
}

/// Bytes that are different for each number.
pub fn block(number: u32, size: usize) -> Bytes {
    let mut data = vec![number.to_le_bytes()[0]; size];
    data[..4].copy_from_slice(&number.to_le_bytes());
    data.into()
}

impl Blocks for Shelf {
    async fn size(&self, cid: &Cid) -> Option<usize> {
        self.0.lock().unwrap().get(cid).map(Bytes::len)
    }

    async fn get(&self, cid: &Cid) -> Option<Bytes> {
        self.0.lock().unwrap().get(cid).cloned()
    }

    async fn put(&self, cid: &Cid, data: Bytes) -> io::Result<()> {
        self.0.lock().unwrap().insert(*cid, data);
        Ok(())
    }
}

impl Hub {
    pub fn peer(&self, seed: u8) -> Peer {
        let own = NodeKey::from_seed([seed; 32]).peer_id();
        let (sender, arrivals) = mpsc::channel(64);
        self.0.lock().unwrap().arrivals.insert(own, sender);
        let (cancel, shelf) = (CancellationToken::new(), Arc::new(Shelf::default()));
        let port = Port { hub: self.clone(), own };
        let bitswap = Bitswap::start(port, arrivals, shelf.clone(), cancel.clone());
        Peer { id: own, bitswap, shelf, _guard: cancel.drop_guard() }
    }

    pub async fn connect(&self, a: PeerId, b: PeerId) {
        let told: Vec<_> = {
            let mut peers = self.0.lock().unwrap();
            let pairs = [(a, b), (b, a)].into_iter().filter(|&pair| peers.connected.insert(pair));
            let pairs: Vec<_> = pairs.collect();
            pairs.into_iter().map(|(a, b)| (peers.arrivals[&a].clone(), b)).collect()
        };
        for (arrivals, peer) in told {
            let _ = arrivals.send(Arrival::Connected(peer)).await;
        }
    }

    pub async fn disconnect(&self, a: PeerId, b: PeerId) {
        for (a, b) in [(a, b), (b, a)] {
            let arrivals = {
                let mut peers = self.0.lock().unwrap();
                peers.connected.remove(&(a, b)).then(|| peers.arrivals[&a].clone())
            };
            if let Some(arrivals) = arrivals {
                let _ = arrivals.send(Arrival::Disconnected(b)).await;
            }
        }
    }

    pub fn provides(&self, peer: PeerId, cid: Cid) {
        self.0.lock().unwrap().providers.entry(cid).or_default().push(peer);
    }

    /// Who was dismissed by whom.
    pub fn dismissed(&self) -> Vec<(PeerId, PeerId)> {
        self.0.lock().unwrap().dismissed.clone()
    }
}

impl Streams for Port {
    type Stream = DuplexStream;

    async fn open(&self, peer: PeerId) -> io::Result<(Protocol, DuplexStream)> {
        let arrivals = {
            let peers = self.hub.0.lock().unwrap();
            if !peers.connected.contains(&(self.own, peer)) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            peers.arrivals[&peer].clone()
        };
        let (here, there) = tokio::io::duplex(PIPE);
        arrivals.send(Arrival::Stream(self.own, there)).await.map_err(io::Error::other)?;
        Ok((Protocol::V1_2, here))
    }

    async fn dismiss(&self, peer: PeerId) {
        self.hub.0.lock().unwrap().dismissed.push((self.own, peer));
        self.hub.disconnect(self.own, peer).await;
    }

    async fn seek(&self, cid: Cid, found: mpsc::Sender<PeerId>) {
        let providers = self.hub.0.lock().unwrap().providers.get(&cid).cloned().unwrap_or_default();
        for peer in providers {
            self.hub.connect(self.own, peer).await;
            let _ = found.send(peer).await;
        }
    }
}

/// What takes this long never comes.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it never came")
}
