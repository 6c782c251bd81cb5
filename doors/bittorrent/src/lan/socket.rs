//! The multicast sockets: one a family, joined on every interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::{GROUP_V4, GROUP_V6};

/// Addresses of interfaces looked at: machines that run many containers have hundreds.
const ADDRESSES_MAX: usize = 64;

/// One way out: an interface and a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the interface's address.
    V4 {
        /// Its name.
        name: String,
        /// Its address.
        ip: Ipv4Addr,
    },
    /// By the interface's number.
    V6 {
        /// Its name.
        name: String,
        /// Its number.
        index: u32,
    },
}

/// A network that this machine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    /// Our address there.
    ip: IpAddr,
    /// How many of its bits all neighbours share.
    prefix: u8,
}

impl Net {
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let shared = u32::from(self.prefix);
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= shared.min(32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= shared.min(128)
            }
            _ => false,
        }
    }
}

impl Way {
    pub(super) fn name(&self) -> &str {
        let (Self::V4 { name, .. } | Self::V6 { name, .. }) = self;
        name
    }

    pub(super) fn group(&self) -> SocketAddr {
        match self {
            Self::V4 { .. } => GROUP_V4,
            Self::V6 { .. } => GROUP_V6,
        }
    }
}

/// The ways out of this machine, and the networks they lead to. Without `named`, all interfaces that are up but loopback, and loopback if there is nothing else.
pub(super) fn ways(named: Option<&[String]>) -> io::Result<(Vec<Way>, Vec<Net>)> {
    let interfaces = if_addrs::get_if_addrs()?;
    let up = |interface: &&if_addrs::Interface| interface.is_oper_up() || interface.is_loopback();
    let chosen: Vec<_> = match named {
        Some(named) => interfaces.iter().filter(|interface| named.contains(&interface.name)).collect(),
        None => {
            let outside: Vec<_> =
                interfaces.iter().filter(up).filter(|interface| !interface.is_loopback()).collect();
            if outside.is_empty() { interfaces.iter().filter(up).collect() } else { outside }
        }
    };
    let (mut ways, mut nets) = (Vec::new(), Vec::new());
    for interface in chosen.into_iter().take(ADDRESSES_MAX) {
        let name = interface.name.clone();
        let (way, prefix) = match (&interface.addr, interface.index) {
            (if_addrs::IfAddr::V4(v4), _) => (Way::V4 { name, ip: v4.ip }, v4.prefixlen),
            (if_addrs::IfAddr::V6(v6), Some(index)) => (Way::V6 { name, index }, v6.prefixlen),
            (if_addrs::IfAddr::V6(_), None) => continue,
        };
        nets.push(Net { ip: interface.ip(), prefix });
        // An interface has many IPv6 addresses.
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    Ok((ways, nets))
}

/// Both sockets, as far as the machine has the families.
#[derive(Debug)]
pub(super) struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    /// # Errors
    /// The reason of the IPv4 socket, when there is neither.
    pub(super) fn open() -> io::Result<Self> {
        match (open(GROUP_V4), open(GROUP_V6)) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self { v4: v4.ok(), v6: v6.ok() }),
        }
    }

    /// Listens on a way. To have done so before is no error.
    pub(super) fn join(&self, way: &Way) -> io::Result<()> {
        let joined = match (way, &self.v4, &self.v6, GROUP_V4.ip(), GROUP_V6.ip()) {
            (Way::V4 { ip, .. }, Some(socket), _, IpAddr::V4(group), _) => {
                SockRef::from(socket).join_multicast_v4(&group, ip)
            }
            (Way::V6 { index, .. }, _, Some(socket), _, IpAddr::V6(group)) => {
                SockRef::from(socket).join_multicast_v6(&group, *index)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        joined.or_else(|error| if error.kind() == io::ErrorKind::AddrInUse { Ok(()) } else { Err(error) })
    }

    /// Sends to the way's group.
    pub(super) async fn send(&self, way: &Way, datagram: &[u8]) -> io::Result<()> {
        let socket = match way {
            Way::V4 { ip, .. } => {
                let socket = self.v4.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                SockRef::from(socket).set_multicast_if_v4(ip)?;
                socket
            }
            Way::V6 { index, .. } => {
                let socket = self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                SockRef::from(socket).set_multicast_if_v6(*index)?;
                socket
            }
        };
        socket.send_to(datagram, way.group()).await.map(drop)
    }

    /// The next datagram of either; each has its own buffer. Cancel-safe.
    pub(super) async fn receive(&self, v4: &mut [u8], v6: &mut [u8]) -> io::Result<(SocketAddr, usize)> {
        tokio::select! {
            received = receive(self.v4.as_ref(), v4) => received.map(|(length, from)| (from, length)),
            received = receive(self.v6.as_ref(), v6) => received.map(|(length, from)| (from, length)),
        }
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// Every client on the machine listens on the same port, so it is shared.
fn open(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    let any: IpAddr = match group {
        SocketAddr::V4(_) => {
            socket.set_multicast_loop_v4(true)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_loop_v6(true)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(any, group.port()).into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_the_prefix() {
        let net = |ip: &str, prefix| Net { ip: ip.parse().unwrap(), prefix };
        let contains = |net: Net, ip: &str| net.contains(ip.parse().unwrap());
        assert!(contains(net("192.168.1.5", 24), "192.168.1.200"));
        assert!(!contains(net("192.168.1.5", 24), "192.168.2.5"));
        assert!(contains(net("127.0.0.1", 8), "127.9.9.9"));
        assert!(contains(net("2a00:1:2:3::5", 64), "2a00:1:2:3:ffff::1"));
        assert!(!contains(net("2a00:1:2:3::5", 64), "2a00:1:2:4::5"));
        assert!(contains(net("::1", 128), "::1"));
        assert!(!contains(net("::1", 128), "127.0.0.1"));
        assert!(contains(net("10.0.0.1", 0), "8.8.8.8"));
    }
}
