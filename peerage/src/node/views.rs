//! What a node tells about its transfers: engine numbers in the words of the [model](crate::model).

use std::net::SocketAddr;
use std::time::Instant;

use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::{Magnet, PeerAddress};
use peerage_bittorrent::torrent::Torrent;
use peerage_bittorrent::tracker;
use peerage_content::{EntryKind, Layout, PieceSet};
use peerage_swarm::core::{Found, PeerStats};
use peerage_swarm::driver::{Activity, Direction};

use super::entry::{Entry, Facts, Running};
use super::select::wanted_bytes;
use super::surroundings::Around;
use super::{Inner, hex};
use crate::model::{
    Check, FilePriority, FileView, Limits, PeerView, Sources, State, StateCount, StatsView, TrackerState,
    TrackerView, TransferView,
};

impl Inner {
    /// A transfer as it is now.
    pub(super) async fn view_of(&self, entry: &Entry, around: &Around) -> TransferView {
        let primary = entry.facts().hashes.and_then(|hashes| hashes.primary());
        let trackers = match primary {
            Some(primary) if !entry.facts().trackers.is_empty() => {
                self.door.announcer().status(primary).await
            }
            _ => Vec::new(),
        };
        let facts = entry.facts();
        let private = facts.private;
        let in_state = |state| trackers.iter().filter(|tracker| tracker.state == state).count() as u32;
        let sources = Sources {
            trackers: facts.trackers.iter().flatten().count() as u32,
            trackers_working: in_state(tracker::TrackerState::Working),
            trackers_failed: in_state(tracker::TrackerState::Failing),
            dht_nodes: around.dht_nodes.filter(|_| !private),
            lan: self.door.lan().is_some() && !private,
            given: facts.given,
            web_seeds: facts.web_seeds.len() as u32,
        };
        TransferView {
            gateway: self.gateway_of(&facts),
            ..transfer(entry, &facts, sources, &around.listening)
        }
    }

    /// Where a browser finds a transfer.
    fn gateway_of(&self, facts: &Facts) -> Option<String> {
        let (names, address) = (facts.ipfs.as_ref()?, self.gateway.get()?);
        Some(format!("http://{address}/ipfs/{}", names.path()))
    }

    /// The whole node, given its transfers.
    pub(super) async fn stats(&self, transfers: Vec<TransferView>) -> StatsView {
        let sum = |of: fn(&TransferView) -> u64| transfers.iter().map(of).sum();
        let mut states: Vec<StateCount> = Vec::new();
        for view in &transfers {
            match states.iter_mut().find(|count| count.state == view.state) {
                Some(count) => count.count += 1,
                None => states.push(StateCount { state: view.state, count: 1 }),
            }
        }
        let throttle = &self.resources.throttle;
        StatsView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed().as_secs(),
            listening: self.door.listening().to_vec(),
            downloaded: sum(|view| view.downloaded),
            uploaded: sum(|view| view.uploaded),
            wasted: sum(|view| view.wasted),
            download_rate: sum(|view| view.download_rate),
            upload_rate: sum(|view| view.upload_rate),
            peers_connected: transfers.iter().map(|view| view.peers_connected).sum(),
            peers_known: transfers.iter().map(|view| view.peers_known).sum(),
            dht_nodes: self.around().await.dht_nodes,
            limits: Limits { up: throttle.rate(Direction::Up), down: throttle.rate(Direction::Down) },
            transfers: states,
        }
    }
}

fn transfer(entry: &Entry, facts: &Facts, sources: Sources, listening: &[SocketAddr]) -> TransferView {
    let running = facts.running.as_deref();
    let info = running.map(|running| &running.metainfo.info);
    let progress = running.map(|running| running.transfer.progress().borrow().clone()).unwrap_or_default();
    let stats = &progress.stats;
    // The transfer meets those who told of the torrent a moment after it began.
    let (peers_connected, peers_known) = match &facts.torrent {
        Some(torrent) if facts.state == State::FetchingMetadata => {
            (torrent.connected(), torrent.sought().max(torrent.connected()))
        }
        _ => (stats.peers_connected, stats.peers_known),
    };
    // Numbers are published now and then: without peers nothing moves, whatever they said last.
    let rate = |rate| if stats.peers_connected == 0 { 0 } else { rate };
    let wanted = running.map(|running| wanted_bytes(&running.metainfo.info.layout, &running.priorities()));
    let (hashed, hashing) = match &progress.activity {
        Activity::Checking(hashed, total) => (*hashed, Some(*total)),
        _ => (entry.hashed(), facts.hashing),
    };
    let verified = wanted.map_or(0, |wanted| wanted.saturating_sub(stats.left).min(progress.verified_bytes));
    let seconds_left = match facts.state {
        State::Downloading if rate(stats.download_rate) > 0 => Some(stats.left.div_ceil(stats.download_rate)),
        _ => None,
    };
    let magnet = facts.hashes.filter(|_| info.is_some()).map(|hashes| {
        let peers = listening.iter().filter(|_| !facts.private).map(|address| PeerAddress::Ip(*address));
        let magnet = Magnet {
            name: info.map(|info| info.display_name().into_owned()),
            trackers: facts.trackers.iter().flatten().cloned().collect(),
            web_seeds: facts.web_seeds.clone(),
            peers: peers.collect(),
            ..Magnet::new(hashes)
        };
        magnet.to_string()
    });
    let (v1, v2) = facts
        .hashes
        .map_or((None, None), |InfoHashes { v1, v2 }| (v1.map(|hash| hex(&hash)), v2.map(|hash| hex(&hash))));
    TransferView {
        id: entry.id,
        info_hash_v1: v1,
        info_hash_v2: v2,
        cid: facts.ipfs.as_ref().map(|names| names.content.to_string()),
        ipfs: facts.ipfs.as_ref().map(|names| format!("ipfs://{}", names.path())),
        gateway: None,
        name: facts.name.clone().into(),
        role: entry.role,
        state: facts.state,
        problem: facts.problem.clone(),
        path: facts.path.clone().into(),
        size: info.map(|info| info.layout.content_length()).or(hashing),
        wanted,
        verified,
        hashed,
        files: info.map(|info| file_entries(&info.layout).count() as u32),
        piece_length: info.map(|info| info.piece_length()),
        private: facts.private,
        sequential: match &facts.record.request {
            crate::model::AddRequest::Share(share) => share.options.sequential,
            crate::model::AddRequest::Get(get) => get.options.sequential,
        },
        downloaded: progress.downloaded_total,
        uploaded: progress.uploaded_total,
        wasted: stats.wasted,
        download_rate: rate(stats.download_rate),
        upload_rate: rate(stats.upload_rate),
        seconds_left,
        peers_connected: peers_connected as u32,
        seeds_connected: stats.seeds_connected as u32,
        peers_known: peers_known as u32,
        hosts_banned: stats.hosts_banned as u32,
        availability: stats.availability,
        sources,
        limits: Limits { up: entry.throttle.rate(Direction::Up), down: entry.throttle.rate(Direction::Down) },
        goal: facts.goal(),
        check: facts.check,
        added: facts.record.added,
        finished: facts.record.finished,
        magnet,
    }
}

/// The entries that are files, by their number for users: pads and links have none.
pub(super) fn file_entries(layout: &Layout) -> impl Iterator<Item = usize> + '_ {
    let entries = layout.entries().iter().enumerate();
    entries.filter(|(_, entry)| matches!(entry.kind, EntryKind::File { .. })).map(|(index, _)| index)
}

/// The result of a check of every byte.
pub(super) fn check(number: u32, running: &Running, verified: &PieceSet) -> Check {
    let layout = &running.metainfo.info.layout;
    let priorities = running.priorities();
    let is_wanted = |entry: &usize| priorities.get(*entry) != Some(&FilePriority::Skip);
    let bytes = |entry| {
        let pieces = layout.pieces_of(entry).filter(|piece| verified.contains(*piece));
        pieces.map(|piece| overlap(layout, entry, piece)).sum::<u64>()
    };
    Check {
        number,
        verified: file_entries(layout).filter(is_wanted).map(bytes).sum(),
        wanted: wanted_bytes(layout, &priorities),
    }
}

/// All files of a transfer.
pub(super) fn files(running: &Running) -> Vec<FileView> {
    let layout = &running.metainfo.info.layout;
    let store = running.transfer.store();
    let changed = store.changed();
    let priorities = running.priorities();
    file_entries(layout)
        .enumerate()
        .filter_map(|(index, number)| {
            let entry = layout.entries().get(number)?;
            let verified = layout.pieces_of(number).filter(|piece| store.is_verified(*piece));
            let verified = verified.map(|piece| overlap(layout, number, piece)).sum();
            Some(FileView {
                index: index as u32,
                path: entry.path.as_path().to_owned().into(),
                size: entry.length,
                verified,
                priority: priorities.get(number).copied().unwrap_or_default(),
                changed: changed.contains(&number),
            })
        })
        .collect()
}

/// Bytes that a piece and an entry have in common.
fn overlap(layout: &Layout, entry: usize, piece: u32) -> u64 {
    let Some(file) = layout.entries().get(entry) else { return 0 };
    let (first, begin) = layout.locate(entry, 0);
    let start = u64::from(piece - first) * u64::from(layout.piece_length());
    let from = start.saturating_sub(u64::from(begin));
    let to = (start + u64::from(layout.piece_size(piece))).saturating_sub(u64::from(begin));
    to.min(file.length).saturating_sub(from.min(file.length))
}

/// One peer.
pub(super) fn peer(stats: &PeerStats, pieces: u32, torrent: Option<&Torrent>) -> PeerView {
    let met = torrent.and_then(|torrent| torrent.met_at(stats.address));
    PeerView {
        address: stats.address,
        client: met.as_ref().and_then(|met| met.client.clone()),
        transport: if stats.serves_only { "http" } else { "tcp" }.to_owned(),
        encrypted: met.as_ref().is_some_and(|met| met.encrypted),
        outgoing: stats.outgoing,
        found: found(stats),
        downloaded: stats.downloaded,
        uploaded: stats.uploaded,
        download_rate: stats.download_rate,
        upload_rate: stats.upload_rate,
        progress: if pieces == 0 { 1.0 } else { stats.pieces as f32 / pieces as f32 },
        choking_us: stats.choking_us,
        choked: stats.choked,
        interested: stats.interested,
        interesting: stats.interesting,
        requests: stats.requests as u32,
        snubbed: stats.snubbed,
        connected: stats.connected.as_secs(),
    }
}

/// Where the address of a peer was learnt, in words.
fn found(stats: &PeerStats) -> Vec<String> {
    let words = [
        (Found::GIVEN, "given"),
        (Found::TRACKER, "tracker"),
        (Found::DHT, "dht"),
        (Found::LAN, "lan"),
        (Found::EXCHANGE, "exchange"),
        (Found::INCOMING, "incoming"),
        (Found::RESUME, "resume"),
    ];
    let known = words.into_iter().filter(|(found, _)| stats.found.0 & found.0 != 0).map(|(_, word)| word);
    let mut words: Vec<String> = known.map(str::to_owned).collect();
    if words.is_empty() {
        // The link or the torrent names servers; whoever else is unknown came by itself.
        words.push(if stats.outgoing || stats.serves_only { "given" } else { "incoming" }.to_owned());
    }
    words
}

/// One tracker.
pub(super) fn tracker(status: tracker::announcer::TrackerStatus) -> TrackerView {
    TrackerView {
        url: status.url.url().to_string(),
        tier: status.tier as u32,
        state: match status.state {
            tracker::TrackerState::Idle => TrackerState::Idle,
            tracker::TrackerState::Asking => TrackerState::Asking,
            tracker::TrackerState::Working => TrackerState::Working,
            tracker::TrackerState::Failing => TrackerState::Failed,
        },
        message: status.message,
        peers: status.peers as u32,
        seeds: status.swarm.map(|swarm| swarm.seeders),
        leechers: status.swarm.map(|swarm| swarm.leechers),
        next_announce: status.next.map(|at| at.saturating_duration_since(Instant::now()).as_secs()),
    }
}
