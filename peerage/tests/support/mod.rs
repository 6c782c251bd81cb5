//! A node that only pretends, and a daemon around it: for tests of the API and of the command line.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use peerage::api::guard::Guard;
use peerage::api::{Client, DaemonLock, Endpoint, serve};
use peerage::control::{Answer, Control, Reader, Updates, watching};
use peerage::errors::no_such_transfer;
use peerage::model::*;
use peerage::spool::{STDIN, adopt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The content of every transfer: `holiday/video.mkv` of 600 bytes and `holiday/notes.txt` of 400.
pub const SIZES: [u64; 2] = [600, 400];

pub fn content(file: u32) -> Vec<u8> {
    (0..SIZES[file as usize]).map(|at| (at % 251) as u8 ^ file as u8).collect()
}

/// Transfers live in a map; a download gets a third further with each look at it.
#[derive(Clone, Debug)]
pub struct FakeNode {
    state: Arc<Mutex<BTreeMap<u32, TransferView>>>,
    /// What was asked, in words, for tests that look at it.
    asked: Arc<Mutex<Vec<String>>>,
    events: broadcast::Sender<Event>,
    /// Being removed: whoever looks learns that it is gone a moment before the event says so.
    leaving: Arc<Mutex<Option<TransferId>>>,
}

impl Default for FakeNode {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            asked: Arc::default(),
            events: broadcast::channel(64).0,
            leaving: Arc::default(),
        }
    }
}

pub fn a_transfer(id: u32) -> TransferView {
    TransferView {
        id: TransferId(id),
        info_hash_v1: Some(format!("{id:02x}").repeat(20)),
        info_hash_v2: Some(format!("{:02x}", id + 0xa0).repeat(32)),
        cid: None,
        ipfs: None,
        gateway: None,
        name: "holi\x1b[2Jday".into(),
        role: Role::Get,
        state: State::Downloading,
        problem: None,
        path: "/nowhere/holiday".into(),
        size: Some(1000),
        wanted: Some(1000),
        verified: 0,
        hashed: 0,
        files: Some(2),
        piece_length: Some(16384),
        private: false,
        sequential: false,
        downloaded: 0,
        uploaded: 250,
        wasted: 0,
        download_rate: 0,
        upload_rate: 0,
        seconds_left: None,
        peers_connected: 0,
        seeds_connected: 0,
        peers_known: 0,
        hosts_banned: 0,
        availability: 0.0,
        sources: Sources { trackers: 2, dht_nodes: Some(42), lan: true, ..Sources::default() },
        limits: Limits::default(),
        goal: SeedGoal::default(),
        check: None,
        added: 1_700_000_000,
        finished: None,
        magnet: Some(format!(
            "magnet:?xt=urn:btih:{}&dn=holiday&x.pe=192.0.2.7:6881",
            format!("{id:02x}").repeat(20)
        )),
    }
}

impl FakeNode {
    /// With a transfer that stays as it is.
    pub fn with(self, view: TransferView) -> Self {
        self.all().insert(view.id.0, view);
        self
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, TransferView>> {
        self.state.lock().unwrap()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn change(&self, id: TransferId, change: impl FnOnce(&mut TransferView)) -> Result<(), Problem> {
        let mut all = self.all();
        let view = all.get_mut(&id.0).ok_or_else(|| no_such_transfer(&TransferRef::Number(id)))?;
        change(view);
        // Nobody may listen.
        let _ = self.events.send(Event::State { id, state: view.state, problem: None });
        Ok(())
    }

    /// Begins to remove a transfer: the next look at it is too late.
    pub fn vanish(&self, id: TransferId) {
        *self.leaving.lock().unwrap() = Some(id);
        let _ = self.events.send(Event::State { id, state: State::Paused, problem: None });
    }

    fn look(&self, id: TransferId) -> Result<TransferView, Problem> {
        let mut all = self.all();
        if self.leaving.lock().unwrap().take_if(|leaving| *leaving == id).is_some() {
            all.remove(&id.0);
            let _ = self.events.send(Event::Removed { id, same_as: None });
        }
        let view = all.get_mut(&id.0).ok_or_else(|| no_such_transfer(&TransferRef::Number(id)))?;
        let seen = view.clone();
        if view.state == State::Downloading && view.sources.given > 0 {
            view.verified = (view.verified + 334).min(1000);
            view.downloaded = view.verified;
            view.peers_connected = 1;
            if view.verified == 1000 {
                view.state = State::Seeding;
                view.finished = Some(1_700_000_001);
            }
        }
        if view.state == State::Checking {
            view.state = State::Seeding;
            view.verified = 1000;
            let number = view.check.map_or(1, |check| check.number + 1);
            view.check = Some(Check { number, verified: 1000, wanted: 1000 });
        }
        Ok(seen)
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T, Problem>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Control for FakeNode {
    fn add(&self, request: AddRequest) -> Answer<'_, Added> {
        self.note(format!("add {}", serde_json::to_string(&request).unwrap()));
        let id = self.all().len() as u32 + 1;
        let mut view = a_transfer(id);
        match request {
            AddRequest::Share(share) => {
                // As a daemon does.
                let path = share.path.as_path();
                if let Some(stdin) = path.ancestors().nth(2).filter(|folder| folder.ends_with(STDIN)) {
                    adopt(stdin, path).unwrap();
                }
                view.role = Role::Share;
                view.state = State::Seeding;
                view.name = share.path.as_path().file_name().unwrap().into();
                view.path = share.path;
            }
            AddRequest::Get(get) => {
                if get.link == Link::Name("0".repeat(40)) {
                    let mut problem =
                        Problem::new("refused", "the magnet link is refused").hint("name another");
                    problem.causes.push("nobody is called zero".into());
                    return ready(Err(problem));
                }
                if let Some(old) =
                    self.all().values().find(|old| get.link == Link::Name(old.info_hash_v1.clone().unwrap()))
                {
                    return ready(Ok(Added { id: old.id, existing: true }));
                }
                view.path = get.folder;
                view.sources.given = 1;
            }
        }
        self.all().insert(id, view);
        ready(Ok(Added { id: TransferId(id), existing: false }))
    }
    fn find<'a>(&'a self, which: &'a TransferRef) -> Answer<'a, TransferId> {
        let all = self.all();
        let found = all.values().find(|view| match which {
            TransferRef::Number(id) => view.id == *id,
            TransferRef::Hash(hash) => view.info_hash_v1.as_deref().is_some_and(|v1| v1.starts_with(hash)),
        });
        ready(found.map(|view| view.id).ok_or_else(|| no_such_transfer(which)))
    }
    fn list(&self) -> Answer<'_, Vec<TransferView>> {
        ready(Ok(self.all().values().cloned().collect()))
    }
    fn view(&self, id: TransferId) -> Answer<'_, TransferView> {
        ready(self.look(id))
    }
    fn peers(&self, id: TransferId) -> Answer<'_, Vec<PeerView>> {
        let peer = PeerView {
            address: "192.0.2.1:6881".parse().unwrap(),
            client: Some("evil \x1b]0;title\x07 client".into()),
            transport: "tcp".into(),
            encrypted: true,
            outgoing: false,
            found: vec!["dht".into()],
            downloaded: 1 << 20,
            uploaded: 0,
            download_rate: 2048,
            upload_rate: 0,
            progress: 0.5,
            choking_us: false,
            choked: true,
            interested: true,
            interesting: true,
            requests: 3,
            snubbed: false,
            connected: 60,
        };
        ready(if id.0 == 1 { Ok(vec![peer]) } else { Ok(Vec::new()) })
    }
    fn files(&self, id: TransferId) -> Answer<'_, Vec<FileView>> {
        let file = |index: u32, path: &str| FileView {
            index,
            path: path.into(),
            size: SIZES[index as usize],
            verified: 0,
            priority: FilePriority::Normal,
            changed: false,
        };
        let mut files = vec![file(0, "video.mkv"), file(1, "notes.txt")];
        let asked = self.asked();
        if asked.iter().any(|what| what.contains("\"only\":[\"*.mkv\"]")) {
            files[1].priority = FilePriority::Skip;
        }
        ready(self.look(id).map(|_| files))
    }
    fn trackers(&self, id: TransferId) -> Answer<'_, Vec<TrackerView>> {
        let tracker = TrackerView {
            url: "udp://tracker.example:6969".into(),
            tier: 0,
            state: TrackerState::Failed,
            message: Some("go\naway".into()),
            peers: 0,
            seeds: None,
            leechers: None,
            next_announce: Some(90),
        };
        ready(self.look(id).map(|_| vec![tracker]))
    }
    fn torrent(&self, id: TransferId) -> Answer<'_, Vec<u8>> {
        ready(self.look(id).map(|_| b"d4:infod4:name1:xee".to_vec()))
    }
    fn pause(&self, id: TransferId) -> Answer<'_, ()> {
        ready(self.change(id, |view| view.state = State::Paused))
    }
    fn resume(&self, id: TransferId) -> Answer<'_, ()> {
        ready(self.change(id, |view| view.state = State::Seeding))
    }
    fn remove(&self, id: TransferId, delete_files: bool) -> Answer<'_, ()> {
        self.note(format!("remove {id} files={delete_files}"));
        let removed = self.all().remove(&id.0);
        // Nobody may listen.
        let _ = self.events.send(Event::Removed { id, same_as: None });
        ready(removed.map(drop).ok_or_else(|| no_such_transfer(&TransferRef::Number(id))))
    }
    fn verify(&self, id: TransferId) -> Answer<'_, u32> {
        let mut number = 0;
        let checking = self.change(id, |view| {
            view.state = State::Checking;
            number = view.check.map_or(1, |check| check.number + 1);
        });
        ready(checking.map(|()| number))
    }
    fn limit(&self, id: Option<TransferId>, limits: Limits) -> Answer<'_, ()> {
        self.note(format!("limit {id:?} {:?} {:?}", limits.up, limits.down));
        ready(Ok(()))
    }
    fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Answer<'_, ()> {
        self.note(format!("priorities {id} {rules:?}"));
        ready(Ok(()))
    }
    fn add_peers(&self, id: TransferId, peers: Vec<SocketAddr>) -> Answer<'_, ()> {
        self.note(format!("peers {id} {peers:?}"));
        ready(Ok(()))
    }
    fn read(&self, _id: TransferId, file: u32, range: Range<u64>) -> Answer<'_, Reader> {
        if file >= 2 {
            return ready(Err(Problem::new("no_such_file", "there is no such file")));
        }
        let bytes = content(file)[range.start as usize..range.end as usize].to_vec();
        ready(Ok(Box::new(std::io::Cursor::new(bytes)) as Reader))
    }
    fn stats(&self) -> Answer<'_, StatsView> {
        let transfers = vec![StateCount { state: State::Downloading, count: 1 }];
        ready(Ok(StatsView { version: "test".into(), downloaded: 7, transfers, ..StatsView::default() }))
    }
    fn watch(&self, id: Option<TransferId>, _every: Duration) -> Answer<'_, Updates> {
        let events = self.events.subscribe();
        let known = id.map_or(Ok(()), |id| self.look(id).map(drop));
        // Tests do not want to wait for a human's pace.
        ready(known.map(|()| watching(self.clone(), events, id, Duration::from_millis(100))))
    }
    fn stop(&self) -> Answer<'_, ()> {
        ready(Ok(()))
    }
}

/// A fake node behind the real API.
pub struct FakeDaemon {
    pub endpoint: Endpoint,
    pub stop: CancellationToken,
    pub server: JoinHandle<()>,
    _lock: DaemonLock,
}

impl FakeDaemon {
    pub async fn start(data_dir: &Path, node: FakeNode) -> Self {
        Self::start_with(data_dir, node, false).await
    }

    pub async fn start_with(data_dir: &Path, node: FakeNode, metrics_open: bool) -> Self {
        let lock = DaemonLock::take(data_dir).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = lock.publish(listener.local_addr().unwrap()).unwrap();
        let stop = CancellationToken::new();
        let guard = Guard { token: endpoint.token.clone(), metrics_open };
        let server = tokio::spawn(serve(listener, Arc::new(node), guard, stop.clone()));
        Self { endpoint, stop, server, _lock: lock }
    }

    pub fn client(&self) -> Client {
        install_tls();
        Client::new(self.endpoint.clone()).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoint.address)
    }
}

/// As the program does at its start.
pub fn install_tls() {
    // Another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
