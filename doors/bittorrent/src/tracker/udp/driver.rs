//! One [`Client`] on one socket a family, for the whole process.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::client::{Client, RequestId};
use super::packet::{Ask, Reply};
use crate::sockets::Sockets;
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
}

impl UdpTrackers {
    /// Opens a socket on each local address (port 0: any), at most one a family. Where IPv6 does not exist, IPv4 alone will do, and the reverse.
    ///
    /// # Errors
    /// The local address and the system's answer, when none of them can be opened.
    pub fn start(bind: &[IpAddr], cancel: CancellationToken) -> Result<Self, (IpAddr, io::Error)> {
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let bind = if bind.is_empty() { &everywhere } else { bind };
        let bind: Vec<SocketAddr> = bind.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        let sockets = Sockets::bind(&bind).map_err(|(address, error)| (address.ip(), error))?;
        let (questions, inbox) = mpsc::channel(INBOX);
        let task = Task { client: Client::new(rand::random()), sockets, waiting: HashMap::new(), asked: 0 };
        tokio::spawn(async move { cancel.run_until_cancelled(task.run(inbox)).await });
        Ok(Self { questions })
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

struct Task {
    client: Client,
    sockets: Sockets,
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
                received = self.sockets.receive(&mut buffer) => match received {
                    Ok((from, length)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.client.handle_datagram(Instant::now(), from, datagram);
                    }
                    // Whoever it was about: questions time out.
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
            if let Err(error) = self.sockets.send(&datagram, to).await {
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
