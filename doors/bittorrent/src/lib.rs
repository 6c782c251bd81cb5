//! The BitTorrent door: everything that speaks BitTorrent, and nothing that decides a transfer.
//!
//! Bytes to types and back ([`bencode`], [`metainfo`], [`magnet`], [`wire`], [`mse`]) have no IO.
//! Finding peers ([`tracker`], [`dht`], [`lan`]) and talking to them ([`peer`], [`webseed`]) are thin
//! drivers; decisions are those of `peerage-swarm`, and truth is that of `peerage-content`.
//!
//! Not here yet, each with its place: uTP and hole punching beside `peer` (a second transport),
//! WebTorrent beside `webseed`, a tracker of our own beside `tracker`, mutable torrents beside `dht`.

pub mod address;
pub mod bencode;
pub mod dht;
pub mod discovery;
pub mod door;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod hash;
pub mod lan;
mod listen;
mod lookup;
pub mod magnet;
pub mod metadata;
pub mod metainfo;
pub mod mse;
pub mod peer;
pub mod pex;
pub mod ports;
pub mod proof;
mod seek;
mod sockets;
pub mod torrent;
pub mod tracker;
mod trees;
pub mod web;
pub mod webseed;
pub mod wire;
