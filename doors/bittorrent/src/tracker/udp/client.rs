//! The conversation with UDP trackers, without socket and clock.
//!
//! Contract of [`Client`]: after every call with a time, drain [`Client::poll_transmit`] and [`Client::poll_answer`], and come back with
//! [`Client::handle_timeout`] at [`Client::poll_timeout`]. Time never goes back. Every request is answered exactly once,
//! at the latest when its patience is over.
//!
//! One connection id a tracker serves all questions to it for a minute. Datagrams count only when
//! they come from the address that was asked and carry the transaction that was sent.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::packet::{self, Ask, Reply};
use crate::tracker::TrackerError;

/// How long a connection id may be used (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// How long the first sending waits for an answer; every further one waits twice as long (BEP 15: `15 * 2 ^ n`).
const RESEND_AFTER: Duration = Duration::from_secs(15);

/// Names a question until it is answered; chosen by the caller, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A datagram on its way, to be sent again.
#[derive(Debug)]
struct Sending {
    transaction: u32,
    sent: u32,
    resend_at: Instant,
}

#[derive(Debug)]
enum Connection {
    Connecting(Sending),
    Connected { id: u64, until: Instant },
}

#[derive(Debug)]
struct Request {
    target: SocketAddr,
    ask: Ask,
    /// `None` while it waits for a connection id.
    sending: Option<Sending>,
    /// A refusal may mean that the tracker has forgotten our connection id: then a new one is asked for, once.
    may_reconnect: bool,
    patience: Duration,
    gives_up_at: Instant,
}

/// The state of all conversations. The number of requests at a time is bounded by the caller; every step is linear in it.
#[derive(Debug)]
pub struct Client {
    random: StdRng,
    connections: HashMap<SocketAddr, Connection>,
    requests: HashMap<RequestId, Request>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    answers: VecDeque<(RequestId, Result<Reply, TrackerError>)>,
}

impl Client {
    /// `seed` must not be guessable: transaction ids are all that keeps strangers from answering for a tracker.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            random: StdRng::from_seed(seed),
            connections: HashMap::new(),
            requests: HashMap::new(),
            transmits: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Asks a tracker; gives up after `patience`.
    pub fn ask(&mut self, now: Instant, id: RequestId, target: SocketAddr, ask: Ask, patience: Duration) {
        let gives_up_at = now + patience;
        let request = Request { target, ask, sending: None, may_reconnect: true, patience, gives_up_at };
        self.requests.insert(id, request);
        self.advance(now, id);
    }

    /// Nobody waits for the answer any more.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(&id) {
            self.forget_idle(request.target);
        }
    }

    /// Datagrams cannot be sent to `target`: there is no route, or no such family.
    pub fn handle_unreachable(&mut self, target: SocketAddr, reason: &str) {
        for id in self.matching(|request| request.target == target) {
            self.answer(id, Err(TrackerError::Unreachable(reason.to_owned())));
        }
    }

    /// A datagram has arrived.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Some((transaction, reply)) = packet::parse(datagram, from.is_ipv6()) else { return };
        if let Some(Connection::Connecting(sending)) = self.connections.get(&from)
            && sending.transaction == transaction
        {
            return self.handle_connected(now, from, reply);
        }
        let asked = self.requests.iter().find(|(_, request)| {
            request.target == from
                && request.sending.as_ref().is_some_and(|sending| sending.transaction == transaction)
        });
        let Some((&id, request)) = asked else { return };
        let answer = match (&request.ask, reply) {
            (_, Reply::Failed(_)) if request.may_reconnect => return self.reconnect(now, id),
            (_, Reply::Failed(text)) => Err(TrackerError::Refused(text)),
            (Ask::Announce { .. }, reply @ Reply::Announced(_))
            | (Ask::Scrape(_), reply @ Reply::Scraped(_)) => Ok(reply),
            // An answer to another question than ours: as good as none.
            _ => return,
        };
        self.answer(id, answer);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over: Vec<RequestId> = self.matching(|request| request.gives_up_at <= now);
        for id in over {
            let patience = self.requests.get(&id).map_or(Duration::ZERO, |request| request.patience);
            self.answer(id, Err(TrackerError::TimedOut(patience)));
        }
        self.connections.retain(|_, connection| match connection {
            Connection::Connected { until, .. } => *until > now,
            Connection::Connecting(_) => true,
        });
        for (target, connection) in &mut self.connections {
            if let Connection::Connecting(sending) = connection
                && sending.resend_at <= now
            {
                sending.again(now);
                self.transmits.push_back((*target, packet::connect(sending.transaction)));
            }
        }
        let due =
            self.matching(|request| request.sending.as_ref().is_some_and(|sending| sending.resend_at <= now));
        for id in due {
            self.advance(now, id);
        }
    }

    /// The next datagram to send, until `None`.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next answer, until `None`. A [`Reply`] fits its question: never [`Reply::Connected`], never [`Reply::Failed`].
    pub fn poll_answer(&mut self) -> Option<(RequestId, Result<Reply, TrackerError>)> {
        self.answers.pop_front()
    }

    /// When to call [`Client::handle_timeout`] if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let requests = self.requests.values().flat_map(|request| {
            [Some(request.gives_up_at), request.sending.as_ref().map(|sending| sending.resend_at)]
        });
        let connections = self.connections.values().map(|connection| match connection {
            Connection::Connecting(sending) => Some(sending.resend_at),
            Connection::Connected { until, .. } => Some(*until),
        });
        requests.chain(connections).flatten().min()
    }

    /// Sends a question (again) if there is a connection id to send it with, else sees to getting one.
    fn advance(&mut self, now: Instant, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let target = request.target;
        match self.connections.get(&target) {
            Some(Connection::Connected { id: connection, until }) if *until > now => {
                let sending =
                    request.sending.get_or_insert_with(|| Sending::new(self.random.next_u32(), now));
                if sending.sent > 0 {
                    sending.again(now);
                } else {
                    sending.sent = 1;
                }
                self.transmits.push_back((
                    target,
                    packet::ask(*connection, sending.transaction, &request.ask, target.is_ipv6()),
                ));
            }
            Some(Connection::Connecting(_)) => request.sending = None,
            _ => {
                request.sending = None;
                let mut sending = Sending::new(self.random.next_u32(), now);
                sending.sent = 1;
                self.transmits.push_back((target, packet::connect(sending.transaction)));
                self.connections.insert(target, Connection::Connecting(sending));
            }
        }
    }

    /// The answer to a connect: everybody who waits for it goes on.
    fn handle_connected(&mut self, now: Instant, from: SocketAddr, reply: Reply) {
        let waiting = self.matching(|request| request.target == from && request.sending.is_none());
        match reply {
            Reply::Connected(id) => {
                self.connections.insert(from, Connection::Connected { id, until: now + CONNECTION_LIFE });
                for id in waiting {
                    self.advance(now, id);
                }
            }
            Reply::Failed(text) => {
                self.connections.remove(&from);
                for id in waiting {
                    self.answer(id, Err(TrackerError::Refused(text.clone())));
                }
            }
            Reply::Announced(_) | Reply::Scraped(_) => {}
        }
    }

    fn reconnect(&mut self, now: Instant, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.may_reconnect = false;
        request.sending = None;
        if let Some(Connection::Connected { .. }) = self.connections.get(&request.target) {
            self.connections.remove(&request.target);
        }
        self.advance(now, id);
    }

    fn answer(&mut self, id: RequestId, answer: Result<Reply, TrackerError>) {
        self.answers.push_back((id, answer));
        self.cancel(id);
    }

    /// A connect that nobody waits for is not sent again.
    fn forget_idle(&mut self, target: SocketAddr) {
        let connecting = matches!(self.connections.get(&target), Some(Connection::Connecting(_)));
        if connecting && !self.requests.values().any(|request| request.target == target) {
            self.connections.remove(&target);
        }
    }

    fn matching(&self, wanted: impl Fn(&Request) -> bool) -> Vec<RequestId> {
        let mut ids: Vec<_> =
            self.requests.iter().filter(|(_, request)| wanted(request)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

impl Sending {
    fn new(transaction: u32, now: Instant) -> Self {
        Self { transaction, sent: 0, resend_at: now + RESEND_AFTER }
    }

    /// Counts a further sending; the wait doubles.
    fn again(&mut self, now: Instant) {
        self.resend_at = now + RESEND_AFTER * 2_u32.saturating_pow(self.sent.min(8));
        self.sent = self.sent.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::SwarmHash;

    const TRACKER: &str = "192.0.2.1:6969";
    const PATIENCE: Duration = Duration::from_secs(60);

    fn tracker() -> SocketAddr {
        TRACKER.parse().unwrap()
    }

    fn client() -> Client {
        Client::new([7; 32])
    }

    fn scrape(client: &mut Client, now: Instant, id: u64) {
        client.ask(now, RequestId(id), tracker(), Ask::Scrape(vec![SwarmHash([1; 20])]), PATIENCE);
    }

    /// The action and transaction of the one datagram to be sent.
    fn sent(client: &mut Client) -> (u32, u32) {
        let (to, packet) = client.poll_transmit().expect("a datagram");
        assert_eq!(to, tracker());
        assert_eq!(client.poll_transmit(), None);
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        (word(8), word(12))
    }

    fn reply(action: u32, transaction: u32, rest: &[u8]) -> Vec<u8> {
        [&action.to_be_bytes(), &transaction.to_be_bytes(), rest].concat()
    }

    fn connect(client: &mut Client, now: Instant) {
        let (action, transaction) = sent(client);
        assert_eq!(action, 0);
        client.handle_datagram(now, tracker(), &reply(0, transaction, &[5; 8]));
    }

    const SIZES: [u8; 12] = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];

    #[test]
    fn connects_then_asks() {
        let (mut client, now) = (client(), Instant::now());
        scrape(&mut client, now, 1);
        connect(&mut client, now);
        let (action, transaction) = sent(&mut client);
        assert_eq!(action, 2);
        client.handle_datagram(now, tracker(), &reply(2, transaction, &SIZES));
        let expected = Reply::Scraped(vec![crate::tracker::Scrape { seeders: 1, completed: 2, leechers: 3 }]);
        assert_eq!(client.poll_answer(), Some((RequestId(1), Ok(expected))));
    }

    #[test]
    fn one_connection_serves_many_questions_for_a_minute() {
        let (mut client, now) = (client(), Instant::now());
        scrape(&mut client, now, 1);
        scrape(&mut client, now, 2);
        connect(&mut client, now);
        assert_eq!(std::iter::from_fn(|| client.poll_transmit()).count(), 2);
        scrape(&mut client, now + Duration::from_secs(59), 3);
        assert_eq!(sent(&mut client).0, 2, "the connection id is still good");
        scrape(&mut client, now + Duration::from_secs(60), 4);
        assert_eq!(sent(&mut client).0, 0, "a client may use a connection id for one minute");
    }

    #[test]
    fn silence_is_met_with_the_delays_of_bep_15() {
        let (mut client, start) = (client(), Instant::now());
        client.ask(start, RequestId(1), tracker(), Ask::Scrape(vec![]), Duration::from_secs(1000));
        let first = sent(&mut client);
        let mut at = start;
        for wait in [15, 30, 60, 120, 240] {
            at += Duration::from_secs(wait);
            client.handle_timeout(at - Duration::from_millis(1));
            assert_eq!(client.poll_transmit(), None);
            assert_eq!(client.poll_timeout(), Some(at));
            client.handle_timeout(at);
            assert_eq!(sent(&mut client), first, "the same transaction again");
        }
        client.handle_timeout(start + Duration::from_secs(1000));
        let patience = Duration::from_secs(1000);
        assert_eq!(client.poll_answer(), Some((RequestId(1), Err(TrackerError::TimedOut(patience)))));
        assert_eq!(client.poll_timeout(), None, "nothing is left behind");
    }

    #[test]
    fn a_resend_after_a_minute_connects_anew() {
        let (mut client, now) = (client(), Instant::now());
        client.ask(now, RequestId(1), tracker(), Ask::Scrape(vec![]), Duration::from_secs(1000));
        connect(&mut client, now);
        assert_eq!(sent(&mut client).0, 2);
        for at in [15, 45] {
            client.handle_timeout(now + Duration::from_secs(at));
            assert_eq!(sent(&mut client).0, 2);
        }
        client.handle_timeout(now + Duration::from_secs(105));
        assert_eq!(sent(&mut client).0, 0);
    }

    #[test]
    fn only_the_tracker_itself_can_answer() {
        let (mut client, now) = (client(), Instant::now());
        scrape(&mut client, now, 1);
        connect(&mut client, now);
        let (_, transaction) = sent(&mut client);
        let elsewhere = "192.0.2.66:6969".parse().unwrap();
        client.handle_datagram(now, elsewhere, &reply(2, transaction, &SIZES));
        client.handle_datagram(now, tracker(), &reply(2, transaction ^ 1, &SIZES));
        client.handle_datagram(now, tracker(), &reply(1, transaction, &SIZES));
        assert_eq!(client.poll_answer(), None);
    }

    #[test]
    fn a_tracker_that_forgot_the_connection_is_asked_for_another_once() {
        let (mut client, now) = (client(), Instant::now());
        scrape(&mut client, now, 1);
        connect(&mut client, now);
        let (_, transaction) = sent(&mut client);
        client.handle_datagram(now, tracker(), &reply(3, transaction, b"Connection ID missmatch."));
        assert_eq!(client.poll_answer(), None);
        connect(&mut client, now);
        let (_, transaction) = sent(&mut client);
        client.handle_datagram(now, tracker(), &reply(3, transaction, b"not registered"));
        let refused = TrackerError::Refused("not registered".to_owned());
        assert_eq!(client.poll_answer(), Some((RequestId(1), Err(refused))));
    }

    #[test]
    fn no_route_is_told_at_once() {
        let (mut client, now) = (client(), Instant::now());
        scrape(&mut client, now, 1);
        scrape(&mut client, now, 2);
        sent(&mut client);
        client.handle_unreachable(tracker(), "no route to host");
        let expected = Err(TrackerError::Unreachable("no route to host".to_owned()));
        assert_eq!(client.poll_answer(), Some((RequestId(1), expected.clone())));
        assert_eq!(client.poll_answer(), Some((RequestId(2), expected)));
        assert_eq!(client.poll_timeout(), None);
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent_again() {
        let (mut client, now) = (client(), Instant::now());
        scrape(&mut client, now, 1);
        sent(&mut client);
        client.cancel(RequestId(1));
        assert_eq!(client.poll_timeout(), None);
    }
}
