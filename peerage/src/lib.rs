//! The program: command line, daemon, configuration. The only place that wires things together.

pub mod model;
pub mod node;
