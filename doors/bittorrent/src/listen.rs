//! The door's listeners: which ports they get, and what others are told of them.
//!
//! Others are told one port a family. Listeners that may choose theirs all get the same, one at which UDP (the DHT) is free, too: it is
//! easier to remember, and to forward. A family that the machine does not have is missing without complaint, unless the user asked for it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::{TcpListener, TcpSocket};

use crate::door::DoorError;
use crate::ports::Ports;

/// Connections waiting for the listener to accept them.
const BACKLOG: u32 = 256;

/// Attempts to find a port that is free for every family and for UDP.
const ATTEMPTS: usize = 16;

/// Listens on all addresses. With `elsewhere`, nobody asked for these in particular: where a port is taken any other will do, and
/// where a family does not exist the rest will do.
///
/// # Errors
/// The first address that cannot be listened on.
pub(crate) fn listen(wanted: &[SocketAddr], elsewhere: bool) -> Result<Vec<TcpListener>, DoorError> {
    if wanted.iter().all(|address| address.port() != 0) {
        match bind_all(wanted, elsewhere, bind) {
            Err(error) if elsewhere && is_taken(&error) => {}
            bound => return bound,
        }
    }
    let any = |address: &SocketAddr| {
        let port = if elsewhere { 0 } else { address.port() };
        SocketAddr::new(address.ip(), port)
    };
    let any: Vec<SocketAddr> = wanted.iter().map(any).collect();
    for _ in 0..ATTEMPTS {
        let mut port = 0;
        let together = bind_all(&any, elsewhere, |address| {
            if address.port() != 0 {
                return bind(address);
            }
            let listener = bind(SocketAddr::new(address.ip(), port))?;
            let bound = listener.local_addr()?;
            UdpSocket::bind(bound)?;
            port = bound.port();
            Ok(listener)
        });
        match together {
            Err(error) if is_taken(&error) => {}
            bound => return bound,
        }
    }
    bind_all(&any, elsewhere, bind)
}

fn bind_all(
    addresses: &[SocketAddr],
    elsewhere: bool,
    mut bind: impl FnMut(SocketAddr) -> io::Result<TcpListener>,
) -> Result<Vec<TcpListener>, DoorError> {
    let (mut listeners, mut missing) = (Vec::new(), None);
    for &address in addresses {
        match bind(address).map_err(|source| DoorError::Listen { address, source }) {
            Ok(listener) => listeners.push(listener),
            Err(error) if elsewhere && is_missing_family(&error) => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_taken(error: &DoorError) -> bool {
    matches!(error, DoorError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

/// Without IPv6 in the kernel there is no such socket; where it is only switched off, there is no such address.
fn is_missing_family(error: &DoorError) -> bool {
    let DoorError::Listen { source, .. } = error else { return false };
    let absent = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    source.raw_os_error() == Some(absent) || source.kind() == io::ErrorKind::AddrNotAvailable
}

/// What others are told: the port of each family, and from which local address of it they are told. Families without a
/// listener are left out, since a tracker takes the address it is spoken to from as ours.
pub(crate) fn announced(listening: &[SocketAddr]) -> (Ports, Vec<IpAddr>) {
    let ports = Ports::of(listening);
    let is_told = |address: &&SocketAddr| ports.towards(**address) == Some(address.port());
    let there: Vec<SocketAddr> = listening.iter().filter(is_told).copied().collect();
    let mut ips = specific(&there);
    for ip in there.iter().map(SocketAddr::ip) {
        if ips.iter().all(|other| other.is_ipv4() != ip.is_ipv4()) {
            ips.push(ip);
        }
    }
    (ports, ips)
}

/// The addresses that the user chose to be seen under, at most one a family.
pub(crate) fn specific(listening: &[SocketAddr]) -> Vec<IpAddr> {
    let mut specific: Vec<IpAddr> = Vec::new();
    for ip in listening.iter().map(SocketAddr::ip) {
        if !ip.is_unspecified() && specific.iter().all(|other| other.is_ipv4() != ip.is_ipv4()) {
            specific.push(ip);
        }
    }
    specific
}

/// Our listeners as others would name them: one on the unspecified address stands for every address of this machine, and for
/// those that others `see` us under.
pub(crate) fn own_addresses(listening: &[SocketAddr], seen: &[IpAddr]) -> Vec<SocketAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut own = Vec::new();
    for address in listening {
        let same = |ip: &IpAddr| ip.is_ipv4() == address.is_ipv4();
        let here = |ip: IpAddr| SocketAddr::new(ip, address.port());
        own.extend(seen.iter().copied().filter(same).map(here));
        if address.ip().is_unspecified() {
            own.extend(interfaces.iter().map(if_addrs::Interface::ip).filter(same).map(here));
        } else {
            own.push(*address);
        }
    }
    own
}

/// The names of the interfaces that we listen on, if the user chose any.
pub(crate) fn interfaces(listening: &[SocketAddr]) -> Option<Vec<String>> {
    let chosen = specific(listening);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let names =
        interfaces.into_iter().filter(|interface| chosen.contains(&interface.ip())).map(|found| found.name);
    (!chosen.is_empty()).then(|| names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ports(listeners: &[TcpListener]) -> Vec<u16> {
        listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
    }

    /// A kernel without IPv6 (`ipv6.disable=1`).
    fn without_v6(address: SocketAddr) -> io::Result<TcpListener> {
        if address.is_ipv6() { Err(rustix::io::Errno::AFNOSUPPORT.into()) } else { bind(address) }
    }

    #[tokio::test]
    async fn a_machine_without_ipv6_listens_over_ipv4() {
        let both = [address("127.0.0.1:0"), address("[::1]:0")];
        assert_eq!(bind_all(&both, true, without_v6).unwrap().len(), 1);
        let error = bind_all(&both, false, without_v6).unwrap_err();
        assert!(error.to_string().starts_with("listen on [::1]:0"), "what the user chose must be: {error}");
        assert!(bind_all(&both[1..], true, without_v6).is_err(), "one listener there must be");
    }

    #[tokio::test]
    async fn all_families_get_one_port() {
        for _ in 0..20 {
            let listeners = listen(&[address("127.0.0.1:0"), address("[::1]:0")], false).unwrap();
            let ports = ports(&listeners);
            assert_eq!(ports[0], ports[1]);
        }
    }

    #[tokio::test]
    async fn when_a_port_is_taken_all_move() {
        let holder = listen(&[address("[::1]:0")], false).unwrap();
        let port = ports(&holder)[0];
        let wanted = [SocketAddr::new(address("127.0.0.1:0").ip(), port), holder[0].local_addr().unwrap()];
        let listeners = listen(&wanted, true).unwrap();
        let found = ports(&listeners);
        assert!(found[0] == found[1] && found[0] != port, "{found:?}, {port}");
        assert!(listen(&wanted, false).is_err(), "the user chose that port");
    }

    #[test]
    fn each_family_is_told_its_own_port_and_families_without_a_listener_nothing() {
        let told = |listening: &[&str]| {
            let (ports, ips) = announced(&listening.iter().map(|text| address(text)).collect::<Vec<_>>());
            let ips: Vec<_> = ips.iter().map(IpAddr::to_string).collect();
            (ports.over(false), ports.over(true), ips.join(" "))
        };
        assert_eq!(told(&["0.0.0.0:1", "[::]:1"]), (Some(1), Some(1), "0.0.0.0 ::".into()));
        assert_eq!(told(&["0.0.0.0:1", "[::]:2"]), (Some(1), Some(2), "0.0.0.0 ::".into()));
        assert_eq!(told(&["0.0.0.0:1"]), (Some(1), None, "0.0.0.0".into()));
        assert_eq!(told(&["[2001:db8::1]:1", "[::]:1"]), (None, Some(1), "2001:db8::1".into()));
        // What listens at another port is not where others are sent.
        assert_eq!(told(&["0.0.0.0:1", "192.0.2.1:2", "[::]:2"]), (Some(1), Some(2), "0.0.0.0 ::".into()));
        assert_eq!(told(&[]), (None, None, String::new()));
    }

    #[test]
    fn the_address_that_others_see_is_ours() {
        let own =
            own_addresses(&[address("0.0.0.0:6881")], &["5.6.7.8".parse().unwrap(), "::1".parse().unwrap()]);
        assert!(own.contains(&address("5.6.7.8:6881")));
        assert!(own.contains(&address("127.0.0.1:6881")), "{own:?}");
        assert!(own.iter().all(SocketAddr::is_ipv4));
    }
}
