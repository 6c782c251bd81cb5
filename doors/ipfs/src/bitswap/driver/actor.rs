//! The task that owns both cores.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cid::Cid;
use peerage_identity::PeerId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::reader::{Arrived, PERMIT};
use super::writer::Letter;
use super::{ARRIVING_MAX, Arrival, Blocks, Streams, reader, writer};
use crate::bitswap::PeerKey;
use crate::bitswap::fetch::{self, Fetch, Received, SessionKey, Stats};
use crate::bitswap::message::{Message, Protocol, Wantlist};
use crate::bitswap::server::{self, Server};

/// Streams that one peer may have open towards us.
const STREAMS_MAX: usize = 16;
/// Letters to one peer: what the cores have under way, and some.
const LETTERS: usize = 8;
/// Time until a peer to which nothing could be written is tried again; doubled each time in a row.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Times that it is tried.
const TRIES_MAX: u32 = 8;
/// Searches for providers at once.
const SEEKS_MAX: usize = 4;
/// Providers that were found and wait to be told of.
const FOUND: usize = 8;

/// What the actor is told.
#[derive(Debug)]
pub(super) enum Note {
    /// A message has arrived.
    Arrived { peer: PeerId, gone: CancellationToken, arrived: Arrived },
    /// Part of one has.
    Heard(PeerId),
    /// A stream to a peer is open: it speaks bitswap.
    Opened { peer: PeerId, key: PeerKey, protocol: Protocol },
    /// A peer to which nothing could be written is to be tried again.
    TryAgain(PeerId),
    /// Nothing can be written to a peer.
    Broke { peer: PeerId, key: PeerKey },
    /// A letter was written.
    Written { key: PeerKey, serves: bool },
    /// A stream of a peer has ended.
    Ended(PeerId),
    /// Blocks were looked up.
    Looked(Vec<(Cid, Option<usize>)>),
    /// A block was read.
    Read { cid: Cid, data: Option<Bytes> },
    /// A block that was fetched is kept, for these sessions.
    Kept { cid: Cid, data: Bytes, sessions: Vec<SessionKey> },
    /// A block is here.
    Stored { cid: Cid, size: usize },
    /// A provider was found, and is connected.
    Found { session: SessionKey, peer: PeerId },
    /// A session begins.
    Open { blocks: mpsc::Sender<(Cid, Bytes)>, closed: CancellationToken, reply: oneshot::Sender<SessionKey> },
    /// A session wants blocks.
    Want { session: SessionKey, cids: Vec<Cid> },
    /// A session ends.
    Close(SessionKey),
    /// Somebody wants to see the numbers.
    Stats(oneshot::Sender<Stats>),
}

/// A peer that is connected.
struct Peer {
    /// As what the cores know it. Another when nothing could be written to it and it is tried again.
    key: PeerKey,
    /// The cores know of it, as somebody to ask.
    joined: bool,
    /// `None` while nothing can be written to it.
    letters: Option<mpsc::Sender<Letter>>,
    /// Times in a row that nothing could.
    broken: u32,
    /// Streams that it opened.
    streams: usize,
    /// Sessions to which it is to be told as a provider when it has joined.
    provides: Vec<SessionKey>,
    /// Ends what is read of it.
    gone: CancellationToken,
}

pub(super) struct Actor<S: Streams, B> {
    streams: S,
    blocks: Arc<B>,
    server: Server,
    fetch: Fetch,
    peers: HashMap<PeerId, Peer>,
    keys: HashMap<PeerKey, PeerId>,
    sessions: BTreeMap<SessionKey, mpsc::Sender<(Cid, Bytes)>>,
    /// Peers and sessions so far.
    count: u64,
    /// The tasks' way to the actor.
    notes: mpsc::Sender<Note>,
    arriving: Arc<Semaphore>,
    seeking: Arc<Semaphore>,
    cancel: CancellationToken,
}

impl<S: Streams, B: Blocks> Actor<S, B> {
    pub(super) fn new(
        streams: S,
        blocks: Arc<B>,
        notes: mpsc::Sender<Note>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            streams,
            blocks,
            server: Server::new(server::Config::default()),
            fetch: Fetch::new(Instant::now()),
            peers: HashMap::new(),
            keys: HashMap::new(),
            sessions: BTreeMap::new(),
            count: 0,
            notes,
            arriving: Arc::new(Semaphore::new(ARRIVING_MAX / PERMIT)),
            seeking: Arc::new(Semaphore::new(SEEKS_MAX)),
            cancel: cancel.child_token(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Arrival<S::Stream>>,
        mut inbox: mpsc::Receiver<Note>,
    ) {
        let _ends_tasks = self.cancel.clone().drop_guard();
        let cancel = self.cancel.clone();
        loop {
            let due = self.fetch.poll_timeout();
            let tick = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                arrival = arrivals.recv() => match arrival {
                    Some(arrival) => self.on_arrival(arrival),
                    None => return,
                },
                Some(note) = inbox.recv() => self.on_note(note),
                () = tick => self.fetch.handle(Instant::now(), fetch::Input::Tick),
            }
            self.carry_out();
        }
    }

    /// Runs something beside the actor, which ends with it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn(&self.cancel, task);
    }

    fn on_arrival(&mut self, arrival: Arrival<S::Stream>) {
        match arrival {
            Arrival::Connected(peer) => {
                self.meet(peer);
            }
            Arrival::Disconnected(peer) => self.part(peer),
            Arrival::Stream(peer, stream) => self.on_stream(peer, stream),
        }
    }

    /// Knows a peer from now on. The cores hear of it when it was found to speak bitswap.
    fn meet(&mut self, id: PeerId) -> &mut Peer {
        let gone = &self.cancel;
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            key: PeerKey(0),
            joined: false,
            letters: None,
            broken: 0,
            streams: 0,
            provides: Vec::new(),
            gone: gone.child_token(),
        });
        if peer.letters.is_none() {
            self.count += 1;
            peer.key = PeerKey(self.count);
            let (letters, queue) = mpsc::channel(LETTERS);
            peer.letters = Some(letters);
            self.keys.insert(peer.key, id);
            let task = writer::write(self.streams.clone(), id, peer.key, queue, self.notes.clone());
            spawn(&self.cancel, task);
        }
        peer
    }

    /// Nothing can be written to a peer. What it sends is still read, and after a while it is tried again, if it ever spoke bitswap.
    fn on_broke(&mut self, id: PeerId, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.key == key) else { return };
        peer.letters = None;
        peer.broken += 1;
        let tries = std::mem::take(&mut peer.joined) || peer.streams > 0 || peer.broken > 1;
        if !tries || peer.broken > TRIES_MAX {
            self.part(id);
            return;
        }
        let (gone, wait, notes) = (peer.gone.clone(), TRY_AGAIN * (1 << peer.broken), self.notes.clone());
        self.leave(key);
        self.spawn(async move {
            if gone.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
                let _ = notes.send(Note::TryAgain(id)).await;
            }
        });
    }

    fn part(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.remove(&id) {
            peer.gone.cancel();
            self.leave(peer.key);
        }
    }

    fn leave(&mut self, peer: PeerKey) {
        let now = Instant::now();
        self.keys.remove(&peer);
        self.server.handle(now, server::Input::Left { peer });
        self.fetch.handle(now, fetch::Input::Left { peer });
    }

    fn on_stream(&mut self, id: PeerId, stream: S::Stream) {
        let (notes, arriving) = (self.notes.clone(), self.arriving.clone());
        let peer = self.meet(id);
        if peer.streams >= STREAMS_MAX {
            return;
        }
        peer.streams += 1;
        let gone = peer.gone.clone();
        self.spawn(async move {
            tokio::select! {
                () = gone.cancelled() => return,
                ended = reader::read(id, stream, notes.clone(), arriving, &gone) => if let Err(error) = ended {
                    tracing::debug!(peer = %id, %error, "a stream of a peer has ended");
                },
            }
            let _ = notes.send(Note::Ended(id)).await;
        });
    }

    fn on_note(&mut self, note: Note) {
        let now = Instant::now();
        match note {
            // What a connection brought that is gone would be taken for that of the next.
            Note::Arrived { gone, .. } if gone.is_cancelled() => {}
            Note::Arrived { peer, arrived, .. } => self.on_message(peer, arrived),
            Note::Heard(peer) => {
                if let Some(peer) = self.key_of(peer) {
                    self.fetch.handle(now, fetch::Input::Heard { peer });
                }
            }
            Note::Opened { peer, key, protocol } => self.on_opened(peer, key, protocol),
            Note::Broke { peer, key } => self.on_broke(peer, key),
            Note::TryAgain(peer) => {
                if self.peers.contains_key(&peer) {
                    self.meet(peer);
                }
            }
            Note::Written { key, serves: true } => self.server.handle(now, server::Input::Sent { peer: key }),
            Note::Written { key, serves: false } => self.fetch.handle(now, fetch::Input::Sent { peer: key }),
            Note::Ended(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.streams = peer.streams.saturating_sub(1);
                }
            }
            Note::Looked(looked) => {
                for (cid, size) in looked {
                    self.server.handle(now, server::Input::Looked { cid, size });
                }
            }
            Note::Read { cid, data } => self.server.handle(now, server::Input::Read { cid, data }),
            Note::Kept { cid, data, sessions } => {
                self.server.handle(now, server::Input::Arrived { cid, size: data.len() });
                for session in sessions {
                    if let Some(session) = self.sessions.get(&session) {
                        // There is room for all that it wants; if not, it is gone.
                        let _ = session.try_send((cid, data.clone()));
                    }
                }
            }
            Note::Stored { cid, size } => self.server.handle(now, server::Input::Arrived { cid, size }),
            Note::Found { session, peer } => self.on_found(session, peer),
            Note::Open { blocks, closed, reply } => self.on_open(blocks, closed, reply),
            Note::Want { session, cids } => {
                self.fetch.handle(now, fetch::Input::Want { session, cids, priority: 1 });
            }
            Note::Close(session) => {
                self.sessions.remove(&session);
                self.fetch.handle(now, fetch::Input::Closed { session });
            }
            Note::Stats(reply) => {
                let _ = reply.send(self.fetch.stats());
            }
        }
    }

    fn key_of(&self, peer: PeerId) -> Option<PeerKey> {
        self.peers.get(&peer).map(|peer| peer.key)
    }

    fn on_opened(&mut self, id: PeerId, key: PeerKey, protocol: Protocol) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.key == key) else { return };
        peer.joined = true;
        peer.broken = 0;
        let provides = std::mem::take(&mut peer.provides);
        let now = Instant::now();
        self.server.handle(now, server::Input::Joined { peer: key });
        self.fetch.handle(now, fetch::Input::Joined { peer: key, protocol });
        for session in provides {
            self.fetch.handle(now, fetch::Input::Provider { session, peer: key });
        }
    }

    fn on_found(&mut self, session: SessionKey, id: PeerId) {
        let peer = self.meet(id);
        let (key, joined) = (peer.key, peer.joined);
        if joined {
            self.fetch.handle(Instant::now(), fetch::Input::Provider { session, peer: key });
        } else if !peer.provides.contains(&session) {
            peer.provides.push(session);
        }
    }

    fn on_open(
        &mut self,
        blocks: mpsc::Sender<(Cid, Bytes)>,
        closed: CancellationToken,
        reply: oneshot::Sender<SessionKey>,
    ) {
        self.count += 1;
        let session = SessionKey(self.count);
        self.sessions.insert(session, blocks);
        self.fetch.handle(Instant::now(), fetch::Input::Opened { session });
        let _ = reply.send(session);
        let notes = self.notes.clone();
        self.spawn(async move {
            closed.cancelled().await;
            let _ = notes.send(Note::Close(session)).await;
        });
    }

    fn on_message(&mut self, id: PeerId, arrived: Arrived) {
        if !self.peers.contains_key(&id) {
            return;
        }
        let peer = self.meet(id).key;
        let now = Instant::now();
        for (name, data) in arrived.blocks {
            match name {
                Ok(cid) => self.on_block(peer, cid, data),
                Err(error) => {
                    tracing::debug!(peer = %id, %error, "a peer sent a block without a name");
                    self.fetch.handle(now, fetch::Input::Nameless { peer });
                }
            }
        }
        let Message { wantlist, presences, left_out, .. } = arrived.message;
        if !presences.is_empty() {
            self.fetch.handle(now, fetch::Input::Presences { peer, presences });
        }
        if !wantlist.entries.is_empty() || wantlist.full || left_out > 0 {
            // Who asks before we could open a stream to it is known to the server at once.
            self.server.handle(now, server::Input::Joined { peer });
            self.server.handle(now, server::Input::Wants { peer, wantlist, left_out });
        }
    }

    fn on_block(&mut self, peer: PeerKey, cid: Cid, data: Bytes) {
        let now = Instant::now();
        let Received::Wanted(sessions) = self.fetch.receive(now, peer, &cid, data.len()) else { return };
        self.server.handle(now, server::Input::Received { peer, bytes: data.len() });
        let (blocks, notes) = (self.blocks.clone(), self.notes.clone());
        self.spawn(async move {
            if let Err(error) = blocks.put(&cid, data.clone()).await {
                tracing::warn!(%cid, %error, "a block cannot be kept");
            }
            let _ = notes.send(Note::Kept { cid, data, sessions }).await;
        });
    }

    /// Does what the cores say.
    fn carry_out(&mut self) {
        let mut looks = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                server::Output::Look(cid) => looks.push(cid),
                server::Output::Read(cid) => self.read(cid),
                server::Output::Send { peer, message } => self.send(peer, Letter { message, serves: true }),
                server::Output::Dismiss { peer } => self.dismiss(peer),
            }
        }
        if !looks.is_empty() {
            self.look(looks);
        }
        while let Some(output) = self.fetch.poll_output() {
            match output {
                fetch::Output::Send { peer, entries } => {
                    let wantlist = Wantlist { entries, full: false };
                    let message = Message { wantlist, ..Message::default() };
                    self.send(peer, Letter { message, serves: false });
                }
                fetch::Output::Seek { session, cid } => self.seek(session, cid),
                fetch::Output::Dismiss { peer } => self.dismiss(peer),
            }
        }
    }

    fn send(&mut self, key: PeerKey, letter: Letter) {
        let peer = self.keys.get(&key).and_then(|id| self.peers.get(id));
        if let Some(peer) = peer
            && let Some(Err(error)) = peer.letters.as_ref().map(|letters| letters.try_send(letter))
        {
            tracing::debug!(?key, %error, "a letter to a peer is lost");
        }
    }

    fn read(&self, cid: Cid) {
        let (blocks, notes) = (self.blocks.clone(), self.notes.clone());
        self.spawn(async move {
            let data = blocks.get(&cid).await;
            let _ = notes.send(Note::Read { cid, data }).await;
        });
    }

    fn look(&self, cids: Vec<Cid>) {
        let (blocks, notes) = (self.blocks.clone(), self.notes.clone());
        self.spawn(async move {
            let mut looked = Vec::with_capacity(cids.len());
            for cid in cids {
                looked.push((cid, blocks.size(&cid).await));
            }
            let _ = notes.send(Note::Looked(looked)).await;
        });
    }

    fn seek(&self, session: SessionKey, cid: Cid) {
        let (streams, notes, seeking) = (self.streams.clone(), self.notes.clone(), self.seeking.clone());
        self.spawn(async move {
            let _permit = seeking.acquire().await;
            let (sender, mut found) = mpsc::channel(FOUND);
            let tell = async {
                while let Some(peer) = found.recv().await {
                    let _ = notes.send(Note::Found { session, peer }).await;
                }
            };
            tokio::join!(streams.seek(cid, sender), tell);
        });
    }

    fn dismiss(&mut self, key: PeerKey) {
        let Some(&id) = self.keys.get(&key) else { return };
        tracing::info!(peer = %id, "a peer is dismissed for what it sent");
        self.part(id);
        let streams = self.streams.clone();
        self.spawn(async move { streams.dismiss(id).await });
    }
}

fn spawn(cancel: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(cancel.clone().run_until_cancelled_owned(task));
}
