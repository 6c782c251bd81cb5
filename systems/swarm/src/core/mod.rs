//! The decisions of one transfer, without IO.
//!
//! Contract of [`Swarm`]: call [`Swarm::handle`] (and [`Swarm::receive`] for data) with a time that never goes back, then
//! drain [`Swarm::poll_output`] until it is `None`, then sleep until the next input or [`Swarm::poll_timeout`].
//! Inputs about a peer that left are ignored. Nothing here allocates in proportion to what a peer claims:
//! the wire has bounded it before.

pub use limit::Limiter;
mod limit;
mod types;

pub use types::*;

use std::sync::Arc;
use std::time::Instant;

use peerage_content::{Block, Layout, PieceIndex, PieceSet};

/// The state machine of one transfer.
#[derive(Debug)]
pub struct Swarm {
    _private: (),
}

impl Swarm {
    /// A transfer over `layout` of which `have` is verified already. `seed` feeds every random choice.
    pub fn new(config: Config, layout: Arc<Layout>, have: PieceSet, seed: u64, now: Instant) -> Self {
        let _ = (config, layout, have, seed, now);
        todo!()
    }

    /// Takes an event in.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        let _ = (now, input);
        todo!()
    }

    /// A block's data has arrived from a peer: says whether it is wanted. When [`Received::Wanted`] the caller gives the data to
    /// the content's intake; the piece's verdict comes back as [`Input::Verified`] or [`Input::Corrupt`].
    pub fn receive(&mut self, now: Instant, peer: PeerKey, block: Block) -> Received {
        let _ = (now, peer, block);
        todo!()
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// When to call [`Input::Tick`] if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// The verified pieces.
    pub fn have(&self) -> &PieceSet {
        todo!()
    }

    /// Whether every wanted piece is verified.
    pub fn is_finished(&self) -> bool {
        todo!()
    }

    /// Numbers for people and metrics.
    pub fn stats(&self, now: Instant) -> Stats {
        let _ = now;
        todo!()
    }

    /// One line per connected peer.
    pub fn peers(&self, now: Instant) -> Vec<PeerStats> {
        let _ = now;
        todo!()
    }

    /// The blocks that are being fetched or missing in a piece, for tests and diagnosis.
    pub fn is_requested(&self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!()
    }
}
