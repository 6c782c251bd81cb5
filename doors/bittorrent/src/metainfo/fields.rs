//! Typed access to the keys of a dictionary, with errors that name the key.

use super::{MetainfoError, Reason};
use crate::bencode::{Dict, Kind, List, Value};

/// The known keys of a dictionary, found in one pass: looking them up one by one would read a long list of files as often.
pub(super) struct Fields<'a> {
    known: &'static [&'static str],
    found: Vec<(&'static str, Value<'a>)>,
}

type Field<T> = Result<T, MetainfoError>;

impl<'a> Fields<'a> {
    /// Of the dictionary `value`, which is called `at`, the keys that will be asked for.
    pub(super) fn of(value: Value<'a>, at: &str, known: &'static [&'static str]) -> Field<Self> {
        let dict = value.as_dict().ok_or_else(|| wrong_kind(at, Kind::Dict, value))?;
        let pick = |(key, value): (&[u8], _)| {
            known.iter().find(|known| known.as_bytes() == key).map(|known| (*known, value))
        };
        Ok(Self { known, found: dict.filter_map(pick).collect() })
    }

    /// The value of a key, of any type.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        debug_assert!(self.known.contains(&key), "{key} is never found");
        self.found.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    pub(super) fn int(&self, key: &str) -> Field<Option<i64>> {
        self.typed(key, Kind::Int, Value::as_int)
    }

    /// A size: not negative.
    pub(super) fn size(&self, key: &str) -> Field<Option<u64>> {
        let Some(value) = self.int(key)? else { return Ok(None) };
        u64::try_from(value).map(Some).map_err(|_| MetainfoError::new(key, Reason::Negative(value)))
    }

    pub(super) fn bytes(&self, key: &str) -> Field<Option<&'a [u8]>> {
        self.typed(key, Kind::Bytes, Value::as_bytes)
    }

    pub(super) fn list(&self, key: &str) -> Field<Option<List<'a>>> {
        self.typed(key, Kind::List, Value::as_list)
    }

    pub(super) fn dict(&self, key: &str) -> Field<Option<Dict<'a>>> {
        self.typed(key, Kind::Dict, Value::as_dict)
    }

    /// Text of an advisory field: foreign bytes replaced, `None` when it is absent or something else.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_bytes().map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn typed<T>(&self, key: &str, kind: Kind, read: impl Fn(&Value<'a>) -> Option<T>) -> Field<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| wrong_kind(key, kind, value))
    }
}

/// `value`, called `at`, is not of the kind that must be there.
pub(super) fn wrong_kind(at: impl Into<String>, expected: Kind, value: Value<'_>) -> MetainfoError {
    MetainfoError::new(at, Reason::WrongKind { expected, found: value.kind() })
}

/// Turns an absent field into an error.
pub(super) fn required<T>(field: Option<T>, key: &str) -> Field<T> {
    field.ok_or_else(|| MetainfoError::new(key, Reason::Missing))
}
