//! The sending side of a connection: control messages, and blocks straight from the page cache.
//!
//! On a plain connection a block is a 13-byte header held back by `MSG_MORE` and a `sendfile`. On an encrypted one it is read,
//! enciphered and sent. Nothing else may come between a header and its data.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use peerage_content::{Block, ReadError, Sending, Store};
use peerage_swarm::driver::{Direction, PeerThrottle};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::mse::Rc4Stream;
use crate::wire::{Message, piece_header};

/// Bytes of control messages that may wait for a peer that does not read.
const BACKLOG_MAX: usize = 1 << 20;
/// Bytes of blocks sent before the connection looks at its other duties.
const TURN: u64 = 1 << 20;
/// How far ahead of the present block the kernel is asked to read the disk.
const READAHEAD: u32 = 1 << 20;
/// How often to look whether files that are hashed again may be served.
const DOUBT_PAUSE: Duration = Duration::from_millis(200);

/// What sending came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything went out.
    Idle,
    /// The turn is over, there is more.
    More,
    /// The socket is full.
    Full,
    /// A rate limit says to go on then.
    Until(Instant),
}

/// Why sending ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboundError {
    #[error("the peer does not read what it is sent")]
    Backlog,
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Messages not begun, in plain.
    control: Vec<u8>,
    /// Bytes that go before the present block's data, enciphered if need be; `head_sent` of them are gone.
    head: Vec<u8>,
    head_sent: usize,
    /// The block whose header is in `head` or gone.
    sending: Option<Sending>,
    /// Blocks the peer asked for.
    requests: VecDeque<Block>,
    /// Block bytes sent since [`Outbound::take_sent`].
    sent: u64,
    /// Padding in the blocks begun since then.
    padding: u64,
    /// The 1 MiB window that is known to be in the page cache: piece and begin.
    window: Option<(u32, u32)>,
    /// Blocks that could not be served since [`Outbound::take_unserved`].
    unserved: Vec<Block>,
    file_changed: bool,
    /// Blocks that wait may be of files that are to be hashed before they are read.
    in_doubt: bool,
    /// No block goes out before then.
    held: Option<Instant>,
}

impl Outbound {
    /// Queues a message.
    pub(super) fn push(&mut self, message: &Message<'_>) {
        message.encode(&mut self.control);
    }

    /// The buffer of messages not begun, for encoders that append.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    /// Requests waiting.
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Queues a block.
    pub(super) fn serve(&mut self, block: Block) {
        self.requests.push_back(block);
    }

    /// Keeps blocks back until then.
    pub(super) fn hold(&mut self, until: Instant) {
        self.held = Some(until);
    }

    /// Takes a request back; false when it is not waiting (any more).
    pub(super) fn withdraw(&mut self, block: Block) -> bool {
        let at = self.requests.iter().position(|waiting| *waiting == block);
        at.and_then(|at| self.requests.remove(at)).is_some()
    }

    /// Drops all requests, giving those that were waiting.
    pub(super) fn withdraw_all(&mut self) -> VecDeque<Block> {
        std::mem::take(&mut self.requests)
    }

    /// Block bytes sent since the last [`Outbound::take_sent`].
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Block bytes sent since the last call, and how many of them were padding.
    pub(super) fn take_sent(&mut self) -> (u64, u64) {
        // A block that goes out in parts may have brought its padding into account before its bytes.
        let padding = self.padding.min(self.sent);
        self.padding -= padding;
        (std::mem::take(&mut self.sent), padding)
    }

    /// Requests that could not be served since the last call, and whether the reason was a changed file.
    pub(super) fn take_unserved(&mut self) -> (Vec<Block>, bool) {
        (std::mem::take(&mut self.unserved), std::mem::take(&mut self.file_changed))
    }

    /// Whether anything waits.
    pub(super) fn is_idle(&self) -> bool {
        self.control.is_empty()
            && self.head.len() == self.head_sent
            && self.sending.is_none()
            && self.requests.is_empty()
    }

    /// Sends as much as the socket takes and the limits allow, a turn at most.
    pub(super) fn flush(
        &mut self,
        socket: &TcpStream,
        mut cipher: Option<&mut Rc4Stream>,
        store: Option<(&Store, &PeerThrottle)>,
    ) -> Result<Flushed, OutboundError> {
        if self.control.len() > BACKLOG_MAX {
            return Err(OutboundError::Backlog);
        }
        let turn_end = self.sent + TURN;
        loop {
            if self.head_sent < self.head.len() {
                let more = self.sending.is_some() || (cipher.is_none() && !self.requests.is_empty());
                match send_now(socket, &self.head[self.head_sent..], more) {
                    Ok(count) => self.head_sent += count,
                    Err(error) => return full_or(error),
                }
                continue;
            }
            if let Some(sending) = &mut self.sending {
                match socket.try_io(Interest::WRITABLE, || sending.send(socket, false)) {
                    Ok(count) => self.sent += count as u64,
                    Err(error) => return full_or(error),
                }
                if sending.remaining() > 0 {
                    continue;
                }
                self.sending = None;
            }
            self.head.clear();
            self.head_sent = 0;
            if self.sent >= turn_end {
                return Ok(Flushed::More);
            }
            let until = match store {
                Some((store, throttle)) if !self.requests.is_empty() => {
                    self.next_block(store, throttle, cipher.is_some())
                }
                _ => None,
            };
            if self.head.is_empty() {
                std::mem::swap(&mut self.head, &mut self.control);
            }
            if let Some(cipher) = cipher.as_deref_mut() {
                cipher.apply(&mut self.head);
            }
            if self.head.is_empty() {
                if self.head.capacity() > 64 << 10 {
                    self.head = Vec::new();
                }
                return Ok(until.map_or(Flushed::Idle, Flushed::Until));
            }
        }
    }

    /// Puts the next request that can be served behind the waiting messages. Returns when to try again if a limit forbids it.
    fn next_block(&mut self, store: &Store, throttle: &PeerThrottle, enciphered: bool) -> Option<Instant> {
        if let Some(until) = self.held {
            if Instant::now() < until {
                return Some(until);
            }
            self.held = None;
        }
        while let Some((at, block)) = self.next_request(store) {
            if throttle.is_limited(Direction::Up) {
                // A block is sent whole; the limiter goes into debt for it.
                if let Err(until) = throttle.take(Direction::Up, u64::from(block.length), Instant::now()) {
                    return Some(until);
                }
            }
            self.warm(store, block);
            let sending = store.sending(block);
            if let Err(ReadError::Touched { .. } | ReadError::InDoubt { .. }) = sending {
                self.file_changed |= matches!(sending, Err(ReadError::Touched { .. }));
                self.in_doubt = true;
                break;
            }
            self.requests.remove(at);
            let mut sending = match sending {
                Ok(sending) => sending,
                Err(error) => {
                    self.file_changed |= matches!(error, ReadError::Changed { .. });
                    self.unserved.push(block);
                    continue;
                }
            };
            self.padding += u64::from(block.length - store.layout().content_of(block));
            std::mem::swap(&mut self.head, &mut self.control);
            self.head.extend_from_slice(&piece_header(block));
            if enciphered {
                let from = self.head.len();
                self.head.resize(from + block.length as usize, 0);
                match copy_all(&mut sending, &mut self.head[from..]) {
                    Ok(()) => self.sent += u64::from(block.length),
                    Err(_) => {
                        self.head.truncate(from - crate::wire::PIECE_HEADER_LENGTH);
                        self.unserved.push(block);
                        continue;
                    }
                }
            } else {
                self.sending = Some(sending);
            }
            return None;
        }
        // Refused, they would be asked for elsewhere or never again; most files are hashed in a moment.
        if !self.requests.is_empty() {
            self.held = Some(Instant::now() + DOUBT_PAUSE);
        }
        self.held
    }

    /// The next request that need not wait until its file is hashed, and its place in the queue.
    fn next_request(&mut self, store: &Store) -> Option<(usize, Block)> {
        if !self.in_doubt {
            return self.requests.front().map(|block| (0, *block));
        }
        let mut requests = self.requests.iter().copied().enumerate();
        let next = requests.find(|(_, block)| !store.is_doubted(block.piece));
        // Nothing is in doubt any more, as far as anybody asks for it.
        self.in_doubt = next.is_none_or(|(at, _)| at > 0) && !self.requests.is_empty();
        next
    }

    /// Once a window: starts the disk on what will be asked for next.
    fn warm(&mut self, store: &Store, block: Block) {
        let window = (block.piece, block.begin / READAHEAD);
        if self.window != Some(window) {
            self.window = Some(window);
            store.is_resident(block, READAHEAD);
        }
    }
}

fn copy_all(sending: &mut Sending, mut into: &mut [u8]) -> io::Result<()> {
    while sending.remaining() > 0 {
        let count = sending.copy(into)?;
        into = &mut into[count..];
    }
    Ok(())
}

fn full_or(error: io::Error) -> Result<Flushed, OutboundError> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(Flushed::Full) } else { Err(error.into()) }
}

fn send_now(socket: &TcpStream, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    socket.try_io(Interest::WRITABLE, || Ok(rustix::net::send(socket, bytes, flags)?))
}
