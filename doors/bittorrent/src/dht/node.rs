//! The node itself: the crate `mainline`, and what it takes to keep it running.
//!
//! It has a thread and a UDP socket of its own (IPv4 only). It cannot be told of nodes once it runs, and one that was started without
//! any finds none ever after; so [`Node::start`] is called again when there is somebody new to begin with.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use mainline::Id;
use mainline::async_dht::{AsyncDht, GetStream};

use crate::hash::SwarmHash;

/// After a node was dropped, how long its thread may take to let go of the port.
const LETS_GO_WITHIN: Duration = Duration::from_secs(2);

/// A running node; its thread ends with the last clone. `None` after a [`Node::restart`] that failed.
#[derive(Clone, Debug)]
pub(super) struct Node(Option<AsyncDht>);

impl Node {
    /// Binds and begins to look for the network, from `bootstrap`; empty: waits to be asked by others.
    pub(super) async fn start(
        bind: SocketAddrV4,
        server: bool,
        bootstrap: Vec<SocketAddrV4>,
    ) -> io::Result<Self> {
        let start = move || {
            let mut builder = mainline::Dht::builder();
            builder.no_bootstrap().extra_bootstrap(&bootstrap).bind_address(*bind.ip()).port(bind.port());
            if server {
                builder.server_mode();
            }
            builder.build()
        };
        // Starting waits for the node's thread.
        let node = tokio::task::spawn_blocking(start).await.map_err(io::Error::other)??;
        Ok(Self(Some(node.as_async())))
    }

    /// Ends the node and starts it with others to begin with, on the same address. Clones must be gone, or soon be.
    pub(super) async fn restart(
        &mut self,
        bind: SocketAddrV4,
        server: bool,
        bootstrap: Vec<SocketAddrV4>,
    ) -> io::Result<()> {
        self.0 = None;
        let mut tries = tokio::time::interval(LETS_GO_WITHIN / 20);
        let started = async {
            loop {
                tries.tick().await;
                match Self::start(bind, server, bootstrap.clone()).await {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    started => return started,
                }
            }
        };
        *self =
            tokio::time::timeout(LETS_GO_WITHIN, started).await.map_err(|_| io::ErrorKind::AddrInUse)??;
        Ok(())
    }

    /// Begins to look up the peers of a swarm.
    pub(super) fn look_up(&self, swarm: SwarmHash) -> Option<Lookup> {
        let id = Id::from_bytes(swarm.0).ok()?;
        Some(Lookup(self.0.as_ref()?.get_peers(id)))
    }

    /// Announces `port` to the nodes closest to a swarm; true when any of them took it. To be called straight after a lookup has ended:
    /// the nodes it found are remembered, and the tokens they gave.
    pub(super) async fn announce(&self, swarm: SwarmHash, port: u16) -> bool {
        match (&self.0, Id::from_bytes(swarm.0)) {
            (Some(node), Ok(id)) => node.announce_peer(id, Some(port)).await.is_ok(),
            _ => false,
        }
    }

    /// The nodes of the routing table.
    pub(super) async fn nodes(&self) -> Vec<SocketAddrV4> {
        match &self.0 {
            Some(node) => node.to_bootstrap().await.iter().filter_map(|node| node.parse().ok()).collect(),
            None => Vec::new(),
        }
    }

    /// Our address as the nodes see it.
    pub(super) async fn public_address(&self) -> Option<SocketAddrV4> {
        self.0.as_ref()?.info().await.public_address()
    }

    /// Where it listens.
    pub(super) async fn address(&self) -> Option<SocketAddrV4> {
        Some(self.0.as_ref()?.info().await.local_addr())
    }
}

/// A lookup under way.
pub(super) struct Lookup(GetStream<Vec<SocketAddrV4>>);

impl Lookup {
    /// What the next node says; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Vec<SocketAddr>> {
        let peers = poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await?;
        Some(peers.into_iter().map(SocketAddr::V4).collect())
    }
}
