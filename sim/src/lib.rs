//! A discrete-event network that drives the real swarm core with thousands of peers in one process.
//!
//! Deterministic: the same seed gives the same events, in the same order; [`Network::trace`] is a hash over all of them.
//!
//! What is modelled: access links with bandwidth up and down (a sender's uplink goes round its active uploads block by
//! block, as TCP shares it; a receiver's downlink is a queue), latency, loss (as lost goodput and as the bound that it sets to one TCP
//! flow), addresses behind NATs, a tracker, peers that come and go, free riders and poisoners.
//! What is not: the wire's bytes, packets, disks, and hashing, which takes no time.
//!
//! [`Network`] owns the nodes, each with a [`Swarm`](peerage_swarm::core::Swarm), and the queue of events; it does for them what a driver
//! does in a program. [`scenario`] builds the networks that tests and examples measure.

mod link;
mod network;
mod node;
mod queue;
pub mod scenario;
mod transfer;

pub use link::Link;
pub use network::Network;
pub use node::{Behaviour, NodeId, NodeSpec, Parting, Reader, Summary};
