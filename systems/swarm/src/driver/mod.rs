//! Runs one [`Swarm`](crate::core::Swarm) as a tokio task between wires and the content store.
//!
//! The path of a block: a wire reads it into a buffer of the process's [`BlockPool`] and tells the
//! transfer ([`WireEvent::Blocks`]); the core says whether it is wanted; the [`Intake`] hashes and
//! writes it on a worker thread; its verdict comes back to the core, which announces the piece; from then
//! on any wire serves it straight from the [`Store`], without asking the transfer.
//!
//! One task owns the core, the intake and the journal ([`Transfer`] is the handle). A wire owns its
//! socket and its upload queue. All channels are bounded: a wire waits for the transfer, the transfer never
//! waits for a wire (a wire that does not take its orders is dismissed).
//!
//! [`BlockPool`]: peerage_content::BlockPool
//! [`Intake`]: peerage_content::Intake
//! [`Store`]: peerage_content::Store

mod actor;
mod link;
mod records;
#[cfg(test)]
mod tests;
mod throttle;
mod transfer;

pub use link::{LinkClosed, Order, PeerLink, WireEvent};
pub use throttle::{Direction, PeerThrottle, Throttle};
pub use transfer::{Activity, Dialer, Progress, Resources, Stall, Transfer, TransferParts};
