//! The gateway: content by its CID or name, for browsers, curl, and IPFS clients that verify for themselves.
mod ask;
mod headers;
mod listing;
mod media;
mod redirects;
mod refusal;
mod tar;

pub use refusal::Refusal;
