//! Programs of others, each as its users run it.
//!
//! A module holds what one program needs to be told and how it tells what it does; the tests hold what is expected.

pub mod aria2;
pub mod libtorrent;
pub mod opentracker;
pub mod qbittorrent;
pub mod transmission;
pub mod web;

pub use aria2::Aria2;
pub use libtorrent::Libtorrent;
pub use opentracker::OpenTracker;
pub use qbittorrent::QBittorrent;
pub use transmission::Transmission;
pub use web::WebServer;

use std::net::TcpStream;
use std::path::PathBuf;

use crate::process::until;

/// A script of `e2e/peers`.
fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// Waits until somebody accepts connections at this address.
#[track_caller]
pub fn until_listening(address: &str) {
    until(&format!("a listener on {address}"), || TcpStream::connect(address).ok());
}
