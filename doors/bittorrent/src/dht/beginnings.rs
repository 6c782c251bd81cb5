//! Where to begin while too few nodes are known: the addresses that names of the settings led to, and nodes of an earlier run.

use std::net::SocketAddr;

/// Addresses to begin with that the names of the settings led to.
const ROUTERS_MAX: usize = 32;

/// Addresses to begin with that were nodes in an earlier run, or that a torrent names.
const SAVED_MAX: usize = 64;

/// Queries in a row that such a node may leave unanswered before it is forgotten.
const SAVED_FAILURES_MAX: u8 = 2;

/// The addresses; all of them canonical.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    routers: Vec<SocketAddr>,
    /// With the queries in a row that they left unanswered.
    saved: Vec<(SocketAddr, u8)>,
}

impl Beginnings {
    /// Adds an address that stays, whether it answers or not; false when it is known, or there are too many.
    pub(super) fn add_router(&mut self, address: SocketAddr) -> bool {
        let is_new = self.routers.len() < ROUTERS_MAX && !self.routers.contains(&address);
        if is_new {
            self.routers.push(address);
        }
        is_new
    }

    /// Adds a node that stays as long as it answers; false when it is known, can be none, or there are too many.
    pub(super) fn add_saved(&mut self, address: SocketAddr) -> bool {
        let is_known = self.saved.iter().any(|(known, _)| *known == address);
        let is_new = self.saved.len() < SAVED_MAX && !is_known && address.port() != 0;
        if is_new {
            self.saved.push((address, 0));
        }
        is_new
    }

    /// All of one family: routers and nodes of an earlier run by turns, so that neither the dead of one kind nor those of the other
    /// are waited for.
    pub(super) fn of(&self, ipv6: bool) -> impl Iterator<Item = SocketAddr> + '_ {
        let of_family = move |address: &SocketAddr| address.is_ipv6() == ipv6;
        let mut saved = self.saved.iter().map(|(address, _)| *address).filter(of_family);
        let mut routers = self.routers.iter().copied().filter(of_family);
        let mut turn = false;
        std::iter::from_fn(move || {
            turn = !turn;
            if turn {
                saved.next().or_else(|| routers.next())
            } else {
                routers.next().or_else(|| saved.next())
            }
        })
    }

    /// A node has answered, or not.
    pub(super) fn judge(&mut self, address: SocketAddr, answered: bool) {
        if let Some((_, failures)) = self.saved.iter_mut().find(|(known, _)| *known == address) {
            *failures = if answered { 0 } else { *failures + 1 };
        }
        self.saved.retain(|(_, failures)| *failures < SAVED_FAILURES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn both_kinds_take_turns_and_families_are_apart() {
        let mut beginnings = Beginnings::default();
        let other_family = "[2001:db8::1]:1".parse().unwrap();
        assert!([1, 2].into_iter().all(|number| beginnings.add_router(address(number))));
        assert!([3, 4, 5].into_iter().all(|number| beginnings.add_saved(address(number))));
        assert!(beginnings.add_router(other_family) && !beginnings.add_saved(address(0)));
        assert_eq!(beginnings.of(false).map(|found| found.port()).collect::<Vec<_>>(), [3, 1, 4, 2, 5]);
        assert_eq!(beginnings.of(true).collect::<Vec<_>>(), [other_family]);
    }

    #[test]
    fn nodes_go_when_they_are_silent_and_routers_stay() {
        let mut beginnings = Beginnings::default();
        beginnings.add_router(address(1));
        beginnings.add_saved(address(2));
        for answered in [false, true, false, false] {
            assert_eq!(beginnings.of(false).count(), 2);
            [1, 2].into_iter().for_each(|number| beginnings.judge(address(number), answered));
        }
        assert_eq!(beginnings.of(false).collect::<Vec<_>>(), [address(1)]);
    }

    #[test]
    fn both_kinds_are_bounded() {
        let mut beginnings = Beginnings::default();
        for number in 1..1_000 {
            beginnings.add_router(address(number));
            beginnings.add_saved(address(number));
        }
        assert_eq!(beginnings.of(false).count(), ROUTERS_MAX + SAVED_MAX);
    }
}
