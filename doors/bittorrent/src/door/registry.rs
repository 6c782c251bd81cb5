//! Torrents by the names that others know them by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hash::SwarmHash;
use crate::mse::lookup_key;
use crate::torrent::Torrent;

/// Who answers to which name.
///
/// Two torrents may come to the same name, as when a magnet link turns out to be half of a hybrid that is there, or when one that is
/// removed comes again before it has left. The first has the name, and whoever waits for it follows.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Never empty; the first has the name.
    claimants: HashMap<SwarmHash, Vec<Arc<Torrent>>>,
    /// Swarms by what encrypted greetings name them with.
    keys: HashMap<[u8; 20], SwarmHash>,
}

impl Registry {
    /// Gives a name to a torrent, or a place behind those that claimed it before; whether it has it.
    pub(super) fn claim(&mut self, swarm: SwarmHash, torrent: &Arc<Torrent>) -> bool {
        self.keys.insert(lookup_key(swarm), swarm);
        let claimants = self.claimants.entry(swarm).or_default();
        let place = claimants.iter().position(|claimant| Arc::ptr_eq(claimant, torrent));
        if place.is_none() {
            claimants.push(torrent.clone());
        }
        place.unwrap_or(claimants.len() - 1) == 0
    }

    /// Takes the claim of a torrent back.
    pub(super) fn release(&mut self, swarm: SwarmHash, torrent: &Torrent) {
        let Some(claimants) = self.claimants.get_mut(&swarm) else { return };
        claimants.retain(|claimant| !std::ptr::eq(&**claimant, torrent));
        if claimants.is_empty() {
            self.claimants.remove(&swarm);
            self.keys.remove(&lookup_key(swarm));
        }
    }

    /// Whether another torrent has a name or waits for it.
    pub(super) fn is_wanted_by_others(&self, swarm: SwarmHash, torrent: &Torrent) -> bool {
        let claimants = self.claimants.get(&swarm).into_iter().flatten();
        claimants.into_iter().any(|claimant| !std::ptr::eq(&**claimant, torrent))
    }

    /// The torrent that has a name.
    pub(super) fn holder(&self, swarm: SwarmHash) -> Option<Arc<Torrent>> {
        self.claimants.get(&swarm)?.first().cloned()
    }

    /// The swarm of a [`lookup_key`].
    pub(super) fn by_key(&self, key: &[u8; 20]) -> Option<SwarmHash> {
        self.keys.get(key).copied()
    }

    /// All torrents that have a name; one with two comes twice.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Arc<Torrent>> {
        self.claimants.values().filter_map(|claimants| claimants.first())
    }
}
