//! The program: command line, daemon, configuration. The only place that wires things together.

pub mod api;
pub mod config;
pub mod control;
pub mod errors;
pub mod model;
pub mod node;
pub mod ui;
pub mod values;
