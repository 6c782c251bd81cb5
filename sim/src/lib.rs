//! A discrete-event network that drives the real swarm core with thousands of peers in one process.
//!
//! Deterministic: the same seed gives the same events. It models access links (bandwidth up and down,
//! latency, loss) and churn; it does not model the wire's bytes.
