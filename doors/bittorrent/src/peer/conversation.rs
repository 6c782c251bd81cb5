//! One connection after its greeting, until one side leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{BLOCK_LENGTH, Block, BlockBuf};
use peerage_swarm::core::{Availability, PeerCaps, PeerKey, Shown};
use peerage_swarm::driver::{Direction, Order, PeerLink, WireEvent};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::availability::{Memo, read_bitfield};
use super::error::{Ending, Misbehaviour};
use super::inbound::{Arrival, Inbound, Readout};
use super::outbound::{Flushed, Outbound};
use super::side::{Extras, Side};
use crate::mse::Rc4Stream;
use crate::torrent::{Met, Ready, Stage, Torrent};
use crate::wire::extended::{ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds};
use crate::wire::{Handshake, Limits, Message};

/// Requests that we are willing to queue for a peer (`reqq`).
pub(super) const REQUESTS_MAX: usize = 1_024;
/// What a peer is assumed to queue when it does not say (libtorrent's default).
const REQUESTS_UNSAID: usize = 250;
/// How often keep-alives, silence and exchange are looked at.
const ROUND: Duration = Duration::from_secs(10);
/// A keep-alive is due after this long without a word from us (BEP 3: two minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// Two keep-alives missed.
const SILENCE_MAX: Duration = Duration::from_secs(240);
/// A message, a block included, must be whole after this long.
const DAWDLE_MAX: Duration = Duration::from_secs(120);
/// Bytes read before the connection looks at its other duties.
const READ_TURN: usize = 512 << 10;
/// Bytes sent before the transfer is told.
const TELL_SENT: u64 = 256 << 10;

/// Who we are, the same on every connection.
#[derive(Clone, Debug)]
pub struct Local {
    /// Name and version for extended handshakes.
    pub client: String,
    /// The TCP port we listen on.
    pub port: Option<u16>,
    /// The UDP port of our DHT node.
    pub dht_port: Option<u16>,
}

/// What the greeting found out.
#[derive(Debug)]
pub struct Hello {
    /// The peer's handshake.
    pub handshake: Handshake,
    /// The peer's address.
    pub address: SocketAddr,
    /// We dialled it.
    pub outgoing: bool,
    /// Ciphers, receiving and sending, of an encrypted connection.
    pub ciphers: Option<(Rc4Stream, Rc4Stream)>,
    /// Bytes read past the handshake, decrypted.
    pub leftover: Vec<u8>,
}

/// A connection and everything that belongs to it.
#[derive(Debug)]
pub struct Conversation {
    socket: TcpStream,
    inbound: Inbound,
    cipher_in: Option<Rc4Stream>,
    cipher_out: Option<Rc4Stream>,
    talk: Talk,
}

/// The protocol's state: everything but the socket and its buffers.
#[derive(Debug)]
struct Talk {
    torrent: Arc<Torrent>,
    local: Arc<Local>,
    address: SocketAddr,
    outgoing: bool,
    fast: bool,
    extended: bool,
    encrypted: bool,
    v2: bool,
    key: Option<PeerKey>,
    listen_address: Option<SocketAddr>,
    requests_max: usize,
    ids: ExtensionIds,
    outbound: Outbound,
    limits: Limits,
    /// Before there is a transfer.
    memo: Option<Memo>,
    ready: Option<Arc<Ready>>,
    /// Our extended handshake named the size of the metadata.
    offers_metadata: bool,
    /// The first message, which alone may be the bitfield, is over.
    introduced: bool,
    /// The peer told its whole availability.
    told_availability: bool,
    /// What the transfer is to be told, in order.
    events: Vec<WireEvent>,
    blocks: Vec<(Block, BlockBuf)>,
    /// Blocks on their way to us, about.
    expected: usize,
    choking: bool,
    extras: Extras,
}

/// What to wait for.
struct Wait {
    read: bool,
    write: bool,
    buffer: bool,
    until: Option<Instant>,
}

impl Conversation {
    /// Begins on a connected socket.
    pub fn new(socket: TcpStream, hello: Hello, torrent: Arc<Torrent>, local: Arc<Local>) -> Self {
        let reserved = hello.handshake.reserved;
        // Who answers, or greets, with the v2 hash need not say that it speaks v2: libtorrent does not.
        let v2 = reserved.v2() || torrent.hashes_now().swarm_v2() == Some(hello.handshake.swarm);
        let (cipher_in, cipher_out) = hello.ciphers.unzip();
        let talk = Talk {
            torrent,
            local,
            address: hello.address,
            outgoing: hello.outgoing,
            fast: reserved.fast(),
            extended: reserved.extended(),
            encrypted: cipher_in.is_some(),
            v2,
            key: None,
            listen_address: hello.outgoing.then_some(hello.address),
            requests_max: REQUESTS_UNSAID,
            ids: ExtensionIds::default(),
            outbound: Outbound::default(),
            limits: Limits::default(),
            memo: Some(Memo::default()),
            ready: None,
            offers_metadata: false,
            introduced: false,
            told_availability: false,
            events: Vec::new(),
            blocks: Vec::new(),
            expected: 0,
            choking: true,
            extras: Extras::new(Instant::now()),
        };
        Self { socket, inbound: Inbound::with_leftover(hello.leftover), cipher_in, cipher_out, talk }
    }

    /// Talks until one side leaves or `cancel` is cancelled.
    ///
    /// # Errors
    /// Always ends with the reason, [`Ending`].
    pub async fn run(mut self, cancel: CancellationToken) -> Ending {
        let ending = tokio::select! {
            biased;
            () = cancel.cancelled() => Ending::TransferEnded,
            ending = self.talk_on() => ending.err().unwrap_or(Ending::Closed),
        };
        self.talk.extras.leave(&self.talk.torrent, self.talk.key);
        self.talk.torrent.forget_peer(self.talk.address);
        ending
    }

    async fn talk_on(&mut self) -> Result<(), Ending> {
        let mut stage = self.talk.torrent.stage();
        self.talk.greet();
        let mut link: Option<PeerLink> = None;
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rounds.reset();
        let (mut heard, mut said, mut whole) = (Instant::now(), Instant::now(), Instant::now());
        let mut fresh = true;
        loop {
            if link.is_none() {
                let ready = match &*stage.borrow_and_update() {
                    Stage::Seeking => None,
                    Stage::Ready(ready) => Some(ready.clone()),
                    Stage::Closed => return Err(Ending::TransferEnded),
                };
                if let Some(ready) = ready {
                    link = Some(self.talk.enter(ready).await?);
                }
            }
            let mut wait = Wait { read: true, write: false, buffer: false, until: None };
            if let Some(link) = &mut link {
                while let Ok(order) = link.orders.try_recv() {
                    self.talk.order(order)?;
                }
            }
            let pool =
                link.as_ref().map_or_else(|| self.talk.torrent.pool().clone(), |link| link.pool.clone());

            if fresh {
                fresh = false;
                let talk = &mut self.talk;
                let limits = talk.limits;
                self.inbound.parse(&limits, &pool, &mut |arrival| talk.arrive(arrival))?;
            }
            let read = self.read(&pool, link.as_ref(), &mut wait)?;
            if read > 0 {
                heard = Instant::now();
            }
            if !self.inbound.is_mid_frame() || read >= BLOCK_LENGTH as usize {
                whole = Instant::now();
            }
            let (extras, mut side) = self.talk.aside();
            extras.seek(&mut side);
            if let Some(at) = extras.timeout(side.ready.is_some()) {
                wait.until = Some(at);
            }
            let had_something = !self.talk.outbound.is_idle();
            self.write(link.as_ref(), &mut wait)?;
            if had_something {
                said = Instant::now();
            }
            if let Some(link) = &link {
                self.talk
                    .tell(link, wait.write || wait.until.is_some() || self.talk.outbound.is_idle())
                    .await?;
            } else {
                self.talk.note()?;
            }

            if read >= READ_TURN || (wait.write && wait.until.is_some()) {
                // There is more of both; others get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                order = next_order(link.as_mut()) => match order {
                    Some(order) => self.talk.order(order)?,
                    None => return Err(Ending::TransferEnded),
                },
                ready = ready(&self.socket, &wait) => ready?,
                buffer = pool.take(), if wait.buffer => {
                    self.inbound.supply(buffer);
                    fresh = true;
                }
                () = until(wait.until) => {}
                changed = stage.changed(), if link.is_none() => {
                    if changed.is_err() {
                        return Err(Ending::TransferEnded);
                    }
                }
                () = self.talk.torrent.metadata_changed(), if link.is_none() => {}
                Some((request, hashes)) = self.talk.extras.answered() => {
                    self.talk.outbound.push(&match &hashes {
                        Some(hashes) => Message::Hashes { request, hashes },
                        None => Message::HashReject(request),
                    });
                }
                _ = rounds.tick() => {
                    let (extras, mut side) = self.talk.aside();
                    extras.exchange(&mut side);
                    extras.complete_trees(&mut side);
                    if heard.elapsed() > SILENCE_MAX {
                        return Err(Ending::Silent(SILENCE_MAX.as_secs()));
                    }
                    if whole.elapsed() > DAWDLE_MAX {
                        return Err(Ending::Dawdling(DAWDLE_MAX.as_secs()));
                    }
                    if said.elapsed() > KEEP_ALIVE {
                        self.talk.outbound.push(&Message::KeepAlive);
                    }
                }
            }
        }
    }

    /// Reads until the socket is empty or the turn is over; returns bytes read.
    fn read(
        &mut self,
        pool: &peerage_content::BlockPool,
        link: Option<&PeerLink>,
        wait: &mut Wait,
    ) -> Result<usize, Ending> {
        let mut total = 0;
        let throttle =
            link.map(|link| &link.throttle).filter(|throttle| throttle.is_limited(Direction::Down));
        while total < READ_TURN {
            let mut budget = READ_TURN;
            if let Some(throttle) = throttle {
                match throttle.available(Direction::Down, Instant::now()) {
                    Ok(available) => budget = budget.min(available as usize),
                    Err(until) => {
                        wait.read = false;
                        wait.until = Some(until);
                        break;
                    }
                }
            }
            let talk = &mut self.talk;
            let (limits, expected) = (talk.limits, talk.expected);
            let readout = self.inbound.read(
                &self.socket,
                self.cipher_in.as_mut(),
                &limits,
                (expected, budget),
                pool,
                &mut |arrival| talk.arrive(arrival),
            )?;
            match readout {
                Readout::Bytes(count) => {
                    total += count;
                    if let Some(throttle) = throttle {
                        throttle.spend(Direction::Down, count as u64, Instant::now());
                    }
                }
                Readout::Drained => break,
                Readout::Starved => {
                    wait.read = false;
                    wait.buffer = true;
                    break;
                }
            }
        }
        Ok(total)
    }

    fn write(&mut self, link: Option<&PeerLink>, wait: &mut Wait) -> Result<(), Ending> {
        let store = link.map(|link| (&*link.store, &link.throttle));
        match self.talk.outbound.flush(&self.socket, self.cipher_out.as_mut(), store)? {
            Flushed::Idle => {}
            Flushed::Full | Flushed::More => wait.write = true,
            Flushed::Until(at) => wait.until = Some(wait.until.map_or(at, |until| until.min(at))),
        }
        Ok(())
    }
}

async fn next_order(link: Option<&mut PeerLink>) -> Option<Order> {
    match link {
        Some(link) => link.orders.recv().await,
        None => std::future::pending().await,
    }
}

async fn ready(socket: &TcpStream, wait: &Wait) -> std::io::Result<()> {
    let interest = match (wait.read, wait.write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    socket.ready(interest).await.map(drop)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Talk {
    /// The extended handshake (BEP 10): at once, and again when there is metadata to offer.
    fn greet(&mut self) {
        if self.extended {
            let ready = self.torrent.ready();
            self.offers_metadata = ready.is_some();
            let mut offered = vec![Extension::Metadata, Extension::DontHave, Extension::UploadOnly];
            if !self.torrent.is_private() {
                offered.push(Extension::Pex);
            }
            let handshake = ExtendedHandshake {
                ids: ExtensionIds::own(&offered),
                client: Some(self.local.client.clone()),
                port: self.local.port,
                requests_max: Some(REQUESTS_MAX as u32),
                your_ip: Some(self.address.ip()),
                metadata_size: ready.as_ref().and_then(|ready| u32::try_from(ready.info_bytes().len()).ok()),
                upload_only: ready
                    .as_ref()
                    .map(|ready| ready.transfer.progress().borrow().finished)
                    .filter(|finished| *finished),
                ..ExtendedHandshake::default()
            };
            ExtendedMessage::Handshake(handshake).encode(&self.ids, self.outbound.buffer());
        }
        if let Some(port) = self.local.dht_port.filter(|_| !self.torrent.is_private()) {
            self.extras.dht_port = Some(port);
        }
    }

    /// The metadata is known: joins the transfer and tells it what the peer said so far.
    async fn enter(&mut self, ready: Arc<Ready>) -> Result<PeerLink, Ending> {
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
        self.ready = Some(ready);
        if let Some(memo) = self.memo.take() {
            self.events = memo.replay(pieces)?;
        }
        if !self.offers_metadata {
            self.greet();
        }
        let (extras, mut side) = self.aside();
        extras.complete_trees(&mut side);
        Ok(link)
    }

    /// Takes what arrived.
    fn arrive(&mut self, arrival: Arrival<'_>) -> Result<(), Misbehaviour> {
        match arrival {
            Arrival::Block(block, data) => {
                if self.ready.is_none() {
                    return Err(Misbehaviour::UnexpectedData(block.piece));
                }
                self.expected = self.expected.saturating_sub(1);
                self.blocks.push((block, data));
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
            Message::Port(port) => self.torrent.dht_node(SocketAddr::new(self.address.ip(), port)),
            Message::Extended { id, payload } => {
                self.extended(ExtendedMessage::decode(id, payload)?)?;
            }
            Message::HashRequest(request) => {
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
                if let Some(count) = handshake.requests_max {
                    self.requests_max = (count as usize).clamp(1, 8 * REQUESTS_MAX);
                }
                if let Some(port) = handshake.port.filter(|_| !self.outgoing) {
                    self.listen_address = Some(SocketAddr::new(self.address.ip(), port));
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
        if self.outbound.requests() >= 2 * REQUESTS_MAX {
            return Err(Misbehaviour::TooManyRequests(REQUESTS_MAX));
        }
        let served = !self.choking && ready.transfer.store().is_verified(block.piece);
        if served && self.outbound.requests() < REQUESTS_MAX {
            self.outbound.serve(block);
        } else if self.fast {
            self.outbound.push(&Message::Reject(block));
        }
        Ok(())
    }

    /// Puts an event behind the blocks that came before it.
    fn event(&mut self, event: WireEvent) {
        if !self.blocks.is_empty() {
            self.events.push(WireEvent::Blocks(std::mem::take(&mut self.blocks)));
        }
        self.events.push(event);
    }

    /// Tells the transfer everything that happened.
    async fn tell(&mut self, link: &PeerLink, resting: bool) -> Result<(), Ending> {
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
            let sent = self.outbound.take_sent();
            self.event(WireEvent::Sent(sent));
        }
        if let Some(ready) = &self.ready {
            for pieces in self.extras.take_knowable() {
                ready.transfer.knowable(pieces).await;
            }
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

    /// Remembers what happened, for the transfer to come.
    fn note(&mut self) -> Result<(), Ending> {
        let memo = self.memo.get_or_insert_default();
        for event in self.events.drain(..) {
            memo.note(event)?;
        }
        Ok(())
    }

    /// Carries out an order of the transfer.
    fn order(&mut self, order: Order) -> Result<(), Ending> {
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
                ExtendedMessage::UploadOnly(upload_only).encode(&self.ids, out.buffer());
            }
            Order::Close(why) => return Err(Ending::Dismissed(why)),
        }
        Ok(())
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
