//! Whole transfers in one process, with scripted peers in the place of wires.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use peerage_content::{
    Alignment, Arrived, BLOCK_LENGTH, Block, BlockPool, Entry, EntryKind, FilePool, HashPlan, HashedFile,
    Journal, Layout, PieceSet, Place, Preallocation, ReadError, RelPath, Store, Truth, Workers, hash,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::core::{Availability, Config, PeerCaps, Priority, Shown};

const PATIENCE: Duration = Duration::from_secs(30);
const PIECE: u32 = 2 * BLOCK_LENGTH;

#[derive(Debug)]
struct NoDialer;

impl Dialer for NoDialer {
    fn dial(&self, _: SocketAddr) {}
}

/// Content of some files, and a folder for it.
struct Room {
    folder: tempfile::TempDir,
    layout: Arc<Layout>,
    truth: Arc<Truth>,
    /// By entry.
    files: Vec<Vec<u8>>,
    resources: Resources,
    cancel: CancellationToken,
}

impl Room {
    /// Files of so many blocks, called 0, 1, …; the true bytes lie in `source`.
    fn new(blocks: &[u32], piece_length: u32, threads: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(folder.path().join("target")).unwrap();
        let entry = |(index, blocks): (usize, &u32)| Entry {
            path: RelPath::from_components([index.to_string()]).unwrap(),
            length: u64::from(blocks * BLOCK_LENGTH),
            kind: EntryKind::File { executable: false },
            offset: 0,
        };
        let entries = blocks.iter().enumerate().map(entry).collect();
        let layout = Arc::new(Layout::new(entries, piece_length, Alignment::Stream).unwrap());
        let mut files = Vec::new();
        let mut hashed_files = Vec::new();
        for (index, entry) in layout.entries().iter().enumerate() {
            let bytes: Vec<u8> =
                (0..entry.length).map(|at| (at / 7 + at / 16_384 * 31 + index as u64) as u8).collect();
            let path = source.join(entry.path.as_path());
            std::fs::write(&path, &bytes).unwrap();
            hashed_files.push(Some(HashedFile { path, length: entry.length }));
            files.push(bytes);
        }
        let plan =
            HashPlan { layout: &layout, files: hashed_files, v1: true, v2: false, leaves: None, threads: 1 };
        let v1 = hash(&plan, &|_| true).unwrap().v1;
        let truth = Arc::new(Truth::new(&layout, v1, None).unwrap());
        let resources = Resources {
            workers: Workers::new(threads),
            pool: BlockPool::new(256),
            throttle: Throttle::new(None, None),
            tasks: TaskTracker::new(),
        };
        Self { folder, layout, truth, files, resources, cancel: CancellationToken::new() }
    }

    fn target(&self, entry: usize) -> std::path::PathBuf {
        self.folder.path().join("target").join(entry.to_string())
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.journal_path(), b"it", self.layout.piece_count(), self.files.len()).unwrap().0
    }

    fn journal_path(&self) -> std::path::PathBuf {
        self.folder.path().join("journal")
    }

    fn none(&self) -> PieceSet {
        PieceSet::empty(self.layout.piece_count())
    }

    fn all(&self) -> PieceSet {
        PieceSet::full(self.layout.piece_count())
    }

    fn parts(&self, place: Place, verified: PieceSet) -> TransferParts {
        let fetching = matches!(place, Place::Download { .. });
        let store = Store::new(self.layout.clone(), place, FilePool::new(16), verified, Vec::new());
        self.parts_with(fetching, store, self.journal())
    }

    fn parts_with(&self, fetching: bool, store: Store, journal: Journal) -> TransferParts {
        TransferParts {
            layout: self.layout.clone(),
            store: Arc::new(store),
            truth: self.truth.clone(),
            journal: Some(journal),
            note: Vec::new(),
            totals: (0, 0),
            suspect: self.none(),
            fetching,
            priorities: Vec::new(),
            config: Config::default(),
            throttle: Throttle::new(None, None),
            seed: 7,
            dialer: Arc::new(NoDialer),
        }
    }

    fn download(&self) -> TransferParts {
        let folder = self.folder.path().join("target");
        let place = Place::Download { folder, root: None, preallocation: Preallocation::Sparse };
        self.parts(place, self.none())
    }

    fn share(&self) -> TransferParts {
        self.parts(Place::InPlace(self.folder.path().join("source")), self.all())
    }

    fn start(&self, parts: TransferParts) -> Transfer {
        Transfer::start(parts, self.resources.clone(), self.cancel.child_token())
    }

    /// Keeps the only worker busy until what is returned is dropped.
    fn hold_worker(&self) -> SyncSender<()> {
        let (hold, held) = sync_channel(0);
        self.resources.workers.submit(move || {
            let _ = held.recv();
        });
        hold
    }

    fn bytes(&self, block: Block) -> Vec<u8> {
        let spans = self.layout.spans(block);
        spans
            .flat_map(|span| &self.files[span.entry][span.offset as usize..][..span.length as usize])
            .copied()
            .collect()
    }

    fn assert_complete(&self) {
        for (entry, bytes) in self.files.iter().enumerate() {
            assert!(std::fs::read(self.target(entry)).unwrap() == *bytes, "file {entry} differs");
        }
    }

    /// What a restart would believe.
    fn believed(&self) -> Vec<u32> {
        Journal::peek(&self.journal_path()).unwrap().1.verified.iter().collect()
    }
}

/// A peer that does what the test says.
struct Peer<'a> {
    room: &'a Room,
    link: PeerLink,
}

impl<'a> Peer<'a> {
    /// A seed that serves us.
    async fn join(room: &'a Room, transfer: &Transfer, number: u8) -> Self {
        Self::join_with(room, transfer, number, Availability::All).await
    }

    async fn join_with(room: &'a Room, transfer: &Transfer, number: u8, has: Availability) -> Self {
        let caps = PeerCaps {
            address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 1)),
            listen_address: None,
            outgoing: false,
            fast: true,
            requests_max: 64,
            serves_only: false,
        };
        let peer = Self { room, link: transfer.join(caps).await.unwrap() };
        peer.tell(WireEvent::Has(has)).await;
        peer.tell(WireEvent::Choked(false)).await;
        peer
    }

    async fn tell(&self, event: WireEvent) {
        self.link.tell(event).await.unwrap();
    }

    /// The next order that `wanted` takes; others are passed over.
    async fn order<T>(&mut self, what: &str, mut wanted: impl FnMut(Order) -> Option<T>) -> T {
        let found = async {
            loop {
                let order = self.link.orders.recv().await.expect("not dismissed");
                if let Some(found) = wanted(order) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what} in time"))
    }

    async fn request(&mut self) -> Vec<Block> {
        self.order("a request", |order| match order {
            Order::Request(blocks) => Some(blocks),
            _ => None,
        })
        .await
    }

    /// Whether we want nothing more, when it is told next.
    async fn told_upload_only(&mut self) -> bool {
        self.order("whether we want more", |order| match order {
            Order::UploadOnly(upload_only) => Some(upload_only),
            _ => None,
        })
        .await
    }

    async fn bring(&self, blocks: &[Block]) {
        let mut data = Vec::new();
        for block in blocks {
            let mut buf = self.link.pool.take().await;
            buf.set_len(block.length as usize);
            buf.copy_from_slice(&self.room.bytes(*block));
            data.push(Arrived::new(*block, buf));
        }
        self.tell(WireEvent::Blocks(data)).await;
    }

    /// Answers requests until everything is there.
    async fn serve(&mut self, transfer: &Transfer) {
        let mut progress = transfer.progress();
        loop {
            tokio::select! {
                order = self.link.orders.recv() => match order.expect("not dismissed") {
                    Order::Request(blocks) => self.bring(&blocks).await,
                    Order::Close(_) => return,
                    _ => {}
                },
                done = progress.wait_for(|progress| progress.finished) => {
                    done.expect("not ended");
                    return;
                }
                () = tokio::time::sleep(PATIENCE) => panic!("it hangs: {:?}", transfer.progress().borrow()),
            }
        }
    }
}

async fn until(transfer: &Transfer, what: &str, is_so: impl FnMut(&Progress) -> bool) {
    let mut progress = transfer.progress();
    let done = tokio::time::timeout(PATIENCE, progress.wait_for(is_so)).await;
    done.unwrap_or_else(|_| panic!("{what} in time")).expect("not ended");
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} in time"))
}

async fn end(room: &Room, transfer: &Transfer) {
    room.cancel.cancel();
    in_time("the end", transfer.ended()).await;
}

fn file_of(path: &Path, length: u64) -> std::fs::File {
    let file = std::fs::File::options().write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(length).unwrap();
    file
}

#[tokio::test]
async fn a_download_is_fetched_recorded_and_told() {
    let room = Room::new(&[5, 3], PIECE, 2);
    let transfer = room.start(room.download());
    let mut peer = Peer::join(&room, &transfer, 1).await;
    peer.serve(&transfer).await;
    room.assert_complete();
    end(&room, &transfer).await;
    assert_eq!(room.believed(), [0, 1, 2, 3]);
}

/// The queue of the workers is full, and what is in it reports to the task: one that waited for room would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_task_never_waits_for_workers() {
    let room = Room::new(&[4], PIECE, 1);
    let hold = room.hold_worker();
    for _ in 0..256 {
        room.resources.workers.submit(|| {});
    }
    // A share is complete at once, and that is put on record.
    let transfer = room.start(room.share());
    until(&transfer, "completion", |progress| progress.finished).await;
    in_time("an answer", transfer.peers()).await;
    in_time("an answer", transfer.peers()).await;
    drop(hold);
    end(&room, &transfer).await;
}

#[tokio::test]
async fn what_a_check_refutes_is_not_believed_by_the_next_run() {
    let room = Room::new(&[6], PIECE, 2);
    let mut bytes = room.files[0].clone();
    bytes[PIECE as usize + 5] ^= 1;
    std::fs::write(room.target(0), bytes).unwrap();
    let mut journal = room.journal();
    journal.verified(&[0, 1, 2]);
    journal.commit(false).unwrap();
    drop(journal);
    let transfer = room.start(TransferParts { suspect: room.all(), ..room.download() });
    in_time("the check", transfer.checked()).await;
    assert_eq!(transfer.store().verified().iter().collect::<Vec<_>>(), [0, 2]);
    end(&room, &transfer).await;
    assert_eq!(room.believed(), [0, 2]);
}

/// A piece is given up with one block here, wanted again, and its other block comes late: all before the task looks at its outputs.
#[tokio::test]
async fn a_piece_that_was_given_up_is_dropped_before_late_blocks_begin_it_anew() {
    let room = Room::new(&[4], PIECE, 1);
    let transfer = room.start(room.download());
    let mut peer = Peer::join(&room, &transfer, 1).await;
    let blocks = peer.request().await;
    let (early, late) = (blocks[0], blocks[1]);
    assert_eq!(early.piece, late.piece);
    peer.bring(&[early]).await;
    in_time("an answer", transfer.peers()).await;
    // The worker must not be quicker than the task.
    let hold = room.hold_worker();
    // Nothing here yields: the task finds all of it in its inbox.
    let piece = early.piece..early.piece + 1;
    transfer.prioritise(vec![(piece.clone(), Priority::Skip)]).await;
    transfer.prioritise(vec![(piece, Priority::Normal)]).await;
    peer.bring(&[late]).await;
    in_time("an answer", transfer.peers()).await;
    drop(hold);
    peer.bring(&blocks[2..]).await;
    peer.serve(&transfer).await;
    room.assert_complete();
    end(&room, &transfer).await;
}

/// Blocks that workers have and blocks that come late are dropped when a check begins, and fetched again after it.
#[tokio::test]
async fn a_verify_in_the_middle_of_a_download_loses_nothing() {
    let room = Room::new(&[16], PIECE, 1);
    let transfer = room.start(room.download());
    let mut peer = Peer::join(&room, &transfer, 1).await;
    // Both blocks of a piece come one after the other.
    let mut asked = peer.request().await;
    let first = asked.drain(..2).collect::<Vec<_>>();
    peer.bring(&first).await;
    until(&transfer, "the first piece", |progress| progress.verified_bytes > 0).await;
    while asked.len() < 4 {
        asked.extend(peer.request().await);
    }
    let hold = room.hold_worker();
    peer.bring(&asked[..3]).await;
    transfer.verify().await;
    until(&transfer, "the check", |progress| matches!(progress.activity, Activity::Checking(..))).await;
    peer.bring(&asked[3..]).await;
    drop(hold);
    in_time("the end of the check", transfer.checked()).await;
    assert!(transfer.store().is_verified(first[0].piece));
    peer.serve(&transfer).await;
    room.assert_complete();
    end(&room, &transfer).await;
}

#[tokio::test]
async fn a_file_of_a_download_that_was_removed_is_fetched_again_while_others_go_on() {
    let room = Room::new(&[4, 4], PIECE, 2);
    let parts = TransferParts { priorities: vec![(2..4, Priority::Skip)], ..room.download() };
    let transfer = room.start(parts);
    let mut other = Peer::join_with(&room, &transfer, 2, Availability::None).await;
    Peer::join(&room, &transfer, 1).await.serve(&transfer).await;
    assert!(other.told_upload_only().await);
    std::fs::remove_file(room.target(0)).unwrap();
    // As whoever serves it finds.
    assert_eq!(transfer.store().check_stamps(), [0]);
    other.tell(WireEvent::FileChanged).await;
    assert!(!other.told_upload_only().await);
    other.tell(WireEvent::Has(Availability::All)).await;
    transfer.prioritise(vec![(0..4, Priority::Normal)]).await;
    other.serve(&transfer).await;
    room.assert_complete();
    end(&room, &transfer).await;
}

#[tokio::test]
async fn a_file_of_a_download_that_somebody_edited_is_not_overwritten() {
    let room = Room::new(&[4, 4], PIECE, 2);
    let transfer = room.start(room.download());
    let mut other = Peer::join_with(&room, &transfer, 2, Availability::None).await;
    Peer::join(&room, &transfer, 1).await.serve(&transfer).await;
    assert!(other.told_upload_only().await);
    std::fs::write(room.target(0), "edited").unwrap();
    assert_eq!(transfer.store().check_stamps(), [0]);
    other.tell(WireEvent::FileChanged).await;
    until(&transfer, "that it changed", |progress| matches!(progress.activity, Activity::Changed(_))).await;
    assert!(!other.told_upload_only().await);
    other.tell(WireEvent::Has(Availability::All)).await;
    let stats = transfer.peers().await;
    assert!(stats.iter().all(|peer| !peer.interesting), "nothing of it is wanted");
    end(&room, &transfer).await;
    assert_eq!(std::fs::read_to_string(room.target(0)).unwrap(), "edited");
}

/// Changes the mode of a file, until the clock of the file system has gone on: nothing but its change time tells.
fn touch(path: &Path) {
    until_touched(path, || {});
}

/// Writes into a file in place and sets its modification time back.
fn edit_unseen(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    until_touched(path, || {
        file.write_all_at(b"edited", 0).unwrap();
        file.set_modified(modified).unwrap();
    });
}

fn until_touched(path: &Path, change: impl Fn()) {
    let changed = || std::fs::metadata(path).map(|found| (found.ctime(), found.ctime_nsec())).unwrap();
    let before = changed();
    let mut mode = 0o600;
    while changed() == before {
        change();
        mode ^= 0o044;
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_was_only_touched_is_hashed_and_goes_on_being_served() {
    let mut room = Room::new(&[4, 4], PIECE, 2);
    let transfer = room.start(room.download());
    let mut other = Peer::join_with(&room, &transfer, 2, Availability::None).await;
    Peer::join(&room, &transfer, 1).await.serve(&transfer).await;
    assert!(other.told_upload_only().await);
    touch(&room.target(0));
    // As whoever serves it finds.
    let block = Block { piece: 0, begin: 0, length: BLOCK_LENGTH };
    let mut bytes = vec![0; BLOCK_LENGTH as usize];
    let refused = transfer.store().read(block, &mut bytes).unwrap_err();
    assert!(matches!(refused, ReadError::Touched { .. }), "{refused}");
    other.tell(WireEvent::FileChanged).await;
    until(&transfer, "the hash", |_| transfer.store().doubted().is_empty()).await;
    transfer.store().read(block, &mut bytes).unwrap();
    assert!(transfer.store().verified().is_full());
    until(&transfer, "seeding", |progress| progress.activity == Activity::Seeding).await;
    end(&room, &transfer).await;
    // Nobody was told of it, and it is on record.
    while let Some(order) = other.link.orders.recv().await {
        assert!(!matches!(order, Order::DontHave(_) | Order::UploadOnly(_) | Order::Request(_)), "{order:?}");
    }
    room.cancel = CancellationToken::new();
    let transfer = next_life(&room);
    assert!(transfer.store().verified().is_full() && transfer.store().doubted().is_empty());
    end(&room, &transfer).await;
}

#[tokio::test]
async fn whoever_reads_a_touched_file_waits_until_it_is_hashed() {
    let room = Room::new(&[4], PIECE, 2);
    let transfer = room.start(room.share());
    until(&transfer, "completion", |progress| progress.finished).await;
    transfer.store().stamps();
    touch(&room.folder.path().join("source/0"));
    assert_eq!(transfer.store().check_stamps(), [0]);
    let reader = transfer.reader();
    in_time("its turn", transfer.wait_for(reader, 1, Instant::now())).await.unwrap();
    assert!(transfer.store().doubted().is_empty());
    end(&room, &transfer).await;
}

#[tokio::test]
async fn an_edit_behind_its_time_is_named() {
    for is_download in [false, true] {
        let mut room = Room::new(&[4, 4], PIECE, 2);
        let transfer = room.start(if is_download { room.download() } else { room.share() });
        if is_download {
            Peer::join(&room, &transfer, 1).await.serve(&transfer).await;
        }
        until(&transfer, "completion", |progress| progress.finished).await;
        let file = if is_download { room.target(0) } else { room.folder.path().join("source/0") };
        transfer.store().stamps();
        edit_unseen(&file);
        assert_eq!(transfer.store().check_stamps(), [0]);
        // Whoever waits for it is let go, and told by reading it.
        in_time("an end of waiting", transfer.wait_for(transfer.reader(), 0, Instant::now())).await.unwrap();
        let names_it = |progress: &Progress| matches!(&progress.activity, Activity::Changed(path) if path.ends_with("/0"));
        until(&transfer, "that it changed", names_it).await;
        assert!(transfer.store().verified().iter().eq([1, 2, 3]));
        if is_download {
            Peer::join(&room, &transfer, 2).await;
            let stats = transfer.peers().await;
            assert!(stats.iter().all(|peer| !peer.interesting), "nothing of it is wanted");
        }
        end(&room, &transfer).await;
        if is_download {
            room.cancel = CancellationToken::new();
            let transfer = next_life(&room);
            until(&transfer, "that it changed", names_it).await;
            end(&room, &transfer).await;
        }
        assert!(std::fs::read(file).unwrap().starts_with(b"edited"));
    }
}

/// A life after the one that completed the download: what a program does that begins with what is on record.
fn next_life(room: &Room) -> Transfer {
    let (journal, mut resumed) =
        Journal::open(&room.journal_path(), b"it", room.layout.piece_count(), room.files.len()).unwrap();
    let folder = room.folder.path().join("target");
    let place = Place::Download { folder, root: None, preallocation: Preallocation::Sparse };
    let store = Store::new(
        room.layout.clone(),
        place,
        FilePool::new(16),
        resumed.verified.clone(),
        resumed.stamps.clone(),
    );
    resumed.check(&store).unwrap();
    let parts = room.parts_with(true, store, journal);
    room.start(TransferParts { suspect: resumed.suspect, ..parts })
}

#[tokio::test]
async fn a_file_that_was_edited_between_two_lives_is_left_alone_until_a_verify() {
    let mut room = Room::new(&[4, 4], PIECE, 2);
    let transfer = room.start(room.download());
    Peer::join(&room, &transfer, 1).await.serve(&transfer).await;
    end(&room, &transfer).await;
    let mut edited = room.files[0].clone();
    edited[..6].copy_from_slice(b"edited");
    std::fs::write(room.target(0), &edited).unwrap();
    // However often it begins anew.
    for life in 0..3 {
        room.cancel = CancellationToken::new();
        let transfer = next_life(&room);
        until(
            &transfer,
            "that it changed",
            |progress| matches!(&progress.activity, Activity::Changed(path) if path.ends_with("/0")),
        )
        .await;
        assert!(transfer.store().verified().iter().eq([1, 2, 3]), "life {life}");
        Peer::join(&room, &transfer, 2).await;
        let stats = transfer.peers().await;
        assert!(stats.iter().all(|peer| !peer.interesting), "nothing of it is wanted");
        end(&room, &transfer).await;
        assert!(std::fs::read(room.target(0)).unwrap() == edited, "life {life}");
    }
    room.cancel = CancellationToken::new();
    let transfer = next_life(&room);
    until(&transfer, "that it changed", |progress| matches!(progress.activity, Activity::Changed(_))).await;
    transfer.verify().await;
    Peer::join(&room, &transfer, 1).await.serve(&transfer).await;
    room.assert_complete();
    end(&room, &transfer).await;
    room.cancel = CancellationToken::new();
    let transfer = next_life(&room);
    until(&transfer, "completion", |progress| progress.finished).await;
}

#[tokio::test]
async fn a_share_with_pieces_that_are_no_longer_true_says_so() {
    let room = Room::new(&[4, 4], PIECE, 2);
    let transfer = room.start(room.share());
    until(&transfer, "completion", |progress| progress.finished).await;
    file_of(&room.folder.path().join("source/1"), 4 * u64::from(BLOCK_LENGTH));
    transfer.verify().await;
    let names_it = |progress: &Progress| matches!(&progress.activity, Activity::Incomplete(path) if path.ends_with("/1"));
    until(&transfer, "that it is incomplete", names_it).await;
    end(&room, &transfer).await;
    // So it does in its next life, in which there is nothing to hash.
    let room = Room { cancel: CancellationToken::new(), ..room };
    let mut half = room.none();
    half.insert(0);
    let names_it_first = |progress: &Progress| matches!(&progress.activity, Activity::Incomplete(path) if path.ends_with("/0"));
    let place = Place::InPlace(room.folder.path().join("source"));
    let transfer = room.start(room.parts(place, half));
    until(&transfer, "that it is incomplete", names_it_first).await;
    end(&room, &transfer).await;
}

#[tokio::test]
async fn storage_that_is_gone_during_a_check_is_waited_for() {
    let room = Room::new(&[4], PIECE, 2);
    let (source, away) = (room.folder.path().join("source"), room.folder.path().join("away"));
    let transfer = room.start(room.share());
    until(&transfer, "completion", |progress| progress.finished).await;
    transfer.store().close();
    std::fs::rename(&source, &away).unwrap();
    transfer.verify().await;
    until(&transfer, "a stall", |progress| matches!(progress.activity, Activity::Stalled(_))).await;
    assert!(transfer.store().verified().is_full());
    end(&room, &transfer).await;
    // Nor is what was to be hashed forgotten.
    let room = Room { cancel: CancellationToken::new(), ..room };
    let parts = room.parts(Place::InPlace(source.clone()), room.none());
    let transfer = room.start(TransferParts { suspect: room.all(), ..parts });
    until(&transfer, "a stall", |progress| matches!(progress.activity, Activity::Stalled(_))).await;
    std::fs::rename(&away, &source).unwrap();
    until(&transfer, "the share", |progress| progress.activity == Activity::Seeding).await;
    end(&room, &transfer).await;
}

#[tokio::test]
async fn the_end_is_told_when_nothing_more_is_written() {
    let room = Room::new(&[8], PIECE, 1);
    let transfer = room.start(room.download());
    let mut peer = Peer::join(&room, &transfer, 1).await;
    let blocks = peer.request().await;
    let hold = room.hold_worker();
    peer.bring(&blocks[..2]).await;
    in_time("an answer", transfer.peers()).await;
    room.cancel.cancel();
    let ended = tokio::spawn({
        let transfer = transfer.clone();
        async move { transfer.ended().await }
    });
    // Until everything that does not wait for the worker has been done.
    while peer.link.orders.recv().await.is_some() {}
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished(), "a worker has blocks to write");
    drop(hold);
    in_time("the end", ended).await.unwrap();
}

#[tokio::test]
async fn many_changes_at_once_are_told_at_once() {
    let room = Room::new(&[400], BLOCK_LENGTH, 2);
    let transfer = room.start(room.download());
    let mut peer = Peer::join_with(&room, &transfer, 1, Availability::None).await;
    std::fs::write(room.target(0), &room.files[0]).unwrap();
    transfer.verify().await;
    let shown = peer
        .order("what we have", |order| match order {
            Order::Introduce(Shown::Nothing) => None,
            Order::Introduce(shown) => Some(shown),
            Order::Have(piece) => panic!("piece {piece} alone"),
            _ => None,
        })
        .await;
    assert_eq!(shown, Shown::Verified(room.all()));
    end(&room, &transfer).await;
}
