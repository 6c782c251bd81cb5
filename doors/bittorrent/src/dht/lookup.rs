//! One iterative lookup: ever closer nodes are asked until the closest have all answered (BEP 5).

use std::net::SocketAddr;

use crate::address::{Reach, reach};

use super::id::NodeId;
use super::krpc::Contact;
use super::table::K;

/// Queries of one lookup under way at a time.
const PARALLEL: usize = 6;

/// Nodes remembered by one lookup.
const CANDIDATES_MAX: usize = 64;

/// Nodes asked by one lookup, whatever they answer: liars could lead it on for ever.
const ASKED_MAX: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    /// `None` for an address to begin with, whose node is not known yet.
    id: Option<NodeId>,
    address: SocketAddr,
    state: State,
    token: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Lookup {
    target: NodeId,
    /// Closest first; those without an id before all.
    candidates: Vec<Candidate>,
    asked: usize,
}

impl Lookup {
    pub(super) fn new(target: NodeId) -> Self {
        Self { target, candidates: Vec::new(), asked: 0 }
    }

    /// An address to begin with.
    pub(super) fn begin_with(&mut self, address: SocketAddr) {
        self.insert(Candidate { id: None, address, state: State::New, token: None });
    }

    /// A node that was named. Of a public host, one counts.
    pub(super) fn add(&mut self, (id, address): Contact) {
        self.insert(Candidate { id: Some(id), address, state: State::New, token: None });
    }

    fn insert(&mut self, new: Candidate) {
        let same_host = |candidate: &Candidate| {
            candidate.address.ip() == new.address.ip()
                && (candidate.address == new.address || reach(new.address.ip()) == Reach::Public)
        };
        if self.candidates.iter().any(same_host) {
            return;
        }
        let target = self.target;
        let distance = |candidate: &Candidate| candidate.id.map(|id| id.distance(&target));
        let at = self.candidates.partition_point(|candidate| distance(candidate) <= distance(&new));
        self.candidates.insert(at, new);
        if self.candidates.len() > CANDIDATES_MAX
            && let Some(last) = self.candidates.iter().rposition(|candidate| candidate.state != State::Asked)
        {
            self.candidates.remove(last);
        }
    }

    /// The next node to ask, if there is one and not too many are being asked.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let under_way = self.candidates.iter().filter(|candidate| candidate.state == State::Asked).count();
        if under_way >= PARALLEL || self.asked >= ASKED_MAX {
            return None;
        }
        // Only the closest count: once all of these have answered, nobody closer is to be found.
        let mut living = 0;
        for candidate in &mut self.candidates {
            match candidate.state {
                State::Failed => continue,
                State::New => {
                    candidate.state = State::Asked;
                    self.asked += 1;
                    return Some(candidate.address);
                }
                State::Asked | State::Answered => living += usize::from(candidate.id.is_some()),
            }
            if living >= K {
                break;
            }
        }
        None
    }

    /// A node has answered; its id is the one it says now.
    pub(super) fn answered(&mut self, (id, address): Contact, token: Option<Vec<u8>>) {
        if let Some(at) = self.candidates.iter().position(|candidate| candidate.address == address) {
            self.candidates.remove(at);
        }
        let target = self.target;
        let distance = Some(id.distance(&target));
        let at = self
            .candidates
            .partition_point(|candidate| candidate.id.map(|id| id.distance(&target)) <= distance);
        self.candidates.insert(at, Candidate { id: Some(id), address, state: State::Answered, token });
    }

    /// A node has not answered, or not sensibly.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.address == address) {
            candidate.state = State::Failed;
        }
    }

    /// Whether nobody is left to ask and no answer is awaited.
    pub(super) fn is_done(&mut self) -> bool {
        let waits = self.candidates.iter().any(|candidate| candidate.state == State::Asked);
        let living = |candidate: &&Candidate| candidate.state != State::Failed;
        let exhausted = self.asked >= ASKED_MAX
            || self
                .candidates
                .iter()
                .filter(living)
                .take(K)
                .all(|candidate| candidate.state == State::Answered);
        !waits && exhausted
    }

    /// Nodes that answered.
    pub(super) fn answers(&self) -> usize {
        self.candidates.iter().filter(|candidate| candidate.state == State::Answered).count()
    }

    /// The closest nodes that gave a token, to announce to.
    pub(super) fn tokens(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered).take(K);
        answered.filter_map(|candidate| Some((candidate.address, candidate.token.clone()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn node(number: u16, id: NodeId) -> Contact {
        (id, SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 1)))
    }

    /// A perfect network: everybody knows everybody.
    #[test]
    fn the_closest_are_found() {
        let mut random = StdRng::seed_from_u64(1);
        let network: Vec<Contact> =
            (0..1_000).map(|number| node(number, NodeId::random(&mut random))).collect();
        let target = NodeId::random(&mut random);
        let mut lookup = Lookup::new(target);
        lookup.begin_with(network[0].1);
        let mut asked = 0;
        while !lookup.is_done() {
            let batch: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
            assert!(!batch.is_empty() && batch.len() <= PARALLEL);
            for address in batch {
                asked += 1;
                let contact = *network.iter().find(|contact| contact.1 == address).unwrap();
                lookup.answered(contact, Some(vec![1]));
                // What it knows: some, and those near the target that are nearer to it than itself.
                let mut known: Vec<Contact> =
                    (0..200).map(|_| network[random.random_range(0..network.len())]).collect();
                known.sort_by_key(|(id, _)| id.distance(&target));
                known.into_iter().take(K).for_each(|contact| lookup.add(contact));
            }
        }
        assert!(asked < 60, "{asked} nodes asked");
        assert_eq!(lookup.tokens().len(), K);
        let mut sorted = network;
        sorted.sort_by_key(|(id, _)| id.distance(&target));
        assert_eq!(lookup.tokens()[0].0, sorted[0].1);
    }

    /// A host that names ever closer nodes of its own invention is followed only so far.
    #[test]
    fn liars_do_not_lead_on_for_ever() {
        let mut random = StdRng::seed_from_u64(1);
        let target = NodeId([0; 20]);
        let mut lookup = Lookup::new(target);
        lookup.begin_with(node(0, target).1);
        let (mut number, mut asked) = (1, 0);
        while !lookup.is_done() {
            while let Some(address) = lookup.next() {
                asked += 1;
                lookup.answered((target.at_distance(1, &mut random), address), None);
                for _ in 0..8 {
                    number += 1;
                    lookup.add(node(number, target.at_distance(2 + asked.min(150), &mut random)));
                }
                assert!(lookup.candidates.len() <= CANDIDATES_MAX + PARALLEL);
            }
        }
        assert!(asked <= ASKED_MAX);
        assert_eq!(lookup.tokens(), [], "without a token there is nobody to announce to");
    }

    #[test]
    fn those_who_fail_are_passed_over() {
        let mut random = StdRng::seed_from_u64(1);
        let mut lookup = Lookup::new(NodeId([0; 20]));
        for number in 0..20 {
            lookup.add(node(number, NodeId::random(&mut random)));
        }
        let mut asked = 0;
        while !lookup.is_done() {
            while let Some(address) = lookup.next() {
                asked += 1;
                lookup.failed(address);
            }
        }
        assert_eq!((asked, lookup.answers()), (20, 0));
    }

    #[test]
    fn a_public_host_counts_once() {
        let mut lookup = Lookup::new(NodeId([0; 20]));
        for port in 1..100 {
            lookup.add((NodeId([port; 20]), SocketAddr::from(([8, 8, 8, 8], u16::from(port)))));
        }
        assert!(lookup.next().is_some());
        assert_eq!(lookup.next(), None);
    }
}
