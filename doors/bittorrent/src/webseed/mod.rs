//! Web seeds: HTTP servers that hold a torrent's files (BEP 19, `url-list`).
//!
//! To the swarm a web seed is a peer that has everything and only serves. What it is asked for are blocks, what it speaks are
//! files: [`plan()`] turns blocks into range requests and [`Assembly`] turns bytes back into blocks; [`WebSeed`] knows the URLs
//! and what a server has shown that it lacks; [`judge`] says what an answer's head means. None of these does IO. [`WebSeedClient`] asks.
//!
//! A torrent can name any URL as its web seed. Answers are bounded by what was asked for, and redirects may not lead into this network.
//! BEP 17 (`httpseeds`) is not spoken. WebTorrent's peers would be a neighbour of this module.

mod answer;
mod assembly;
mod driver;
mod plan;
mod seed;
mod wire;

pub use answer::{AnswerHead, Body, SKIP_MAX, WebSeedFailure, judge};
pub use assembly::Assembly;
pub use driver::{Download, WebSeedClient};
pub use plan::{Fetch, Part, RANGE_MAX, plan};
pub use seed::{Consequence, WebSeed, WebSeedUrlError};
pub(crate) use wire::serve;
