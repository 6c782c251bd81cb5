//! Where a peer can be reached, as a text such as `/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use peerage_identity::PeerId;

use crate::convert;

/// A multiaddress: a path of protocols that leads to a peer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Multiaddr);

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no multiaddress: {reason}")]
pub struct AddressError {
    text: String,
    reason: String,
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This machine.
    Machine,
    /// A private, link-local or otherwise special range.
    Private,
    /// Everywhere.
    Public,
    /// A name, of which nobody knows before it is resolved.
    Named,
}

impl Address {
    /// The peer at its end, where it names one.
    pub fn peer(&self) -> Option<PeerId> {
        match self.0.iter().last() {
            Some(Protocol::P2p(peer)) => convert::from_libp2p(&peer),
            _ => None,
        }
    }

    /// The same place, and the peer that is there.
    #[must_use]
    pub fn with_peer(&self, peer: PeerId) -> Self {
        match convert::to_libp2p(peer) {
            Some(peer) => self.0.clone().with_p2p(peer).map_or_else(Self, Self),
            None => self.clone(),
        }
    }

    /// How far its first step reaches.
    pub fn scope(&self) -> Scope {
        self.ip().map_or(Scope::Named, scope)
    }

    /// Whether it leads through a relay.
    pub fn is_relayed(&self) -> bool {
        is_relayed(&self.0)
    }

    /// Where the relay is that it leads through.
    pub(crate) fn relay(&self) -> Option<Self> {
        let relay: Multiaddr = self.0.iter().take_while(|step| *step != Protocol::P2pCircuit).collect();
        (self.is_relayed() && !relay.is_empty()).then_some(Self(relay))
    }

    /// The address of its first step.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        first_ip(&self.0)
    }

    /// The host name that it begins with, and the port there.
    pub(crate) fn name(&self) -> Option<(String, u16)> {
        let mut steps = self.0.iter();
        let (Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) = steps.next()? else {
            return None;
        };
        let (Protocol::Tcp(port) | Protocol::Udp(port)) = steps.next()? else { return None };
        Some((name.into_owned(), port))
    }

    pub(crate) fn multiaddr(&self) -> &Multiaddr {
        &self.0
    }
}

pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|step| step == Protocol::P2pCircuit)
}

/// The IP address that a socket to `address` would be opened to.
pub(crate) fn first_ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::V4)),
        _ => None,
    }
}

/// How far an IP address reaches.
pub(crate) fn scope(ip: IpAddr) -> Scope {
    if ip.is_loopback() || ip.is_unspecified() {
        return Scope::Machine;
    }
    let special = match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b)) // shared by a provider's customers
                || (a == 198 && (18..20).contains(&b)) // benchmarks
                || (a == 192 && b == 0 && c == 0)
        }
        IpAddr::V6(ip) => {
            if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = ip.segments() {
                // How IPv4 is reached from networks without it.
                return scope(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into());
            }
            let [first, second, ..] = ip.segments();
            first & 0xe000 != 0x2000 // all that is handed out
                || (first == 0x2001 && second == 0x0db8) // documentation
        }
    };
    if special { Scope::Private } else { Scope::Public }
}

/// The longest address that is taken from others, bytes; of a relayed WebTransport address there are about 200.
const LENGTH_MAX: usize = 512;

/// Whether `peer` could be dialled at an address that somebody told: there is a port, and no other peer at the end.
pub(crate) fn is_dialable(address: &Multiaddr, peer: &libp2p::PeerId) -> bool {
    let port = address.iter().any(|step| matches!(step, Protocol::Tcp(1..) | Protocol::Udp(1..)));
    let named = address.iter().any(|step| {
        matches!(step, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
    });
    let relayed = is_relayed(address);
    let unspecified = first_ip(address).is_some_and(|ip| ip.is_unspecified() || ip.is_multicast());
    let at_end = match address.iter().last() {
        Some(Protocol::P2p(end)) if !relayed => end == *peer,
        _ => true,
    };
    (named || (port && first_ip(address).is_some())) && !unspecified && at_end && address.len() <= LENGTH_MAX
}

/// An address of a peer that is known anyway: so it is compared and kept. A relay that it leads through stays in it.
pub(crate) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

impl From<Multiaddr> for Address {
    fn from(address: Multiaddr) -> Self {
        Self(address)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse().map(Self).map_err(|error: libp2p::multiaddr::Error| AddressError {
            text: text.to_owned(),
            reason: error.to_string(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(text: &str) -> Scope {
        text.parse::<Address>().unwrap().scope()
    }

    #[test]
    fn private_ranges_are_told_from_public_ones() {
        for private in [
            "/ip4/10.1.2.3/tcp/1",
            "/ip4/172.16.0.1/tcp/1",
            "/ip4/192.168.1.1/tcp/1",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/ff02::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/ip6/64:ff9b::a00:1/tcp/1",
        ] {
            assert_eq!(scope_of(private), Scope::Private, "{private}");
        }
        for public in ["/ip4/8.8.8.8/udp/1/quic-v1", "/ip6/2606:4700::1/tcp/1", "/ip6/64:ff9b::808:808/tcp/1"]
        {
            assert_eq!(scope_of(public), Scope::Public, "{public}");
        }
        for machine in
            ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1"]
        {
            assert_eq!(scope_of(machine), Scope::Machine, "{machine}");
        }
        assert_eq!(scope_of("/dns4/example.org/tcp/1"), Scope::Named);
    }

    #[test]
    fn a_peer_is_read_from_the_end_and_put_there() {
        let id: PeerId = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse().unwrap();
        let bare: Address = "/ip4/192.0.2.7/tcp/4001".parse().unwrap();
        assert_eq!(bare.peer(), None);
        let whole = bare.with_peer(id);
        assert_eq!(whole.peer(), Some(id));
        assert_eq!(whole.with_peer(id), whole);
        assert_eq!(whole.to_string().parse(), Ok(whole));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let error = "/ip4/300.0.0.1/tcp/1".parse::<Address>().unwrap_err();
        assert!(error.to_string().starts_with("`/ip4/300.0.0.1/tcp/1` is no multiaddress"), "{error}");
    }
}
