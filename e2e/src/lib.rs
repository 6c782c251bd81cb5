//! What the end-to-end tests share: the program under test, other people's programs, sample content, networks of their own.
//!
//! - [`faults`]: small disks, counters, what a process said and when.
//! - [`homes`]: hosts behind routers of every kind, and an internet between them.
//! - [`js`]: programs in JavaScript.
//! - [`machines`]: two machines with a wire between them, good or bad.
//! - [`namespace`]: a test runs in a network and process namespace of its own; nothing it starts outlives it.
//! - [`process`]: a child whose output is waited for by content and deadline, never by sleeping.
//! - [`pair`]: two users on one machine.
//! - [`peerage`]: the program under test.
//! - [`peers`]: programs of others.
//! - [`sample`]: content to share, and the SHA-256 of what arrived.
//!
//! Waiting for anything is bounded by [`PATIENCE`]; what was waited for is in the panic, with the end of the output of
//! every process of the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the harness shows it when a test fails")]

use std::time::Duration;

pub mod faults;
pub mod homes;
pub mod js;
pub mod machines;
pub mod namespace;
pub mod pair;
pub mod peerage;
pub mod peers;
pub mod process;
pub mod sample;

pub use machines::Machines;
pub use namespace::alone;
pub use peerage::Peerage;
pub use process::{Process, until};

/// How long anything may take. Much longer than it takes on an idle machine: tests share two cores.
pub const PATIENCE: Duration = Duration::from_secs(100);
