//! Typed access to the keys of a dictionary, with errors that name the key.

use super::{MetainfoError, Reason};
use crate::bencode::{Dict, Kind, List, Value};

/// A dictionary whose keys are asked for by type.
#[derive(Clone)]
pub(super) struct Fields<'a>(pub(super) Dict<'a>);

type Field<T> = Result<T, MetainfoError>;

impl<'a> Fields<'a> {
    /// The dictionary `value`, which is called `at`.
    pub(super) fn of(value: Value<'a>, at: &str) -> Field<Self> {
        value.as_dict().map(Self).ok_or_else(|| wrong_kind(at, Kind::Dict, value))
    }

    /// Whether there is such a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
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
        self.0.bytes(key).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn typed<T>(&self, key: &str, kind: Kind, read: impl Fn(&Value<'a>) -> Option<T>) -> Field<Option<T>> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
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
