//! What a connection does beside the transfer of blocks: metadata (BEP 9), exchange of peers (BEP 11), hashes (BEP 52).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use peerage_content::{Hash32, PieceIndex};
use peerage_swarm::core::PeerKey;
use tokio::task::JoinSet;

use super::error::{Ending, Misbehaviour};
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

/// A peer that brings no metadata for this long while it is sought is left. It may have some later, and libtorrent does not tell
/// (it sends no second handshake): a new connection does.
const SEEK_MAX: Duration = Duration::from_secs(20);

/// Questions are refused only after this long: libtorrent asks anew as soon as it is refused.
const REJECT_AFTER: Duration = Duration::from_secs(3);

/// Questions that wait to be refused. Those beyond go unanswered.
const REJECTS_MAX: usize = 64;

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
    /// When it was met, or brought metadata last.
    brought: Instant,
    serve: Serve,
    tell: Tell,
    listen: Listen,
    hashes: Allowance,
    /// Leaves being read and hashed for the peer.
    jobs: JoinSet<(HashRequest, Option<Vec<Hash32>>)>,
    /// Questions to refuse, and when.
    rejects: VecDeque<(Instant, HashRequest)>,
    /// When somebody else may have kept us waiting long enough for hashes that this peer may have, too.
    trees_due: Option<Instant>,
    /// Pieces whose hashes this peer completed.
    knowable: Vec<Range<u32>>,
    /// Pieces whose blocks it was asked to prove.
    asked: Vec<(PieceIndex, HashRequest)>,
    /// What that led to: whether the hashes are known now.
    proofs: Vec<(PieceIndex, bool)>,
}

impl Extras {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dht_port: None,
            seeking: None,
            brought: now,
            serve: Serve::new(now),
            tell: Tell::new(now),
            listen: Listen::new(now),
            hashes: Allowance::new(now),
            jobs: JoinSet::new(),
            rejects: VecDeque::new(),
            trees_due: None,
            knowable: Vec::new(),
            asked: Vec::new(),
            proofs: Vec::new(),
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
                    Received::Taken => {
                        self.brought = now;
                        self.seek(side);
                    }
                    Received::Unrequested | Received::Mismatch => self.seek(side),
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
        let now = Instant::now();
        let is_due = now >= self.tell.poll_timeout();
        if !is_due || side.torrent.is_private() || side.ids.get(Extension::Pex).is_none() {
            return;
        }
        let connected: Vec<_> = side
            .torrent
            .met()
            .iter()
            // Where it listens itself is not where its connection comes from.
            .filter(|(address, _)| **address != side.address)
            .filter_map(|(_, met)| {
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
        if let Some(message) = self.tell.poll(now, side.address, connected) {
            side.send(&ExtendedMessage::Pex(message));
        }
    }

    /// The peer asks for hashes.
    pub(super) fn hash_request(&mut self, request: HashRequest, side: &mut Side<'_>) {
        let now = Instant::now();
        let question = side.ready.and_then(|ready| Some((ready, ready.trees.question(&request)?)));
        let answer = match question {
            Some((ready, (entry, question)))
                if self.hashes.grant(now, &question, ready.trees.upkeep(entry)) =>
            {
                ready.trees.answer(entry, question)
            }
            _ => Answer::Never,
        };
        match answer {
            Answer::Now(hashes) => side.outbound.push(&Message::Hashes { request, hashes: &hashes }),
            Answer::Later(job) if self.jobs.len() < JOBS_MAX => {
                self.jobs.spawn_blocking(move || (request, job.run()));
            }
            Answer::Later(_) | Answer::Never => self.reject(now, request),
        }
    }

    /// Refuses a question, in a while and once.
    pub(super) fn reject(&mut self, now: Instant, request: HashRequest) {
        let waits = self.rejects.iter().any(|(_, waiting)| *waiting == request);
        if !waits && self.rejects.len() < REJECTS_MAX {
            self.rejects.push_back((now + REJECT_AFTER, request));
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
        if let Some(piece) = self.take_asked(request) {
            ready.trees.leaves(piece, request, hashes).map_err(|()| Misbehaviour::Hashes)?;
            self.proofs.push((piece, true));
            return Ok(());
        }
        let known = ready.trees.hashes(key, request, hashes, Instant::now());
        self.knowable.extend(known.map_err(|()| Misbehaviour::Hashes)?);
        self.complete_trees(side);
        Ok(())
    }

    /// The peer will not answer.
    pub(super) fn hash_reject(&mut self, request: &HashRequest, side: &mut Side<'_>) {
        if let Some(piece) = self.take_asked(request) {
            self.proofs.push((piece, false));
        } else if let (Some(ready), Some(key)) = (side.ready, side.key) {
            ready.trees.rejected(key, request, Instant::now());
            self.complete_trees(side);
        }
    }

    /// Asks the peer for the hashes of a piece's blocks.
    pub(super) fn prove(&mut self, piece: PieceIndex, side: &mut Side<'_>) {
        match side.ready.and_then(|ready| ready.trees.leaf_request(piece)) {
            Some(request) => {
                self.asked.push((piece, request));
                side.outbound.push(&Message::HashRequest(request));
            }
            None => self.proofs.push((piece, false)),
        }
    }

    /// The piece that was asked about with this request.
    fn take_asked(&mut self, request: &HashRequest) -> Option<PieceIndex> {
        let at = self.asked.iter().position(|(_, asked)| asked == request)?;
        Some(self.asked.swap_remove(at).0)
    }

    /// What questions about blocks led to since the last call.
    pub(super) fn take_proofs(&mut self) -> Vec<(PieceIndex, bool)> {
        std::mem::take(&mut self.proofs)
    }

    /// Asks the peer for hashes that are missing.
    pub(super) fn complete_trees(&mut self, side: &mut Side<'_>) {
        let (Some(ready), Some(key), true) = (side.ready, side.key, side.v2) else { return };
        let now = Instant::now();
        self.trees_due = None;
        if !ready.trees.is_complete() {
            for request in ready.trees.requests_of(key, now) {
                side.outbound.push(&Message::HashRequest(request));
            }
            self.trees_due = ready.trees.poll_timeout(now);
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

    /// Does what is due; returns when to call it again if nothing happens.
    pub(super) fn attend(&mut self, now: Instant, side: &mut Side<'_>) -> Result<Option<Instant>, Ending> {
        while let Some((at, request)) = self.rejects.front().copied()
            && at <= now
        {
            self.rejects.pop_front();
            side.outbound.push(&Message::HashReject(request));
        }
        if self.trees_due.is_some_and(|due| due <= now) {
            self.complete_trees(side);
        }
        let mut again = self.rejects.front().map(|(at, _)| *at).into_iter().chain(self.trees_due).min();
        if side.ready.is_none() && side.torrent.is_seeking() {
            if now >= self.brought + SEEK_MAX {
                return Err(Ending::NoMetadata(SEEK_MAX.as_secs()));
            }
            self.seek(side);
            let look = if self.seeking.is_some() { now + SEEK_EVERY } else { self.brought + SEEK_MAX };
            again = Some(again.map_or(look, |again| again.min(look)));
        }
        Ok(again)
    }

    /// The connection ends.
    pub(super) fn leave(&mut self, torrent: &Torrent, address: SocketAddr, key: Option<PeerKey>) {
        if let (Some(ready), Some(key)) = (torrent.ready(), key) {
            ready.trees.left(key);
        }
        if let Some(key) = self.seeking.take() {
            torrent.search().left(key, address);
            torrent.metadata_turn();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use peerage_content::BlockPool;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::hash::InfoHashes;
    use crate::torrent::Met;

    fn torrent() -> Arc<Torrent> {
        let hashes = InfoHashes { v1: Some([1; 20]), v2: None };
        Torrent::new(hashes, None, Weak::new(), BlockPool::new(1), CancellationToken::new())
    }

    /// Runs with the side duties of a fresh connection; returns the bytes that are to be sent.
    fn with(torrent: &Torrent, now: Instant, act: impl FnOnce(&mut Extras, &mut Side<'_>)) -> Vec<u8> {
        let (ids, mut outbound) = (ExtensionIds::default(), Outbound::default());
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        let mut side =
            Side { torrent, ready: None, ids: &ids, outbound: &mut outbound, address, key: None, v2: true };
        act(&mut Extras::new(now), &mut side);
        std::mem::take(outbound.buffer())
    }

    #[test]
    fn a_peer_is_told_of_others_and_not_of_itself() {
        let torrent = torrent();
        let listening = |port| Some(SocketAddr::from(([192, 0, 2, 1], port)));
        for (connection, port) in [(1, 6881), (2, 6882)] {
            let met = Met { listen: listening(port), client: None, encrypted: false, upload_only: false };
            torrent.meet_peer(SocketAddr::from(([192, 0, 2, 1], connection)), met);
        }
        let sent = with(&torrent, Instant::now(), |extras, side| {
            let ids = ExtensionIds::own(&[Extension::Pex]);
            extras.exchange(&mut Side { ids: &ids, outbound: side.outbound, ..*side });
        });
        let ExtendedMessage::Pex(told) = ExtendedMessage::decode(sent[5], &sent[6..]).unwrap() else {
            panic!("no exchange in {sent:?}")
        };
        assert_eq!(told.added.iter().map(|peer| Some(peer.address)).collect::<Vec<_>>(), [listening(6882)]);
    }

    /// libtorrent asks anew as soon as it is refused.
    #[test]
    fn a_question_is_refused_after_a_while_and_once() {
        let request = HashRequest { root: [1; 32], base: 0, index: 0, count: 2, proofs: 0 };
        let mut frame = Vec::new();
        Message::HashReject(request).encode(&mut frame);
        let now = Instant::now();
        let sent = with(&torrent(), now, |extras, side| {
            extras.reject(now, request);
            extras.reject(now, request);
            assert_eq!(extras.attend(now, side).unwrap(), Some(now + REJECT_AFTER));
            assert!(side.outbound.is_idle());
            assert_eq!(extras.attend(now + REJECT_AFTER, side).unwrap(), None);
        });
        assert_eq!(sent, frame);
    }

    #[test]
    fn a_peer_that_brings_no_metadata_is_left_while_it_is_sought() {
        let torrent = torrent();
        let now = Instant::now();
        with(&torrent, now, |extras, side| {
            assert!(extras.attend(now + SEEK_MAX, side).is_ok(), "nothing is sought");
            let _inbox = torrent.seek();
            assert_eq!(extras.attend(now, side).unwrap(), Some(now + SEEK_MAX));
            assert!(matches!(extras.attend(now + SEEK_MAX, side), Err(Ending::NoMetadata(_))));
            torrent.metadata_found(bytes::Bytes::new());
            assert!(extras.attend(now + SEEK_MAX, side).is_ok(), "the disk is being checked");
        });
    }
}
