//! Trackers: servers that introduce the peers of a swarm to each other (BEP 3, 12, 15, 48).
//!
//! [`announce`] holds the questions and answers, whatever the protocol. [`http`] and [`udp`] turn them into bytes and
//! back; [`tiers`] decides which tracker of a torrent to ask, and when. None of these does IO. An [`Announcer`] drives them
//! for all transfers of the process: it owns the queue of deadlines, the sockets and the HTTP clients, and
//! hands the peers it learns to a [`PeerSink`](crate::discovery::PeerSink).
//!
//! A tracker is a stranger: its answer is bounded before it is read, its interval is held within bounds, and the
//! addresses it names are judged by [`crate::address`]. A tracker of our own is not here yet; its place is beside `announcer`.

pub mod announce;
pub mod announcer;
pub mod http;
pub mod tiers;
pub mod udp;
mod url;

pub use announce::{AnnounceRequest, AnnounceResponse, Event, Scrape, TrackerError};
pub use announcer::{
    Announcer, AnnouncerConfig, AnnouncerError, Counters, Progress, Registration, TrackerState, TrackerStatus,
};
pub use url::{TrackerUrl, TrackerUrlError};
