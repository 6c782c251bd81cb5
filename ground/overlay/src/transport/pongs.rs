//! Answers yamux's pings beneath yamux, so that a connection never stops reading.
//!
//! `yamux` 0.14 keeps the answer to a ping in a single slot and reads nothing more until it is sent (libp2p/rust-yamux#227). When both sides have more to
//! write than the network takes, a ping each way therefore ends the connection's life without closing it: neither reads, so neither's
//! answer can leave. [`Pongs`] lies between the encrypted socket and yamux, takes the pings out of what is read and puts the answers
//! between the frames that are written. Yamux never sees a ping, and so never stops.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

const HEADER: usize = 12;
const DATA: u8 = 0;
const PING: u8 = 2;
const SYN: u16 = 1;
const ACK: u16 = 2;
/// Answers that wait; a peer that pings faster than it reads gets the last ones.
const ANSWERS_MAX: usize = 8;
/// Pings taken out in one go before others get their turn.
const PINGS_PER_POLL: usize = 64;

/// A socket that yamux frames go over, without the pings of the peer.
pub(crate) struct Pongs<S> {
    socket: S,
    reading: Reading,
    writing: Writing,
    /// What the pings said, to be said back.
    answers: VecDeque<[u8; 4]>,
    /// An answer on its way: its bytes, and how many are written.
    answer: Option<([u8; HEADER], usize)>,
}

/// Where in the peer's frames we are.
enum Reading {
    /// Collecting a header; so many bytes are there.
    Header([u8; HEADER], usize),
    /// Giving a header on; so many bytes are given.
    Give([u8; HEADER], usize),
    /// Giving a body on, so many bytes are left.
    Body(usize),
}

/// Where in our own frames we are.
enum Writing {
    Header([u8; HEADER], usize),
    Body(usize),
}

impl<S> Pongs<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            reading: Reading::Header([0; HEADER], 0),
            writing: Writing::Header([0; HEADER], 0),
            answers: VecDeque::new(),
            answer: None,
        }
    }

    fn between_frames(&self) -> bool {
        matches!(self.writing, Writing::Header(_, 0))
    }

    fn queue_answer(&mut self, saying: [u8; 4]) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(saying);
    }
}

impl<S: AsyncWrite + Unpin> Pongs<S> {
    /// Writes the answers that wait, if no frame of yamux is half written.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.between_frames() {
            let Some((bytes, written)) = &mut self.answer else {
                let Some(saying) = self.answers.pop_front() else { break };
                self.answer = Some((pong(saying), 0));
                continue;
            };
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &bytes[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *written += n,
            }
            if *written == HEADER {
                self.answer = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Puts answers on the way while yamux has nothing to write; it goes on when yamux flushes.
    fn answer_while_idle(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.answers.is_empty() && self.answer.is_none() {
            return Ok(());
        }
        if self.poll_answer(cx)?.is_ready() && self.answers.is_empty() {
            let _ = Pin::new(&mut self.socket).poll_flush(cx)?;
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Pongs<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut pings = 0;
        loop {
            match &mut this.reading {
                Reading::Header(bytes, have) => {
                    match Pin::new(&mut this.socket).poll_read(cx, &mut bytes[*have..]) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                        Poll::Ready(Ok(n)) => *have += n,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {
                            this.answer_while_idle(cx)?;
                            return Poll::Pending;
                        }
                    }
                    if *have < HEADER {
                        continue;
                    }
                    let bytes = *bytes;
                    let Some(saying) = ping(&bytes) else {
                        this.reading = Reading::Give(bytes, 0);
                        continue;
                    };
                    this.reading = Reading::Header([0; HEADER], 0);
                    this.queue_answer(saying);
                    pings += 1;
                    if pings == PINGS_PER_POLL {
                        this.answer_while_idle(cx)?;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Reading::Give(bytes, given) => {
                    let n = buf.len().min(HEADER - *given);
                    buf[..n].copy_from_slice(&bytes[*given..][..n]);
                    *given += n;
                    if *given == HEADER {
                        this.reading = match body(bytes) {
                            0 => Reading::Header([0; HEADER], 0),
                            left => Reading::Body(left),
                        };
                    }
                    return Poll::Ready(Ok(n));
                }
                Reading::Body(left) => {
                    let room = buf.len().min(*left);
                    let n = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buf[..room]))?;
                    *left -= n;
                    if *left == 0 {
                        this.reading = Reading::Header([0; HEADER], 0);
                    }
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pongs<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        let socket = Pin::new(&mut this.socket);
        match &mut this.writing {
            Writing::Header(bytes, have) => {
                let n = ready!(socket.poll_write(cx, &buf[..buf.len().min(HEADER - *have)]))?;
                bytes[*have..][..n].copy_from_slice(&buf[..n]);
                *have += n;
                if *have == HEADER {
                    this.writing = match body(bytes) {
                        0 => Writing::Header([0; HEADER], 0),
                        left => Writing::Body(left),
                    };
                }
                Poll::Ready(Ok(n))
            }
            Writing::Body(left) => {
                let n = ready!(socket.poll_write(cx, &buf[..buf.len().min(*left)]))?;
                *left -= n;
                if *left == 0 {
                    this.writing = Writing::Header([0; HEADER], 0);
                }
                Poll::Ready(Ok(n))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(cx)
    }
}

/// What a ping that wants an answer says.
fn ping(header: &[u8; HEADER]) -> Option<[u8; 4]> {
    let [_version, kind, flags @ .., _, _, _, _, _, _, _, _] = *header;
    let [_, _, _, _, _, _, _, _, saying @ ..] = *header;
    (kind == PING && u16::from_be_bytes(flags) & SYN != 0).then_some(saying)
}

fn pong(saying: [u8; 4]) -> [u8; HEADER] {
    let mut frame = [0; HEADER];
    frame[1] = PING;
    frame[2..4].copy_from_slice(&ACK.to_be_bytes());
    frame[8..].copy_from_slice(&saying);
    frame
}

/// The length of the body behind a header.
fn body(header: &[u8; HEADER]) -> usize {
    let [_version, kind, _, _, _, _, _, _, length @ ..] = *header;
    if kind == DATA { u32::from_be_bytes(length) as usize } else { 0 }
}

#[cfg(test)]
mod tests;
