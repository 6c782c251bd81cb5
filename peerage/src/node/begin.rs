//! From a torrent to a running transfer: what is on disk, what of it is believed, and the engine on top.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerage_bittorrent::magnet::Magnet;
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::torrent::{Ready, Torrent};
use peerage_content::{
    EntryKind, FileStamp, Journal, PieceIndex, PieceSet, Place, Preallocation, Resumed, StorageError, Store,
    Truth,
};
use peerage_swarm::core::Config;
use peerage_swarm::driver::{Transfer, TransferParts};

use super::Inner;
use super::entry::{Entry, Running};
use super::life::set_state;
use super::select::piece_priorities;
use crate::model::{AddRequest, FilePriority, GetRequest, Link, Problem, State};

/// How often files that are not there are looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// What is known of the bytes before anything was read.
#[derive(Debug)]
pub(super) enum Belief {
    /// Just hashed: all is true as long as the files are as stamped.
    Hashed(Vec<Option<FileStamp>>),
    /// Whatever the journal says; what lies there without a journal is to be checked.
    Journal,
}

/// Everything a transfer starts from, gathered off the runtime.
struct Opened {
    store: Arc<Store>,
    truth: Arc<Truth>,
    journal: Journal,
    note: Vec<u8>,
    totals: (u64, u64),
    suspect: PieceSet,
    priorities: Vec<FilePriority>,
}

/// Why a transfer does not start.
enum Refusal {
    /// For good.
    Final(Problem),
    /// Its files cannot be looked at for now: they may be on a disk that is not mounted.
    Absent(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Final(problem)
    }
}

/// Starts the transfer of `entry`; [`let_in`] comes when its disk has been checked.
pub(super) async fn begin(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    metainfo: Metainfo,
    torrent: &Arc<Torrent>,
    belief: Belief,
) -> Result<Arc<Running>, Problem> {
    let sources = Arc::new((metainfo, belief));
    let mut anew = false;
    let opened = loop {
        let (opener, owner, from) = (node.clone(), entry.clone(), sources.clone());
        let opened = tokio::task::spawn_blocking(move || open(&opener, &owner, &from.0, &from.1, anew));
        match opened.await.map_err(|error| Problem::new("internal", error))? {
            Ok(opened) => break opened,
            Err(Refusal::Final(problem)) => return Err(problem),
            Err(Refusal::Absent(problem)) => set_state(node, entry, State::Error, Some(problem)),
        }
        tokio::select! {
            () = entry.retry.notified() => anew = true,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    };
    let metainfo = sources.0.clone();

    let request = entry.facts().record.request.clone();
    let fetching = matches!(request, AddRequest::Get(_));
    let layout = metainfo.info.layout.clone();
    let parts = TransferParts {
        priorities: piece_priorities(&layout, &opened.priorities),
        layout,
        store: opened.store,
        truth: opened.truth,
        journal: Some(opened.journal),
        note: opened.note,
        totals: opened.totals,
        suspect: opened.suspect,
        fetching,
        config: config(entry, *node.door.public_address().borrow()),
        throttle: entry.throttle.clone(),
        seed: rand::random(),
        dialer: torrent.dialer(),
    };
    let transfer = Transfer::start(parts, node.resources.clone(), entry.cancel.child_token());
    if *entry.paused.borrow() {
        transfer.pause(true).await;
    }
    let running = Arc::new(Running { transfer, priorities: Mutex::new(opened.priorities), metainfo });
    {
        let mut facts = entry.facts();
        facts.hashes = Some(running.metainfo.info.hashes);
        facts.private = running.metainfo.info.private;
        facts.trackers = merged(&facts.trackers, &running.metainfo.trackers);
        facts.web_seeds = [&running.metainfo.web_seeds[..], &facts.web_seeds[..]].concat();
        facts.name = running.metainfo.info.name.as_path().to_owned();
        facts.path = content_path(&request, &running.metainfo);
        facts.hashing = None;
        facts.running = Some(running.clone());
    }
    Ok(running)
}

/// The settings of the engine for a transfer.
pub(super) fn config(entry: &Entry, own_address: Option<SocketAddr>) -> Config {
    let sequential = match &entry.facts().record.request {
        AddRequest::Share(share) => share.options.sequential,
        AddRequest::Get(get) => get.options.sequential,
    };
    Config { sequential, own_address, ..Config::default() }
}

/// Lets connections into a transfer whose disk has been checked.
pub(super) fn let_in(node: &Inner, torrent: &Arc<Torrent>, running: &Running) {
    let info = &running.metainfo.info;
    node.door.name(torrent, info.hashes);
    torrent.begin(Ready::new(info.hashes, info.raw.clone(), running.transfer.clone()), info.private);
}

/// With `anew`, the user wants everything fetched again if nothing is there.
fn open(
    node: &Inner,
    entry: &Entry,
    metainfo: &Metainfo,
    belief: &Belief,
    anew: bool,
) -> Result<Opened, Refusal> {
    let info = &metainfo.info;
    let layout = info.layout.clone();
    let pieces = layout.piece_count();
    let truth = metainfo.truth().map_err(|error| Problem::new("refused", error))?;
    let record = entry.facts().record.clone();
    let path = entry.slot.journal();
    let primary = info.hashes.primary().map(|swarm| swarm.0).unwrap_or_default();
    let (mut journal, mut resumed) = match Journal::open(&path, &primary, pieces, layout.entries().len()) {
        Ok(opened) => opened,
        Err(error) if error.source.kind() == std::io::ErrorKind::WouldBlock => {
            return Err(Problem::from(super::AddError::Busy).into());
        }
        Err(error) => return Err(storage(error).into()),
    };
    let totals = resumed.totals;
    let fresh = resumed.verified.is_empty() && resumed.suspect.is_empty();
    let place = place(&record.request, metainfo, fresh || anew)?;
    let (folder, note) = match &place {
        Place::Download { folder, .. } => (folder.clone(), device_of(folder)?.to_le_bytes().to_vec()),
        Place::InPlace(path) => (path.clone(), Vec::new()),
    };
    let moved = note != resumed.note && !resumed.note.is_empty();
    let (store, suspect) = match belief {
        Belief::Hashed(stamps) => {
            let all = PieceSet::full(pieces);
            journal.verified(&all.iter().collect::<Vec<_>>());
            journal.describe(stamps, &note, totals);
            // The files are their owner's to flush. Should a power loss change them all the same, their stamps tell.
            journal.commit(true).map_err(storage)?;
            let store = Store::new(layout.clone(), place, node.files.clone(), all, stamps.clone());
            (store, PieceSet::empty(pieces))
        }
        Belief::Journal => {
            let stamps = resumed.stamps.clone();
            let store =
                Store::new(layout.clone(), place, node.files.clone(), resumed.verified.clone(), stamps);
            if moved && !anew && !has_any(&store, &resumed) {
                return Err(absent(
                    &folder,
                    "nothing of what was fetched is there, and it is another disk than before",
                ));
            }
            believe(&mut resumed, &store, &mut journal)?;
            journal.describe(&[], &note, totals);
            journal.commit(false).map_err(storage)?;
            let suspect = if fresh { existing_pieces(&store) } else { resumed.suspect };
            (store, suspect)
        }
    };
    let mut priorities = record.priorities;
    if priorities.len() != layout.entries().len() {
        priorities = vec![FilePriority::Normal; layout.entries().len()];
        skip_unselected(&record.request, info, &mut priorities);
        entry.rules.apply(&layout, &mut priorities, true);
    }
    store.want(|entry| priorities.get(entry) != Some(&FilePriority::Skip));
    Ok(Opened { store: Arc::new(store), truth: Arc::new(truth), journal, note, totals, suspect, priorities })
}

/// Holds what is on record against the files. What cannot be believed any more is taken off the record at once: whatever becomes of it,
/// no later run may take it for true.
fn believe(resumed: &mut Resumed, store: &Store, journal: &mut Journal) -> Result<(), Refusal> {
    let before = resumed.verified.clone();
    resumed.check(store).map_err(|error| Refusal::Absent(storage(error)))?;
    let (suspect, gone): (Vec<PieceIndex>, Vec<PieceIndex>) = before
        .iter()
        .filter(|piece| !resumed.verified.contains(*piece))
        .partition(|piece| resumed.suspect.contains(*piece));
    journal.suspect(&suspect);
    journal.lost(&gone);
    store.flush_later(&resumed.unsynced);
    Ok(())
}

/// Whether any file is there of which something is on record.
fn has_any(store: &Store, resumed: &Resumed) -> bool {
    let layout = store.layout();
    let is_known = |piece| resumed.verified.contains(piece) || resumed.suspect.contains(piece);
    (0..layout.entries().len())
        .filter(|entry| layout.pieces_of(*entry).any(is_known))
        .any(|entry| std::fs::symlink_metadata(store.path_of(entry)).is_ok())
}

/// The disk that a folder is on.
fn device_of(folder: &Path) -> Result<u64, Problem> {
    let found = std::fs::metadata(folder).map_err(|source| {
        storage(StorageError { attempt: "look at folder", path: folder.to_owned(), source })
    })?;
    Ok(found.dev())
}

/// The folder of a download that had begun is not as it was left.
fn absent(folder: &Path, why: &str) -> Refusal {
    let told = Problem::new("storage", format!("{folder:?}: {why}"))
        .hint("mount what was there; if it was deleted, make the folder anew or `peerage resume` it: everything is fetched again then");
    Refusal::Absent(told)
}

/// Leaves out the files that a magnet link does not select (BEP 53).
fn skip_unselected(request: &AddRequest, info: &Info, priorities: &mut [FilePriority]) {
    let AddRequest::Get(GetRequest { link: Link::Name(link), .. }) = request else { return };
    let Ok(magnet) = link.parse::<Magnet>() else { return };
    for (entry, number) in info.selection_numbers() {
        if !magnet.selects(number)
            && let Some(priority) = priorities.get_mut(entry)
        {
            *priority = FilePriority::Skip;
        }
    }
}

/// Pieces of files that lie there though no journal speaks of them.
fn existing_pieces(store: &Store) -> PieceSet {
    let layout = store.layout();
    let mut pieces = PieceSet::empty(layout.piece_count());
    for (index, entry) in layout.entries().iter().enumerate() {
        let is_file = matches!(entry.kind, EntryKind::File { .. });
        let exists = |path: PathBuf| std::fs::symlink_metadata(path).is_ok_and(|file| file.len() > 0);
        if is_file && entry.length > 0 && exists(store.path_of(index)) {
            for piece in layout.pieces_of(index) {
                pieces.insert(piece);
            }
        }
    }
    pieces
}

/// Where the bytes lie or will lie. A folder in which something was once is not made anew (`create`): it may be on a disk that is not
/// mounted.
fn place(request: &AddRequest, metainfo: &Metainfo, create: bool) -> Result<Place, Refusal> {
    match request {
        AddRequest::Share(share) => Ok(Place::InPlace(share.path.0.clone())),
        AddRequest::Get(get) => {
            let folder = get.folder.0.clone();
            if !create && !folder.exists() {
                return Err(absent(&folder, "the folder is gone, or is on a disk that is not mounted"));
            }
            std::fs::create_dir_all(&folder).map_err(|source| {
                storage(StorageError { attempt: "create folder", path: folder.clone(), source })
            })?;
            let preallocation = if get.preallocate { Preallocation::Full } else { Preallocation::Sparse };
            Ok(Place::Download { folder, root: metainfo.info.root(), preallocation })
        }
    }
}

/// The file, or the top folder.
fn content_path(request: &AddRequest, metainfo: &Metainfo) -> PathBuf {
    match request {
        AddRequest::Share(share) => share.path.0.clone(),
        AddRequest::Get(get) => get.folder.0.join(metainfo.info.name.as_path()),
    }
}

/// Trackers of the link first, then those of the torrent that the link did not name.
fn merged(link: &[Vec<String>], torrent: &[Vec<String>]) -> Vec<Vec<String>> {
    let known = |url: &String| link.iter().flatten().any(|other| other == url);
    let others =
        torrent.iter().map(|tier| tier.iter().filter(|url| !known(url)).cloned().collect::<Vec<_>>());
    link.iter().cloned().chain(others).filter(|tier| !tier.is_empty()).collect()
}

/// A storage error as people meet it.
pub(super) fn storage(error: StorageError) -> Problem {
    super::AddError::from(error).into()
}

/// The key under which a request is kept: the same request finds its transfer again.
pub(super) fn key(request: &AddRequest, primary: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::ffi::OsStrExt;
    let mut hasher = DefaultHasher::new();
    match request {
        AddRequest::Share(share) => {
            share.path.0.as_os_str().as_bytes().hash(&mut hasher);
            serde_json::to_string(&share.author).unwrap_or_default().hash(&mut hasher);
            format!("share-{primary}{:016x}", hasher.finish())
        }
        AddRequest::Get(get) => {
            get.folder.0.as_os_str().as_bytes().hash(&mut hasher);
            format!("get-{primary}-{:016x}", hasher.finish())
        }
    }
}

/// An absolute path without `.` and `..` of its own, not following links.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
