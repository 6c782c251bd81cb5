//! One connection after its greeting, until one side leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::BlockPool;
use peerage_swarm::core::Found;
use peerage_swarm::driver::{Direction, Order, PeerLink};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::error::Ending;
use super::inbound::{Inbound, Readout};
use super::outbound::Flushed;
use super::patience::{Patience, Pulse};
use super::talk::Talk;
use crate::mse::Rc4Stream;
use crate::ports::Ports;
use crate::torrent::{Stage, Torrent};
use crate::wire::{Handshake, Message};

/// How often keep-alives, silence and exchange are looked at.
const ROUND: Duration = Duration::from_secs(10);
/// Bytes read before the connection looks at its other duties.
const READ_TURN: usize = 512 << 10;

/// Who we are, the same on every connection.
#[derive(Clone, Debug)]
pub struct Local {
    /// Name and version for extended handshakes.
    pub client: String,
    /// The TCP ports we listen on.
    pub ports: Ports,
    /// The UDP ports of our DHT node.
    pub dht_ports: Ports,
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
    /// Where the address was learnt, unless the transfer knows.
    pub found: Option<Found>,
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

/// How a conversation was.
#[derive(Debug)]
pub struct Parted {
    /// Why it ended.
    pub ending: Ending,
    /// The transfer heard of the peer.
    pub joined: bool,
}

/// What to wait for.
struct Wait {
    read: bool,
    write: bool,
    buffer: bool,
    until: Option<Instant>,
}

impl Wait {
    fn until(&mut self, at: Instant) {
        self.until = Some(self.until.map_or(at, |until| until.min(at)));
    }
}

impl Conversation {
    /// Begins on a connected socket.
    pub fn new(socket: TcpStream, hello: Hello, torrent: Arc<Torrent>, local: Arc<Local>) -> Self {
        let encrypted = hello.ciphers.is_some();
        let talk = Talk::new(&hello, encrypted, torrent, local);
        let (cipher_in, cipher_out) = hello.ciphers.unzip();
        Self { socket, inbound: Inbound::with_leftover(hello.leftover), cipher_in, cipher_out, talk }
    }

    /// Talks until one side leaves or `cancel` is cancelled; `pulse` beats with what is heard.
    pub(crate) async fn run(mut self, cancel: CancellationToken, pulse: &Pulse) -> Parted {
        let talking = async {
            let mut link = None;
            let ending = self.talk_on(pulse, &mut link).await.err().unwrap_or(Ending::Closed);
            if let Some(link) = link.filter(|_| ending.is_the_peers()) {
                // Its last words came in the same read as its end. An error: there is nobody to tell.
                let _ = self.talk.tell(&link, true).await;
            }
            ending
        };
        let ending = cancel.run_until_cancelled(talking).await.unwrap_or(Ending::TransferEnded);
        self.talk.leave().await;
        Parted { ending, joined: self.talk.key.is_some() }
    }

    /// Talks until one side leaves; `link` is there once the transfer is.
    async fn talk_on(&mut self, pulse: &Pulse, link: &mut Option<PeerLink>) -> Result<(), Ending> {
        let mut stage = self.talk.torrent.stage();
        self.talk.greet();
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rounds.reset();
        let mut patience = Patience::new(Instant::now());
        // Something may lie here that no read will bring to light: what came with the greeting, or a block that found no buffer.
        let mut staged = true;
        loop {
            if link.is_none() {
                let ready = match &*stage.borrow_and_update() {
                    Stage::Seeking => None,
                    Stage::Ready(ready) => Some(ready.clone()),
                    Stage::Closed => return Err(Ending::TransferEnded),
                };
                if let Some(ready) = ready {
                    *link = Some(self.talk.enter(ready).await?);
                }
            }
            let mut wait = Wait { read: true, write: false, buffer: false, until: None };
            if let Some(link) = link.as_mut() {
                while let Ok(order) = link.orders.try_recv() {
                    self.talk.order(order)?;
                }
            }
            let pool =
                link.as_ref().map_or_else(|| self.talk.torrent.pool().clone(), |link| link.pool.clone());

            if staged {
                let talk = &mut self.talk;
                let limits = talk.limits;
                staged = self.inbound.parse(&limits, &pool, &mut |arrival| talk.arrive(arrival))?;
            }
            let read = if staged {
                (wait.read, wait.buffer) = (false, true);
                0
            } else {
                self.read(&pool, link.as_ref(), &mut wait)?
            };
            staged = wait.buffer;
            let now = Instant::now();
            patience.heard(now, read, self.inbound.is_mid_frame(), wait.read);
            if read > 0 {
                pulse.beat(now);
            }
            if let Some(at) = self.talk.attend(now)? {
                wait.until(at);
            }
            let had_something = !self.talk.outbound.is_idle();
            let more = self.write(link.as_ref(), &mut wait)?;
            if had_something {
                patience.said(now);
            }
            if let Some(link) = link.as_ref() {
                self.talk
                    .tell(link, wait.write || wait.until.is_some() || self.talk.outbound.is_idle())
                    .await?;
            } else {
                self.talk.note()?;
            }

            if read >= READ_TURN || more {
                // There is more to do at once; others get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                order = next_order(link.as_mut()) => match order {
                    Some(order) => self.talk.order(order)?,
                    None => return Err(Ending::TransferEnded),
                },
                ready = ready(&self.socket, &wait) => ready?,
                buffer = pool.take(), if wait.buffer => self.inbound.supply(buffer),
                () = until(wait.until) => {}
                changed = stage.changed(), if link.is_none() => {
                    if changed.is_err() {
                        return Err(Ending::TransferEnded);
                    }
                }
                () = self.talk.torrent.metadata_changed(), if link.is_none() => {}
                Some((request, hashes)) = self.talk.extras.answered() => self.talk.answer(request, hashes),
                _ = rounds.tick() => {
                    if patience.round(Instant::now())? {
                        self.talk.outbound.push(&Message::KeepAlive);
                    }
                    self.talk.round();
                }
            }
        }
    }

    /// Reads until the socket is empty or the turn is over; returns bytes read.
    fn read(&mut self, pool: &BlockPool, link: Option<&PeerLink>, wait: &mut Wait) -> Result<usize, Ending> {
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
                        wait.until(until);
                        break;
                    }
                }
            }
            let talk = &mut self.talk;
            talk.behind = self.inbound.is_behind();
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

    /// Sends what the socket takes; returns whether there is more that it would take at once.
    fn write(&mut self, link: Option<&PeerLink>, wait: &mut Wait) -> Result<bool, Ending> {
        let store = link.map(|link| (&*link.store, &link.throttle));
        let flushed = self.talk.outbound.flush(&self.socket, self.cipher_out.as_mut(), store)?;
        match flushed {
            Flushed::Idle => {}
            Flushed::Full | Flushed::More => wait.write = true,
            Flushed::Until(at) => wait.until(at),
        }
        Ok(flushed == Flushed::More)
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
