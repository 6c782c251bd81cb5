//! The overlay: how peers find and reach each other, and the streams between them.
//!
//! An [`Overlay`] is a node: it has a key, listens, dials, and opens streams by protocol name to peers named by their
//! [`PeerId`](peerage_identity::PeerId). It knows nothing of what the streams carry, and it keeps no content.
//!
//! Beneath it is rust-libp2p, so that every libp2p program can talk to it; none of libp2p's types shows. One task owns libp2p's swarm (`task`),
//! handles send it commands over a bounded channel, and whoever wants to know what happens listens to
//! [`events`](Overlay::events). A stream is driven by its connection's own task; how much is under way on it is bounded by the window of yamux.
//!
//! How a peer is reached: TCP and WebSocket with Noise and yamux, or QUIC (`transport`); when nobody reaches this node, through relays, and from there
//! directly where the routers allow (`relays`). How a peer is found: the hash tables ([`DhtMode`]), multicast, and who was seen before (`book`). Messages
//! to all who listen to a topic are `gossip`.
//!
//! What peers can make a node hold is bounded by [`Limits`]; a peer that can't be reached is left alone for a while (`dial`), and private addresses
//! are not dialled on a stranger's word (`transport`). Known peers, and what the hash tables have this node keep for others, survive a restart
//! (`storage`), all else ends with the task.
//!
//! Not here: the mapping of ports by UPnP, whose crate in libp2p needs one under the MPL.

mod address;
mod behaviour;
mod book;
mod config;
mod convert;
mod dht;
mod dial;
mod event;
mod gossip;
mod overlay;
mod peers;
mod relays;
mod storage;
mod stream;
mod streams;
mod task;
mod transport;

pub use address::{Address, AddressError, Scope};
pub use config::{Limits, OverlayConfig, PrivateNetworkKey, PrivateNetworkKeyError};
pub use dht::{DhtError, DhtMode, FoundPeer, Providers, RecordValidator, Validators};
pub use dial::{DialError, Target};
pub use event::{OverlayEvent, Path, Reachability};
pub use gossip::{GossipError, Judge, Message, Subscription, Verdict};
pub use overlay::{AcceptError, Overlay, StartError};
pub use peers::ConnectedPeer;
pub use stream::{Incoming, Stream};
pub use streams::StreamError;
