//! The gateway: content by its CID or name, for browsers, curl, and IPFS clients that verify for themselves.
mod answer;
mod archive;
pub mod ask;
mod backend;
mod blocks;
mod body;
mod car;
mod front;
mod gateway;
mod headers;
mod listing;
mod media;
mod path;
pub mod redirects;
mod refusal;
mod server;
mod source;
mod tar;
mod tree;

pub use ask::{HostKind, Hosts, Name};
pub use backend::{Backend, InPlace, Pointer, Record, Shared, SharedEntry, StoreFile, Tried, Unavailable};
pub use body::Body;
pub use gateway::{Config, Gateway};
pub use refusal::Refusal;
pub use server::{Limits, serve};
