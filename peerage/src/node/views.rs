//! What a node tells about its transfers: engine numbers in the words of the [model](crate::model).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::{Magnet, PeerAddress};
use peerage_bittorrent::torrent::Torrent;
use peerage_bittorrent::tracker;
use peerage_content::{EntryKind, Layout};
use peerage_swarm::core::PeerStats;
use peerage_swarm::driver::{Activity, Direction};

use super::entry::{Entry, Facts, Running};
use super::select::wanted_bytes;
use super::{Inner, hex};
use crate::model::{
    FileView, Limits, PeerView, Sources, State, StateCount, StatsView, TrackerState, TrackerView,
    TransferView,
};

impl Inner {
    /// A transfer as it is now.
    pub(super) async fn view_of(&self, entry: &Entry) -> TransferView {
        let (primary, private) = {
            let facts = entry.facts();
            (facts.hashes.and_then(|hashes| hashes.primary()), facts.private)
        };
        let trackers = match primary {
            Some(primary) if !entry.facts().trackers.is_empty() => {
                self.door.announcer().status(primary).await
            }
            _ => Vec::new(),
        };
        let dht_nodes = if private { None } else { self.dht_nodes().await };
        let facts = entry.facts();
        let in_state = |state| trackers.iter().filter(|tracker| tracker.state == state).count() as u32;
        let sources = Sources {
            trackers: facts.trackers.iter().flatten().count() as u32,
            trackers_working: in_state(tracker::TrackerState::Working),
            trackers_failed: in_state(tracker::TrackerState::Failing),
            dht_nodes,
            lan: self.door.lan().is_some() && !private,
            given: facts.given,
            web_seeds: facts.web_seeds.len() as u32,
        };
        transfer(entry, &facts, sources, &self.listening_for_others())
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
            dht_nodes: self.dht_nodes().await,
            limits: Limits { up: throttle.rate(Direction::Up), down: throttle.rate(Direction::Down) },
            transfers: states,
        }
    }

    /// Nodes in the DHT's routing table; `None`: it is off.
    async fn dht_nodes(&self) -> Option<u32> {
        let status = self.door.dht()?.status().await?;
        Some(u32::try_from(status.nodes).unwrap_or(u32::MAX))
    }

    /// Our listeners as another machine may reach them.
    fn listening_for_others(&self) -> Vec<SocketAddr> {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let mut reachable = Vec::new();
        for address in self.door.listening() {
            if !address.ip().is_unspecified() {
                reachable.push(*address);
                continue;
            }
            for interface in &interfaces {
                let ip = interface.ip();
                let link_local = match ip {
                    IpAddr::V4(ip) => ip.is_link_local(),
                    IpAddr::V6(ip) => ip.is_unicast_link_local(),
                };
                let on_this_machine = interface.is_loopback() || interface.name == "lo";
                if !on_this_machine && !link_local && ip.is_ipv4() == address.is_ipv4() {
                    reachable.push(SocketAddr::new(ip, address.port()));
                }
            }
        }
        reachable
    }
}

fn transfer(entry: &Entry, facts: &Facts, sources: Sources, listening: &[SocketAddr]) -> TransferView {
    let running = facts.running.as_deref();
    let info = running.map(|running| &running.metainfo.info);
    let progress = running.map(|running| running.transfer.progress().borrow().clone()).unwrap_or_default();
    let stats = &progress.stats;
    let wanted = running.map(|running| wanted_bytes(&running.metainfo.info.layout, &running.priorities()));
    let (hashed, hashing) = match &progress.activity {
        Activity::Checking(hashed, total) => (*hashed, Some(*total)),
        _ => (entry.hashed(), facts.hashing),
    };
    let verified = wanted.map_or(0, |wanted| wanted.saturating_sub(stats.left).min(progress.verified_bytes));
    let seconds_left = match facts.state {
        State::Downloading if stats.download_rate > 0 => Some(stats.left.div_ceil(stats.download_rate)),
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
        download_rate: stats.download_rate,
        upload_rate: stats.upload_rate,
        seconds_left,
        peers_connected: stats.peers_connected as u32,
        seeds_connected: stats.seeds_connected as u32,
        peers_known: stats.peers_known as u32,
        availability: stats.availability,
        sources,
        limits: Limits { up: entry.throttle.rate(Direction::Up), down: entry.throttle.rate(Direction::Down) },
        goal: facts.goal(),
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
        transport: "tcp".to_owned(),
        encrypted: met.as_ref().is_some_and(|met| met.encrypted),
        outgoing: stats.outgoing,
        found: Vec::new(),
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
