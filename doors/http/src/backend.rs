//! What the gateway stands on. The program fills it in.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use hyper::StatusCode;
use peerage_content::{Block, ReadError, Sending, Store};
use peerage_identity::PeerId;

use crate::Refusal;
use crate::ask::Name;

/// Where blocks, files and names come from.
pub trait Backend: Send + Sync + 'static {
    /// A block, verified, from here or from elsewhere, until the caller stops waiting. What is tried is noted in `tried`.
    fn block(&self, cid: &Cid, tried: &Tried) -> impl Future<Output = Result<Bytes, Unavailable>> + Send;

    /// Whether a block is here: quickly, and without asking anybody.
    fn is_here(&self, cid: &Cid) -> bool;

    /// The file whose root this is, if all of it lies verified on this disk.
    fn in_place(&self, cid: &Cid) -> Option<Arc<dyn InPlace>>;

    /// Where a name points at, until the caller stops waiting.
    fn resolve(
        &self,
        name: &Name,
        tried: &Tried,
    ) -> impl Future<Output = Result<Pointer, Unavailable>> + Send;

    /// The signed record behind a name, valid and the latest that can be had.
    fn record(&self, key: &PeerId, tried: &Tried)
    -> impl Future<Output = Result<Record, Unavailable>> + Send;

    /// What this node shares openly: by an info hash or a CID, and the names below, of which the first is the share's own.
    fn share(&self, id: &str, names: &[Vec<u8>]) -> Option<Shared>;
}

/// A file on this disk.
pub trait InPlace: fmt::Debug + Send + Sync {
    /// Its bytes.
    fn length(&self) -> u64;

    /// Some of it, ready to be sent: from `offset` on, up to `length` bytes, at least one of a span that is in the file.
    ///
    /// # Errors
    /// [`ReadError`]: the file is not what it was.
    fn sending(&self, offset: u64, length: u64) -> Result<Sending, ReadError>;
}

/// A file of a store.
#[derive(Clone, Debug)]
pub struct StoreFile {
    store: Arc<Store>,
    entry: usize,
}

impl StoreFile {
    /// The file at this place in the store's layout; `None`: not all of it is verified, or it is no file.
    pub fn new(store: Arc<Store>, entry: usize) -> Option<Self> {
        let layout = store.layout();
        layout
            .entries()
            .get(entry)
            .filter(|entry| matches!(entry.kind, peerage_content::EntryKind::File { .. }))?;
        let is_whole = layout.pieces_of(entry).all(|piece| store.is_verified(piece));
        is_whole.then_some(Self { store, entry })
    }
}

impl InPlace for StoreFile {
    fn length(&self) -> u64 {
        self.store.layout().entries()[self.entry].length
    }

    fn sending(&self, offset: u64, length: u64) -> Result<Sending, ReadError> {
        let layout = self.store.layout();
        let (piece, begin) = layout.locate(self.entry, offset);
        let in_piece = layout.piece_size(piece).saturating_sub(begin);
        let in_file = self.length().saturating_sub(offset);
        // Not longer than what is left of the piece, so it fits.
        let length = u64::from(in_piece).min(length).min(in_file) as u32;
        self.store.sending(Block { piece, begin, length })
    }
}

/// Where a name points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The content.
    pub root: Cid,
    /// Names to follow from there.
    pub segments: Vec<Vec<u8>>,
    /// How long that may be believed, if anybody said.
    pub ttl: Option<Duration>,
}

/// A signed record as its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In protobuf, as it was signed.
    pub bytes: Bytes,
    /// How long it may be kept.
    pub ttl: Option<Duration>,
}

/// What a name of a share is.
#[derive(Clone, Debug)]
pub enum Shared {
    /// A file, and a tag that is another one whenever the file is.
    File {
        /// The file.
        file: Arc<dyn InPlace>,
        /// Letters, digits and dashes.
        tag: String,
    },
    /// A folder and what is in it, in order.
    Folder(Vec<SharedEntry>),
}

/// A name in a folder that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// Bytes, of a folder those of all in it.
    pub size: u64,
    /// It is a folder.
    pub is_folder: bool,
}

/// Why something cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// It is not here, and there is nobody to ask.
    #[error("{0}")]
    NotFound(String),
    /// Whoever was asked did not have it, or did not answer.
    #[error("{0}")]
    NobodyHasIt(String),
    /// This node does not give it out.
    #[error("{0}")]
    Denied(String),
    /// The law forbids it here.
    #[error("{0}")]
    Unlawful(String),
    /// A name or record that is not to be believed, or leads in circles.
    #[error("{0}")]
    Malformed(String),
    /// Something here is broken.
    #[error("{0}")]
    Broken(String),
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Self {
        let message = unavailable.to_string();
        match unavailable {
            Unavailable::NotFound(_) => Self::not_found(message),
            Unavailable::NobodyHasIt(_) => {
                Self::new(StatusCode::BAD_GATEWAY, message).retry_after(RETRY_SECONDS)
            }
            Unavailable::Denied(_) => Self::new(StatusCode::GONE, message),
            Unavailable::Unlawful(_) => Self::new(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, message),
            Unavailable::Malformed(_) => Self::malformed(message),
            Unavailable::Broken(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

/// When to ask again for what nobody had.
pub(crate) const RETRY_SECONDS: u32 = 30;

/// What was tried, for the answer to whoever waited in vain.
#[derive(Clone, Debug, Default)]
pub struct Tried(Arc<Mutex<Vec<String>>>);

/// Notes that are kept of one request.
const NOTES_MAX: usize = 16;

impl Tried {
    /// Notes a thing that is being tried, in a few words such as `asked 3 peers over bitswap`.
    pub fn note(&self, what: impl Into<String>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < NOTES_MAX {
            notes.push(what.into());
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.is_empty() { f.write_str("nothing could be tried") } else { f.write_str(&notes.join("; ")) }
    }
}
