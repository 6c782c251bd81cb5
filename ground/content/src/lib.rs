//! Verified bytes: files in place or in a download folder, and what proves them true.
//!
//! This crate knows files, pieces and hashes. It does not know torrents, peers or wires: a door
//! hands it a [`Layout`] (which files, in which order, cut at which length) and a [`Truth`] (the
//! hashes), and asks whether bytes are true, where they lie, and to keep them.
//!
//! Who owns what: a [`Store`] owns the open files and the set of verified pieces of one content; an
//! [`Intake`] owns the blocks of a download until they are verified and written; a [`Journal`] owns
//! what a restart may believe. [`Workers`], [`BlockPool`] and [`FilePool`] are shared by a process and
//! bound its hashing threads, its buffered bytes and its open files.
//!
//! Content alone decides that bytes are true. Nothing is served from a piece that is not in
//! [`Store::verified`], nor from a file that changed since it was verified.

mod arrival;
mod bits;
mod block;
mod digest;
mod error;
mod files;
mod hashing;
mod intake;
mod journal;
mod layout;
mod merkle;
mod path;
mod platform;
mod pool;
mod quota;
mod recheck;
mod set;
mod stamp;
mod store;
#[cfg(test)]
mod testing;
mod truth;
mod walk;
mod workers;

pub use arrival::{Arrivals, Arrived};
pub use block::{BLOCK_LENGTH, Block, PieceIndex};
pub use error::{StorageError, StorageErrorKind};
pub use files::FilePool;
pub use hashing::{HashPlan, Hashed, HashedFile, LeafFrame, LeafPlan, Progress, hash};
pub use intake::{Intake, IntakeEvent, Kept, Stopping};
pub use journal::{Journal, Resumed};
pub use layout::{Alignment, Entry, EntryKind, Layout, LayoutError, Span};
pub use merkle::{merkle_pad, merkle_root};
pub use path::{PathError, RelPath};
pub use pool::{BlockBuf, BlockPool};
pub use quota::Quota;
pub use recheck::{Rechecked, recheck};
pub use set::PieceSet;
pub use stamp::{FileStamp, Likeness};
pub use store::{FlushError, Place, Preallocation, ReadError, Sending, Store, Yielded};
pub use truth::{Hash20, Hash32, LayerError, Truth, V2File};
pub use walk::{Walked, walk};
pub use workers::Workers;
