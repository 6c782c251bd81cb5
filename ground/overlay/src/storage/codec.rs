//! How rows lie in the tables. A row that can't be read, of another version or damaged, counts as not there.

/// Where a peer is, until when that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Seconds since 1970. Of a known peer: when it was last seen.
    pub(crate) expires: u64,
    /// Multiaddresses, in their binary form.
    pub(crate) addresses: Vec<Vec<u8>>,
}

impl Provider {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = self.expires.to_be_bytes().to_vec();
        for address in &self.addresses {
            let Ok(length) = u16::try_from(address.len()) else { continue };
            row.extend(length.to_be_bytes());
            row.extend(address);
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let (expires, mut rest) = row.split_first_chunk()?;
        let mut addresses = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (address, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            addresses.push(address.to_vec());
            rest = behind;
        }
        rest.is_empty().then(|| Self { expires: u64::from_be_bytes(*expires), addresses })
    }
}

/// A value that somebody put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// Seconds since 1970.
    pub(crate) expires: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Value {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.expires.to_be_bytes()[..], &self.bytes].concat()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let (expires, bytes) = row.split_first_chunk()?;
        Some(Self { expires: u64::from_be_bytes(*expires), bytes: bytes.to_vec() })
    }
}

/// When a row expires: both kinds begin with it.
pub(crate) fn expires(row: &[u8]) -> u64 {
    row.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
