//! One [`Client`] on one socket a family, for the whole process.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::client::{Client, RequestId};
use super::packet::{Ask, Reply};
use crate::tracker::TrackerError;

/// Questions waiting to be taken up; those who ask wait beyond that.
const INBOX: usize = 64;

/// Bytes of an answer: 450 IPv6 peers, five times what trackers send.
const DATAGRAM_MAX: usize = 8 * 1024;

type Answer = oneshot::Sender<Result<Reply, TrackerError>>;

struct Question {
    target: SocketAddr,
    ask: Ask,
    patience: Duration,
    answer: Answer,
}

/// A cheap handle to the sockets that UDP trackers are asked through.
#[derive(Clone, Debug)]
pub struct UdpTrackers {
    questions: mpsc::Sender<Question>,
    ipv4: bool,
    ipv6: bool,
}

impl UdpTrackers {
    /// Opens a socket on each local address (port 0: any), at most one a family. Where IPv6 does not exist, IPv4 alone will do, and the reverse.
    ///
    /// # Errors
    /// The local address and the system's answer, when none of them can be opened.
    pub fn start(bind: &[IpAddr], cancel: CancellationToken) -> Result<Self, (IpAddr, io::Error)> {
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let bind = if bind.is_empty() { &everywhere } else { bind };
        let (mut v4, mut v6, mut failure) = (None, None, None);
        for ip in bind {
            match open(*ip) {
                Ok(socket) if ip.is_ipv4() => v4 = Some(socket),
                Ok(socket) => v6 = Some(socket),
                Err(error) => failure = Some((*ip, error)),
            }
        }
        if let (None, None, Some(failure)) = (&v4, &v6, failure) {
            return Err(failure);
        }
        let (questions, inbox) = mpsc::channel(INBOX);
        let handle = Self { questions, ipv4: v4.is_some(), ipv6: v6.is_some() };
        let task = Task { client: Client::new(rand::random()), v4, v6, waiting: HashMap::new(), asked: 0 };
        tokio::spawn(async move { cancel.run_until_cancelled(task.run(inbox)).await });
        Ok(handle)
    }

    /// Whether there is a socket that reaches `target`.
    pub fn reaches(&self, target: SocketAddr) -> bool {
        if target.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }

    /// Asks a tracker and waits for its answer, at most `patience`. A [`Reply`] fits its question.
    ///
    /// # Errors
    /// [`TrackerError`]; unreachable also when the task has ended.
    pub async fn ask(&self, target: SocketAddr, ask: Ask, patience: Duration) -> Result<Reply, TrackerError> {
        let ended = || TrackerError::Unreachable("shutting down".to_owned());
        let (answer, answered) = oneshot::channel();
        let question = Question { target, ask, patience, answer };
        self.questions.send(question).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// Each socket speaks one family only, so that an answer's family is that of its addresses.
fn open(ip: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

struct Task {
    client: Client,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    waiting: HashMap<RequestId, Answer>,
    asked: u64,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Question>) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let timeout = self.client.poll_timeout();
            tokio::select! {
                question = inbox.recv() => match question {
                    Some(question) => self.take(question),
                    None => return,
                },
                received = receive([self.v4.as_ref(), self.v6.as_ref()], &mut buffer) => match received {
                    Ok((from, length)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.client.handle_datagram(Instant::now(), from, datagram);
                    }
                    // The echo of an earlier sending (ICMP), or an interface that went away: questions time out.
                    Err(error) => tracing::debug!(%error, "cannot receive from UDP trackers"),
                },
                () = until(timeout) => {
                    self.drop_abandoned();
                    self.client.handle_timeout(Instant::now());
                }
            }
            self.flush().await;
        }
    }

    fn take(&mut self, question: Question) {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.waiting.insert(id, question.answer);
        self.client.ask(Instant::now(), id, question.target, question.ask, question.patience);
    }

    /// Nothing is sent again for those who no longer wait.
    fn drop_abandoned(&mut self) {
        let client = &mut self.client;
        self.waiting.retain(|id, answer| {
            let abandoned = answer.is_closed();
            if abandoned {
                client.cancel(*id);
            }
            !abandoned
        });
    }

    async fn flush(&mut self) {
        while let Some((to, datagram)) = self.client.poll_transmit() {
            let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
            let sent = match socket {
                Some(socket) => socket.send_to(&datagram, to).await.map(drop),
                None => Err(io::ErrorKind::NetworkUnreachable.into()),
            };
            if let Err(error) = sent {
                self.client.handle_unreachable(to, &error.to_string());
            }
        }
        while let Some((id, answer)) = self.client.poll_answer() {
            if let Some(waiting) = self.waiting.remove(&id) {
                // Whoever asked may have left.
                let _ = waiting.send(answer);
            }
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The next datagram of any of the sockets.
async fn receive(sockets: [Option<&UdpSocket>; 2], buffer: &mut [u8]) -> io::Result<(SocketAddr, usize)> {
    poll_fn(|context| {
        for socket in sockets.into_iter().flatten() {
            let mut read = ReadBuf::new(buffer);
            if let Poll::Ready(received) = socket.poll_recv_from(context, &mut read) {
                return Poll::Ready(received.map(|from| (from, read.filled().len())));
            }
        }
        Poll::Pending
    })
    .await
}
