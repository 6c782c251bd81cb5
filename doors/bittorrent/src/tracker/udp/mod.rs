//! UDP trackers (BEP 15, with IPv6 answers, scrape and the URL data of BEP 41).
//!
//! `packet` is bytes to types and back. [`Client`] is the conversation: connect, ask, send again, give up; without socket and
//! clock. [`UdpTrackers`] runs one client for the process on one socket a family.

mod client;
mod driver;
mod packet;

pub use client::{Client, RequestId};
pub use driver::UdpTrackers;
pub use packet::{Ask, Reply, SCRAPE_MAX};
pub(crate) use packet::{peers_v4, peers_v6};
