//! The handle of a running transfer, and what it is made from.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use peerage_content::{
    Arrivals, BlockPool, Journal, Layout, PieceIndex, PieceSet, StorageError, StorageErrorKind, Store, Truth,
    Workers,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actor::{Actor, Message};
use super::link::{LinkClosed, PeerLink};
use super::throttle::Throttle;
use crate::core::{Config, Found, PeerCaps, PeerStats, Priority, ReaderId, Stats};

/// Messages waiting for a transfer before its wires wait too.
const INBOX: usize = 256;

/// What all transfers of a process share.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Threads that hash and write.
    pub workers: Workers,
    /// Buffers for received blocks.
    pub pool: BlockPool,
    /// The limits of the whole process.
    pub throttle: Arc<Throttle>,
    /// Tasks to await on shutdown.
    pub tasks: TaskTracker,
}

/// What one transfer is made from.
#[derive(Debug)]
pub struct TransferParts {
    /// The map of pieces.
    pub layout: Arc<Layout>,
    /// The bytes.
    pub store: Arc<Store>,
    /// The hashes.
    pub truth: Arc<Truth>,
    /// Where progress is recorded; `None` for what need not survive.
    pub journal: Option<Journal>,
    /// The caller's note in the journal.
    pub note: Vec<u8>,
    /// Bytes downloaded and uploaded in earlier runs.
    pub totals: (u64, u64),
    /// Pieces to hash before anything else (a former run ended in power loss, or files changed).
    pub suspect: PieceSet,
    /// Whether missing pieces may be fetched; false for files shared in place, which are never written.
    pub fetching: bool,
    /// What the user wants of ranges of pieces that are not [`Priority::Normal`].
    pub priorities: Vec<(Range<PieceIndex>, Priority)>,
    /// Settings of the core.
    pub config: Config,
    /// The limits of this transfer.
    pub throttle: Arc<Throttle>,
    /// Feeds every random choice.
    pub seed: u64,
    /// Who connects to addresses.
    pub dialer: Arc<dyn Dialer>,
}

/// Connects to peers over some wire. Every dial is answered by [`Transfer::join`], [`Transfer::dial_failed`] or [`Transfer::no_room`]; the core
/// bounds how many are under way.
pub trait Dialer: Send + Sync + std::fmt::Debug {
    /// Begins to connect; does not wait.
    fn dial(&self, address: SocketAddr);
}

/// What a transfer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Hashing what is on disk; bytes hashed, of how many.
    Checking(u64, u64),
    /// Fetching.
    #[default]
    Downloading,
    /// Everything that is wanted is verified.
    Seeding,
    /// The user paused it.
    Paused,
    /// Storage does not take the data; it is tried again by itself.
    Stalled(Stall),
    /// Files changed since they were verified: they are no longer served, and nothing is written over them; the text names the first.
    Changed(String),
    /// What is shared is not all that it should be, and never was in this run; the text names the first file.
    Incomplete(String),
}

/// Why storage does not take data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The file and the cause.
    pub why: String,
    /// What can be done about it.
    pub kind: StorageErrorKind,
}

impl From<&StorageError> for Stall {
    fn from(error: &StorageError) -> Self {
        Self { why: error.in_full(), kind: error.kind() }
    }
}

/// Where a transfer stands; published a few times a second and at every change of [`Activity`].
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What it is doing.
    pub activity: Activity,
    /// The core's numbers.
    pub stats: Stats,
    /// Bytes of files that are verified.
    pub verified_bytes: u64,
    /// Every wanted piece is verified and the files are complete on disk.
    pub finished: bool,
    /// Peers are told that nothing will be downloaded.
    pub upload_only: bool,
    /// Bytes downloaded over all runs.
    pub downloaded_total: u64,
    /// Bytes uploaded over all runs.
    pub uploaded_total: u64,
}

/// What the user may ask of a running transfer.
#[derive(Debug)]
pub(super) enum Control {
    Pause(bool),
    Configure(Config),
    Prioritise { ranges: Vec<(Range<PieceIndex>, Priority)>, done: oneshot::Sender<()> },
    Await { reader: ReaderId, piece: PieceIndex, at: Instant, done: oneshot::Sender<()> },
    WantBy { reader: ReaderId, piece: PieceIndex, at: Instant },
    ClearDeadlines(ReaderId),
    Verify(oneshot::Sender<PieceSet>),
    Knowable(Range<PieceIndex>),
    Peers(oneshot::Sender<Vec<PeerStats>>),
}

/// A running transfer. Cheap to clone; the task ends when its token is cancelled.
#[derive(Clone, Debug)]
pub struct Transfer {
    messages: mpsc::Sender<Message>,
    progress: watch::Receiver<Progress>,
    layout: Arc<Layout>,
    store: Arc<Store>,
    truth: Arc<Truth>,
    throttle: Arc<Throttle>,
    workers: Workers,
    readers: Arc<AtomicU64>,
    cancel: CancellationToken,
}

impl Transfer {
    /// Starts the task.
    pub fn start(parts: TransferParts, resources: Resources, cancel: CancellationToken) -> Self {
        let (messages, inbox) = mpsc::channel(INBOX);
        let first = if parts.suspect.is_empty() { Activity::default() } else { Activity::Checking(0, 0) };
        let (publish, progress) = watch::channel(Progress {
            activity: first,
            verified_bytes: parts.store.verified_bytes(),
            downloaded_total: parts.totals.0,
            uploaded_total: parts.totals.1,
            ..Progress::default()
        });
        let handle = Self {
            messages: messages.clone(),
            progress,
            layout: parts.layout.clone(),
            store: parts.store.clone(),
            truth: parts.truth.clone(),
            throttle: parts.throttle.clone(),
            workers: resources.workers.clone(),
            readers: Arc::default(),
            cancel: cancel.clone(),
        };
        let tasks = resources.tasks.clone();
        let actor = Actor::new(parts, resources, messages.downgrade(), publish);
        tasks.spawn(actor.run(inbox, cancel));
        handle
    }

    /// Brings a connected peer in.
    ///
    /// # Errors
    /// [`LinkClosed`] when the transfer ended.
    pub async fn join(&self, caps: PeerCaps) -> Result<PeerLink, LinkClosed> {
        let (reply, link) = oneshot::channel();
        self.send(Message::Join { caps, reply }).await?;
        link.await.map_err(|_| LinkClosed)
    }

    /// A dial that was asked for came to nothing.
    pub async fn dial_failed(&self, address: SocketAddr) {
        let _ = self.send(Message::DialFailed(address)).await;
    }

    /// A dial that was asked for was not tried, because there may be no further connections in this process. It is asked for again.
    pub async fn no_room(&self, address: SocketAddr) {
        let _ = self.send(Message::NoRoom(address)).await;
    }

    /// Tells of addresses that may have the content.
    pub async fn known(&self, addresses: Vec<SocketAddr>, found: Found) {
        let _ = self.send(Message::Known(addresses, found)).await;
    }

    /// Pauses (nothing is fetched nor served) or goes on.
    pub async fn pause(&self, paused: bool) {
        let _ = self.control(Control::Pause(paused)).await;
    }

    /// Changes settings.
    pub async fn configure(&self, config: Config) {
        let _ = self.control(Control::Configure(config)).await;
    }

    /// Says how much ranges of pieces are wanted. When it returns, [`Transfer::progress`] tells what is missing now.
    pub async fn prioritise(&self, ranges: Vec<(Range<PieceIndex>, Priority)>) {
        let (done, taken_in) = oneshot::channel();
        if self.control(Control::Prioritise { ranges, done }).await.is_ok() {
            let _ = taken_in.await;
        }
    }

    /// A name for one who reads while the content is fetched.
    pub fn reader(&self) -> ReaderId {
        ReaderId(self.readers.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits until a piece is verified, wanting it at `at`.
    ///
    /// # Errors
    /// [`LinkClosed`] when the transfer ended before.
    pub async fn wait_for(&self, reader: ReaderId, piece: PieceIndex, at: Instant) -> Result<(), LinkClosed> {
        if self.store.is_verified(piece) && !self.store.is_doubted(piece) {
            return Ok(());
        }
        let (done, verified) = oneshot::channel();
        self.control(Control::Await { reader, piece, at, done }).await?;
        verified.await.map_err(|_| LinkClosed)
    }

    /// Wants a piece at that time, without waiting for it.
    pub async fn want_by(&self, reader: ReaderId, piece: PieceIndex, at: Instant) {
        let _ = self.control(Control::WantBy { reader, piece, at }).await;
    }

    /// Drops the deadlines of a reader: it went away or elsewhere.
    pub async fn clear_deadlines(&self, reader: ReaderId) {
        let _ = self.control(Control::ClearDeadlines(reader)).await;
    }

    /// Hashes everything on disk again. Returns when that is asked for; what the check found true comes with its end, and never when the
    /// transfer ends before.
    pub async fn verify(&self) -> oneshot::Receiver<PieceSet> {
        let (done, verified) = oneshot::channel();
        let _ = self.control(Control::Verify(done)).await;
        verified
    }

    /// Hashes of these pieces became known (v2 layers arrived).
    pub async fn knowable(&self, pieces: Range<PieceIndex>) {
        let _ = self.control(Control::Knowable(pieces)).await;
    }

    /// The connected peers.
    pub async fn peers(&self) -> Vec<PeerStats> {
        let (reply, peers) = oneshot::channel();
        match self.control(Control::Peers(reply)).await {
            Ok(()) => peers.await.unwrap_or_default(),
            Err(LinkClosed) => Vec::new(),
        }
    }

    /// Where it stands, as it changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until what is on disk has been checked, so that what is told to others is true. At once if nothing is to be checked.
    pub async fn checked(&self) {
        let is_over = |progress: &Progress| !matches!(progress.activity, Activity::Checking(..));
        let _ = self.progress.clone().wait_for(is_over).await;
    }

    /// The map of pieces.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The bytes.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The hashes.
    pub fn truth(&self) -> &Arc<Truth> {
        &self.truth
    }

    /// The limits of this transfer.
    pub fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }

    /// What hashes the blocks of one source of this transfer as they arrive.
    pub fn arrivals(&self) -> Arrivals {
        Arrivals::new(self.truth.clone(), self.workers.clone())
    }

    /// Resolves when the transfer's task has ended: everything is recorded, and nothing more is written.
    pub async fn ended(&self) {
        let mut progress = self.progress.clone();
        while progress.changed().await.is_ok() {}
    }

    /// The token that ends the task.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    async fn control(&self, control: Control) -> Result<(), LinkClosed> {
        self.send(Message::Control(control)).await
    }

    async fn send(&self, message: Message) -> Result<(), LinkClosed> {
        self.messages.send(message).await.map_err(|_| LinkClosed)
    }
}
