//! A node and one host that answers it with whatever it likes: for fuzzers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::krpc;
use super::node::{Node, NodeConfig};
use crate::hash::SwarmHash;

/// The node, the time, and the host.
#[derive(Debug)]
pub(crate) struct Session {
    node: Node,
    now: Instant,
    host: SocketAddr,
    /// The transaction of the last query to the host.
    asked: Option<Vec<u8>>,
    sent: usize,
}

impl Session {
    /// A node that begins with the host, and looks up a swarm.
    pub(crate) fn new(host: SocketAddr, now: Instant) -> Self {
        let mut node = Node::new(&NodeConfig { v4: true, v6: true, read_only: false }, [7; 32], now);
        node.add_routers(now, &[host]);
        node.look_up(now, SwarmHash([1; 20]), 6881.into());
        let mut session = Self { node, now, host, asked: None, sent: 0 };
        session.drain();
        session
    }

    /// Time passes, and a datagram arrives.
    pub(crate) fn step(&mut self, later: Duration, datagram: &[u8]) {
        self.now += later;
        self.node.handle_timeout(self.now);
        self.drain();
        let answer =
            krpc::parse(datagram).filter(|message| !matches!(message.body, krpc::Body::Query { .. }));
        match (answer, self.asked.clone()) {
            (Some(mut answer), Some(transaction)) => {
                answer.transaction = transaction;
                let datagram = krpc::print(&answer, self.host);
                self.node.handle_datagram(self.now, self.host, &datagram);
            }
            _ => self.node.handle_datagram(self.now, self.host, datagram),
        }
        self.drain();
    }

    /// Datagrams that the node sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    fn drain(&mut self) {
        while let Some((to, datagram)) = self.node.poll_transmit() {
            self.sent += 1;
            if to == self.host {
                self.asked = krpc::parse(&datagram).map(|message| message.transaction).or(self.asked.take());
            }
        }
        while self.node.poll_event().is_some() {}
    }
}
