//! The protocol's side of one connection: what messages mean, and what is said in turn. Owns no socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{Arrivals, Arrived, Block, Hash32};
use peerage_swarm::core::{Availability, Found, PeerCaps, PeerKey, Shown};
use peerage_swarm::driver::{Order, PeerLink, WireEvent};

use super::availability::{Memo, read_bitfield};
use super::conversation::{Hello, Local};
use super::error::{Ending, Misbehaviour};
use super::inbound::Arrival;
use super::outbound::Outbound;
use super::side::{Extras, Side};
use crate::torrent::{Met, Ready, Torrent};
use crate::wire::extended::{ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds};
use crate::wire::{HashRequest, Limits, Message};

/// Requests that we are willing to queue for a peer (`reqq`).
const REQUESTS_MAX: usize = 1_024;
/// What a peer is assumed to queue when it does not say (libtorrent's default).
const REQUESTS_UNSAID: usize = 250;
/// Bytes sent before the transfer is told.
const TELL_SENT: u64 = 256 << 10;
/// Blocks of a hybrid wait until a peer has not asked for hashes for this long.
const HASHES_PAUSE: Duration = Duration::from_millis(500);
/// But no longer than this after it asked for the first.
const HASHES_FIRST_MAX: Duration = Duration::from_secs(3);

/// The protocol's state: everything but the socket and its buffers.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) torrent: Arc<Torrent>,
    local: Arc<Local>,
    address: SocketAddr,
    outgoing: bool,
    fast: bool,
    /// It runs a DHT node: others need not know the message that names ours (rqbit hangs up on it).
    dht: bool,
    extended: bool,
    encrypted: bool,
    v2: bool,
    /// It answers hash requests, and the transfer was told if there is one.
    proves: bool,
    pub(super) key: Option<PeerKey>,
    found: Option<Found>,
    listen_address: Option<SocketAddr>,
    requests_max: usize,
    ids: ExtensionIds,
    pub(super) outbound: Outbound,
    pub(super) limits: Limits,
    /// Before there is a transfer.
    memo: Option<Memo>,
    ready: Option<Arc<Ready>>,
    /// Our extended handshake named the size of the metadata.
    offers_metadata: bool,
    /// Our extended handshake offered the exchange of peers.
    offers_exchange: bool,
    /// We download nothing, and what of that the peer was told.
    upload_only: bool,
    told_upload_only: bool,
    /// The first message, which alone may be the bitfield, is over.
    introduced: bool,
    /// The peer told its whole availability.
    told_availability: bool,
    /// What the transfer is to be told, in order.
    events: Vec<WireEvent>,
    blocks: Vec<Arrived>,
    /// Hashes what arrives, once there is a transfer.
    arrivals: Option<Arrivals>,
    /// More has come than was read.
    pub(super) behind: bool,
    /// Blocks on their way to us, about.
    pub(super) expected: usize,
    choking: bool,
    /// It named its DHT node, which it may once.
    named_node: bool,
    /// When the first block of a hybrid was asked for in v2's name.
    hybrid_since: Option<Instant>,
    pub(super) extras: Extras,
}

impl Talk {
    /// Begins after a greeting.
    pub(super) fn new(hello: &Hello, encrypted: bool, torrent: Arc<Torrent>, local: Arc<Local>) -> Self {
        let reserved = hello.handshake.reserved;
        // What counts is the name that both used, not the peer's bit: libtorrent hangs up on hash requests in v1's name, and need not
        // set the bit in v2's.
        let v2 = torrent.hashes_now().swarm_v2() == Some(hello.handshake.swarm);
        Self {
            torrent,
            local,
            address: hello.address,
            outgoing: hello.outgoing,
            fast: reserved.fast(),
            dht: reserved.dht(),
            extended: reserved.extended(),
            encrypted,
            v2,
            proves: v2,
            key: None,
            found: hello.found,
            listen_address: hello.outgoing.then_some(hello.address),
            requests_max: REQUESTS_UNSAID,
            ids: ExtensionIds::default(),
            outbound: Outbound::default(),
            limits: Limits::default(),
            memo: Some(Memo::default()),
            ready: None,
            offers_metadata: false,
            offers_exchange: false,
            upload_only: false,
            told_upload_only: false,
            introduced: false,
            told_availability: false,
            events: Vec::new(),
            blocks: Vec::new(),
            arrivals: None,
            behind: false,
            expected: 0,
            choking: true,
            named_node: false,
            hybrid_since: None,
            extras: Extras::new(Instant::now()),
        }
    }

    /// The extended handshake (BEP 10): at once, and again when there is metadata to offer.
    pub(super) fn greet(&mut self) {
        if self.extended {
            let ready = self.torrent.ready();
            self.offers_metadata = ready.is_some();
            let mut ids =
                ExtensionIds::own(&[Extension::Metadata, Extension::DontHave, Extension::UploadOnly]);
            if !self.torrent.is_private() {
                ids.set(Extension::Pex, Extension::Pex.own_id());
                self.offers_exchange = true;
            } else if self.offers_exchange {
                // A magnet link did not tell that its torrent is private, and the first handshake offered too much.
                ids.set(Extension::Pex, 0);
            }
            self.upload_only =
                ready.as_ref().is_some_and(|ready| ready.transfer.progress().borrow().upload_only);
            self.told_upload_only = self.upload_only;
            let handshake = ExtendedHandshake {
                ids,
                client: Some(self.local.client.clone()),
                port: self.local.ports.towards(self.address),
                requests_max: Some(REQUESTS_MAX as u32),
                your_ip: Some(self.address.ip()),
                metadata_size: ready.as_ref().and_then(|ready| u32::try_from(ready.info_bytes().len()).ok()),
                upload_only: self.upload_only.then_some(true),
                hashes: self.torrent.hashes_now().v2.is_some(),
                ..ExtendedHandshake::default()
            };
            ExtendedMessage::Handshake(handshake).encode(&self.ids, self.outbound.buffer());
        }
        let dht_port = self.local.dht_ports.towards(self.address);
        self.extras.dht_port = dht_port.filter(|_| self.dht && !self.torrent.is_private());
    }

    /// The metadata is known: joins the transfer and tells it what the peer said so far.
    pub(super) async fn enter(&mut self, ready: Arc<Ready>) -> Result<PeerLink, Ending> {
        let caps = PeerCaps {
            address: self.address,
            listen_address: self.listen_address,
            outgoing: self.outgoing,
            fast: self.fast,
            requests_max: self.requests_max,
            serves_only: false,
        };
        let pieces = ready.transfer.layout().piece_count();
        self.limits.pieces = Some(pieces);
        let link = ready.transfer.join(caps).await.map_err(|_| Ending::TransferEnded)?;
        self.key = Some(link.key());
        if let Some(found) = self.found.filter(|_| self.outgoing) {
            ready.transfer.known(vec![self.address], found).await;
        }
        self.arrivals = Some(ready.transfer.arrivals());
        self.ready = Some(ready);
        if let Some(memo) = self.memo.take() {
            self.events = memo.replay(pieces)?;
        }
        if !self.offers_metadata {
            self.greet();
        }
        if self.proves {
            self.event(WireEvent::Proves);
        }
        let (extras, mut side) = self.aside();
        extras.complete_trees(&mut side);
        Ok(link)
    }

    /// What is to be done from time to time; returns when to call it again if nothing happens.
    pub(super) fn attend(&mut self, now: Instant) -> Result<Option<Instant>, Ending> {
        let (extras, mut side) = self.aside();
        extras.attend(now, &mut side)
    }

    /// What is to be done every few seconds.
    pub(super) fn round(&mut self) {
        let (extras, mut side) = self.aside();
        extras.exchange(&mut side);
        extras.complete_trees(&mut side);
    }

    /// A question of the peer has been worked on.
    pub(super) fn answer(&mut self, request: HashRequest, hashes: Option<Vec<Hash32>>) {
        match hashes {
            Some(hashes) => self.outbound.push(&Message::Hashes { request, hashes: &hashes }),
            None => self.extras.reject(Instant::now(), request),
        }
    }

    /// The connection is over.
    pub(super) async fn leave(&mut self) {
        // Nobody will be asked for these hashes again.
        self.tell_knowable().await;
        self.extras.leave(&self.torrent, self.address, self.key);
        self.torrent.forget_peer(self.address);
    }

    /// Takes what arrived.
    pub(super) fn arrive(&mut self, arrival: Arrival<'_>) -> Result<(), Misbehaviour> {
        match arrival {
            Arrival::Block(block, data) => {
                let arrivals = self.arrivals.as_mut().ok_or(Misbehaviour::UnexpectedData(block.piece))?;
                // Work is done only for what was asked for, or may have been.
                let arrived = match self.expected {
                    0 => Arrived::new(block, data),
                    _ => arrivals.take(block, data, self.behind),
                };
                self.expected = self.expected.saturating_sub(1);
                if self.expected == 0 {
                    arrivals.rest();
                }
                self.blocks.push(arrived);
                Ok(())
            }
            Arrival::Frame(frame) => self.message(Message::decode(frame, &self.limits)?),
        }
    }

    fn message(&mut self, message: Message<'_>) -> Result<(), Misbehaviour> {
        match message {
            Message::KeepAlive | Message::Suggest(_) | Message::Unknown { .. } | Message::Piece { .. } => {}
            Message::Choke => {
                if !self.fast {
                    self.expected = 0;
                }
                self.event(WireEvent::Choked(true));
            }
            Message::Unchoke => self.event(WireEvent::Choked(false)),
            Message::Interested => self.event(WireEvent::Interest(true)),
            Message::NotInterested => self.event(WireEvent::Interest(false)),
            Message::Have(piece) => {
                self.in_content(piece)?;
                self.event(WireEvent::Have(piece));
            }
            Message::Bitfield(bits) => match self.limits.pieces {
                Some(pieces) => {
                    let availability = read_bitfield(bits, pieces)?;
                    self.has(availability);
                }
                None => self.memo_mut().bitfield(bits)?,
            },
            Message::HaveAll => match self.limits.pieces {
                Some(_) => self.has_once(Availability::All)?,
                None => self.memo_mut().all()?,
            },
            Message::HaveNone => match self.limits.pieces {
                Some(_) => self.has_once(Availability::None)?,
                None => self.memo_mut().none()?,
            },
            Message::Request(block) => self.request(block)?,
            Message::Cancel(block) => {
                if self.outbound.withdraw(block) && self.fast {
                    self.outbound.push(&Message::Reject(block));
                }
            }
            Message::Reject(block) => {
                self.expected = self.expected.saturating_sub(1);
                self.event(WireEvent::Rejected(vec![block]));
            }
            Message::AllowedFast(piece) => {
                self.in_content(piece)?;
                self.event(WireEvent::AllowedFast(piece));
            }
            Message::Port(port) => {
                if !std::mem::replace(&mut self.named_node, true) {
                    self.torrent.dht_node(SocketAddr::new(self.address.ip(), port));
                }
            }
            Message::Extended { id, payload } => {
                self.extended(ExtendedMessage::decode(id, payload)?)?;
            }
            Message::HashRequest(request) => {
                self.hold_blocks(Instant::now());
                let (extras, mut side) = self.aside();
                extras.hash_request(request, &mut side);
            }
            Message::Hashes { request, hashes } => {
                let (extras, mut side) = self.aside();
                extras.hashes(&request, hashes, &mut side)?;
            }
            Message::HashReject(request) => {
                let (extras, mut side) = self.aside();
                extras.hash_reject(&request, &mut side);
            }
        }
        Ok(())
    }

    fn extended(&mut self, message: ExtendedMessage<'_>) -> Result<(), Misbehaviour> {
        match message {
            ExtendedMessage::Handshake(handshake) => {
                self.ids.merge(&handshake.ids);
                self.tell_upload_only();
                if let Some(count) = handshake.requests_max {
                    self.requests_max = (count as usize).clamp(1, 8 * REQUESTS_MAX);
                }
                if let Some(port) = handshake.port.filter(|_| !self.outgoing) {
                    self.listen_address = Some(SocketAddr::new(self.address.ip(), port));
                }
                // A transfer that is there already took it for what peers are that say nothing.
                if self.key.is_some() {
                    let requests_max = handshake.requests_max.map(|_| self.requests_max);
                    let listen_address = self.listen_address;
                    self.event(WireEvent::Caps { requests_max, listen_address });
                }
                if handshake.hashes && !std::mem::replace(&mut self.proves, true) && self.key.is_some() {
                    self.event(WireEvent::Proves);
                }
                if let Some(upload_only) = handshake.upload_only {
                    self.event(WireEvent::UploadOnly(upload_only));
                }
                let (extras, mut side) = self.aside();
                extras.handshake(&handshake, &mut side);
                let met = Met {
                    listen: self.listen_address,
                    client: handshake.client,
                    encrypted: self.encrypted,
                    upload_only: handshake.upload_only.unwrap_or(false),
                };
                self.torrent.meet_peer(self.address, met);
            }
            ExtendedMessage::DontHave(piece) => {
                if self.limits.pieces.is_some_and(|pieces| piece < pieces) {
                    self.event(WireEvent::DontHave(piece));
                }
            }
            ExtendedMessage::UploadOnly(upload_only) => self.event(WireEvent::UploadOnly(upload_only)),
            ExtendedMessage::Metadata(message) => {
                let (extras, mut side) = self.aside();
                extras.metadata(message, &mut side)?;
            }
            ExtendedMessage::Pex(message) => {
                let (extras, side) = self.aside();
                extras.pex(&message, &side)?;
            }
            ExtendedMessage::Unknown { .. } => {}
        }
        Ok(())
    }

    /// The side duties and what they need.
    fn aside(&mut self) -> (&mut Extras, Side<'_>) {
        let side = Side {
            torrent: &self.torrent,
            ready: self.ready.as_deref(),
            ids: &self.ids,
            outbound: &mut self.outbound,
            address: self.address,
            key: self.key,
            v2: self.v2,
        };
        (&mut self.extras, side)
    }

    fn memo_mut(&mut self) -> &mut Memo {
        self.memo.get_or_insert_default()
    }

    /// Have-all and have-none, which make more work than they are long, come once.
    fn has_once(&mut self, availability: Availability) -> Result<(), Misbehaviour> {
        if self.told_availability {
            return Err(Misbehaviour::Availability("told twice"));
        }
        self.has(availability);
        Ok(())
    }

    /// A bitfield may come again: aria2 sends its own anew where others send many haves.
    fn has(&mut self, availability: Availability) {
        self.told_availability = true;
        self.event(WireEvent::Has(availability));
        let (extras, mut side) = self.aside();
        extras.complete_trees(&mut side);
    }

    fn in_content(&self, piece: u32) -> Result<(), Misbehaviour> {
        match self.limits.pieces {
            Some(pieces) if piece >= pieces => Err(Misbehaviour::Availability("a piece past the end")),
            _ => Ok(()),
        }
    }

    fn request(&mut self, block: Block) -> Result<(), Misbehaviour> {
        let Some(ready) = &self.ready else { return Ok(()) };
        if !ready.transfer.layout().serves(block) || block.length > crate::wire::PIECE_DATA_MAX {
            let Block { piece, begin, length } = block;
            return Err(Misbehaviour::RequestOutside { piece, begin, length });
        }
        let served = !self.choking && ready.transfer.store().is_verified(block.piece);
        if served && self.v2 && self.hybrid_since.is_none() {
            self.hold_blocks(Instant::now());
        }
        if served && self.outbound.requests() < REQUESTS_MAX {
            self.outbound.serve(block);
        } else if self.fast {
            self.outbound.push(&Message::Reject(block));
        }
        Ok(())
    }

    /// Blocks of a hybrid wait while the peer fetches its hashes: libtorrent, which checks blocks against v1 at once, takes layers
    /// that come in between for a contradiction, and stops its torrent for good.
    fn hold_blocks(&mut self, now: Instant) {
        if self.v2 && self.ready.as_ref().is_some_and(|ready| ready.hashes.v1.is_some()) {
            let since = *self.hybrid_since.get_or_insert(now);
            self.outbound.hold((now + HASHES_PAUSE).min(since + HASHES_FIRST_MAX));
        }
    }

    /// Puts an event behind the blocks that came before it.
    fn event(&mut self, event: WireEvent) {
        if !self.blocks.is_empty() {
            self.events.push(WireEvent::Blocks(std::mem::take(&mut self.blocks)));
        }
        self.events.push(event);
    }

    /// Tells the transfer everything that happened.
    pub(super) async fn tell(&mut self, link: &PeerLink, resting: bool) -> Result<(), Ending> {
        let (unserved, file_changed) = self.outbound.take_unserved();
        if self.fast {
            for block in unserved {
                self.outbound.push(&Message::Reject(block));
            }
        }
        if file_changed {
            self.event(WireEvent::FileChanged);
        }
        if self.outbound.sent() >= TELL_SENT || (resting && self.outbound.sent() > 0) {
            let (bytes, padding) = self.outbound.take_sent();
            self.event(WireEvent::Sent { bytes, padding });
        }
        self.tell_knowable().await;
        for (piece, known) in self.extras.take_proofs() {
            self.event(WireEvent::Proof { piece, known });
        }
        let ended = |_| Ending::TransferEnded;
        for event in self.events.drain(..) {
            link.tell(event).await.map_err(ended)?;
        }
        if !self.blocks.is_empty() {
            link.tell(WireEvent::Blocks(std::mem::take(&mut self.blocks))).await.map_err(ended)?;
        }
        Ok(())
    }

    /// Tells the transfer of which pieces the hashes have become known.
    async fn tell_knowable(&mut self) {
        if let Some(ready) = &self.ready {
            for pieces in self.extras.take_knowable() {
                ready.transfer.knowable(pieces).await;
            }
        }
    }

    /// Remembers what happened, for the transfer to come.
    pub(super) fn note(&mut self) -> Result<(), Ending> {
        let memo = self.memo.get_or_insert_default();
        for event in self.events.drain(..) {
            memo.note(event)?;
        }
        Ok(())
    }

    /// Carries out an order of the transfer.
    pub(super) fn order(&mut self, order: Order) -> Result<(), Ending> {
        let out = &mut self.outbound;
        match order {
            Order::Request(blocks) => {
                self.expected += blocks.len();
                blocks.into_iter().for_each(|block| out.push(&Message::Request(block)));
            }
            Order::Cancel(blocks) => {
                if !self.fast {
                    self.expected = self.expected.saturating_sub(blocks.len());
                }
                blocks.into_iter().for_each(|block| out.push(&Message::Cancel(block)));
            }
            Order::Choke(true) => {
                self.choking = true;
                out.push(&Message::Choke);
                for block in out.withdraw_all() {
                    if self.fast {
                        out.push(&Message::Reject(block));
                    }
                }
            }
            Order::Choke(false) => {
                self.choking = false;
                out.push(&Message::Unchoke);
            }
            Order::Interest(true) => out.push(&Message::Interested),
            Order::Interest(false) => out.push(&Message::NotInterested),
            Order::Introduce(shown) => self.introduce(shown),
            Order::Have(piece) => out.push(&Message::Have(piece)),
            Order::DontHave(piece) => {
                ExtendedMessage::DontHave(piece).encode(&self.ids, out.buffer());
            }
            Order::UploadOnly(upload_only) => {
                self.upload_only = upload_only;
                self.tell_upload_only();
            }
            Order::Prove(piece) => {
                let (extras, mut side) = self.aside();
                extras.prove(piece, &mut side);
            }
            Order::Close(why) => return Err(Ending::Dismissed(why)),
        }
        Ok(())
    }

    /// Tells whether we download nothing, if that changed: at once, or when the peer has said how it wants to be told.
    fn tell_upload_only(&mut self) {
        if self.told_upload_only != self.upload_only
            && ExtendedMessage::UploadOnly(self.upload_only).encode(&self.ids, self.outbound.buffer())
        {
            self.told_upload_only = self.upload_only;
        }
    }

    fn introduce(&mut self, shown: Shown) {
        let first = !std::mem::replace(&mut self.introduced, true);
        let out = &mut self.outbound;
        match shown {
            Shown::Nothing if self.fast && first => out.push(&Message::HaveNone),
            Shown::Nothing => {}
            Shown::All if self.fast && first => out.push(&Message::HaveAll),
            Shown::All => {
                let pieces = self.limits.pieces.unwrap_or_default();
                out.push(&Message::Bitfield(&peerage_content::PieceSet::full(pieces).to_wire()));
            }
            Shown::Verified(set) if set.is_empty() && self.fast && first => out.push(&Message::HaveNone),
            Shown::Verified(set) => out.push(&Message::Bitfield(&set.to_wire())),
        }
        if let Some(port) = self.extras.dht_port.take() {
            out.push(&Message::Port(port));
        }
    }
}
