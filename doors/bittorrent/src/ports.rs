//! The ports that others are told to dial.
//!
//! Each family may have another one, and whoever is told of us takes the address that he is told from as ours: so every family is told
//! the port that listens there, and where nobody listens, nothing is told.

use std::net::SocketAddr;

/// Our port in each address family, as far as somebody listens there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    v4: Option<u16>,
    v6: Option<u16>,
}

impl Ports {
    /// Those of listeners: in each family, that of the first.
    pub fn of(listening: &[SocketAddr]) -> Self {
        let first = |ipv6| listening.iter().find(|address| address.is_ipv6() == ipv6);
        let [v4, v6] = [false, true].map(|ipv6| first(ipv6).map(SocketAddr::port));
        Self { v4, v6 }
    }

    /// The port to tell over a family.
    pub fn over(self, ipv6: bool) -> Option<u16> {
        if ipv6 { self.v6 } else { self.v4 }
    }

    /// The port to tell whoever is at this address.
    pub fn towards(self, peer: SocketAddr) -> Option<u16> {
        self.over(peer.is_ipv6())
    }

    /// Whether nobody listens at all.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl From<u16> for Ports {
    /// The same port in both families.
    fn from(port: u16) -> Self {
        Self { v4: Some(port), v6: Some(port) }
    }
}
