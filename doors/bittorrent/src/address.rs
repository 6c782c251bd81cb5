//! Which addresses may be dialled, given who named them.
//!
//! Anybody can put any address into a tracker's answer, a PEX message or the DHT. A client that dials them all
//! can be aimed at third parties, at services on this machine, and at the user's own network. So an address is only
//! as good as its source: what lies inside this machine or this network counts only when somebody
//! inside named it.
//!
//! Only syntax is judged here: no lookup, no IO. Bans and duplicates are the swarm's business.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, PoisonError, RwLock};

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user, or a link that the user gave.
    Given,
    /// The local network: a multicast that routers do not forward.
    Lan,
    /// A tracker, peer or server at this address. It may name its like: what is on its own machine if that is ours, what is
    /// on its own network if that is ours.
    Host(IpAddr),
    /// Nobody in particular, or strangers: a list of uncertain origin.
    Strangers,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Port 0.
    #[error("port 0 cannot be dialled")]
    NoPort,
    /// `0.0.0.0/8` or `::`.
    #[error("the unspecified address names nobody")]
    Unspecified,
    /// A group, the broadcast address, or a range reserved for the future.
    #[error("not the address of one host")]
    NotUnicast,
    /// `fe80::/10` without the interface it is valid on.
    #[error("link-local address without an interface")]
    NoScope,
    /// This machine, named by somebody outside.
    #[error("a loopback address named from outside this machine")]
    Loopback,
    /// This network, named by somebody outside.
    #[error("a private address named from outside this network")]
    Private,
    /// A port of some other well-known service, named by a stranger.
    #[error("a well-known port of another service")]
    ForeignService,
    /// One of our own listeners.
    #[error("our own listener")]
    Own,
}

/// Ports below this belong to other services ("system ports", RFC 6335, section 6).
const SYSTEM_PORTS_END: u16 = 1024;

/// The system ports that peers do use: behind strict firewalls only HTTPS's port gets through.
const SYSTEM_PORTS_OF_PEERS: [u16; 1] = [443];

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This machine.
    Machine,
    /// This link or site: private, shared (carrier-grade NAT), unique local, link-local.
    Network,
    /// The internet.
    Public,
}

/// How far `ip` reaches. IPv4-mapped IPv6 addresses count as what they map.
pub fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() => Reach::Machine,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => Reach::Network,
        IpAddr::V6(ip) if ip.is_loopback() => Reach::Machine,
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Reach::Network,
        _ => Reach::Public,
    }
}

/// `100.64.0.0/10`, the space between a carrier's NAT and its customers (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
}

/// An IPv4 address inside IPv6 becomes plain IPv4, so that one host has one address. Scope ids are kept, flow labels are not.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), v6.port()),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        },
        v4 => v4,
    }
}

/// Decides whether `address` may be dialled when `origin` named it, and says in which form. `own` are our listeners.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn dialable(address: SocketAddr, origin: Origin, own: &[SocketAddr]) -> Result<SocketAddr, Refusal> {
    let address = canonical(address);
    if address.port() == 0 {
        return Err(Refusal::NoPort);
    }
    match address {
        SocketAddr::V4(v4) => unicast_v4(*v4.ip())?,
        SocketAddr::V6(v6) => unicast_v6(*v6.ip(), v6.scope_id())?,
    }
    if own.iter().any(|own| canonical(*own) == address) {
        return Err(Refusal::Own);
    }
    let nearest = match origin {
        Origin::Given | Origin::Lan => return Ok(address),
        Origin::Host(ip) => reach(ip),
        Origin::Strangers => Reach::Public,
    };
    match reach(address.ip()) {
        Reach::Machine if nearest > Reach::Machine => return Err(Refusal::Loopback),
        Reach::Network if nearest > Reach::Network => return Err(Refusal::Private),
        _ => {}
    }
    let port = address.port();
    if nearest == Reach::Public && port < SYSTEM_PORTS_END && !SYSTEM_PORTS_OF_PEERS.contains(&port) {
        return Err(Refusal::ForeignService);
    }
    Ok(address)
}

fn unicast_v4(ip: Ipv4Addr) -> Result<(), Refusal> {
    match ip.octets()[0] {
        0 => Err(Refusal::Unspecified),
        // 224/4 are groups, 240/4 is reserved and holds the broadcast address.
        224.. => Err(Refusal::NotUnicast),
        _ => Ok(()),
    }
}

fn unicast_v6(ip: Ipv6Addr, scope_id: u32) -> Result<(), Refusal> {
    if ip.is_unspecified() {
        Err(Refusal::Unspecified)
    } else if ip.is_multicast() {
        Err(Refusal::NotUnicast)
    } else if ip.is_unicast_link_local() && scope_id == 0 {
        Err(Refusal::NoScope)
    } else {
        Ok(())
    }
}

/// [`dialable`] with our own listeners filled in; cheap to clone, shared by everything that finds peers.
#[derive(Clone, Debug, Default)]
pub struct DialRules {
    own: Arc<RwLock<Vec<SocketAddr>>>,
}

impl DialRules {
    /// Rules that know no listener of ours yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces our listeners, as others would name them: a listener on the unspecified address stands here once for every
    /// address of this machine, and once for the address a tracker or peer sees us under.
    pub fn set_own(&self, own: Vec<SocketAddr>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
    }

    /// Judges one address.
    ///
    /// # Errors
    /// As [`dialable`].
    pub fn check(&self, address: SocketAddr, origin: Origin) -> Result<SocketAddr, Refusal> {
        dialable(address, origin, &self.own.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The distinct dialable ones of `addresses`, in order, at most `max` of them.
    pub fn keep(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
        origin: Origin,
        max: usize,
    ) -> Vec<SocketAddr> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        addresses
            .into_iter()
            .filter_map(|address| dialable(address, origin, &own).ok())
            .filter(|address| seen.insert(*address))
            .take(max)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(address: &str, origin: Origin) -> Result<String, Refusal> {
        dialable(address.parse().unwrap(), origin, &[]).map(|address| address.to_string())
    }

    fn host(ip: &str) -> Origin {
        Origin::Host(ip.parse().unwrap())
    }

    #[test]
    fn nobody_can_name_what_is_not_one_host() {
        for origin in [Origin::Given, Origin::Lan, host("127.0.0.1"), host("8.8.8.8"), Origin::Strangers] {
            assert_eq!(verdict("8.8.8.8:0", origin), Err(Refusal::NoPort));
            assert_eq!(verdict("0.0.0.0:6881", origin), Err(Refusal::Unspecified));
            assert_eq!(verdict("[::]:6881", origin), Err(Refusal::Unspecified));
            assert_eq!(verdict("224.0.0.1:6881", origin), Err(Refusal::NotUnicast));
            assert_eq!(verdict("255.255.255.255:6881", origin), Err(Refusal::NotUnicast));
            assert_eq!(verdict("250.1.2.3:6881", origin), Err(Refusal::NotUnicast));
            assert_eq!(verdict("[ff02::1]:6881", origin), Err(Refusal::NotUnicast));
            assert_eq!(verdict("[fe80::1]:6881", origin), Err(Refusal::NoScope));
        }
    }

    #[test]
    fn what_is_inside_counts_only_when_named_from_inside() {
        for private in
            ["192.168.1.9:6881", "10.0.0.1:6881", "172.16.0.1:6881", "169.254.3.4:6881", "100.64.0.1:6881"]
        {
            for insider in
                [Origin::Given, Origin::Lan, host("192.168.1.1"), host("127.0.0.1"), host("fd00::1")]
            {
                assert_eq!(verdict(private, insider), Ok(private.to_owned()));
            }
            for outsider in [host("93.184.216.34"), host("2606:2800::1"), Origin::Strangers] {
                assert_eq!(verdict(private, outsider), Err(Refusal::Private), "{private} from {outsider:?}");
            }
        }
        assert_eq!(verdict("[fd00::2]:6881", Origin::Strangers), Err(Refusal::Private));
        assert_eq!(verdict("[fe80::2%3]:6881", Origin::Lan), Ok("[fe80::2%3]:6881".to_owned()));
        assert_eq!(verdict("[fe80::2%3]:6881", Origin::Strangers), Err(Refusal::Private));
    }

    #[test]
    fn a_neighbour_cannot_point_at_this_machine() {
        assert_eq!(verdict("127.0.0.1:6881", host("127.0.0.1")), Ok("127.0.0.1:6881".to_owned()));
        assert_eq!(verdict("[::1]:6881", host("127.0.0.1")), Ok("[::1]:6881".to_owned()));
        assert_eq!(verdict("127.0.0.1:6881", Origin::Given), Ok("127.0.0.1:6881".to_owned()));
        assert_eq!(verdict("127.0.0.1:6881", host("192.168.1.1")), Err(Refusal::Loopback));
        assert_eq!(verdict("[::1]:6881", host("8.8.8.8")), Err(Refusal::Loopback));
    }

    #[test]
    fn mapped_addresses_are_judged_as_what_they_map() {
        assert_eq!(verdict("[::ffff:127.0.0.1]:6881", Origin::Strangers), Err(Refusal::Loopback));
        assert_eq!(verdict("[::ffff:10.0.0.1]:6881", Origin::Strangers), Err(Refusal::Private));
        assert_eq!(verdict("[::ffff:8.8.8.8]:6881", Origin::Strangers), Ok("8.8.8.8:6881".to_owned()));
        assert_eq!(verdict("10.0.0.1:6881", host("::ffff:10.0.0.2")), Ok("10.0.0.1:6881".to_owned()));
    }

    #[test]
    fn strangers_cannot_aim_us_at_well_known_services() {
        for port in [22, 25, 53, 80, 1023] {
            let address = format!("8.8.8.8:{port}");
            assert_eq!(verdict(&address, Origin::Strangers), Err(Refusal::ForeignService));
            assert_eq!(verdict(&address, host("93.184.216.34")), Err(Refusal::ForeignService));
            assert!(verdict(&address, Origin::Given).is_ok());
        }
        assert!(verdict("8.8.8.8:443", Origin::Strangers).is_ok());
        assert!(verdict("8.8.8.8:1024", Origin::Strangers).is_ok());
    }

    #[test]
    fn our_own_listener_is_not_a_peer() {
        let rules = DialRules::new();
        rules.set_own(vec!["192.168.1.2:6881".parse().unwrap(), "[::ffff:5.6.7.8]:6881".parse().unwrap()]);
        let check = |address: &str| rules.check(address.parse().unwrap(), Origin::Lan);
        assert_eq!(check("192.168.1.2:6881"), Err(Refusal::Own));
        assert_eq!(check("[::ffff:192.168.1.2]:6881"), Err(Refusal::Own));
        assert_eq!(check("5.6.7.8:6881"), Err(Refusal::Own));
        assert!(check("192.168.1.2:6882").is_ok());
    }

    #[test]
    fn keep_is_distinct_ordered_and_bounded() {
        let rules = DialRules::new();
        let named: Vec<SocketAddr> =
            ["8.8.8.8:6881", "10.0.0.1:6881", "[::ffff:8.8.8.8]:6881", "9.9.9.9:6881", "7.7.7.7:6881"]
                .map(|address| address.parse().unwrap())
                .to_vec();
        let kept = rules.keep(named, Origin::Strangers, 2);
        assert_eq!(kept, ["8.8.8.8:6881".parse().unwrap(), "9.9.9.9:6881".parse().unwrap()]);
    }

    proptest! {
        /// Whatever a stranger names, what is dialled is a public unicast address in canonical form.
        #[test]
        fn strangers_only_ever_name_public_hosts(v6 in any::<bool>(), bits in any::<u128>(), port in any::<u16>(), scope in any::<u32>()) {
            let address = if v6 {
                SocketAddr::V6(SocketAddrV6::new(bits.into(), port, 0, scope))
            } else {
                SocketAddr::new(IpAddr::V4((bits as u32).into()), port)
            };
            if let Ok(dialled) = dialable(address, Origin::Strangers, &[]) {
                prop_assert_eq!(reach(dialled.ip()), Reach::Public);
                prop_assert_eq!(canonical(dialled), dialled);
                prop_assert!(!dialled.ip().is_multicast() && !dialled.ip().is_unspecified());
                prop_assert!(dialled.port() == 443 || dialled.port() >= 1024);
            }
        }
    }
}
