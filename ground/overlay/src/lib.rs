//! The overlay: how peers find and reach each other, and the streams between them.
//!
//! An [`Overlay`] is a node: it has a key, listens, dials, and opens streams by protocol name to peers named by their
//! [`PeerId`](peerage_identity::PeerId). It knows nothing of what the streams carry, and it keeps no content.
//!
//! Beneath it is rust-libp2p, so that every libp2p program can talk to it; none of libp2p's types shows. One task owns libp2p's swarm (`task`),
//! handles send it commands over a bounded channel, and whoever wants to know what happens listens to
//! [`events`](Overlay::events). A stream is driven by its connection's own task; how much is under way on it is bounded by the window of yamux.
//!
//! What peers can make a node hold is bounded by [`Limits`]; a peer that can't be reached is left alone for a while (`dial`), and private addresses
//! are not dialled on a stranger's word (`transport`). All state is in memory and ends with the task.

mod address;
mod behaviour;
mod config;
mod convert;
mod dial;
mod event;
mod overlay;
mod peers;
mod stream;
mod streams;
mod task;
mod transport;

pub use address::{Address, AddressError, Scope};
pub use config::{Limits, OverlayConfig, PrivateNetworkKey, PrivateNetworkKeyError};
pub use dial::{DialError, Target};
pub use event::{OverlayEvent, Path};
pub use overlay::{AcceptError, Overlay, StartError};
pub use peers::ConnectedPeer;
pub use stream::{Incoming, Stream};
pub use streams::StreamError;
