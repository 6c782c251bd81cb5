//! What a connection does beside the transfer of blocks: metadata (BEP 9), exchange of peers (BEP 11), hashes (BEP 52).

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use peerage_content::Hash32;
use peerage_swarm::core::PeerKey;
use tokio::task::JoinSet;

use super::error::Misbehaviour;
use super::outbound::Outbound;
use crate::metadata::{Received, Serve};
use crate::pex::{Listen, Tell};
use crate::proof::Allowance;
use crate::torrent::{Ready, Torrent};
use crate::trees::Answer;
use crate::wire::extended::{
    ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds, MetadataMessage, PexFlags, PexMessage,
    PexPeer,
};
use crate::wire::{HashRequest, Message};

/// Questions about leaves that are answered at a time for one peer.
const JOBS_MAX: usize = 2;

/// How often the search for metadata is looked at when nothing arrives.
const SEEK_EVERY: Duration = Duration::from_secs(1);

/// What of the connection these duties need.
pub(super) struct Side<'a> {
    pub(super) torrent: &'a Torrent,
    pub(super) ready: Option<&'a Ready>,
    pub(super) ids: &'a ExtensionIds,
    pub(super) outbound: &'a mut Outbound,
    pub(super) address: SocketAddr,
    /// The peer's key in the transfer.
    pub(super) key: Option<PeerKey>,
    /// It understands v2 (BEP 52).
    pub(super) v2: bool,
}

impl Side<'_> {
    fn send(&mut self, message: &ExtendedMessage<'_>) {
        message.encode(self.ids, self.outbound.buffer());
    }
}

/// The state of the side duties.
#[derive(Debug)]
pub(super) struct Extras {
    /// Our DHT node's port, until it was told.
    pub(super) dht_port: Option<u16>,
    /// Who this peer is in the search for metadata.
    seeking: Option<PeerKey>,
    serve: Serve,
    tell: Tell,
    listen: Listen,
    hashes: Allowance,
    /// Leaves being read and hashed for the peer.
    jobs: JoinSet<(HashRequest, Option<Vec<Hash32>>)>,
    /// Pieces whose hashes this peer completed.
    knowable: Vec<Range<u32>>,
}

impl Extras {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dht_port: None,
            seeking: None,
            serve: Serve::new(now),
            tell: Tell::new(now),
            listen: Listen::new(now),
            hashes: Allowance::new(now),
            jobs: JoinSet::new(),
            knowable: Vec::new(),
        }
    }

    /// The peer said what it understands and whether it has the metadata.
    pub(super) fn handshake(&mut self, handshake: &ExtendedHandshake, side: &mut Side<'_>) {
        let understands = side.ids.get(Extension::Metadata).is_some();
        if let Some(size) = handshake.metadata_size.filter(|_| understands && side.ready.is_none()) {
            let key = *self.seeking.get_or_insert_with(|| side.torrent.seek_key());
            if side.torrent.search().fetch.joined(key, size) {
                side.torrent.search().holders.insert(side.address);
            }
            self.seek(side);
        }
    }

    /// A message about metadata.
    pub(super) fn metadata(
        &mut self,
        message: MetadataMessage<'_>,
        side: &mut Side<'_>,
    ) -> Result<(), Misbehaviour> {
        let now = Instant::now();
        match (message, self.seeking) {
            (MetadataMessage::Request { piece }, _) => {
                let answer = match side.ready {
                    Some(ready) => self.serve.answer(now, &ready.info, piece),
                    None => MetadataMessage::Reject { piece },
                };
                side.send(&ExtendedMessage::Metadata(answer));
            }
            (MetadataMessage::Data { piece, total_size, data }, Some(key)) => {
                let received = side.torrent.search().fetch.data(now, key, piece, total_size, data);
                match received {
                    Received::Complete(info) => side.torrent.metadata_found(info),
                    Received::Lie => return Err(Misbehaviour::Metadata),
                    Received::Taken | Received::Unrequested | Received::Mismatch => self.seek(side),
                }
            }
            (MetadataMessage::Reject { piece }, Some(key)) => {
                side.torrent.search().fetch.rejected(now, key, piece);
                self.seek(side);
            }
            (MetadataMessage::Data { .. } | MetadataMessage::Reject { .. }, None) => {}
        }
        Ok(())
    }

    /// Other peers, as this one tells.
    pub(super) fn pex(&mut self, message: &PexMessage, side: &Side<'_>) -> Result<(), Misbehaviour> {
        if side.torrent.is_private() {
            return Ok(());
        }
        let seeding = side.ready.is_some_and(|ready| ready.transfer.progress().borrow().finished);
        side.torrent
            .exchanged(|rules| {
                self.listen.receive(Instant::now(), side.address.ip(), message, rules, seeding)
            })
            .map_err(|_| Misbehaviour::ExchangeFlood)
    }

    /// Tells the peer of others, once a minute.
    pub(super) fn exchange(&mut self, side: &mut Side<'_>) {
        if side.torrent.is_private() || side.ids.get(Extension::Pex).is_none() {
            return;
        }
        let connected: Vec<_> = side
            .torrent
            .met()
            .values()
            .filter_map(|met| {
                let mut flags = PexFlags::REACHABLE;
                if met.encrypted {
                    flags = PexFlags(flags.0 | PexFlags::ENCRYPTION.0);
                }
                if met.upload_only {
                    flags = PexFlags(flags.0 | PexFlags::UPLOAD_ONLY.0);
                }
                Some(PexPeer { address: met.listen?, flags })
            })
            .collect();
        if let Some(message) = self.tell.poll(Instant::now(), side.address, connected) {
            side.send(&ExtendedMessage::Pex(message));
        }
    }

    /// The peer asks for hashes.
    pub(super) fn hash_request(&mut self, request: HashRequest, side: &mut Side<'_>) {
        let question = side.ready.and_then(|ready| Some((ready, ready.trees.question(&request)?)));
        let answer = match question {
            Some((ready, (entry, question))) if self.hashes.grant(Instant::now(), &question) => {
                ready.trees.answer(entry, question)
            }
            _ => Answer::Never,
        };
        match answer {
            Answer::Now(hashes) => side.outbound.push(&Message::Hashes { request, hashes: &hashes }),
            Answer::Later(job) if self.jobs.len() < JOBS_MAX => {
                self.jobs.spawn_blocking(move || (request, job.run()));
            }
            Answer::Later(_) | Answer::Never => side.outbound.push(&Message::HashReject(request)),
        }
    }

    /// Waits for the answer to a question that had to be worked on.
    pub(super) async fn answered(&mut self) -> Option<(HashRequest, Option<Vec<Hash32>>)> {
        match self.jobs.join_next().await {
            Some(done) => done.ok(),
            None => std::future::pending().await,
        }
    }

    /// The peer answers with hashes.
    pub(super) fn hashes(
        &mut self,
        request: &HashRequest,
        hashes: &[Hash32],
        side: &mut Side<'_>,
    ) -> Result<(), Misbehaviour> {
        let (Some(ready), Some(key)) = (side.ready, side.key) else { return Ok(()) };
        let known = ready.trees.hashes(key, request, hashes, Instant::now());
        self.knowable.extend(known.map_err(|()| Misbehaviour::Hashes)?);
        self.complete_trees(side);
        Ok(())
    }

    /// The peer will not answer.
    pub(super) fn hash_reject(&mut self, request: &HashRequest, side: &mut Side<'_>) {
        if let (Some(ready), Some(key)) = (side.ready, side.key) {
            ready.trees.rejected(key, request, Instant::now());
            self.complete_trees(side);
        }
    }

    /// Asks the peer for hashes that are missing.
    pub(super) fn complete_trees(&mut self, side: &mut Side<'_>) {
        let (Some(ready), Some(key), true) = (side.ready, side.key, side.v2) else { return };
        if !ready.trees.is_complete() {
            for request in ready.trees.requests_of(key, Instant::now()) {
                side.outbound.push(&Message::HashRequest(request));
            }
        }
    }

    /// Pieces whose hashes became known since the last call.
    pub(super) fn take_knowable(&mut self) -> Vec<Range<u32>> {
        std::mem::take(&mut self.knowable)
    }

    /// Sends what the search for metadata wants of this peer; others are woken for theirs.
    pub(super) fn seek(&mut self, side: &mut Side<'_>) {
        let Some(key) = self.seeking.filter(|_| side.ready.is_none()) else { return };
        for piece in side.torrent.requests_of(key, Instant::now()) {
            side.send(&ExtendedMessage::Metadata(MetadataMessage::Request { piece }));
        }
    }

    /// When to call [`Extras::seek`] if nothing happens.
    pub(super) fn timeout(&self, ready: bool) -> Option<Instant> {
        (self.seeking.is_some() && !ready).then(|| Instant::now() + SEEK_EVERY)
    }

    /// The connection ends.
    pub(super) fn leave(&mut self, torrent: &Torrent, address: SocketAddr, key: Option<PeerKey>) {
        if let (Some(ready), Some(key)) = (torrent.ready(), key) {
            ready.trees.left(key);
        }
        if let Some(key) = self.seeking.take() {
            let mut search = torrent.search();
            search.fetch.left(key);
            search.holders.remove(&address);
            drop(search);
            torrent.metadata_turn();
        }
    }
}
