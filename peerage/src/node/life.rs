//! The task of one transfer: from what was asked to a running transfer, and what follows from its progress.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_bittorrent::discovery::Haste;
use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::{Magnet, PeerAddress};
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_bittorrent::torrent::Torrent;
use peerage_bittorrent::tracker::{self, TrackerUrl};
use peerage_swarm::driver::{Activity, Progress};
use tracing::{debug, info, warn};

use super::begin::{Belief, begin, config, let_in};
use super::entry::{Entry, Running};
use super::finish::{compute_layers, finished};
use super::kept::kept_when_there;
use super::queue::Turn;
use super::served::Served;
use super::share::hash_for;
use super::state::{cannot_use, set_state, state_of};
use super::{AddError, Inner, ipfs};
use crate::author::no_cid;
use crate::model::{AddRequest, Event, GetRequest, Link, Problem, Role, SeedGoal, State, TransferId};

/// How long until a transfer that another process works on is tried again.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Why a transfer does not go on.
enum Fault {
    /// For people.
    Problem(Problem),
    /// Another transfer has this content already.
    Same(TransferId),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

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
        leave(&node, &entry).await;
        let problem = match outcome {
            // Paused before it was begun: it waits for its resumption, off the network.
            Ok(()) => continue,
            Err(Fault::Same(other)) if !entry.slot.is_begun() => {
                node.discard_spooled(&entry, other).await;
                // The node may be stopping: then the next run finds out again.
                let forgotten = tokio::task::spawn_blocking(move || {
                    node.forget(&entry, Some(other));
                    node.clear(&entry);
                });
                let _ = forgotten.await;
                return;
            }
            Err(Fault::Same(other)) => AddError::Exists(other).into(),
            Err(Fault::Problem(problem)) => problem,
        };
        let busy = problem.code == "busy";
        info!(id = entry.id.0, %problem, causes = ?problem.causes, "transfer failed");
        set_state(&node, &entry, State::Error, Some(problem));
        let again =
            async { if busy { tokio::time::sleep(BUSY_RETRY).await } else { std::future::pending().await } };
        tokio::select! {
            () = entry.cancel.cancelled() => break,
            () = entry.retry.notified() => {}
            () = again => {}
        }
    }
    leave(&node, &entry).await;
}

/// Takes the transfer off the network; its record stays.
async fn leave(node: &Inner, entry: &Entry) {
    if let Some(blocks) = &node.blocks {
        blocks.rest(entry.id.into());
    }
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

/// From the request to the end. Returns when the user pauses it before there is a transfer that could be paused.
async fn run(node: &Arc<Inner>, entry: &Arc<Entry>) -> Result<(), Fault> {
    unpaused(node, entry).await;
    let request = entry.facts().record.request.clone();
    let (metainfo, torrent, belief, turn) = tokio::select! {
        biased;
        () = is_paused(entry) => return Ok(()),
        prepared = prepare(node, entry, &request) => prepared?,
    };
    let running = begin(node, entry, metainfo, &torrent, belief).await?;
    if matches!(request, AddRequest::Share(_)) {
        ipfs::name(node, entry, &running).await;
    }
    let known = Event::Metadata { transfer: Box::new(node.view_of(entry, &node.around().await).await) };
    let is_get = matches!(request, AddRequest::Get(_));
    if is_get {
        node.emit(known.clone());
    }
    if matches!(running.transfer.progress().borrow().activity, Activity::Checking(..)) {
        set_state(node, entry, State::Checking, None);
        running.transfer.checked().await;
    }
    if !is_get {
        is_true(entry, &running)?;
        node.emit(known);
    }
    let whole = running.is_whole();
    let_in(node, &torrent, &running);
    node.door.dht_nodes(&torrent, &running.metainfo.nodes);
    if is_get {
        warn_of_collision(node, entry, &running.metainfo.info);
        let info = &running.metainfo.info;
        let folder = info.root().map(|root| root.as_path().as_os_str().as_encoded_bytes().to_vec());
        let urls = entry.facts().web_seeds.clone();
        node.door.web_seeds(&torrent, &urls, folder.as_deref());
    }
    announce(node, entry, &torrent, Some(&running)).await;
    attend(node, entry, &torrent, &running, whole, turn).await?;
    Ok(())
}

/// Everything before the transfer itself: its turn to download, and its torrent.
async fn prepare(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    request: &AddRequest,
) -> Result<(Metainfo, Arc<Torrent>, Belief, Option<Turn>), Fault> {
    let AddRequest::Get(get) = request else {
        let (metainfo, torrent, belief) = shared(node, entry, request).await?;
        return Ok((metainfo, torrent, belief, None));
    };
    // What is complete needs no turn.
    let turn = if entry.facts().record.finished.is_none() {
        set_state(node, entry, State::Queued, None);
        Some(node.queue.clone().turn().await)
    } else {
        None
    };
    let (metainfo, torrent, belief) = fetched(node, entry, &get.link).await?;
    Ok((metainfo, torrent, belief, turn))
}

/// Whether what is shared is what the torrent says, at least in part.
fn is_true(entry: &Entry, running: &Running) -> Result<(), Problem> {
    let store = running.transfer.store();
    // What changed since it was verified is named as such.
    if !store.verified().is_empty()
        || running.metainfo.info.layout.piece_count() == 0
        || !store.changed().is_empty()
    {
        return Ok(());
    }
    let path = entry.facts().path.clone();
    Err(Problem::new("no_match", format!("{path:?} is not what the torrent describes: no piece matches"))
        .hint("name the file or the top folder that the torrent was made of"))
}

/// Waits until the user pauses it.
async fn is_paused(entry: &Entry) {
    let mut paused = entry.paused.subscribe();
    if paused.wait_for(|paused| *paused).await.is_err() {
        std::future::pending().await
    }
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
) -> Result<(Metainfo, Arc<Torrent>, Belief), Fault> {
    let AddRequest::Share(share) = request else {
        return Err(Problem::new("internal", "not a share").into());
    };
    let (metainfo, belief) = match kept_when_there(node, entry, &share.path.0).await? {
        Some(metainfo) => (metainfo, Belief::Journal),
        None => {
            set_state(node, entry, State::Hashing, None);
            let authored = hash_for(entry, &share.path.0, &share.author).await?;
            for (path, why) in &authored.skipped {
                let problem = Problem::new("skipped", format!("{path:?} is not shared: {why}"));
                node.emit(Event::Warning { id: Some(entry.id), problem });
            }
            if let Some(Err(error)) = &authored.ipfs {
                node.emit(Event::Warning { id: Some(entry.id), problem: no_cid(error) });
            }
            let (metainfo, named) = (authored.torrent, authored.ipfs.and_then(Result::ok));
            let (owner, bytes) = (entry.clone(), metainfo.to_bytes());
            let written = move || {
                let _ = std::fs::remove_file(owner.slot.journal());
                let leaves = named.map(|named| named.leaves.to_bytes());
                owner.slot.write_leaves(leaves.as_deref())?;
                owner.slot.write_torrent(&bytes)
            };
            blocking(written).await?.map_err(super::begin::storage)?;
            (metainfo, Belief::Hashed(authored.hashed.stamps))
        }
    };
    let info = &metainfo.info;
    let torrent = enter(node, entry, info.hashes, Some(info.private))?;
    Ok((metainfo, torrent, belief))
}

/// Runs what waits for the disk where waiting is no harm.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::new("internal", error))
}

/// The torrent of what is fetched: kept from before, given, or asked of peers.
async fn fetched(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    link: &Link,
) -> Result<(Metainfo, Arc<Torrent>, Belief), Fault> {
    let magnet = match link {
        Link::Name(name) => name.parse::<Magnet>().ok(),
        Link::Torrent(_) => None,
    };
    let owner = entry.clone();
    let kept = blocking(move || {
        let bytes = owner.slot.read_torrent()?;
        // A damaged one is as good as none: it is fetched again.
        Metainfo::parse(&bytes).inspect_err(|error| warn!(%error, "a kept torrent is damaged")).ok()
    });
    if let Some(metainfo) = kept.await? {
        let torrent = enter(node, entry, metainfo.info.hashes, Some(metainfo.info.private))?;
        return Ok((metainfo, torrent, Belief::Journal));
    }
    let Some(magnet) = magnet else { return Err(Problem::new("refused", "the torrent was not kept").into()) };
    let given = named_peers(&entry.facts().record.request).0.len();
    entry.facts().given = u32::try_from(given).unwrap_or(u32::MAX);
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
    let info =
        Info::parse(raw).map_err(|error| Problem::refused("the torrent that the link names", &error))?;
    node.door.learn_private(&torrent, info.private).await;
    let mut metainfo = Metainfo::from(info);
    metainfo.trackers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
    metainfo.web_seeds = magnet.web_seeds.clone();
    claim(node, entry, metainfo.info.hashes)?;
    let (owner, bytes) = (entry.clone(), metainfo.to_bytes());
    blocking(move || owner.slot.write_torrent(&bytes)).await?.map_err(super::begin::storage)?;
    Ok((metainfo, torrent, Belief::Journal))
}

/// Says that a transfer in the door is of this content. A link that named one of the two hashes may lead to what is here already
/// under the other; then it gives up what it had of it, so that of two that meet so one stays.
fn claim(node: &Inner, entry: &Entry, hashes: InfoHashes) -> Result<(), Fault> {
    let entries = node.entries();
    let holder = Inner::holder_of(&entries, hashes, entry.id);
    entry.facts().hashes = holder.is_none().then_some(hashes);
    holder.map_or(Ok(()), |other| Err(Fault::Same(other)))
}

/// Brings the torrent into the door, unless another transfer has it.
fn enter(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    hashes: InfoHashes,
    private: Option<bool>,
) -> Result<Arc<Torrent>, Fault> {
    // Under the lock: two of the same may come at the same time.
    let entries = node.entries();
    if let Some(other) = Inner::holder_of(&entries, hashes, entry.id) {
        return Err(Fault::Same(other));
    }
    let torrent = node.door.add(hashes, private);
    let mut facts = entry.facts();
    facts.hashes = Some(hashes);
    facts.torrent = Some(torrent.clone());
    Ok(torrent)
}

/// The peers that the user or the link named: addresses, and names to be looked up.
fn named_peers(request: &AddRequest) -> (Vec<SocketAddr>, Vec<String>) {
    let (options, magnet) = match request {
        AddRequest::Share(share) => (&share.options, None),
        AddRequest::Get(GetRequest { link: Link::Name(name), options, .. }) => {
            (options, name.parse::<Magnet>().ok())
        }
        AddRequest::Get(get) => (&get.options, None),
    };
    let (mut addresses, mut names) = (options.peers.clone(), Vec::new());
    for peer in magnet.into_iter().flat_map(|magnet| magnet.peers) {
        match peer {
            PeerAddress::Ip(address) => addresses.push(address),
            named => names.push(named.to_string()),
        }
    }
    (addresses, names)
}

/// Tells the torrent of the peers that the user or the link named. Addresses count at once; names are looked up on the side, since a
/// link may hold many that lead nowhere.
async fn introduce(node: &Arc<Inner>, entry: &Arc<Entry>, torrent: &Arc<Torrent>) {
    let request = entry.facts().record.request.clone();
    let (addresses, mut names) = named_peers(&request);
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

/// Watches a running transfer: states, completion, the goal of seeding, pausing, and its turn to download. `whole`: every byte was there
/// from the beginning. Returns only when the transfer cannot go on; it is dropped when the transfer is removed.
async fn attend(
    node: &Arc<Inner>,
    entry: &Arc<Entry>,
    torrent: &Arc<Torrent>,
    running: &Arc<Running>,
    mut whole: bool,
    mut turn: Option<Turn>,
) -> Result<(), Problem> {
    let mut haste = Haste::new(Instant::now());
    let mut public = node.door.public_address();
    let mut progress = running.transfer.progress();
    let mut paused = entry.paused.subscribe();
    let mut was_paused = *paused.borrow_and_update();
    let mut engine_paused = false;
    let mut asking = None;
    introduce(node, entry, torrent).await;
    let (mut reached, mut layered) = (false, false);
    let mut served = Served::new(entry.facts().record.served);
    loop {
        let now_at = progress.borrow_and_update().clone();
        if let Activity::Stalled(stall) = &now_at.activity
            && !stall.kind.passes()
        {
            return Err(cannot_use(stall, entry.role));
        }
        // Trackers count complete copies (BEP 3): a selection of files is none (BEP 21). Told first:
        // who waits for the end may end everything at once.
        if now_at.finished && !whole && running.is_whole() {
            whole = true;
            node.door.completed(torrent).await;
        }
        if now_at.finished && entry.facts().record.finished.is_none() {
            finished(node, entry, running).await;
        }
        if std::mem::replace(&mut layered, now_at.finished) != now_at.finished && now_at.finished {
            compute_layers(node, entry, torrent, running);
        }
        let alone = now_at.activity == Activity::Downloading && now_at.stats.peers_connected == 0;
        if haste.is_due(Instant::now(), alone) {
            node.door.hurry(torrent).await;
        }
        if reached && !now_at.finished && now_at.stats.left > 0 {
            // More is wanted now than when the goal was reached.
            reached = false;
            announce(node, entry, torrent, Some(running)).await;
        }
        let goal = entry.facts().goal();
        let serves = now_at.finished && !reached && !was_paused;
        served.run(Instant::now(), serves);
        let keep_again = match goal.seconds.map(Duration::from_secs) {
            Some(time) if serves => {
                if let Some(seconds) = served.take_due(Instant::now(), time) {
                    entry.keep(|record| record.served = seconds).await;
                }
                served.next_due(Instant::now(), time)
            }
            _ => None,
        };
        let due = due(entry, goal, &now_at, served.total(Instant::now()));
        if serves && due == Some(Duration::ZERO) {
            reached = true;
            if entry.role == Role::Share && entry.facts().record.one_off {
                // The same command, given again, is meant to serve again.
                entry.keep(|record| record.sent_before = now_at.uploaded_total).await;
            }
            node.door.withdraw(torrent).await;
        }
        // Whoever does not fetch gives its turn to another; whoever has none waits for one.
        let stalled = matches!(now_at.activity, Activity::Stalled(_));
        let fetches = entry.role == Role::Get && !now_at.finished && !was_paused && !stalled;
        if !fetches {
            (turn, asking) = (None, None);
        } else if turn.is_none() && asking.is_none() {
            turn = node.queue.try_turn();
            asking = turn.is_none().then(|| Box::pin(node.queue.clone().turn()));
        }
        let pause = was_paused || reached || asking.is_some();
        if std::mem::replace(&mut engine_paused, pause) != pause {
            running.transfer.pause(pause).await;
        }
        let (state, problem) =
            state_of(&now_at, entry.role, reached, running.metainfo.info.layout.content_length());
        let state = match state {
            State::Checking => state,
            _ if was_paused => State::Paused,
            _ if asking.is_some() => State::Queued,
            _ => state,
        };
        set_state(node, entry, state, problem);
        tokio::select! {
            changed = progress.changed() => if changed.is_err() {
                return Err(Problem::new("internal", "the transfer ended unexpectedly"));
            },
            _ = paused.changed() => {
                let pause = *paused.borrow_and_update();
                if pause == was_paused {
                    continue;
                }
                was_paused = pause;
                if pause {
                    node.door.withdraw(torrent).await;
                } else {
                    // Resuming what was complete serves it again, without a goal.
                    if std::mem::take(&mut reached) {
                        entry.keep(|record| record.goal = SeedGoal::default()).await;
                    }
                    announce(node, entry, torrent, Some(running)).await;
                }
            }
            Ok(()) = public.changed() => {
                let own_address = *public.borrow_and_update();
                running.transfer.configure(config(node, entry, own_address)).await;
            }
            given = next_turn(&mut asking) => (turn, asking) = (Some(given), None),
            () = wait(due), if serves => {}
            () = wait(keep_again) => {}
        }
    }
}

/// The turn that was asked for; never, if none was.
async fn next_turn(asking: &mut Option<std::pin::Pin<Box<impl Future<Output = Turn>>>>) -> Turn {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

async fn wait(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

/// How long until the goal of seeding is reached by time; zero when it is reached now.
fn due(entry: &Entry, goal: SeedGoal, progress: &Progress, served: Duration) -> Option<Duration> {
    let facts = entry.facts();
    let size = facts.running.as_ref().map_or(0, |running| running.metainfo.info.layout.content_length());
    let sent = progress.uploaded_total.saturating_sub(facts.record.sent_before);
    let by_ratio = goal.ratio.is_some_and(|ratio| sent as f64 >= ratio * size as f64);
    let by_time = goal.seconds.map(|seconds| Duration::from_secs(seconds).saturating_sub(served));
    if by_ratio { Some(Duration::ZERO) } else { by_time }
}
