//! Where a node may be reached.

use std::fmt;
use std::str::FromStr;

use multiaddr::Multiaddr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest address that is read, as bytes and as text. The longest that are in use lead through a relay and name certificates.
const LENGTH_MAX: usize = 512;

/// A multiaddress: the protocols on the way to a node, and where each of them finds the next, such as `/ip4/192.0.2.1/tcp/4001`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Multiaddr);

/// It is no multiaddress, or one with a protocol that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no address of a node: {0}")]
pub struct AddressError(String);

impl Address {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Reads what [`Address::to_bytes`] writes.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddressError> {
        bounded(bytes.len())?;
        Multiaddr::try_from(bytes.to_vec()).map(Self).map_err(|error| AddressError(error.to_string()))
    }
}

fn bounded(length: usize) -> Result<(), AddressError> {
    match length {
        0 => Err(AddressError("it is empty".to_owned())),
        1..=LENGTH_MAX => Ok(()),
        _ => Err(AddressError(format!("it is longer than {LENGTH_MAX} bytes"))),
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        bounded(text.len())?;
        text.parse().map(Self).map_err(|error: multiaddr::Error| AddressError(error.to_string()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_the_same_in_bytes_and_text() {
        for text in
            ["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/udp/443/quic-v1", "/dns4/example.org/tcp/443/wss"]
        {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::from_bytes(&address.to_bytes()), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "192.0.2.1:4001", "/", "/ip4/192.0.2.1/nonsense/1", &format!("/dns4/{}", "x".repeat(600))]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(Address::from_bytes(&[]).is_err());
        assert!(Address::from_bytes(&[0xff; 600]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(address) = Address::from_bytes(&bytes) {
                let _ = address.to_string();
            }
        }
    }
}
