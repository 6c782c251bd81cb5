//! Contact cards: what a node tells of itself to whom it is paired with, signed by itself.

use prost::Message;

use crate::address::Address;
use crate::contacts::ContactName;
use crate::envelope::{self, EnvelopeError, Purpose};
use crate::key::NodeKey;
use crate::peer_id::PeerId;
use crate::peer_record::WireAddress;

const PURPOSE: Purpose = Purpose { domain: "peerage-contact-card", payload_type: b"/peerage/contact-card/1" };
const ADDRESSES_MAX: usize = 16;

/// Which node it is, what it likes to be called and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactCard {
    /// Which node.
    pub peer: PeerId,
    /// What it proposes; the user who gets the card decides.
    pub name: Option<ContactName>,
    /// Where, as far as the addresses are understood.
    pub addresses: Vec<Address>,
}

/// Why a card is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Its envelope is bad.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// No card is in it.
    #[error("no contact card: {0}")]
    Encoding(String),
}

/// The card in its envelope. Whose it is, the envelope says.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    addresses: Vec<WireAddress>,
}

impl ContactCard {
    /// The longest envelope that [`ContactCard::sign`] makes.
    pub(crate) const LENGTH_MAX: usize = 10 * 1024;

    /// The envelope with a card of the node that has `key`.
    pub fn sign(key: &NodeKey, name: Option<&ContactName>, addresses: &[Address]) -> Vec<u8> {
        let wire = Wire {
            name: name.map(ToString::to_string).unwrap_or_default(),
            addresses: WireAddress::of(addresses, ADDRESSES_MAX),
        };
        envelope::sign(key, PURPOSE, &wire.encode_to_vec())
    }

    /// The card in an envelope. A proposal that cannot be a name is left out.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn open(envelope: &[u8]) -> Result<Self, CardError> {
        let signed = envelope::open(envelope, PURPOSE)?;
        let wire = Wire::decode(&*signed.payload).map_err(|error| CardError::Encoding(error.to_string()))?;
        Ok(Self {
            peer: signed.signer.peer_id(),
            name: wire.name.parse().ok(),
            addresses: WireAddress::read(&wire.addresses, ADDRESSES_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_tells_what_its_owner_said() {
        let key = NodeKey::from_seed([1; 32]);
        let name: ContactName = "Zoë's phone".parse().unwrap();
        let addresses = vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()];
        let card = ContactCard::open(&ContactCard::sign(&key, Some(&name), &addresses)).unwrap();
        assert_eq!(card, ContactCard { peer: key.peer_id(), name: Some(name), addresses });
        assert_eq!(ContactCard::open(&ContactCard::sign(&key, None, &[])).unwrap().name, None);
    }

    #[test]
    fn the_longest_card_is_not_longer_than_it_may_be() {
        let key = NodeKey::from_seed([1; 32]);
        let name = "東".repeat(40).parse().unwrap();
        let long: Address = format!("/dns4/{}", "x".repeat(500)).parse().unwrap();
        let card = ContactCard::sign(&key, Some(&name), &vec![long; 20]);
        assert!(card.len() <= ContactCard::LENGTH_MAX, "{}", card.len());
        assert_eq!(ContactCard::open(&card).unwrap().addresses.len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_proposal_that_is_no_name_is_left_out() {
        let key = NodeKey::from_seed([1; 32]);
        let wire = Wire { name: "\x1b[31m".into(), addresses: Vec::new() };
        let card = ContactCard::open(&envelope::sign(&key, PURPOSE, &wire.encode_to_vec())).unwrap();
        assert_eq!(card.name, None);
    }
}
