//! Nodes of the overlay with bitswap, over TCP on the loopback interface.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::sync::Arc;

use peerage_identity::NodeKey;
use peerage_ipfs::bitswap::driver::{Bitswap, OverlayStreams};
use peerage_overlay::{Address, DhtMode, Overlay, OverlayConfig};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::hub::Shelf;

/// A node, which ends when this is dropped.
pub struct Node {
    pub overlay: Overlay,
    pub bitswap: Bitswap,
    pub shelf: Arc<Shelf>,
    _guard: DropGuard,
}

fn config(seed: u8) -> OverlayConfig {
    let mut config = OverlayConfig::new(NodeKey::from_seed([seed; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config
}

impl Node {
    pub async fn new(seed: u8) -> Self {
        Self::start(config(seed)).await
    }

    /// A member of the local network's hash table on this machine.
    pub async fn member(seed: u8, first: Option<&Self>) -> Self {
        let mut config = config(seed);
        config.lan_dht = DhtMode::Server;
        config.dial_private = true;
        config.bootstrap = first.map(Self::address).into_iter().collect();
        Self::start(config).await
    }

    async fn start(config: OverlayConfig) -> Self {
        let cancel = CancellationToken::new();
        let overlay = Overlay::start(config, cancel.clone()).await.unwrap();
        let (streams, arrivals) = OverlayStreams::new(overlay.clone(), &cancel).unwrap();
        let shelf = Arc::new(Shelf::default());
        let bitswap = Bitswap::start(streams, arrivals, shelf.clone(), cancel.clone());
        Self { overlay, bitswap, shelf, _guard: cancel.drop_guard() }
    }

    /// Where it listens, with its peer id.
    pub fn address(&self) -> Address {
        self.overlay.listening()[0].with_peer(self.overlay.id())
    }
}
