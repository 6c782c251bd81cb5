//! What a user calls a contact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::UnicodeNormalization;

use crate::peer_id::PeerId;

/// The longest name, in characters.
const LENGTH_MAX: usize = 40;
/// As many are looked at: a letter may be typed as several, which are put together.
const TYPED_MAX: usize = 4 * LENGTH_MAX;
/// Besides letters and digits of any script.
const MARKS: &str = "-_.'@+ ";

/// A name such as `laptop` or `Zoë's phone`: letters and digits of any script, with single spaces and a few marks inside. It holds nothing
/// that a terminal would obey, and nothing that cannot be told from a [`PeerId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactName(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing is there.
    #[error("a name is not empty")]
    Empty,
    /// It is too long.
    #[error("a name has {LENGTH_MAX} characters at most")]
    TooLong,
    /// It begins or ends with something else than a letter or digit.
    #[error("a name begins and ends with a letter or a digit")]
    Edge,
    /// A character that does not belong into a name.
    #[error("{0:?} cannot stand in a name: letters, digits, spaces and - _ . ' @ + can")]
    Character(char),
    /// Two spaces together, which look like one.
    #[error("a name has no two spaces together")]
    Spaces,
    /// It is a peer id.
    #[error("a peer id is no name")]
    PeerId,
}

impl ContactName {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What names are compared and ordered by: capitals do not matter.
    pub(super) fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for ContactName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.parse::<PeerId>().is_ok_and(PeerId::is_possible) {
            return Err(NameError::PeerId);
        }
        let name: String = text.chars().take(TYPED_MAX).nfc().collect();
        let (Some(first), Some(last)) = (name.chars().next(), name.chars().next_back()) else {
            return Err(NameError::Empty);
        };
        if name.chars().count() > LENGTH_MAX || text.chars().nth(TYPED_MAX).is_some() {
            return Err(NameError::TooLong);
        }
        if let Some(odd) = name.chars().find(|char| !char.is_alphanumeric() && !MARKS.contains(*char)) {
            return Err(NameError::Character(odd));
        }
        if !first.is_alphanumeric() || !last.is_alphanumeric() {
            return Err(NameError::Edge);
        }
        if name.contains("  ") {
            return Err(NameError::Spaces);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for ContactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for ContactName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContactName {
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
    fn names_are_what_people_call_things() {
        for name in ["laptop", "Zoë's phone", "nas-2", "東京", "a", "ada@work", "r2.d2"] {
            assert_eq!(name.parse::<ContactName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_is_the_same_however_it_is_typed() {
        let decomposed: ContactName = "Zoe\u{308}".parse().unwrap();
        assert_eq!(decomposed.as_str(), "Zo\u{eb}");
        assert_eq!(decomposed.key(), "ZO\u{cb}".parse::<ContactName>().unwrap().key());
    }

    #[test]
    fn a_name_is_as_long_as_it_looks() {
        let decomposed: ContactName = "e\u{301}".repeat(40).parse().unwrap();
        assert_eq!(decomposed.as_str(), "é".repeat(40));
        assert_eq!("e\u{301}".repeat(41).parse::<ContactName>(), Err(NameError::TooLong));
        // Base58 of a multihash of nothing, but of no key.
        assert_eq!("11".parse::<ContactName>().unwrap().as_str(), "11");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        use NameError::*;
        for (text, refusal) in [
            ("", Empty),
            (&*"x".repeat(41), TooLong),
            (&*"x".repeat(10_000), TooLong),
            (" laptop", Edge),
            ("-laptop", Edge),
            ("laptop.", Edge),
            ("my  laptop", Spaces),
            ("a/b", Character('/')),
            ("a\x1b[31mb", Character('\x1b')),
            ("a\nb", Character('\n')),
            // Turns the direction of what follows.
            ("a\u{202e}b", Character('\u{202e}')),
            // Nothing to be seen.
            ("a\u{200b}b", Character('\u{200b}')),
            ("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA", PeerId),
            ("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", PeerId),
        ] {
            assert_eq!(text.parse::<ContactName>(), Err(refusal), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_shown(text in any::<String>()) {
            if let Ok(name) = text.parse::<ContactName>() {
                prop_assert_eq!(name.to_string().parse::<ContactName>(), Ok(name));
            }
        }
    }
}
