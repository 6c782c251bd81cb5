//! Blocks of IPLD data, dag-cbor and dag-json: where a path in them leads, and what they link to.
//!
//! They are read as they stand, without a tree of values in memory: a small block can hold a million of those.

use std::fmt;

use cid::Cid;
use cid::serde::BytesToCidVisitor;
use ipld_core::codec::Links;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::BLOCK_LEN_MAX;
use crate::pb::Node;
use crate::unixfs::UnixFsError;
use crate::verify::Codec;
use crate::walk::WalkError;

/// What stands at the end of a path inside a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is no such path.
    Nothing,
    /// A value that is no link.
    Value,
    /// A link, after so many components of the path.
    Link(Cid, usize),
}

/// Follows a path inside a block, to its end or to the first link.
pub(crate) fn seek(codec: Codec, block: &[u8], path: &[Vec<u8>]) -> Result<Found, WalkError> {
    let seek = Seek { path, done: 0 };
    let malformed = |why: &dyn fmt::Display| WalkError::Ipld { codec, why: why.to_string() };
    match codec {
        Codec::DagCbor => {
            let mut reader = serde_ipld_dagcbor::de::Deserializer::from_slice(block);
            let found = seek.deserialize(&mut reader).map_err(|error| malformed(&error))?;
            reader.end().map_err(|error| malformed(&error))?;
            Ok(found)
        }
        Codec::DagJson => {
            let mut json = serde_json::Deserializer::from_slice(block);
            let reader = serde_ipld_dagjson::de::Deserializer::new(&mut json);
            let found = seek.deserialize(reader).map_err(|error| malformed(&error))?;
            json.end().map_err(|error| malformed(&error))?;
            Ok(found)
        }
        other => Err(WalkError::Codec(other as u64)),
    }
}

/// All that a block links to, in its order: what lies below it, for whoever keeps or sends a whole tree.
///
/// # Errors
/// [`WalkError`] if the block is not what its CID says, or of a codec of which nobody here knows the links.
pub fn links(cid: &Cid, block: &[u8]) -> Result<Vec<Cid>, WalkError> {
    if block.len() > BLOCK_LEN_MAX {
        return Err(WalkError::TooLarge);
    }
    let codec = Codec::of(cid).map_err(|unknown| WalkError::Codec(unknown.0))?;
    let malformed = |why: String| WalkError::Ipld { codec, why };
    match codec {
        Codec::Raw => Ok(Vec::new()),
        Codec::DagPb => {
            let node = Node::decode(block).map_err(UnixFsError::from)?;
            Ok(node.links.iter().map(|link| link.cid).collect())
        }
        Codec::DagCbor => serde_ipld_dagcbor::codec::DagCborCodec::links(block)
            .map(Iterator::collect)
            .map_err(|error| malformed(error.to_string())),
        Codec::DagJson => serde_ipld_dagjson::codec::DagJsonCodec::links(block)
            .map(Iterator::collect)
            .map_err(|error| malformed(error.to_string())),
        Codec::Libp2pKey => Err(WalkError::Codec(codec as u64)),
    }
}

/// Reads a value along a path, and passes over all that stands beside it.
#[derive(Clone, Copy)]
struct Seek<'p> {
    path: &'p [Vec<u8>],
    /// Components of the path above this value.
    done: usize,
}

impl Seek<'_> {
    /// A value that nothing is below.
    fn leaf(self) -> Found {
        if self.path.is_empty() { Found::Value } else { Found::Nothing }
    }

    fn below(self) -> Self {
        Self { path: &self.path[1..], done: self.done + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IPLD data")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_i128<E>(self, _: i128) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(self.leaf())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        self.deserialize(deserializer)
    }

    /// Both codecs give links, and nothing else, this way.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        Ok(Found::Link(deserializer.deserialize_bytes(BytesToCidVisitor)?, self.done))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        let wanted = self.path.first().and_then(|name| str::from_utf8(name).ok()?.parse::<usize>().ok());
        let mut found = self.leaf();
        for index in 0.. {
            if Some(index) == wanted {
                let Some(item) = items.next_element_seed(self.below())? else { break };
                found = item;
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Found, A::Error> {
        let mut found = self.leaf();
        while let Some(key) = entries.next_key::<String>()? {
            if self.path.first().is_some_and(|name| name == key.as_bytes()) {
                found = entries.next_value_seed(self.below())?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
