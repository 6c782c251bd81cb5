//! Keeps from dialling private ranges on the word of others.
//!
//! What a stranger tells may name a printer of this network or a service of this machine. [`Guarded`] stands right before the sockets, beneath
//! the resolution of names, so that nothing gets around it: an address of a private range is dialled only with a permit. Permits come
//! from whom the user trusts for addresses: the user, and the local network about itself.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::{MapErr, TryFutureExt as _};
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};

use crate::address::{Scope, first_ip, scope};

/// Permits that are remembered; the oldest go first.
const PERMITS_MAX: usize = 1024;

/// The private addresses that may be dialled. A cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    all: bool,
    given: Arc<Mutex<Given>>,
}

#[derive(Debug, Default)]
struct Given {
    known: HashSet<Multiaddr>,
    order: VecDeque<Multiaddr>,
}

impl Permits {
    /// `all`: every private address may be dialled.
    pub(crate) fn new(all: bool) -> Self {
        Self { all, given: Arc::default() }
    }

    /// `address` may be dialled from now on.
    pub(crate) fn give(&self, address: &Multiaddr) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = socket(address);
        if given.known.insert(socket.clone()) {
            given.order.push_back(socket);
        }
        if given.order.len() > PERMITS_MAX
            && let Some(oldest) = given.order.pop_front()
        {
            given.known.remove(&oldest);
        }
    }

    /// Whatever listens there may be dialled: a name that the user said leads there.
    pub(crate) fn give_socket(&self, socket: SocketAddr) {
        for port in [Protocol::Tcp(socket.port()), Protocol::Udp(socket.port())] {
            self.give(&Multiaddr::from(socket.ip()).with(port));
        }
    }

    fn covers(&self, address: &Multiaddr) -> bool {
        let public = |ip| !matches!(scope(ip), Scope::Private | Scope::Machine);
        let permitted = || {
            let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            given.known.contains(&socket(address))
        };
        self.all || first_ip(address).is_none_or(public) || permitted()
    }
}

/// The address and port that a socket is opened to: the first two steps.
fn socket(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .take_while(|step| {
            matches!(step, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Tcp(_) | Protocol::Udp(_))
        })
        .collect()
}

/// Opens sockets where [`Permits`] let it.
#[pin_project::pin_project]
pub(crate) struct Guarded<T> {
    #[pin]
    inner: T,
    permits: Permits,
}

impl<T> Guarded<T> {
    pub(crate) fn new(inner: T, permits: Permits) -> Self {
        Self { inner, permits }
    }
}

/// No socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError<E> {
    #[error("a private address that a stranger told is not dialled")]
    Private,
    #[error(transparent)]
    Socket(E),
}

impl<T: Transport> Transport for Guarded<T> {
    type Output = T::Output;
    type Error = GuardError<T::Error>;
    type ListenerUpgrade = MapErr<T::ListenerUpgrade, fn(T::Error) -> Self::Error>;
    type Dial = MapErr<T::Dial, fn(T::Error) -> Self::Error>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address).map_err(|error| error.map(GuardError::Socket))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if !self.permits.covers(&address) {
            return Err(TransportError::Other(GuardError::Private));
        }
        let dial = self.inner.dial(address, opts).map_err(|error| error.map(GuardError::Socket))?;
        Ok(dial.map_err(GuardError::Socket as fn(T::Error) -> Self::Error))
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        self.project().inner.poll(cx).map(|event| {
            let wrap: fn(T::Error) -> Self::Error = GuardError::Socket;
            event.map_upgrade(|upgrade| upgrade.map_err(wrap)).map_err(GuardError::Socket)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_addresses_need_a_permit_for_their_very_port() {
        let permits = Permits::new(false);
        assert!(permits.covers(&address("/ip4/8.8.8.8/tcp/4001")));
        assert!(!permits.covers(&address("/ip4/192.168.1.1/tcp/80")));
        assert!(!permits.covers(&address("/ip4/127.0.0.1/tcp/80")));
        permits.give(&address(
            "/ip4/192.168.1.1/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
        ));
        assert!(permits.covers(&address("/ip4/192.168.1.1/tcp/4001")));
        assert!(permits.covers(&address("/ip4/192.168.1.1/tcp/4001/ws")));
        assert!(!permits.covers(&address("/ip4/192.168.1.1/tcp/80")));
        assert!(!permits.covers(&address("/ip4/192.168.1.1/udp/4001/quic-v1")));
    }

    #[test]
    fn permits_are_bounded() {
        let permits = Permits::new(false);
        let nth = |n: usize| address(&format!("/ip4/10.0.0.1/tcp/{n}"));
        (0..=PERMITS_MAX).for_each(|n| permits.give(&nth(n)));
        assert!(!permits.covers(&nth(0)));
        assert!(permits.covers(&nth(1)) && permits.covers(&nth(PERMITS_MAX)));
        let given = permits.given.lock().unwrap();
        assert_eq!((given.known.len(), given.order.len()), (PERMITS_MAX, PERMITS_MAX));
    }
}
