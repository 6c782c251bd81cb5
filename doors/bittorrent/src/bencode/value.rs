//! Views of checked bytes.

use std::fmt;
use std::ops::Range;

use super::Cursor;
use super::token::{self, Token};

/// A value inside checked bytes. Cheap to copy; reading it walks the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// Exactly the bytes of this value.
    raw: &'a [u8],
    /// Where they begin in what was decoded.
    at: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Int,
    /// A byte string.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

impl Kind {
    /// What the value is that `bytes` begin with.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(b'i') => Self::Int,
            Some(b'l') => Self::List,
            Some(b'd') => Self::Dict,
            _ => Self::Bytes,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "a number",
            Self::Bytes => "a string",
            Self::List => "a list",
            Self::Dict => "a dictionary",
        })
    }
}

impl<'a> Value<'a> {
    /// `raw` must have passed [`super::check::check`] and end with the value.
    pub(super) fn checked(raw: &'a [u8], at: usize) -> Self {
        Self { raw, at }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        Kind::of(self.raw)
    }

    /// The original bytes of the value, brackets and all.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where those bytes lie in what was decoded.
    pub fn span(&self) -> Range<usize> {
        self.at..self.at + self.raw.len()
    }

    /// The number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match token::read(self.raw, 0) {
            Ok((Token::Int(value), _)) => Some(value),
            _ => None,
        }
    }

    /// The number, if it is one and not negative.
    pub fn as_uint(&self) -> Option<u64> {
        self.as_int().and_then(|value| u64::try_from(value).ok())
    }

    /// The content of a byte string.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match token::read(self.raw, 0) {
            Ok((Token::Bytes(value), _)) => Some(value),
            _ => None,
        }
    }

    /// The content of a byte string that is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The elements of a list.
    pub fn as_list(&self) -> Option<List<'a>> {
        (self.kind() == Kind::List).then(|| List { rest: self.inside(), at: self.at + 1 })
    }

    /// The dictionary.
    pub fn as_dict(&self) -> Option<Dict<'a>> {
        (self.kind() == Kind::Dict).then(|| Dict { rest: self.inside(), at: self.at + 1 })
    }

    /// A container's bytes without its brackets.
    fn inside(&self) -> &'a [u8] {
        self.raw.get(1..self.raw.len().saturating_sub(1)).unwrap_or_default()
    }
}

impl fmt::Debug for Value<'_> {
    /// Short and safe for logs: bytes are escaped, and long ones and containers are only measured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_int(), self.as_bytes()) {
            (Some(value), _) => write!(f, "{value}"),
            (_, Some(bytes)) if bytes.len() <= 64 => write!(f, "\"{}\"", bytes.escape_ascii()),
            _ => write!(f, "{} of {} bytes", self.kind(), self.raw.len()),
        }
    }
}

/// The elements of a list, in order.
#[derive(Clone)]
pub struct List<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for List<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        take_value(&mut self.rest, &mut self.at)
    }
}

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A dictionary. Iterates over its pairs in the order of the bytes.
#[derive(Clone)]
pub struct Dict<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Dict<'a> {
    /// The value of a key. Walks the dictionary: no index is kept.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let key = key.as_ref();
        self.clone().find_map(|(found, value)| (found == key).then_some(value))
    }

    /// The number under a key; `None` also when it is something else.
    pub fn int(&self, key: impl AsRef<[u8]>) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The number under a key, if it is not negative.
    pub fn uint(&self, key: impl AsRef<[u8]>) -> Option<u64> {
        self.get(key)?.as_uint()
    }

    /// The byte string under a key; `None` also when it is something else.
    pub fn bytes(&self, key: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        self.get(key)?.as_bytes()
    }

    /// The list under a key; `None` also when it is something else.
    pub fn list(&self, key: impl AsRef<[u8]>) -> Option<List<'a>> {
        self.get(key)?.as_list()
    }

    /// The dictionary under a key; `None` also when it is something else.
    pub fn dict(&self, key: impl AsRef<[u8]>) -> Option<Dict<'a>> {
        self.get(key)?.as_dict()
    }

    /// Goes through this dictionary and those inside it in one pass.
    pub fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.rest, self.at)
    }

    /// Whether it has no keys (or, as an iterator, none are left).
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Dict<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = take_value(&mut self.rest, &mut self.at)?.as_bytes()?;
        Some((key, take_value(&mut self.rest, &mut self.at)?))
    }
}

impl fmt::Debug for Dict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.clone().map(|(key, value)| (key.escape_ascii().to_string(), value));
        f.debug_map().entries(pairs).finish()
    }
}

/// Cuts the next value off the front of `rest`.
pub(super) fn take_value<'a>(rest: &mut &'a [u8], at: &mut usize) -> Option<Value<'a>> {
    if rest.is_empty() {
        return None;
    }
    let end = token::skip(rest, 0)?;
    let (raw, left) = rest.split_at_checked(end)?;
    let value = Value { raw, at: *at };
    *rest = left;
    *at += end;
    Some(value)
}
