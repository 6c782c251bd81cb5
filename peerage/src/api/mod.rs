//! The daemon's API: HTTP on loopback, for this program and for others that hold the token.
//!
//! [`serve`] puts a [`crate::control::Control`] behind it, [`Client`] is a `Control` in front of it. [`Endpoint`] is how the
//! one finds the other: a file in the data directory with the address and the token, mode 0600.
//! Whoever can read that file may do everything; nobody else may do anything ([`guard`]).

mod client;
mod content;
mod endpoint;
mod events;
pub mod guard;
mod metrics;
mod refusal;
mod routes;
mod server;

pub use client::Client;
pub use content::{FileBody, file_response};
pub use endpoint::{DaemonLock, Endpoint, EndpointError};
pub use routes::{open_api, router};
pub use server::{serve, serve_router};

/// The version of the API, part of every path.
pub const PREFIX: &str = "/api/v1";
