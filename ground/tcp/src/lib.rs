//! What a TCP connection measures, and whether it paces what it sends.
//!
//! Some systems make BBR their congestion control. It paces: the kernel arms a timer for every burst, so that bursts do not fill the queues of
//! a long path. Between two programs of one machine, or over a cable to the next, there is no such queue, and the timers cost more than hashing does
//! (measured over loopback: 0.28 CPU s/GiB). So sockets begin without pacing, and those whose round trip turns out to be long
//! get the system's choice back. It has to be this way round: a socket that has begun to pace does not cease.
//!
//! Where the system's choice does not pace, nothing is touched. This is the one crate with `unsafe` in it.

mod info;

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use rustix::net::{AddressFamily, SocketType, socket};
use tracing::debug;

pub use info::round_trip;

/// Congestion controls that do not pace, best first. Every process may use the last.
const UNPACED: [&str; 2] = ["cubic", "reno"];
/// Peers nearer than this are on this machine or on its network.
const NEAR: Duration = Duration::from_millis(1);

/// Decides for the sockets of a process.
#[derive(Clone, Debug)]
pub struct Pacing {
    /// The system's congestion control, if it paces.
    system: Option<String>,
    near: Duration,
}

impl Pacing {
    /// Asks the system for its congestion control.
    pub fn of_system() -> Self {
        let named = socket(AddressFamily::INET, SocketType::STREAM, None).and_then(tcp_congestion);
        Self { system: named.ok().filter(|name| name.starts_with("bbr")), near: NEAR }
    }

    /// Sets up a socket before it connects or listens; what it accepts then begins the same way.
    pub fn begin(&self, socket: impl AsFd) {
        if self.system.is_some() {
            let set = UNPACED.iter().any(|name| set_tcp_congestion(&socket, name).is_ok());
            debug!(set, "begin without pacing");
        }
    }

    /// Decides for a socket that is connected.
    pub fn connected(&self, socket: impl AsFd) {
        let Some(system) = &self.system else { return };
        if round_trip(&socket).is_ok_and(|trip| trip < self.near) {
            return;
        }
        if let Err(error) = set_tcp_congestion(&socket, system) {
            debug!(%error, system, "a far connection keeps an unpaced congestion control");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection through sockets that were set up by `pacing`, and what controls their congestion.
    fn connect(pacing: &Pacing) -> [String; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        pacing.begin(&listener);
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        [dialled, accepted].map(|socket| {
            pacing.connected(&socket);
            tcp_congestion(&socket).unwrap()
        })
    }

    fn pacing(system: Option<&str>, near: Duration) -> Pacing {
        Pacing { system: system.map(str::to_owned), near }
    }

    #[test]
    fn near_connections_are_not_paced() {
        let [_, accepted] = connect(&pacing(Some("bbr"), Duration::from_secs(5)));
        assert!(UNPACED.contains(&&*accepted), "{accepted}");
    }

    #[test]
    fn far_connections_get_the_systems_choice() {
        // Nothing is nearer than nothing.
        let [_, accepted] = connect(&pacing(Some("reno"), Duration::ZERO));
        assert_eq!(accepted, "reno");
    }

    #[test]
    fn what_does_not_pace_is_left_alone() {
        let untouched = tcp_congestion(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_eq!(connect(&pacing(None, Duration::ZERO)), [untouched.clone(), untouched]);
    }

    #[test]
    fn the_round_trip_is_that_of_the_handshake() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let trip = round_trip(&dialled).unwrap();
        assert!(trip > Duration::ZERO && trip < Duration::from_secs(5), "{trip:?}");
        round_trip(std::fs::File::open("/dev/null").unwrap()).unwrap_err();
    }
}
