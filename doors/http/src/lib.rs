//! The HTTP door: the gateway, where browsers, curl and light IPFS clients read content by its CID or name.
//!
//! It answers by path (`/ipfs/<cid>/…`), on a host for each root (`<cid>.ipfs.localhost`), for websites of their own names, and the shares of this
//! node for BitTorrent clients as web seeds (`/share/…`). What is asked for is read from the head of a request alone ([`ask`]); a [`Gateway`]
//! answers it out of a [`Backend`]; [`serve`] is the only part with sockets. It is not the daemon's API, fetches nothing itself, and
//! writes nothing to disk.
//!
//! Who owns what: the backend owns blocks, files and names, and the program fills it in. An answer that is a stream is made by a task that ends
//! with its reader. Every request has a place of a bounded number, every connection too, and nobody waits longer than
//! [`Config::patience`] for an answer to begin, nor for each block of it.
//!
//! A file that lies on this disk goes out with `sendfile`, from a small front that knows nothing but plain requests; all else is hyper's.
//! Both send what the gateway answered.
//!
//! Beside the specifications: a range has the `ETag` of the whole, since RFC 9110 wants that and downloads are resumed by it. Nothing is
//! converted from one codec into another (IPIP-524).

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
