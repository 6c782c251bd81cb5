//! Whom this node knows: contacts by the names that the user gave them, and who else is let in or kept out.
//!
//! [`Contacts`] decides and knows no file; [`ContactBook`] keeps it in one, which many processes may change, one at a time.

mod book;
mod name;

pub use book::{BookError, ContactBook};
pub use name::{ContactName, NameError};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::peer_id::PeerId;
use crate::seal::Recipient;

/// As many contacts as a book takes, and as many peers as each of its lists.
const ENTRIES_MAX: usize = 10_000;
/// Addresses kept of one contact.
const ADDRESSES_MAX: usize = 16;

/// A peer that the user has named and trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// What the user calls it.
    pub name: ContactName,
    /// Which node it is.
    pub peer: PeerId,
    /// When it was added, in seconds since 1970.
    pub added: u64,
    /// Where it said that it may be reached, for a first try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

impl Contact {
    /// What content for this contact alone is sealed with; `None` when its peer id holds no key to do that with.
    pub fn recipient(&self) -> Option<Recipient> {
        Recipient::of(&self.peer.public_key()?)
    }
}

/// How a node stands with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is kept out, also if it has a name.
    Denied,
    /// It has a name.
    Contact,
    /// It is let in without a name.
    Allowed,
    /// Nothing was said of it.
    Stranger,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circle {
    /// Everybody but those who are denied.
    #[default]
    Everybody,
    /// Contacts, and who is allowed.
    Known,
}

/// Why a contact cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// Another node has the name.
    #[error("{name} is already the name of {peer}")]
    NameTaken {
        /// The name, as it is written in the book.
        name: ContactName,
        /// Whose it is.
        peer: PeerId,
    },
    /// The node has another name.
    #[error("{peer} is known already, as {name}")]
    Known {
        /// Its name.
        name: ContactName,
        /// Which node.
        peer: PeerId,
    },
    /// No place is left.
    #[error("more than {ENTRIES_MAX} entries are not kept")]
    Full,
}

/// Contacts and lists. No node has two names, no name is of two nodes, and no node is both allowed and denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// By what their names are compared by.
    contacts: BTreeMap<String, Contact>,
    /// The key in `contacts` of each node that has a name.
    keys: BTreeMap<PeerId, String>,
    allowed: BTreeSet<PeerId>,
    denied: BTreeSet<PeerId>,
}

impl Contacts {
    /// All contacts, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.values()
    }

    /// Those who are let in without a name, in no order that means anything.
    pub fn allowed(&self) -> impl Iterator<Item = PeerId> {
        self.allowed.iter().copied()
    }

    /// Those who are kept out; some may have names.
    pub fn denied(&self) -> impl Iterator<Item = PeerId> {
        self.denied.iter().copied()
    }

    /// The contact of this name; capitals do not matter.
    pub fn named(&self, name: &ContactName) -> Option<&Contact> {
        self.contacts.get(&name.key())
    }

    /// The contact that is this node.
    pub fn of(&self, peer: PeerId) -> Option<&Contact> {
        self.contacts.get(self.keys.get(&peer)?)
    }

    /// Adds a contact. One that is there already, under this very name, gets the new addresses, if any.
    ///
    /// # Errors
    /// [`ContactError`]; nothing is changed.
    pub fn add(&mut self, mut contact: Contact) -> Result<(), ContactError> {
        contact.addresses.truncate(ADDRESSES_MAX);
        if let Some(taken) = self.named(&contact.name).filter(|taken| taken.peer != contact.peer) {
            return Err(ContactError::NameTaken { name: taken.name.clone(), peer: taken.peer });
        }
        let key = contact.name.key();
        if let Some(known) = self.keys.get(&contact.peer).and_then(|known| self.contacts.get_mut(known)) {
            if known.name.key() != key {
                return Err(ContactError::Known { name: known.name.clone(), peer: known.peer });
            }
            if !contact.addresses.is_empty() {
                known.addresses = contact.addresses;
            }
            return Ok(());
        }
        room(self.contacts.len())?;
        self.keys.insert(contact.peer, key.clone());
        self.contacts.insert(key, contact);
        Ok(())
    }

    /// Forgets a node: its name, and that it was allowed. One that is denied stays denied. Whether there was anything to forget.
    pub fn remove(&mut self, peer: PeerId) -> bool {
        let named = self.keys.remove(&peer).and_then(|key| self.contacts.remove(&key)).is_some();
        self.allowed.remove(&peer) || named
    }

    /// Lets a node in, and denies it no longer.
    ///
    /// # Errors
    /// [`ContactError::Full`]; nothing is changed.
    pub fn allow(&mut self, peer: PeerId) -> Result<(), ContactError> {
        room(self.allowed.len())?;
        self.denied.remove(&peer);
        self.allowed.insert(peer);
        Ok(())
    }

    /// Keeps a node out, and allows it no longer. A contact keeps its name.
    ///
    /// # Errors
    /// [`ContactError::Full`]; nothing is changed.
    pub fn deny(&mut self, peer: PeerId) -> Result<(), ContactError> {
        room(self.denied.len())?;
        self.allowed.remove(&peer);
        self.denied.insert(peer);
        Ok(())
    }

    /// How a node stands.
    pub fn standing(&self, peer: PeerId) -> Standing {
        if self.denied.contains(&peer) {
            Standing::Denied
        } else if self.keys.contains_key(&peer) {
            Standing::Contact
        } else if self.allowed.contains(&peer) {
            Standing::Allowed
        } else {
            Standing::Stranger
        }
    }

    /// Whether a node is let in.
    pub fn admits(&self, peer: PeerId, circle: Circle) -> bool {
        match self.standing(peer) {
            Standing::Denied => false,
            Standing::Contact | Standing::Allowed => true,
            Standing::Stranger => circle == Circle::Everybody,
        }
    }
}

fn room(entries: usize) -> Result<(), ContactError> {
    if entries < ENTRIES_MAX { Ok(()) } else { Err(ContactError::Full) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;

    fn peer(seed: u8) -> PeerId {
        NodeKey::from_seed([seed; 32]).peer_id()
    }

    fn contact(name: &str, peer: PeerId) -> Contact {
        Contact { name: name.parse().unwrap(), peer, added: 1, addresses: Vec::new() }
    }

    fn names(contacts: &Contacts) -> Vec<&str> {
        contacts.iter().map(|contact| contact.name.as_str()).collect()
    }

    #[test]
    fn a_name_is_of_one_node_and_a_node_has_one_name() {
        let mut contacts = Contacts::default();
        contacts.add(contact("Laptop", peer(1))).unwrap();
        let taken = ContactError::NameTaken { name: "Laptop".parse().unwrap(), peer: peer(1) };
        assert_eq!(contacts.add(contact("laptop", peer(2))), Err(taken));
        let known = ContactError::Known { name: "Laptop".parse().unwrap(), peer: peer(1) };
        assert_eq!(contacts.add(contact("phone", peer(1))), Err(known));
        assert_eq!(names(&contacts), ["Laptop"]);
        assert_eq!(contacts.named(&"LAPTOP".parse().unwrap()).unwrap().peer, peer(1));
    }

    #[test]
    fn contacts_are_in_the_order_of_their_names() {
        let mut contacts = Contacts::default();
        for (name, seed) in [("desk", 1), ("Attic", 2), ("émile", 3), ("cellar", 4)] {
            contacts.add(contact(name, peer(seed))).unwrap();
        }
        assert_eq!(names(&contacts), ["Attic", "cellar", "desk", "émile"]);
    }

    #[test]
    fn the_same_again_brings_its_addresses_up_to_date() {
        let mut contacts = Contacts::default();
        let address: Address = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let moved = Contact { addresses: vec![address.clone(); 20], ..contact("laptop", peer(1)) };
        contacts.add(contact("laptop", peer(1))).unwrap();
        contacts.add(moved).unwrap();
        contacts.add(contact("laptop", peer(1))).unwrap();
        assert_eq!(contacts.of(peer(1)).unwrap().addresses, vec![address; ADDRESSES_MAX]);
    }

    #[test]
    fn content_is_sealed_for_a_contact_by_its_peer_id_alone() {
        assert!(contact("laptop", peer(1)).recipient().is_some());
        let hashed = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert!(contact("old node", hashed).recipient().is_none());
    }

    #[test]
    fn who_is_denied_is_kept_out_whatever_else_was_said() {
        let mut contacts = Contacts::default();
        contacts.add(contact("laptop", peer(1))).unwrap();
        contacts.allow(peer(2)).unwrap();
        let standings = |contacts: &Contacts| [1, 2, 3].map(|seed| contacts.standing(peer(seed)));
        assert_eq!(standings(&contacts), [Standing::Contact, Standing::Allowed, Standing::Stranger]);
        for seed in [1, 2, 3] {
            assert!(contacts.admits(peer(seed), Circle::Everybody));
            assert_eq!(contacts.admits(peer(seed), Circle::Known), seed != 3);
            contacts.deny(peer(seed)).unwrap();
            assert!(!contacts.admits(peer(seed), Circle::Everybody));
        }
        assert_eq!(standings(&contacts), [Standing::Denied; 3]);
        for seed in [1, 2, 3] {
            contacts.allow(peer(seed)).unwrap();
        }
        assert_eq!(standings(&contacts), [Standing::Contact, Standing::Allowed, Standing::Allowed]);
        assert_eq!(contacts.denied().count(), 0);
    }

    #[test]
    fn who_is_forgotten_is_a_stranger_but_stays_denied() {
        let mut contacts = Contacts::default();
        contacts.add(contact("laptop", peer(1))).unwrap();
        contacts.allow(peer(1)).unwrap();
        assert!(contacts.remove(peer(1)));
        assert!(!contacts.remove(peer(1)));
        assert_eq!(contacts.standing(peer(1)), Standing::Stranger);
        contacts.deny(peer(1)).unwrap();
        assert!(!contacts.remove(peer(1)));
        assert_eq!(contacts.standing(peer(1)), Standing::Denied);
    }
}
