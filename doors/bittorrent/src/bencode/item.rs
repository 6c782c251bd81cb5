//! The way out: a tree that is encoded.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Something to encode. Build it from numbers, strings, and with [`Item::list`] and [`Item::dict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A number.
    Int(i64),
    /// A byte string.
    Bytes(Bytes),
    /// A list.
    List(Vec<Item>),
    /// A dictionary; the map keeps its keys sorted and single.
    Dict(BTreeMap<Bytes, Item>),
    /// A value that is encoded already, written as it is: `info` dictionaries, whose bytes must not change. The caller
    /// vouches that it is exactly one value.
    Raw(Bytes),
}

impl Item {
    /// A list.
    pub fn list(items: impl IntoIterator<Item = impl Into<Self>>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// A dictionary; of equal keys the last counts.
    pub fn dict<K: Into<Bytes>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends the encoding to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => {
                out.push(b'i');
                out.extend_from_slice(value.to_string().as_bytes());
                out.push(b'e');
            }
            Self::Bytes(bytes) => encode_bytes(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                for item in items {
                    item.encode_into(out);
                }
                out.push(b'e');
            }
            Self::Dict(pairs) => {
                out.push(b'd');
                for (key, value) in pairs {
                    encode_bytes(key, out);
                    value.encode_into(out);
                }
                out.push(b'e');
            }
            Self::Raw(encoded) => out.extend_from_slice(encoded),
        }
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

macro_rules! from_int {
    ($($int:ty),*) => {$(
        impl From<$int> for Item {
            fn from(value: $int) -> Self {
                Self::Int(i64::from(value))
            }
        }
    )*};
}
from_int!(i64, i32, u32, u16, u8, bool);

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<&[u8]> for Item {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Item {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(&bytes))
    }
}

impl From<Vec<u8>> for Item {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Bytes> for Item {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
