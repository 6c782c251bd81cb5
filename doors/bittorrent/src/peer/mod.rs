//! Connections to peers over TCP: thin drivers between the wire's bytes and a transfer.
//!
//! `greet` greets (encrypted or not) and finds the torrent; a [`Conversation`] then runs until one
//! side leaves. A conversation owns its socket, the frames that are not whole (`inbound`) and what waits to be sent
//! (`outbound`). It decides nothing: what to ask for and whom to serve comes as orders from the transfer, and blocks are served
//! from the store while the transfer's order is not to choke.

mod availability;
mod conversation;
mod error;
pub(crate) mod greet;
mod inbound;
mod outbound;
mod patience;
mod side;
mod talk;

pub use conversation::{Conversation, Hello, Local, Parted};
pub use error::{Ending, Misbehaviour};
pub use greet::GreetError;
pub(crate) use patience::Pulse;
