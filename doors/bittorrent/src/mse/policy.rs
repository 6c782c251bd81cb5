//! What the user wants of encryption, and what that means for each connection.

use std::fmt;

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// Never: encrypted connections are neither made nor accepted.
    Disable,
    /// Where the other side insists: plain text first, because it costs nothing and files can be sent straight from the
    /// page cache.
    #[default]
    Allow,
    /// Where the other side can: encrypted first, plain text when that fails.
    Prefer,
    /// Always: plain connections are neither made nor accepted, and the stream behind the handshake is RC4 too.
    Require,
}

/// How to begin a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dial {
    /// With a BitTorrent handshake.
    Plain,
    /// With an encrypted handshake.
    Encrypted,
}

impl Encryption {
    /// How to begin a connection, and how to begin anew when that failed.
    pub fn dials(self) -> &'static [Dial] {
        match self {
            Self::Disable => &[Dial::Plain],
            Self::Allow => &[Dial::Plain, Dial::Encrypted],
            Self::Prefer => &[Dial::Encrypted, Dial::Plain],
            Self::Require => &[Dial::Encrypted],
        }
    }

    /// Whether an accepted connection may begin like that.
    pub fn accepts(self, dial: Dial) -> bool {
        self.dials().contains(&dial)
    }

    /// The methods offered in an encrypted handshake that we begin.
    pub fn offers(self) -> Methods {
        match self {
            Self::Disable => Methods::default(),
            Self::Allow | Self::Prefer => Methods::PLAIN | Methods::RC4,
            Self::Require => Methods::RC4,
        }
    }

    /// The method for a peer that offers these; `None` when none will do.
    pub fn select(self, offered: Methods) -> Option<Method> {
        let order: &[Method] = match self {
            Self::Disable => &[],
            Self::Allow => &[Method::Plain, Method::Rc4],
            Self::Prefer => &[Method::Rc4, Method::Plain],
            Self::Require => &[Method::Rc4],
        };
        order.iter().copied().find(|&method| offered.contains(method.into()))
    }
}

/// What the stream behind an encrypted handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Plain text.
    Plain,
    /// RC4.
    Rc4,
}

/// A set of methods, as handshakes carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Methods(pub u32);

impl Methods {
    /// Plain text behind the handshake.
    pub const PLAIN: Self = Self(1);
    /// RC4 all along.
    pub const RC4: Self = Self(2);

    /// Whether all of `methods` are in the set.
    pub fn contains(self, methods: Self) -> bool {
        self.0 & methods.0 == methods.0
    }

    /// The method, if the set is exactly one that is known.
    pub fn single(self) -> Option<Method> {
        [Method::Plain, Method::Rc4].into_iter().find(|&method| self == method.into())
    }
}

impl From<Method> for Methods {
    fn from(method: Method) -> Self {
        match method {
            Method::Plain => Self::PLAIN,
            Method::Rc4 => Self::RC4,
        }
    }
}

impl std::ops::BitOr for Methods {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(Method::Plain) => f.write_str("plain text"),
            Some(Method::Rc4) => f.write_str("RC4"),
            None if *self == Self::PLAIN | Self::RC4 => f.write_str("plain text or RC4"),
            None => write!(f, "methods {:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: will, peer offers plain, RC4, both, something unknown.
    #[test]
    fn selection_follows_the_users_will() {
        let both = Methods::PLAIN | Methods::RC4;
        let (plain, rc4) = (Some(Method::Plain), Some(Method::Rc4));
        for (will, expected) in [
            (Encryption::Disable, [None, None, None, None]),
            (Encryption::Allow, [plain, rc4, plain, None]),
            (Encryption::Prefer, [plain, rc4, rc4, None]),
            (Encryption::Require, [None, rc4, rc4, None]),
        ] {
            let selected =
                [Methods::PLAIN, Methods::RC4, both, Methods(4)].map(|offered| will.select(offered));
            assert_eq!(selected, expected, "{will:?}");
        }
    }

    #[test]
    fn what_is_dialled_is_accepted_too() {
        assert!(!Encryption::Disable.accepts(Dial::Encrypted));
        assert!(!Encryption::Require.accepts(Dial::Plain));
        for will in [Encryption::Allow, Encryption::Prefer] {
            assert!(will.accepts(Dial::Plain) && will.accepts(Dial::Encrypted));
        }
    }
}
