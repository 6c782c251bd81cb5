//! Our address, as nodes see it (BEP 42): believed when hosts that have nothing to do with each other agree.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Votes that count: the last ones.
const VOTES_MAX: usize = 32;

/// Hosts that must agree.
const AGREEING_MIN: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Votes {
    votes: VecDeque<(IpAddr, SocketAddr)>,
}

impl Votes {
    /// A host sees us under this address. Every host has one vote.
    pub(super) fn cast(&mut self, voter: IpAddr, address: SocketAddr) {
        self.votes.retain(|(known, _)| *known != voter);
        if self.votes.len() == VOTES_MAX {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, address));
    }

    /// The address that most hosts agree on: more than half of those asked of late, and at least some.
    pub(super) fn winner(&self) -> Option<SocketAddr> {
        let votes_for = |ip: IpAddr| self.votes.iter().filter(|(_, address)| address.ip() == ip).count();
        let (_, leader) = self.votes.iter().max_by_key(|(_, address)| votes_for(address.ip()))?;
        let agreeing = votes_for(leader.ip());
        // Behind some routers the port differs from host to host: the last one told is as good as any.
        let last = self.votes.iter().rev().find(|(_, address)| address.ip() == leader.ip());
        last.filter(|_| agreeing >= AGREEING_MIN && agreeing * 2 > self.votes.len())
            .map(|(_, address)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> IpAddr {
        IpAddr::from([9, 9, 9, number])
    }

    #[test]
    fn one_host_cannot_decide() {
        let (mut votes, liar) = (Votes::default(), "6.6.6.6:1".parse().unwrap());
        for _ in 0..100 {
            votes.cast(host(1), liar);
        }
        assert_eq!(votes.winner(), None);
        let truth = "5.5.5.5:1".parse().unwrap();
        for number in 2..8 {
            assert_eq!(votes.winner(), None);
            votes.cast(host(number), truth);
        }
        assert_eq!(votes.winner(), Some(truth));
    }

    #[test]
    fn a_new_address_wins_in_time() {
        let mut votes = Votes::default();
        for number in 0..100 {
            let address = if number < 50 { "5.5.5.5:1" } else { "7.7.7.7:1" };
            votes.cast(host(number), address.parse().unwrap());
        }
        assert_eq!(votes.winner(), Some("7.7.7.7:1".parse().unwrap()));
        assert_eq!(votes.votes.len(), VOTES_MAX);
    }
}
