//! What fuzzers need of parsers and state machines that are nobody else's business. Not part of the interface.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::{dht, lan};

/// Reads a datagram of the DHT and writes it again, as to `to`.
pub fn krpc(datagram: &[u8], to: SocketAddr) -> Option<Vec<u8>> {
    dht::reprint(datagram, to)
}

/// Reads an announcement on the local network: the port, and how many swarms.
pub fn lan(datagram: &[u8]) -> Option<(u16, usize)> {
    lan::read(datagram)
}

/// A DHT node that looks up a swarm; all that is sent to it comes from `from`, so much later each. Where a datagram is the answer to what it asked
/// there, the transaction is mended. Says how many datagrams the node sent.
pub fn dht_node(from: SocketAddr, datagrams: &[(u16, &[u8])]) -> usize {
    let mut session = dht::Session::new(from, Instant::now());
    for (later, datagram) in datagrams {
        session.step(Duration::from_millis(u64::from(*later)), datagram);
    }
    session.sent()
}
