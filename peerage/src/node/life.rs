//! The task of one transfer: from what was asked to a running transfer, and what follows from its progress.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_bittorrent::discovery::Haste;
use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::{Magnet, PeerAddress};
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::torrent::Torrent;
use peerage_bittorrent::tracker::{self, TrackerUrl};
use peerage_swarm::driver::{Activity, Progress};
use tracing::{debug, info};

use super::Inner;
use super::begin::{Belief, begin, config, let_in};
use super::entry::{Entry, Running, now};
use super::share::hash_for;
use crate::model::{AddRequest, Event, GetRequest, Link, Problem, SeedGoal, State};

/// Names of peers in a link that are looked up.
const NAMES_MAX: usize = 16;
/// Addresses taken of one name.
const ADDRESSES_A_NAME: usize = 4;
/// How long the system's resolver may take for one.
const NAME_TIME: Duration = Duration::from_secs(10);

/// Runs until the transfer is removed or the node stops.
pub(super) async fn live(node: Arc<Inner>, entry: Arc<Entry>) {
    loop {
        let outcome = tokio::select! {
            biased;
            () = entry.cancel.cancelled() => break,
            outcome = run(&node, &entry) => outcome,
        };
        let Err(problem) = outcome else { break };
        leave(&node, &entry).await;
        info!(id = entry.id.0, %problem, "transfer failed");
        set_state(&node, &entry, State::Error, Some(problem));
        tokio::select! {
            () = entry.cancel.cancelled() => break,
            () = entry.retry.notified() => {}
        }
    }
    leave(&node, &entry).await;
}

/// Takes the transfer off the network; its record stays.
async fn leave(node: &Inner, entry: &Entry) {
    let (torrent, running) = {
        let mut facts = entry.facts();
        (facts.torrent.take(), facts.running.take())
    };
    if let Some(torrent) = torrent {
        node.door.withdraw(&torrent).await;
        node.door.remove(&torrent);
    }
    if let Some(running) = running {
        running.transfer.cancellation().cancel();
        running.transfer.ended().await;
    }
}

async fn run(node: &Arc<Inner>, entry: &Arc<Entry>) -> Result<(), Problem> {
    unpaused(node, entry).await;
    let request = entry.facts().record.request.clone();
    let (metainfo, torrent, belief) = match &request {
        AddRequest::Share(_) => shared(node, entry, &request).await?,
        AddRequest::Get(get) => fetched(node, entry, &get.link).await?,
    };
    let running = begin(node, entry, metainfo, &torrent, belief).await?;
    node.emit(Event::Metadata { transfer: Box::new(node.view_of(entry).await) });
    if matches!(running.transfer.progress().borrow().activity, Activity::Checking(..)) {
        set_state(node, entry, State::Checking, None);
        running.transfer.checked().await;
    }
    let whole = running.is_whole();
    let_in(node, &torrent, &running);
    node.door.dht_nodes(&torrent, &running.metainfo.nodes);
    if matches!(request, AddRequest::Get(_)) {
        warn_of_collision(node, entry, &running.metainfo.info);
        let info = &running.metainfo.info;
        let folder = info.root().map(|root| root.as_path().as_os_str().as_encoded_bytes().to_vec());
        let urls = entry.facts().web_seeds.clone();
        node.door.web_seeds(&torrent, &urls, folder.as_deref());
    }
    announce(node, entry, &torrent, Some(&running)).await;
    attend(node, entry, &torrent, &running, whole).await;
    Ok(())
}

/// Two files of a download may be one on the disk of the user.
fn warn_of_collision(node: &Inner, entry: &Entry, info: &Info) {
    let path = |index: usize| info.layout.entries().get(index).map(|entry| entry.path.as_path().to_owned());
    if let Some((first, second)) = info.case_collision()
        && let (Some(first), Some(second)) = (path(first), path(second))
    {
        let what = format!("{first:?} and {second:?} are one file where names ignore case or accents");
        let problem = Problem::new("collision", what).hint("on such a disk only one of them can be complete");
        node.emit(Event::Warning { id: Some(entry.id), problem });
    }
}

/// Waits while the user has it paused.
async fn unpaused(node: &Inner, entry: &Entry) {
    let mut paused = entry.paused.subscribe();
    if *paused.borrow_and_update() {
        set_state(node, entry, State::Paused, None);
        let _ = paused.wait_for(|paused| !paused).await;
    }
}

/// The torrent of files that are shared: kept from before, given, or made now.
async fn shared(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    request: &AddRequest,
) -> Result<(Metainfo, Arc<Torrent>, Belief), Problem> {
    let AddRequest::Share(share) = request else { return Err(Problem::new("internal", "not a share")) };
    let kept = entry.slot.read_torrent().and_then(|bytes| Metainfo::parse(&bytes).ok());
    let given = share.as_torrent.is_some() || entry.facts().hashes.is_some();
    let (metainfo, belief) = match kept {
        Some(metainfo) if given || is_unchanged(entry, &metainfo, &share.path.0) => {
            (metainfo, Belief::Journal)
        }
        _ => {
            set_state(node, entry, State::Hashing, None);
            let authored = hash_for(entry, &share.path.0, &share.author).await?;
            for (path, why) in &authored.skipped {
                let problem = Problem::new("skipped", format!("{path:?} is not shared: {why}"));
                node.emit(Event::Warning { id: Some(entry.id), problem });
            }
            let metainfo = authored.torrent;
            entry.slot.write_torrent(&metainfo.to_bytes()).map_err(super::begin::storage)?;
            let _ = std::fs::remove_file(entry.slot.journal());
            (metainfo, Belief::Hashed(authored.hashed.stamps))
        }
    };
    let info = &metainfo.info;
    let torrent = enter(node, entry, info.hashes, Some(info.private))?;
    Ok((metainfo, torrent, belief))
}

/// Whether files are as they were when they were hashed, so that they need not be hashed again.
fn is_unchanged(entry: &Entry, metainfo: &Metainfo, path: &std::path::Path) -> bool {
    let Ok((identity, resumed)) = peerage_content::Journal::peek(&entry.slot.journal()) else { return false };
    let primary = metainfo.info.hashes.primary().map(|swarm| swarm.0).unwrap_or_default();
    let Ok(walked) = peerage_content::walk(path) else { return false };
    let files = |entries: &[peerage_content::Entry]| {
        let mut files: Vec<_> = entries
            .iter()
            .filter(|entry| entry.kind != peerage_content::EntryKind::Pad)
            .map(|entry| (entry.path.clone(), entry.length))
            .collect();
        files.sort();
        files
    };
    let same_files = walked.single || files(&walked.entries) == files(metainfo.info.layout.entries());
    identity == primary && resumed.verified.is_full() && resumed.suspect.is_empty() && same_files && {
        let store = peerage_content::Store::new(
            metainfo.info.layout.clone(),
            peerage_content::Place::InPlace(path.to_owned()),
            peerage_content::FilePool::new(8),
            resumed.verified,
            resumed.stamps,
        );
        store.check_stamps().is_empty()
    }
}

/// The torrent of what is fetched: kept from before, given, or asked of peers.
async fn fetched(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    link: &Link,
) -> Result<(Metainfo, Arc<Torrent>, Belief), Problem> {
    let magnet = match link {
        Link::Name(name) => name.parse::<Magnet>().ok(),
        Link::Torrent(_) => None,
    };
    let kept = entry.slot.read_torrent();
    if let Some(bytes) = kept {
        let metainfo = Metainfo::parse(&bytes).map_err(|error| refused("the torrent", &error))?;
        let torrent = enter(node, entry, metainfo.info.hashes, Some(metainfo.info.private))?;
        return Ok((metainfo, torrent, Belief::Journal));
    }
    let Some(magnet) = magnet else { return Err(Problem::new("refused", "the torrent was not kept")) };
    set_state(node, entry, State::FetchingMetadata, None);
    let torrent = enter(node, entry, magnet.hashes, None)?;
    {
        let mut facts = entry.facts();
        facts.trackers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
        facts.web_seeds.clone_from(&magnet.web_seeds);
    }
    node.door.seek(&torrent);
    announce(node, entry, &torrent, None).await;
    introduce(node, entry, &torrent).await;
    let raw = torrent.metadata().await.ok_or_else(|| Problem::new("stopped", "the node is stopping"))?;
    let info = Info::parse(raw).map_err(|error| refused("the torrent that the link names", &error))?;
    node.door.learn_private(&torrent, info.private).await;
    let mut metainfo = Metainfo::from(info);
    metainfo.trackers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
    metainfo.web_seeds = magnet.web_seeds.clone();
    entry.slot.write_torrent(&metainfo.to_bytes()).map_err(super::begin::storage)?;
    Ok((metainfo, torrent, Belief::Journal))
}

/// Brings the torrent into the door, unless another transfer has it.
fn enter(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    hashes: InfoHashes,
    private: Option<bool>,
) -> Result<Arc<Torrent>, Problem> {
    if let Some(other) = node.holder_of(hashes, entry.id) {
        return Err(super::AddError::Exists(other).into());
    }
    let torrent = node.door.add(hashes, private);
    let mut facts = entry.facts();
    facts.hashes = Some(hashes);
    facts.torrent = Some(torrent.clone());
    Ok(torrent)
}

/// Tells the torrent of the peers that the user or the link named. Addresses count at once; names are looked up on the side, since a
/// link may hold many that lead nowhere.
async fn introduce(node: &Arc<Inner>, entry: &Arc<Entry>, torrent: &Arc<Torrent>) {
    let request = entry.facts().record.request.clone();
    let (mut addresses, magnet) = match request {
        AddRequest::Share(share) => (share.options.peers, None),
        AddRequest::Get(GetRequest { link: Link::Name(name), options, .. }) => {
            (options.peers, name.parse::<Magnet>().ok())
        }
        AddRequest::Get(get) => (get.options.peers, None),
    };
    let mut names = Vec::new();
    for peer in magnet.into_iter().flat_map(|magnet| magnet.peers) {
        match peer {
            PeerAddress::Ip(address) => addresses.push(address),
            named => names.push(named.to_string()),
        }
    }
    entry.facts().given = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    node.door.introduce(torrent, addresses).await;
    names.truncate(NAMES_MAX);
    for name in names {
        let (node, entry, torrent) = (node.clone(), entry.clone(), torrent.clone());
        let resources = node.resources.clone();
        resources.tasks.spawn(async move {
            let looking = tokio::time::timeout(NAME_TIME, tokio::net::lookup_host(&name));
            let found = tokio::select! {
                found = looking => found,
                () = entry.cancel.cancelled() => return,
            };
            match found {
                Ok(Ok(found)) => {
                    let found: Vec<_> = found.take(ADDRESSES_A_NAME).collect();
                    entry.facts().given += found.len() as u32;
                    node.door.introduce(&torrent, found).await;
                }
                Ok(Err(error)) => debug!(%name, %error, "a peer of the link cannot be found"),
                Err(_) => debug!(%name, "the name of a peer of the link leads nowhere in time"),
            }
        });
    }
}

/// Announces wherever peers may find it.
async fn announce(node: &Inner, entry: &Entry, torrent: &Torrent, running: Option<&Arc<Running>>) {
    let tiers = entry.facts().trackers.clone();
    let tiers = tiers
        .iter()
        .map(|tier| {
            let urls = tier.iter().filter_map(|url| {
                TrackerUrl::parse(url).inspect_err(|error| debug!(%url, %error, "a tracker is left out")).ok()
            });
            urls.collect::<Vec<_>>()
        })
        .filter(|tier| !tier.is_empty())
        .collect();
    // The numbers are its own, so that they are still true when trackers are told that it left.
    let running = running.cloned();
    let is_get = matches!(entry.facts().record.request, AddRequest::Get(_));
    let counters = move || {
        let Some(running) = &running else {
            return tracker::Progress { left: 1, wants_peers: true, ..tracker::Progress::default() };
        };
        let progress = running.transfer.progress();
        let progress = progress.borrow();
        tracker::Progress {
            uploaded: progress.stats.uploaded,
            downloaded: progress.stats.downloaded,
            left: running.missing(),
            wants_peers: is_get && !progress.finished,
        }
    };
    node.door.announce(torrent, tiers, Arc::new(counters)).await;
}

/// Watches a running transfer: states, completion, the goal of seeding, pausing.
/// `whole`: every byte was there from the beginning.
async fn attend(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    torrent: &Arc<Torrent>,
    running: &Arc<Running>,
    mut whole: bool,
) {
    let mut haste = Haste::new(Instant::now());
    let mut public = node.door.public_address();
    let mut progress = running.transfer.progress();
    let mut paused = entry.paused.subscribe();
    let mut was_paused = *paused.borrow_and_update();
    introduce(node, entry, torrent).await;
    let mut reached = false;
    loop {
        let now_at = progress.borrow_and_update().clone();
        if now_at.finished && entry.facts().record.finished.is_none() {
            finished(node, entry).await;
        }
        // Trackers count complete copies (BEP 3): a selection of files is none (BEP 21).
        if now_at.finished && !whole && running.is_whole() {
            whole = true;
            node.door.completed(torrent).await;
        }
        let alone = now_at.activity == Activity::Downloading && now_at.stats.peers_connected == 0;
        if haste.is_due(Instant::now(), alone) {
            node.door.hurry(torrent).await;
        }
        let goal = entry.facts().goal();
        let due = due(entry, goal, &now_at);
        if now_at.finished && !reached && due == Some(Duration::ZERO) {
            reached = true;
            running.transfer.pause(true).await;
            node.door.withdraw(torrent).await;
        }
        let (state, problem) = state_of(&now_at, reached);
        set_state(node, entry, state, problem);
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            _ = paused.changed() => {
                let pause = *paused.borrow_and_update();
                if pause == was_paused {
                    continue;
                }
                was_paused = pause;
                if pause {
                    running.transfer.pause(true).await;
                    node.door.withdraw(torrent).await;
                } else {
                    // Resuming what was complete serves it again, without a goal.
                    if std::mem::take(&mut reached) {
                        entry.keep(|record| record.goal = SeedGoal::default());
                    }
                    running.transfer.pause(false).await;
                    announce(node, entry, torrent, Some(running)).await;
                }
            }
            Ok(()) = public.changed() => {
                let own_address = *public.borrow_and_update();
                running.transfer.configure(config(entry, own_address)).await;
            }
            () = wait(due), if now_at.finished && !reached => {}
        }
    }
}

async fn wait(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

/// How long until the goal of seeding is reached by time; zero when it is reached now.
fn due(entry: &Entry, goal: SeedGoal, progress: &Progress) -> Option<Duration> {
    let facts = entry.facts();
    let size = facts.running.as_ref().map_or(0, |running| running.metainfo.info.layout.content_length());
    let by_ratio = goal.ratio.is_some_and(|ratio| progress.uploaded_total as f64 >= ratio * size as f64);
    let by_time = goal.seconds.map(|seconds| {
        let since = facts.record.finished.map_or(0, |finished| now().saturating_sub(finished));
        Duration::from_secs(seconds.saturating_sub(since))
    });
    if by_ratio { Some(Duration::ZERO) } else { by_time }
}

async fn finished(node: &Inner, entry: &Entry) {
    entry.keep(|record| record.finished = Some(now()));
    let path: PathBuf = entry.facts().path.clone();
    let transfer = Box::new(node.view_of(entry).await);
    if matches!(entry.facts().record.request, AddRequest::Get(_)) {
        node.emit(Event::Complete { id: entry.id, path: path.into(), transfer });
    }
}

/// What the engine does, in the user's words.
fn state_of(progress: &Progress, goal_reached: bool) -> (State, Option<Problem>) {
    match &progress.activity {
        Activity::Checking(..) => (State::Checking, None),
        Activity::Paused if goal_reached => (State::Complete, None),
        Activity::Paused => (State::Paused, None),
        _ if goal_reached => (State::Complete, None),
        Activity::Downloading => (State::Downloading, None),
        Activity::Seeding => (State::Seeding, None),
        Activity::Stalled(why) => {
            let told = Problem::new("storage", "the data cannot be written; fetching waits")
                .hint("make room or make the folder writable: it goes on by itself within seconds");
            (State::Error, Some(Problem { causes: vec![why.clone()], ..told }))
        }
        Activity::Changed(path) => {
            let told =
                Problem::new("changed", format!("{path:?} changed since it was verified; it is not served"))
                    .hint("`peerage verify` checks what is still true; share it again for a new link");
            (State::Changed, Some(told))
        }
    }
}

fn refused(what: &'static str, error: &dyn std::error::Error) -> Problem {
    let mut told = Problem::new("refused", format!("{what} is refused"));
    told.causes.push(error.to_string());
    told
}

/// Sets the state and tells everybody if it is another.
pub(super) fn set_state(node: &Inner, entry: &Entry, state: State, problem: Option<Problem>) {
    let changed = {
        let mut facts = entry.facts();
        let changed = facts.state != state || facts.problem != problem;
        facts.state = state;
        facts.problem.clone_from(&problem);
        changed
    };
    if changed {
        node.emit(Event::State { id: entry.id, state, problem });
    }
}
