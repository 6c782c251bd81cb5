//! From a torrent to a running transfer: what is on disk, what of it is believed, and the engine on top.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
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
use tracing::debug;

use super::entry::{Entry, Running, limit};
use super::foreign::examine;
use super::select::piece_priorities;
use super::shelf::Record;
use super::state::set_state;
use super::views::file_entries;
use super::{Inner, OpError};
use crate::key;
use crate::model::{AddRequest, FilePriority, GetRequest, Limits, Link, Problem, State};

/// How often files that are not there are looked for again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(3);

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
        config: config(node, entry, *node.door.public_address().borrow()),
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
        let known = &running.metainfo.web_seeds;
        facts.web_seeds.retain(|url| !known.contains(url));
        facts.web_seeds.splice(0..0, known.iter().cloned());
        facts.name = running.metainfo.info.name.as_path().to_owned();
        facts.path = content_path(&request, &running.metainfo);
        facts.hashing = None;
        facts.running = Some(running.clone());
    }
    Ok(running)
}

/// The settings of the engine for a transfer.
pub(super) fn config(node: &Inner, entry: &Entry, own_address: Option<SocketAddr>) -> Config {
    let Limits { up, down } = node.config.peer_limits;
    let facts = entry.facts();
    let options = match &facts.record.request {
        AddRequest::Share(share) => &share.options,
        AddRequest::Get(get) => &get.options,
    };
    // The door turns away whoever comes when all connections are taken; a transfer that is full decides whom a newcomer replaces.
    let not_all = node.config.connections_max.div_ceil(5) * 4;
    Config {
        sequential: options.sequential,
        super_seeding: options.super_seeding || node.config.super_seeding,
        connections_max: node.config.transfer_connections_max.min(not_all).max(1),
        upload_slots: node.config.upload_slots,
        peer_up_max: limit(up),
        peer_down_max: limit(down),
        own_address,
        ..Config::default()
    }
}

/// Lets connections into a transfer whose disk has been checked.
pub(super) fn let_in(node: &Inner, torrent: &Arc<Torrent>, running: &Running) {
    let info = &running.metainfo.info;
    if !node.door.name(torrent, info.hashes) {
        debug!(hashes = ?info.hashes, "another transfer, which is leaving, still has a name of this torrent");
    }
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
    let priorities = priorities(entry, &record, info)?;
    let new_store =
        |place, verified, stamps| Store::new(layout.clone(), place, node.files.clone(), verified, stamps);
    // Whether the files that lie there are those of an earlier run is known by the journal alone: nothing is opened for writing before.
    let examined = match &record.request {
        AddRequest::Get(get) if !entry.slot.is_begun() => {
            let store =
                new_store(place(&record.request, metainfo, true)?, PieceSet::empty(pieces), Vec::new());
            let progress = |bytes| {
                entry.hashed.store(bytes, Ordering::Relaxed);
                !entry.cancel.is_cancelled()
            };
            examine(&store, &truth, &priorities, get.overwrite, &progress)?;
            Some(store)
        }
        _ => None,
    };
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
    let may_overwrite = matches!(&record.request, AddRequest::Get(get) if get.overwrite);
    let moved = note != resumed.note && !resumed.note.is_empty();
    let (store, suspect) = match (belief, examined) {
        (Belief::Journal, Some(store)) => {
            journal.verified(&store.verified().iter().collect::<Vec<_>>());
            journal.describe(&store.stamps(), &note, totals);
            journal.commit(false).map_err(storage)?;
            (store, PieceSet::empty(pieces))
        }
        (Belief::Hashed(stamps), _) => {
            let all = PieceSet::full(pieces);
            journal.verified(&all.iter().collect::<Vec<_>>());
            journal.describe(stamps, &note, totals);
            // The files are their owner's to flush. Should a power loss change them all the same, their stamps tell.
            journal.commit(true).map_err(storage)?;
            (new_store(place, all, stamps.clone()), PieceSet::empty(pieces))
        }
        (Belief::Journal, None) => {
            let store = new_store(place, resumed.verified.clone(), resumed.stamps.clone());
            if moved && !anew && !has_any(&store, &resumed) {
                return Err(absent(
                    &folder,
                    "nothing of what was fetched is there, and it is another disk than before",
                ));
            }
            believe(&mut resumed, &store, &mut journal, may_overwrite)?;
            journal.describe(&store.stamps(), &note, totals);
            journal.commit(false).map_err(storage)?;
            let suspect = if fresh { existing_pieces(&store) } else { resumed.suspect };
            (store, suspect)
        }
    };
    let store = match (&node.quota, &record.request) {
        (Some(quota), AddRequest::Get(_)) => store.with_quota(quota.clone()),
        _ => store,
    };
    store.want(|entry| priorities.get(entry) != Some(&FilePriority::Skip));
    Ok(Opened { store: Arc::new(store), truth: Arc::new(truth), journal, note, totals, suspect, priorities })
}

/// Holds what is on record against the files. What cannot be believed any more is taken off the record at once: whatever becomes of it,
/// no later run may take it for true. With `may_overwrite` the user gives up what is in files that changed.
fn believe(
    resumed: &mut Resumed,
    store: &Store,
    journal: &mut Journal,
    may_overwrite: bool,
) -> Result<(), Refusal> {
    let before = resumed.verified.clone();
    let absent = |error| Refusal::Absent(Problem { code: "vanished".to_owned(), ..storage(error) });
    resumed.check(store).map_err(absent)?;
    if may_overwrite {
        store.end_disputes();
        store.cut_surplus().map_err(storage)?;
    }
    let moved = before.iter().filter(|piece| !resumed.verified.contains(*piece));
    // The stamp on record keeps what is disputed from being believed.
    let (suspect, gone): (Vec<PieceIndex>, Vec<PieceIndex>) =
        moved.filter(|piece| !store.is_disputed(*piece)).partition(|piece| resumed.suspect.contains(*piece));
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
    let told = Problem::new("vanished", format!("{folder:?}: {why}"))
        .hint("mount what was there; if it was deleted, make the folder anew or `peerage resume` it: everything is fetched again then");
    Refusal::Absent(told)
}

/// How much each entry is wanted.
fn priorities(entry: &Entry, record: &Record, info: &Info) -> Result<Vec<FilePriority>, Problem> {
    let layout = &info.layout;
    if record.priorities.len() == layout.entries().len() {
        return Ok(record.priorities.clone());
    }
    let mut priorities = vec![FilePriority::Normal; layout.entries().len()];
    skip_unselected(&record.request, info, &mut priorities);
    entry.rules.apply(layout, &mut priorities, true);
    let AddRequest::Get(get) = &record.request else { return Ok(priorities) };
    let nothing = file_entries(layout).all(|file| priorities.get(file) == Some(&FilePriority::Skip));
    if nothing && let Some(told) = unselected(get) {
        return Err(Problem::new("no_match", told)
            .hint("`peerage inspect FILE` lists the files of a torrent; in --only and --priority * and ? stop at /, ** does not"));
    }
    Ok(priorities)
}

/// Why a request wants no file at all; `None`: its user chose none.
fn unselected(get: &GetRequest) -> Option<String> {
    match (get.only.is_empty(), get.priorities.is_empty()) {
        (true, true) => {
            selection_of(get).map(|_| "the link selects (so=) no file of this torrent".to_owned())
        }
        (false, true) => Some(format!("no file matches {}", get.only.join(", "))),
        (true, false) => Some("no file is left to fetch: the priorities skip every one".to_owned()),
        (false, false) => Some("no file is left to fetch by the selection and the priorities".to_owned()),
    }
}

/// What a download that is not running has written, to be deleted; `None`: nothing.
pub(super) fn files_of(node: &Inner, entry: &Entry) -> Result<Option<Store>, OpError> {
    if !entry.slot.is_begun() {
        return Ok(None);
    }
    let unknown = || OpError::FilesUnknown(entry.id);
    let kept = entry.slot.read_torrent().and_then(|bytes| Metainfo::parse(&bytes).ok());
    let metainfo = kept.ok_or_else(unknown)?;
    let request = entry.facts().record.request.clone();
    let AddRequest::Get(get) = &request else { return Err(unknown()) };
    let layout = metainfo.info.layout.clone();
    let verified = PieceSet::empty(layout.piece_count());
    let place = download(get, &metainfo);
    Ok(Some(Store::new(layout, place, node.files.clone(), verified, Vec::new())))
}

/// The magnet link of a request, if it selects files (BEP 53).
fn selection_of(get: &GetRequest) -> Option<Magnet> {
    let Link::Name(link) = &get.link else { return None };
    link.parse::<Magnet>().ok().filter(|magnet| !magnet.select_only.is_empty())
}

/// Leaves out the files that a magnet link does not select (BEP 53).
fn skip_unselected(request: &AddRequest, info: &Info, priorities: &mut [FilePriority]) {
    let AddRequest::Get(get) = request else { return };
    let Some(magnet) = selection_of(get) else { return };
    for (entry, number) in info.selection_numbers() {
        let is_file = |entry: &peerage_content::Entry| matches!(entry.kind, EntryKind::File { .. });
        if !magnet.selects(number)
            && info.layout.entries().get(entry).is_some_and(is_file)
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
            Ok(download(get, metainfo))
        }
    }
}

fn download(get: &GetRequest, metainfo: &Metainfo) -> Place {
    let preallocation = if get.preallocate { Preallocation::Full } else { Preallocation::Sparse };
    Place::Download { folder: get.folder.0.clone(), root: metainfo.info.root(), preallocation }
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
pub(super) fn key_of(request: &AddRequest, primary: &str) -> String {
    use std::os::unix::ffi::OsStrExt;
    match request {
        AddRequest::Share(share) => {
            let author = serde_json::to_vec(&share.author).unwrap_or_default();
            let key = key::of(&[share.path.0.as_os_str().as_bytes(), &author]);
            format!("share-{primary}{key:016x}")
        }
        AddRequest::Get(get) => {
            let key = key::of(&[get.folder.0.as_os_str().as_bytes()]);
            format!("get-{primary}-{key:016x}")
        }
    }
}

/// An absolute path without `.` and `..` of its own, not following links.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
