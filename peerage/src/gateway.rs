//! What the HTTP door stands on in this program: the block store of the node and what it shares.
//!
//! It only translates; the gateway itself is `peerage_http`, and what may be read where is decided by the node and its stores.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use peerage_blocks::{Blocks, BlocksError};
use peerage_dag::Cid;
use peerage_http::{
    Backend, Config, Gateway, InPlace, Limits, Name, Pointer, Record, Shared, StoreFile, Tried, Unavailable,
    serve,
};
use peerage_identity::PeerId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// Serves what a node has until `stop`.
pub(crate) async fn run(listener: TcpListener, node: Node, stop: CancellationToken) {
    let Some(blocks) = node.blocks().cloned() else { return };
    let gateway = Gateway::new(OfNode { node, blocks }, Config::default());
    serve(listener, Arc::new(gateway), Limits::default(), stop).await;
}

/// Listens on an address; on any port of it, if `elsewhere` says so and that one is taken.
pub(crate) async fn listen(wanted: SocketAddr, elsewhere: bool) -> io::Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Err(_) if elsewhere => TcpListener::bind((wanted.ip(), 0)).await,
        bound => bound,
    }
}

/// The blocks and shares of this node, and nobody else's.
#[derive(Debug)]
struct OfNode {
    node: Node,
    blocks: Blocks,
}

impl Backend for OfNode {
    async fn block(&self, cid: &Cid, tried: &Tried) -> Result<Bytes, Unavailable> {
        tried.note("the blocks of this node");
        let (blocks, cid) = (self.blocks.clone(), *cid);
        let read = tokio::task::spawn_blocking(move || blocks.get(&cid)).await;
        match read.map_err(|error| Unavailable::Broken(error.to_string()))? {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(Unavailable::NotFound(format!("{cid} is not on this node"))),
            // It was here: whoever changed the file has to share it again.
            Err(error @ BlocksError::InPlace(_)) => Err(Unavailable::NotFound(error.in_full())),
            Err(error) => Err(Unavailable::Broken(error.in_full())),
        }
    }

    fn is_here(&self, cid: &Cid) -> bool {
        self.blocks.length(cid).is_ok_and(|length| length.is_some())
    }

    fn in_place(&self, cid: &Cid) -> Option<Arc<dyn InPlace>> {
        let file = self.blocks.file(cid).ok().flatten()?;
        Some(Arc::new(StoreFile::new(file.store, file.entry)?))
    }

    async fn resolve(&self, name: &Name, tried: &Tried) -> Result<Pointer, Unavailable> {
        tried.note("the names of this node");
        Err(Unavailable::NotFound(format!("this node does not resolve names such as {name}")))
    }

    async fn record(&self, key: &PeerId, tried: &Tried) -> Result<Record, Unavailable> {
        tried.note("the records of this node");
        Err(Unavailable::NotFound(format!("this node has no record of {key}")))
    }

    fn share(&self, id: &str, names: &[Vec<u8>]) -> Option<Shared> {
        self.node.shared(id, names)
    }
}
