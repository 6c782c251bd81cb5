//! A connection between two nodes, and what is said over it.

use std::collections::VecDeque;
use std::time::Duration;

use peerage_content::{Block, PieceIndex};
use peerage_swarm::core::Availability;

use super::node::NodeId;

/// One end of a connection: 0 dialled, 1 was dialled.
pub(crate) type End = usize;

#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) nodes: [NodeId; 2],
    /// Which ends still hold it.
    pub(crate) open: [bool; 2],
    /// Requests that each end has still to serve.
    pub(crate) queues: [VecDeque<Block>; 2],
    /// Whether each end chokes the other.
    pub(crate) choking: [bool; 2],
    /// Whether each end waits in its node's uplink for its turn.
    pub(crate) in_turn: [bool; 2],
    /// When each end may send its next block (loss bounds one flow).
    pub(crate) paced: [Duration; 2],
}

impl Transfer {
    pub(crate) fn new(nodes: [NodeId; 2]) -> Self {
        Self {
            nodes,
            open: [true; 2],
            queues: Default::default(),
            choking: [true; 2],
            in_turn: [false; 2],
            paced: [Duration::ZERO; 2],
        }
    }
}

/// What one end tells the other.
#[derive(Debug)]
pub(crate) enum Message {
    Has(Availability),
    Have(PieceIndex),
    Choke(bool),
    Interest(bool),
    Request(Vec<Block>),
    Cancel(Vec<Block>),
    Reject(Vec<Block>),
    Close,
}
