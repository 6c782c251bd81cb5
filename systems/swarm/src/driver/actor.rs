//! The task of one transfer: owns the core, the intake and the records.
//!
//! It waits for nobody: workers report over channels that it drains, and get their jobs without a wait. `blocks` is the part of it
//! that follows a block from its arrival to the verdict on its piece, `disk` the one that keeps the core and the files in agreement.

mod blocks;
mod disk;
mod doubts;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peerage_content::{Intake, IntakeEvent, Layout, PieceIndex, PieceSet, Rechecked, Store, Truth, Yielded};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::disk::Check;
use self::doubts::Doubts;

use super::link::{Order, PeerLink, WireEvent};
use super::records::Records;
use super::throttle::{Direction, PeerThrottle, Throttle};
use super::transfer::{Activity, Control, Dialer, Progress, Resources, Stall, TransferParts};
use crate::core::{Found, Input, Output, PeerCaps, PeerKey, Received, Swarm, Throttled};

/// Orders a wire may leave untaken before it is dismissed: pieces are announced one by one, so a busy second is a thousand.
const ORDERS: usize = 2_048;
/// Verdicts that wait for the task before workers wait too.
const VERDICTS: usize = 64;
/// How often numbers are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How often buffers held for slow pieces are looked at, since other transfers may need them, and links that closed without a word.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Messages handled before outputs are looked at.
const BATCH: usize = 64;

/// What reaches the task.
#[derive(Debug)]
pub(super) enum Message {
    Join { caps: PeerCaps, reply: oneshot::Sender<PeerLink> },
    Wire(PeerKey, WireEvent),
    Left(PeerKey),
    Known(Vec<SocketAddr>, Found),
    DialFailed(SocketAddr),
    NoRoom(SocketAddr),
    Control(Control),
    Checked(Box<Rechecked>),
    Compared { same: bool, yielded: Box<Yielded> },
}

pub(super) struct Actor {
    core: Swarm,
    intake: Option<Intake>,
    verdicts: (mpsc::Sender<IntakeEvent>, mpsc::Receiver<IntakeEvent>),
    records: Records,
    layout: Arc<Layout>,
    store: Arc<Store>,
    truth: Arc<Truth>,
    resources: Resources,
    throttle: Arc<Throttle>,
    /// Limits of each peer that joins from now on: up, down.
    peer_limits: (Option<u64>, Option<u64>),
    /// Whether the limits bind, as the core was told.
    throttled: Throttled,
    messages: mpsc::WeakSender<Message>,
    dialer: Arc<dyn Dialer>,
    peers: HashMap<PeerKey, Wire>,
    peers_seen: u64,
    waiting: HashMap<PieceIndex, Vec<oneshot::Sender<()>>>,
    publish: watch::Sender<Progress>,
    published_at: Instant,
    look_at: Instant,
    /// When complete files are compared with their stamps next; `None` while a comparison is under way.
    compare_at: Option<Instant>,
    /// From 0 to 1: keeps transfers that began together from comparing together.
    stagger: f64,
    /// Whether missing pieces may be fetched at all.
    may_fetch: bool,
    paused: bool,
    checking: Option<Check>,
    /// Who wants to know what the check of everything that is under way finds.
    verifying: Vec<oneshot::Sender<PieceSet>>,
    /// Who asked for one while another check was under way: it comes next.
    verify_next: Vec<oneshot::Sender<PieceSet>>,
    /// Pieces to be hashed when storage works again, or when their hash is known.
    suspect: PieceSet,
    doubts: Doubts,
    stalled: Option<(Stall, Instant)>,
    /// Stalls since something was written.
    stalls: u32,
    /// Files that are not what they should be, and that only their owner may make so.
    held: Option<Activity>,
    /// [`Store::losses`] as of the last comparison with the core.
    losses: u64,
    finished: bool,
    super_seeding: bool,
    /// Peers were told that we will download nothing.
    told_upload_only: bool,
    totals: (u64, u64),
}

/// Our end of a link.
struct Wire {
    orders: mpsc::Sender<Order>,
    /// What we have is nothing to it.
    serves_only: bool,
}

impl Wire {
    /// Gives an order; false when too many wait. One that has closed is not behind: its last words wait in the inbox, and then its farewell.
    fn takes(&self, order: Order) -> bool {
        !matches!(self.orders.try_send(order), Err(TrySendError::Full(_)))
    }
}

impl Actor {
    pub(super) fn new(
        parts: TransferParts,
        resources: Resources,
        messages: mpsc::WeakSender<Message>,
        publish: watch::Sender<Progress>,
    ) -> Self {
        let now = Instant::now();
        let peer_limits = (parts.config.peer_up_max, parts.config.peer_down_max);
        let super_seeding = parts.config.super_seeding;
        let mut core =
            Swarm::new(parts.config, parts.layout.clone(), parts.store.verified(), parts.seed, now);
        core.handle(now, Input::Prioritise { ranges: &parts.priorities });
        for entry in parts.truth.missing_layers() {
            let pieces = parts.layout.pieces_of(entry);
            // The v1 hashes of a hybrid verify what its missing layers do not.
            if !pieces.clone().all(|piece| parts.truth.knows(piece)) {
                core.handle(now, Input::Knowable { pieces, known: false });
            }
        }
        let stagger = parts.seed as f64 / u64::MAX as f64;
        Self {
            core,
            intake: None,
            verdicts: mpsc::channel(VERDICTS),
            records: Records::new(parts.journal, parts.note, parts.totals, now),
            layout: parts.layout,
            store: parts.store,
            truth: parts.truth,
            resources,
            throttle: parts.throttle,
            peer_limits,
            throttled: Throttled::default(),
            messages,
            dialer: parts.dialer,
            peers: HashMap::new(),
            peers_seen: 0,
            waiting: HashMap::new(),
            publish,
            published_at: now,
            look_at: now,
            compare_at: Some(now + disk::COMPARE_IDLE.mul_f64(0.5 + stagger)),
            stagger,
            may_fetch: parts.fetching,
            paused: false,
            checking: None,
            verifying: Vec::new(),
            verify_next: Vec::new(),
            suspect: parts.suspect,
            doubts: Doubts::default(),
            stalled: None,
            stalls: 0,
            held: None,
            losses: 0,
            finished: false,
            super_seeding,
            told_upload_only: false,
            totals: parts.totals,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, cancel: CancellationToken) {
        if !self.check_suspects() {
            self.held = self.not_ours();
        }
        self.flow(Instant::now());
        self.settle(Instant::now());
        self.publish_now(Instant::now());
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let deadline = tokio::time::Instant::from_std(self.deadline());
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(verdict) = self.verdicts.1.recv() => self.verdict(verdict),
                Some(message) = inbox.recv() => self.message(message),
                outcome = self.records.outcome() => {
                    let now = Instant::now();
                    if let Err(failed) = self.records.heed(outcome, now) {
                        self.not_flushed(now, &failed);
                    }
                }
                () = &mut timer => {}
            }
            for _ in 0..BATCH {
                if let Ok(verdict) = self.verdicts.1.try_recv() {
                    self.verdict(verdict);
                } else if let Ok(message) = inbox.try_recv() {
                    self.message(message);
                } else {
                    break;
                }
            }
            self.turn(Instant::now());
        }
        // Nobody waits for the inbox any more.
        inbox.close();
        let now = Instant::now();
        let totals = self.totals_now();
        self.records.totals(totals, now);
        // `publish` stays in `self` and goes last: that is how others know that nothing more is written.
        let Self { intake, mut records, store, peers, verdicts: (sender, mut verdicts), .. } = self;
        drop(peers);
        drop(intake.map(Intake::stop));
        drop(sender);
        // Until the last worker has let go of the intake.
        while let Some(verdict) = verdicts.recv().await {
            if let IntakeEvent::Verified(piece) = verdict {
                records.verified(piece, now);
            }
        }
        records.close(store.clone()).await;
        store.close();
    }

    /// When the task must wake though nothing happened.
    fn deadline(&self) -> Instant {
        let mut deadline = self.published_at + Duration::from_secs(30);
        let sooner =
            [self.core.poll_timeout(), self.records.timeout(), self.stalled.as_ref().map(|(_, at)| *at)];
        for at in sooner.into_iter().flatten().chain(self.compare_due()).chain(self.doubts_due()) {
            deadline = deadline.min(at);
        }
        if !self.peers.is_empty() || self.checking.is_some() {
            deadline = deadline.min(self.published_at + PUBLISH_EVERY);
        }
        deadline
    }

    /// Everything that follows from the inputs just taken, and from time.
    fn turn(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle(now, Input::Tick);
        }
        if self.stalled.as_ref().is_some_and(|(_, at)| *at <= now) {
            debug!("trying to use the files again");
            self.stalled = None;
            self.check_suspects();
            self.flow(now);
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            self.look();
        }
        self.settle(now);
        if self.compare_due().is_some_and(|at| at <= now) {
            self.compare();
        }
        if self.doubts_due().is_some_and(|at| at <= now) {
            self.hash_doubted(now);
        }
        self.records.tick(now, &self.store, &self.resources.workers);
        if now >= self.published_at + PUBLISH_EVERY {
            self.heed_throttles(now);
            self.records.totals(self.totals_now(), now);
            self.publish_now(now);
        }
    }

    /// What is easily overlooked: buffers that nobody asks back, and peers whose farewell found the inbox full.
    fn look(&mut self) {
        if self.resources.pool.usage().0 > 0
            && let Some(intake) = &mut self.intake
        {
            intake.relieve();
        }
        let gone: Vec<_> =
            self.peers.iter().filter(|(_, wire)| wire.orders.is_closed()).map(|(key, _)| *key).collect();
        gone.into_iter().for_each(|peer| self.left(peer));
    }

    /// Tells the core when rate limits begin or cease to bind: it judges peers by what they send and take.
    fn heed_throttles(&mut self, now: Instant) {
        let binds =
            |direction| self.throttle.binds(direction, now) || self.resources.throttle.binds(direction, now);
        let throttled = Throttled { up: binds(Direction::Up), down: binds(Direction::Down) };
        if self.throttled != throttled {
            self.throttled = throttled;
            self.core.handle(now, Input::Throttled(throttled));
        }
    }

    fn message(&mut self, message: Message) {
        let now = Instant::now();
        match message {
            Message::Wire(peer, event) => self.wire(now, peer, event),
            Message::Join { caps, reply } => self.join(now, caps, reply),
            Message::Left(peer) => self.left(peer),
            Message::Known(addresses, found) => {
                self.core.handle(now, Input::Known { addresses: &addresses, found });
            }
            Message::DialFailed(address) => self.core.handle(now, Input::DialFailed { address }),
            Message::NoRoom(address) => self.core.handle(now, Input::NoRoom { address }),
            Message::Control(control) => self.control(now, control),
            Message::Checked(found) => self.checked(now, &found),
            Message::Compared { same, yielded } => self.compared(now, same, &yielded),
        }
        self.carry_out();
    }

    fn join(&mut self, now: Instant, caps: PeerCaps, reply: oneshot::Sender<PeerLink>) {
        let Some(messages) = self.messages.upgrade() else { return };
        let key = PeerKey(self.peers_seen);
        self.peers_seen += 1;
        let (orders, orders_taken) = mpsc::channel(ORDERS);
        let link = PeerLink {
            key,
            messages,
            orders: orders_taken,
            store: self.store.clone(),
            pool: self.resources.pool.clone(),
            throttle: PeerThrottle::new(
                self.resources.throttle.clone(),
                self.throttle.clone(),
                Throttle::new(self.peer_limits.0, self.peer_limits.1),
            ),
        };
        if reply.send(link).is_ok() {
            self.peers.insert(key, Wire { orders, serves_only: caps.serves_only });
            self.compare_by(now + disk::COMPARE_EVERY);
            self.core.handle(now, Input::Joined { peer: key, caps });
        }
    }

    fn left(&mut self, peer: PeerKey) {
        if self.peers.remove(&peer).is_some() {
            self.core.handle(Instant::now(), Input::Left { peer });
        }
    }

    fn wire(&mut self, now: Instant, peer: PeerKey, event: WireEvent) {
        let input = match event {
            WireEvent::Blocks(blocks) => {
                for arrived in blocks {
                    let block = arrived.block;
                    if self.core.receive(now, peer, block) == Received::Wanted {
                        self.take_in(now, arrived);
                    }
                    // A piece that is to be dropped is dropped before any further block of it comes.
                    self.carry_out();
                }
                return;
            }
            WireEvent::FileChanged => return self.files_changed(now),
            WireEvent::Proof { piece, known } => return self.proof(now, peer, piece, known),
            WireEvent::Proves => Input::Proves { peer },
            WireEvent::Rejected(blocks) => {
                return self.core.handle(now, Input::Rejected { peer, blocks: &blocks });
            }
            WireEvent::Caps { requests_max, listen_address } => {
                Input::Caps { peer, requests_max, listen_address }
            }
            WireEvent::Has(availability) => Input::Has { peer, availability },
            WireEvent::Have(piece) => Input::Have { peer, piece },
            WireEvent::DontHave(piece) => Input::DontHave { peer, piece },
            WireEvent::Choked(choked) => Input::Choked { peer, choked },
            WireEvent::Interest(interested) => Input::Interest { peer, interested },
            WireEvent::UploadOnly(upload_only) => Input::UploadOnly { peer, upload_only },
            WireEvent::AllowedFast(piece) => Input::AllowedFast { peer, piece },
            WireEvent::Sent { bytes, padding } => Input::Sent { peer, bytes, padding },
        };
        self.core.handle(now, input);
    }

    fn wake(&mut self, piece: PieceIndex) {
        for done in self.waiting.remove(&piece).into_iter().flatten() {
            let _ = done.send(());
        }
    }

    fn control(&mut self, now: Instant, control: Control) {
        match control {
            Control::Pause(paused) => {
                self.paused = paused;
                self.flow(now);
                self.publish_now(now);
            }
            Control::Configure(config) => {
                self.peer_limits = (config.peer_up_max, config.peer_down_max);
                self.super_seeding = config.super_seeding;
                self.core.handle(now, Input::Configure(config));
            }
            Control::Prioritise { ranges, done } => {
                self.core.handle(now, Input::Prioritise { ranges: &ranges });
                self.finished = false;
                self.publish_now(now);
                let _ = done.send(());
            }
            Control::Await { reader, piece, at, done } => {
                if self.store.is_verified(piece) && self.store.is_doubted(piece) {
                    self.waiting.entry(piece).or_default().push(done);
                    self.heed_doubts(now);
                } else if self.store.is_verified(piece) {
                    let _ = done.send(());
                } else {
                    self.waiting.entry(piece).or_default().push(done);
                    self.core.handle(now, Input::Deadline { reader, piece, at });
                }
            }
            Control::WantBy { reader, piece, at } => {
                self.core.handle(now, Input::Deadline { reader, piece, at });
            }
            Control::ClearDeadlines(reader) => self.core.handle(now, Input::ClearDeadlines { reader }),
            Control::Verify(done) => {
                self.verify_next.push(done);
                self.verify();
            }
            Control::Knowable(pieces) => {
                self.core.handle(now, Input::Knowable { pieces, known: true });
                self.check_suspects();
            }
            Control::Peers(reply) => {
                let _ = reply.send(self.core.peers(now));
            }
        }
    }

    /// Tells the core whether to fetch and serve.
    fn flow(&mut self, now: Instant) {
        let fetching = self.may_fetch
            && !self.paused
            && self.checking.is_none()
            && self.stalled.is_none()
            && self.held.is_none();
        self.core.handle(now, Input::Flow { fetching, serving: !self.paused });
    }

    /// Carries out what the core wants, and completes what is complete.
    fn settle(&mut self, now: Instant) {
        self.carry_out();
        let is_finished = self.core.is_finished();
        if is_finished && !self.finished && self.checking.is_none() && self.stalled.is_none() {
            self.finish(now);
            self.carry_out();
        }
        if self.told_upload_only != self.is_upload_only() {
            self.told_upload_only = self.is_upload_only();
            let upload_only = self.told_upload_only;
            self.broadcast(|| Order::UploadOnly(upload_only));
        }
    }

    /// Whether peers may know that we will download nothing. While super-seeding we pretend to.
    fn is_upload_only(&self) -> bool {
        self.finished && !self.super_seeding
    }

    /// Carries out what the core wants. Its outputs are about the moment they were made: nothing may be given to the intake, or to
    /// the core, before they are taken.
    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.carry_out_one(output);
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Request { peer, blocks } => self.order(peer, Order::Request(blocks)),
            Output::Cancel { peer, blocks } => self.order(peer, Order::Cancel(blocks)),
            Output::Choke { peer, choked } => self.order(peer, Order::Choke(choked)),
            Output::Interest { peer, interested } => self.order(peer, Order::Interest(interested)),
            Output::Introduce { peer, availability } => self.order(peer, Order::Introduce(availability)),
            Output::Announce { peer: Some(peer), piece } => self.order(peer, Order::Have(piece)),
            Output::Announce { peer: None, piece } => self.broadcast(|| Order::Have(piece)),
            Output::Retract { piece } => self.broadcast(|| Order::DontHave(piece)),
            Output::Prove { peer, piece } => self.order(peer, Order::Prove(piece)),
            Output::Discard { piece } => {
                if let Some(intake) = &mut self.intake {
                    intake.discard(piece);
                }
            }
            Output::Dismiss { peer, why } => {
                self.order(peer, Order::Close(why));
                self.left(peer);
            }
            Output::Ban { address } => info!(host = %address.ip(), "banned: it sent bad data"),
            Output::Dial { address } => self.dialer.dial(address),
            Output::Finished => self.finished = false,
        }
    }

    /// Orders all peers that care what we have.
    fn broadcast(&mut self, order: impl Fn() -> Order) {
        let behind: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, wire)| !wire.serves_only && !wire.takes(order()))
            .map(|(key, _)| *key)
            .collect();
        behind.into_iter().for_each(|peer| self.left(peer));
    }

    fn order(&mut self, peer: PeerKey, order: Order) {
        if let Some(wire) = self.peers.get(&peer)
            && !wire.takes(order)
        {
            debug!(?peer, "does not take its orders");
            self.left(peer);
        }
    }

    fn totals_now(&self) -> (u64, u64) {
        let (downloaded, uploaded) = self.core.totals();
        (self.totals.0 + downloaded, self.totals.1 + uploaded)
    }

    fn activity(&self) -> Activity {
        if let Some(check) = &self.checking {
            Activity::Checking(check.hashed.load(Ordering::Relaxed), check.total)
        } else if let Some(held) = &self.held {
            held.clone()
        } else if self.paused {
            Activity::Paused
        } else if let Some((stall, _)) = &self.stalled {
            Activity::Stalled(stall.clone())
        } else if self.core.is_finished() {
            Activity::Seeding
        } else {
            Activity::Downloading
        }
    }

    fn publish_now(&mut self, now: Instant) {
        self.published_at = now;
        let stats = self.core.stats(now);
        let progress = Progress {
            activity: self.activity(),
            verified_bytes: self.store.verified_bytes(),
            finished: self.finished,
            upload_only: self.is_upload_only(),
            downloaded_total: self.totals.0 + stats.downloaded,
            uploaded_total: self.totals.1 + stats.uploaded,
            stats,
        };
        self.publish.send_replace(progress);
    }
}
