//! What a connection does beside the transfer of blocks: metadata (BEP 9), exchange of peers (BEP 11), hashes (BEP 52).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerage_swarm::core::PeerKey;

use super::error::Misbehaviour;
use super::outbound::Outbound;
use crate::metadata::{Received, Serve};
use crate::torrent::{Ready, Torrent};
use crate::wire::extended::{ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds, MetadataMessage};

/// How often the search for metadata is looked at when nothing arrives.
const SEEK_EVERY: Duration = Duration::from_secs(1);

/// What of the connection these duties need.
pub(super) struct Side<'a> {
    pub(super) torrent: &'a Torrent,
    pub(super) ready: Option<&'a Ready>,
    pub(super) ids: &'a ExtensionIds,
    pub(super) outbound: &'a mut Outbound,
    pub(super) address: SocketAddr,
    pub(super) listen_address: Option<SocketAddr>,
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
}

impl Extras {
    pub(super) fn new(now: Instant) -> Self {
        Self { dht_port: None, seeking: None, serve: Serve::new(now) }
    }

    /// The peer said what it understands and whether it has the metadata.
    pub(super) fn handshake(&mut self, handshake: &ExtendedHandshake, side: &mut Side<'_>) {
        let understands = side.ids.get(Extension::Metadata).is_some();
        if let Some(size) = handshake.metadata_size.filter(|_| understands && side.ready.is_none()) {
            let key = *self.seeking.get_or_insert_with(|| side.torrent.seek_key());
            side.torrent.search().fetch.joined(key, size);
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
    pub(super) fn leave(&mut self, torrent: &Torrent) {
        if let Some(key) = self.seeking.take() {
            torrent.search().fetch.left(key);
            torrent.metadata_turn();
        }
    }
}
