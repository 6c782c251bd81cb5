//! The transfer engine: one for all wires.
//!
//! [`core`] decides: which blocks to ask of whom, whom to serve, whom to dial, whom to ban. It is a
//! state machine that takes `(now, input)` and gives outputs; it has no socket, no clock, no task and
//! no random source but the seed it is given, so the same code runs in a node and in a simulation.
//! [`driver`] runs one core as a tokio task between connections (wires) and the content store.
//!
//! The engine knows peers, availability, blocks, rates, choking and fairness. It does not know
//! whether a block arrives from a BitTorrent peer, from a web seed or from something yet to be written.

pub mod core;
pub mod driver;
