//! The routing table of one family: the nodes we know, many that are near us and few that are far (BEP 5).
//!
//! A node enters when it has answered us, never because somebody named it. Each public host has one place, so that nobody
//! fills the table from one machine; nodes whose id fits their address (BEP 42) are preferred where room is short.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::address::{Reach, reach};

use super::id::NodeId;
use super::krpc::Contact;

/// Nodes in a bucket, and nodes that store an announce (BEP 5).
pub(super) const K: usize = 8;

/// A node that has not been heard of for this long is asked whether it is there (BEP 5).
const QUESTIONABLE_AFTER: Duration = Duration::from_secs(15 * 60);

/// Queries in a row that a node may leave unanswered.
const FAILURES_MAX: u8 = 2;

#[derive(Clone, Debug)]
struct Entry {
    id: NodeId,
    address: SocketAddr,
    heard: Instant,
    failures: u8,
}

/// A bucket: nodes with the same number of bits in common with us.
#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    changed: Option<Instant>,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    id: NodeId,
    buckets: Vec<Bucket>,
}

impl Table {
    pub(super) fn new(id: NodeId) -> Self {
        Self { id, buckets: vec![Bucket::default(); 160] }
    }

    /// Our id.
    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    /// Takes another id; nodes that find no place around it are forgotten.
    pub(super) fn move_to(&mut self, id: NodeId) {
        let old = std::mem::replace(self, Self::new(id));
        for entry in old.buckets.into_iter().flat_map(|bucket| bucket.entries) {
            self.heard(entry.heard, (entry.id, entry.address));
        }
    }

    /// Nodes.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// A node has answered a query. Gives the address of a node that should be asked whether it still lives, since the new one would like its place.
    pub(super) fn heard(&mut self, now: Instant, (id, address): Contact) -> Option<SocketAddr> {
        if !self.is_free_for(address) {
            return None;
        }
        for bucket in &mut self.buckets {
            // Whoever is at this address now has this id.
            bucket.entries.retain(|entry| entry.id == id || !is_same_host(entry, address));
        }
        let bucket = self.buckets.get_mut(self.id.common_bits(&id))?;
        let new = Entry { id, address, heard: now, failures: 0 };
        if let Some(entry) = bucket.entries.iter_mut().find(|entry| entry.id == id) {
            // An id is not taken over from a node that lives.
            if entry.address == address || entry.failures > 0 {
                *entry = new;
                bucket.changed = Some(now);
            }
            return None;
        }
        bucket.changed = Some(now);
        if bucket.entries.len() < K {
            bucket.entries.push(new);
            return None;
        }
        let fits = id.fits(address.ip());
        let worse = |entry: &Entry| entry.failures > 0 || (fits && !entry.id.fits(entry.address.ip()));
        if let Some(entry) = bucket.entries.iter_mut().find(|entry| worse(entry)) {
            *entry = new;
            return None;
        }
        let oldest = bucket.entries.iter().min_by_key(|entry| entry.heard)?;
        (now - oldest.heard >= QUESTIONABLE_AFTER).then_some(oldest.address)
    }

    /// Whether a node that is not known yet would find a place, if it answered.
    pub(super) fn would_take(&self, (id, address): Contact) -> bool {
        let Some(bucket) = self.buckets.get(self.id.common_bits(&id)) else { return false };
        let is_known = bucket.entries.iter().any(|entry| entry.id == id);
        let has_room = bucket.entries.len() < K || bucket.entries.iter().any(|entry| entry.failures > 0);
        !is_known && has_room && self.is_free_for(address)
    }

    /// Whether no other living node holds the place of this host.
    fn is_free_for(&self, address: SocketAddr) -> bool {
        let mut entries = self.buckets.iter().flat_map(|bucket| &bucket.entries);
        !entries.any(|entry| entry.address != address && entry.failures == 0 && is_same_host(entry, address))
    }

    /// A node has left a query unanswered.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        for bucket in &mut self.buckets {
            bucket.entries.retain_mut(|entry| {
                if entry.address == address {
                    entry.failures += 1;
                }
                entry.failures < FAILURES_MAX
            });
        }
    }

    /// Up to `count` nodes closest to `target`, closest first.
    pub(super) fn closest(&self, target: &NodeId, count: usize) -> Vec<Contact> {
        let entries = self.buckets.iter().flat_map(|bucket| &bucket.entries);
        let mut nodes: Vec<Contact> = entries.map(|entry| (entry.id, entry.address)).collect();
        nodes.sort_unstable_by_key(|(id, _)| id.distance(target));
        nodes.truncate(count);
        nodes
    }

    /// Nodes that were heard of last, for the next run.
    pub(super) fn freshest(&self, count: usize) -> Vec<SocketAddr> {
        let mut entries: Vec<&Entry> = self.buckets.iter().flat_map(|bucket| &bucket.entries).collect();
        entries.sort_unstable_by_key(|entry| (entry.failures, std::cmp::Reverse(entry.heard)));
        entries.iter().take(count).map(|entry| entry.address).collect()
    }

    /// The node that has not been heard of for longest, if that is too long.
    pub(super) fn questionable(&self, now: Instant) -> Option<SocketAddr> {
        let oldest =
            self.buckets.iter().flat_map(|bucket| &bucket.entries).min_by_key(|entry| entry.heard)?;
        (now - oldest.heard >= QUESTIONABLE_AFTER).then_some(oldest.address)
    }

    /// An id to look up in the bucket that has not changed for longest, among those as near as the nearest that has nodes: thus the table
    /// stays fresh (BEP 5).
    pub(super) fn refresh(&mut self, now: Instant, random: &mut impl Rng) -> NodeId {
        let deepest = self.buckets.iter().rposition(|bucket| !bucket.entries.is_empty()).unwrap_or(0);
        let stalest =
            self.buckets.iter_mut().take(deepest + 1).enumerate().min_by_key(|(_, bucket)| bucket.changed);
        let Some((bits, bucket)) = stalest else { return self.id };
        bucket.changed = Some(now);
        self.id.at_distance(bits, random)
    }
}

/// Public hosts count once, whatever the port.
fn is_same_host(entry: &Entry, address: SocketAddr) -> bool {
    entry.address == address || (entry.address.ip() == address.ip() && reach(address.ip()) == Reach::Public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn table() -> (Table, StdRng, Instant) {
        (Table::new(NodeId([0; 20])), StdRng::seed_from_u64(1), Instant::now())
    }

    /// A node that has `bits` in common with us, on a local network, where hosts may have many.
    fn node(bits: usize, port: u16, random: &mut StdRng) -> Contact {
        (NodeId([0; 20]).at_distance(bits, random), SocketAddr::from(([10, 0, 0, 1], port)))
    }

    #[test]
    fn buckets_are_bounded_and_those_who_live_stay() {
        let (mut table, mut random, now) = table();
        for port in 1..=100 {
            assert_eq!(table.heard(now, node(0, port, &mut random)), None);
        }
        assert_eq!(table.len(), K);
        assert!(
            table.closest(&NodeId([0xff; 20]), 100).iter().all(|(_, address)| address.port() <= K as u16)
        );
        let later = now + QUESTIONABLE_AFTER;
        assert!(
            table.heard(later, node(0, 101, &mut random)).is_some(),
            "the oldest is asked whether it lives"
        );
        assert_eq!(table.len(), K);
    }

    #[test]
    fn nodes_that_fail_leave() {
        let (mut table, mut random, now) = table();
        let (id, address) = node(3, 1, &mut random);
        table.heard(now, (id, address));
        table.failed(address);
        table.heard(now, (id, address));
        table.failed(address);
        assert_eq!(table.len(), 1, "an answer in between counts");
        table.failed(address);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn one_public_host_has_one_place() {
        let (mut table, mut random, now) = table();
        for port in 1..=50 {
            let id = NodeId::random(&mut random);
            table.heard(now, (id, SocketAddr::from(([8, 8, 8, 8], port))));
        }
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn ids_that_fit_their_address_are_preferred() {
        let (mut table, mut random, now) = table();
        let public = |number: u8| SocketAddr::from(([8, 8, number, 1], 1));
        for number in 0..8 {
            let mut id = NodeId::random(&mut random);
            id.0[0] |= 0x80;
            table.heard(now, (id, public(number)));
        }
        let fitting = std::iter::repeat_with(|| NodeId::for_ip(public(100).ip(), &mut random))
            .find(|id| id.0[0] & 0x80 != 0)
            .unwrap();
        table.heard(now, (fitting, public(100)));
        assert!(table.closest(&fitting, 1).contains(&(fitting, public(100))));
    }

    #[test]
    fn a_node_may_change_its_id_but_not_take_that_of_another() {
        let (mut table, mut random, now) = table();
        let address = SocketAddr::from(([8, 8, 8, 8], 1));
        let (one, other) = (NodeId::random(&mut random), NodeId::random(&mut random));
        table.heard(now, (one, address));
        table.heard(now, (other, address));
        assert_eq!(table.closest(&one, 10), [(other, address)]);
        let thief = (other, SocketAddr::from(([9, 9, 9, 9], 1)));
        table.heard(now, thief);
        assert_eq!(table.closest(&one, 10), [(other, address)]);
        table.failed(address);
        table.heard(now, thief);
        assert_eq!(table.closest(&one, 10), [thief]);
    }

    #[test]
    fn the_closest_come_first() {
        let (mut table, mut random, now) = table();
        for bits in 0..20 {
            table.heard(now, node(bits, bits as u16 + 1, &mut random));
        }
        let closest = table.closest(&NodeId([0; 20]), 3);
        assert_eq!(closest.iter().map(|(_, address)| address.port()).collect::<Vec<_>>(), [20, 19, 18]);
    }

    #[test]
    fn refreshing_visits_every_bucket() {
        let (mut table, mut random, now) = table();
        for bits in 0..10 {
            table.heard(now, node(bits, bits as u16 + 1, &mut random));
        }
        let mut visited: Vec<_> = (1..=10)
            .map(|second| {
                table.refresh(now + Duration::from_secs(second), &mut random).common_bits(&NodeId([0; 20]))
            })
            .collect();
        visited.sort_unstable();
        assert_eq!(visited, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_new_id_keeps_the_nodes() {
        let (mut table, mut random, now) = table();
        for bits in 0..10 {
            table.heard(now, node(bits, bits as u16 + 1, &mut random));
        }
        table.move_to(NodeId([0x55; 20]));
        assert!(table.len() >= 8, "{}", table.len());
        assert_eq!(table.id(), NodeId([0x55; 20]));
    }
}
