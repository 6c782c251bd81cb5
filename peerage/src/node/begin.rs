//! From a torrent to a running transfer: what is on disk, what of it is believed, and the engine on top.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use peerage_bittorrent::magnet::Magnet;
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::torrent::{Ready, Torrent};
use peerage_content::{
    EntryKind, FileStamp, Journal, PieceSet, Place, Preallocation, Resumed, StorageError, Store, Truth,
};
use peerage_swarm::core::Config;
use peerage_swarm::driver::{Transfer, TransferParts};

use super::Inner;
use super::entry::{Entry, Running};
use super::select::piece_priorities;
use crate::model::{AddRequest, FilePriority, GetRequest, Link, Problem};

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
    totals: (u64, u64),
    suspect: PieceSet,
    priorities: Vec<FilePriority>,
}

/// Starts the transfer of `entry`; [`let_in`] comes when its disk has been checked.
pub(super) async fn begin(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    metainfo: Metainfo,
    torrent: &Arc<Torrent>,
    belief: Belief,
) -> Result<Arc<Running>, Problem> {
    let (opener, owner) = (node.clone(), entry.clone());
    let (opened, metainfo) = tokio::task::spawn_blocking(move || {
        let opened = open(&opener, &owner, &metainfo, belief)?;
        Ok::<_, Problem>((opened, metainfo))
    })
    .await
    .map_err(|error| Problem::new("internal", error))??;

    let request = entry.facts().record.request.clone();
    let fetching = matches!(request, AddRequest::Get(_));
    let layout = metainfo.info.layout.clone();
    let parts = TransferParts {
        priorities: piece_priorities(&layout, &opened.priorities),
        layout,
        store: opened.store,
        truth: opened.truth,
        journal: Some(opened.journal),
        note: Vec::new(),
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

fn open(node: &Inner, entry: &Entry, metainfo: &Metainfo, belief: Belief) -> Result<Opened, Problem> {
    let info = &metainfo.info;
    let layout = info.layout.clone();
    let pieces = layout.piece_count();
    let truth = metainfo.truth().map_err(|error| Problem::new("refused", error))?;
    let record = entry.facts().record.clone();
    let place = place(&record.request, metainfo)?;
    let path = entry.slot.journal();
    let primary = info.hashes.primary().map(|swarm| swarm.0).unwrap_or_default();
    let (mut journal, resumed) = match Journal::open(&path, &primary, pieces, layout.entries().len()) {
        Ok(opened) => opened,
        Err(error) if error.source.kind() == std::io::ErrorKind::WouldBlock => {
            return Err(super::AddError::Busy.into());
        }
        Err(error) => return Err(storage(error)),
    };
    let totals = resumed.totals;
    let fresh = resumed.verified.is_empty() && resumed.suspect.is_empty();
    let (store, suspect) = match belief {
        Belief::Hashed(stamps) => {
            let all = PieceSet::full(pieces);
            journal.verified(&all.iter().collect::<Vec<_>>());
            journal.describe(&stamps, &[], totals);
            journal.commit(false).map_err(storage)?;
            (Store::new(layout.clone(), place, node.files.clone(), all, stamps), PieceSet::empty(pieces))
        }
        Belief::Journal => {
            let Resumed { verified, mut suspect, stamps, .. } = resumed;
            let store = Store::new(layout.clone(), place, node.files.clone(), verified, stamps);
            let before = store.verified();
            store.check_stamps();
            before.iter().filter(|piece| !store.is_verified(*piece)).for_each(|piece| {
                suspect.insert(piece);
            });
            if fresh {
                suspect = existing_pieces(&store);
            }
            (store, suspect)
        }
    };
    let mut priorities = record.priorities;
    if priorities.len() != layout.entries().len() {
        priorities = vec![FilePriority::Normal; layout.entries().len()];
        skip_unselected(&record.request, info, &mut priorities);
        entry.rules.apply(&layout, &mut priorities, true);
    }
    Ok(Opened { store: Arc::new(store), truth: Arc::new(truth), journal, totals, suspect, priorities })
}

/// Leaves out the files that a magnet link does not select (BEP 53).
fn skip_unselected(request: &AddRequest, info: &Info, priorities: &mut [FilePriority]) {
    let AddRequest::Get(GetRequest { link: Link::Name(link), .. }) = request else { return };
    let Ok(magnet) = link.parse::<Magnet>() else { return };
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

/// Where the bytes lie or will lie.
fn place(request: &AddRequest, metainfo: &Metainfo) -> Result<Place, Problem> {
    match request {
        AddRequest::Share(share) => Ok(Place::InPlace(share.path.0.clone())),
        AddRequest::Get(get) => {
            let folder = get.folder.0.clone();
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
