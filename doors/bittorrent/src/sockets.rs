//! A UDP socket for each address family, used as one.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Sockets of both families, as far as the machine has them. Each speaks one family only, so the family of a datagram is that of its sender's address.
#[derive(Debug)]
pub(crate) struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// Whose turn it is when both have a datagram: without turns, a flood over one family would silence the other.
    ipv6_next: bool,
}

impl Sockets {
    /// Binds to the first address of each family; those that may have any port get the same if it is free. Where IPv6 does not exist, IPv4 alone will do, and the reverse.
    ///
    /// # Errors
    /// The first address that could not be bound and why, when none could, or when its port is taken.
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets = Self { v4: None, v6: None, ipv6_next: false };
        let mut failure = None;
        for address in addresses {
            if sockets.has(address.is_ipv6()) {
                continue;
            }
            let other = sockets.address(!address.is_ipv6()).filter(|_| address.port() == 0);
            let same_port = other.map(|other| SocketAddr::new(address.ip(), other.port()));
            match same_port.and_then(|same| open(same).ok()).map_or_else(|| open(*address), Ok) {
                Ok(socket) if address.is_ipv4() => sockets.v4 = Some(socket),
                Ok(socket) => sockets.v6 = Some(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err((*address, error)),
                Err(error) => {
                    failure.get_or_insert((*address, error));
                }
            }
        }
        match (failure, sockets.has(false) || sockets.has(true)) {
            (Some(failure), false) => Err(failure),
            _ => Ok(sockets),
        }
    }

    /// Whether there is a socket of the family.
    pub(crate) fn has(&self, ipv6: bool) -> bool {
        self.of(ipv6).is_some()
    }

    /// Where the socket of the family is bound.
    pub(crate) fn address(&self, ipv6: bool) -> Option<SocketAddr> {
        self.of(ipv6)?.local_addr().ok()
    }

    fn of(&self, ipv6: bool) -> Option<&UdpSocket> {
        if ipv6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }

    /// Sends over the family of `to`.
    pub(crate) async fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = self.of(to.is_ipv6()).ok_or(io::ErrorKind::NetworkUnreachable)?;
        socket.send_to(datagram, to).await.map(drop)
    }

    /// The next datagram of either family, in turns: its sender and its length in `buffer`. Cancel-safe. An error is the echo of an
    /// earlier sending (ICMP), or an interface that went away.
    pub(crate) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(SocketAddr, usize)> {
        poll_fn(|context| {
            for ipv6 in [self.ipv6_next, !self.ipv6_next] {
                let Some(socket) = self.of(ipv6) else { continue };
                let mut read = ReadBuf::new(buffer);
                if let Poll::Ready(received) = socket.poll_recv_from(context, &mut read) {
                    self.ipv6_next = !ipv6;
                    return Poll::Ready(received.map(|from| (from, read.filled().len())));
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_get_one_port() {
        let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]).unwrap();
        let ports = [false, true].map(|ipv6| sockets.address(ipv6).unwrap().port());
        assert_eq!(ports[0], ports[1]);
    }

    #[tokio::test]
    async fn a_flood_over_one_family_does_not_silence_the_other() {
        let mut sockets =
            Sockets::bind(&["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]).unwrap();
        for (ipv6, datagrams) in [(false, 100), (true, 3)] {
            let to = sockets.address(ipv6).unwrap();
            let sender = std::net::UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
            (0..datagrams).for_each(|_| assert_eq!(sender.send_to(b"x", to).unwrap(), 1));
            sockets.of(ipv6).unwrap().readable().await.unwrap();
        }
        let mut heard = Vec::new();
        for _ in 0..7 {
            let (from, _) = sockets.receive(&mut [0; 8]).await.unwrap();
            heard.push(from.is_ipv6());
        }
        assert_eq!(heard, [false, true, false, true, false, true, false]);
    }
}
