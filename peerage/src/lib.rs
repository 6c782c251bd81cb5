//! The program: command line, daemon, configuration. The only place that wires things together.
//!
//! [`cli`] parses and runs the commands. They ask a node through [`control::Control`]: a [`node::Node`] in this process, or the
//! daemon's, over [`api`]. [`model`] holds what they say to each other; [`ui`] says it to people.

pub mod age;
pub mod api;
pub mod author;
pub mod cli;
pub mod config;
pub mod control;
pub mod errors;
mod gateway;
pub mod identity;
pub mod key;
pub mod link;
pub mod logs;
pub mod model;
pub mod node;
pub mod pattern;
pub mod private;
pub mod quit;
pub mod spool;
pub mod stream;
pub mod ui;
pub mod values;
