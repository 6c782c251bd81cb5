//! Sizes, rates and spans of time, as people write them, and sizes as they read them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not a value of the kind expected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not {expected}")]
pub struct BadValue {
    text: String,
    expected: &'static str,
}

/// An address with a port, for the command line.
///
/// # Errors
/// [`BadValue`].
pub fn address(text: &str) -> Result<SocketAddr, BadValue> {
    let expected = "an IP address with a port, such as 192.0.2.7:6881 or [2001:db8::7]:6881";
    text.parse().map_err(|_| BadValue { text: text.to_owned(), expected })
}

/// Bytes, to three digits: `0 B`, `999 B`, `1.50 KiB`, `12.3 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = "KiB";
        for next in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
            // 999.5, not 1024: otherwise a fourth digit would appear.
            if value < 999.5 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        let places = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        write!(f, "{value:.places$} {unit}")
    }
}

/// An amount of bytes, or of bytes a second. `k`, `M`, `G` and `T` (also `Ki`, `KiB`, …) count in 1024s, `kB`, `MB`, `GB` and `TB` in
/// 1000s; a trailing `/s` is accepted. 0 means "no limit" where a limit is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || BadValue {
            text: text.to_owned(),
            expected: "an amount of bytes such as 500k, 5M, 1.5GiB or 1048576",
        };
        let plain = text.trim().trim_end_matches("/s");
        let digits = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
        let (number, unit) = plain.split_at(digits);
        let unit = unit.trim_start();
        let (power, rest) = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
            Some('k') => (1, &unit[1..]),
            Some('m') => (2, &unit[1..]),
            Some('g') => (3, &unit[1..]),
            Some('t') => (4, &unit[1..]),
            _ => (0, unit),
        };
        let step: u64 = match (rest, power) {
            ("" | "i" | "iB", 1..) | ("" | "B", 0) => 1024,
            ("B", 1..) => 1000,
            _ => return Err(bad()),
        };
        let factor = step.pow(power);
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(bad);
        }
        let value = number.parse::<f64>().map_err(|_| bad())? * factor as f64;
        // 2^53: above it a fraction of a unit could not be told exactly.
        if value < 9_007_199_254_740_992.0 { Ok(Self(value.round() as u64)) } else { Err(bad()) }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("T", 4), ("G", 3), ("M", 2), ("k", 1)];
        for (unit, power) in units {
            let factor = 1024_u64.pow(power);
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        self.0.fmt(f)
    }
}

/// A span of time: `90s`, `30m`, `2h`, `1h30m`, `7d`; a bare number is seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad =
            || BadValue { text: text.to_owned(), expected: "a span of time such as 90s, 30m, 2h or 7d" };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut seconds = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| bad())?;
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(letters);
            let factor = match unit.trim() {
                "" | "s" => 1,
                "m" | "min" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return Err(bad()),
            };
            seconds =
                number.checked_mul(factor).and_then(|more| seconds.checked_add(more)).ok_or_else(bad)?;
            rest = next;
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            if left >= seconds {
                write!(f, "{}{unit}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

/// How [`Bytes`] and [`Span`] look in the configuration file: a number or text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number or text with a unit, such as \"5M\" or \"2h\"")]
enum Raw {
    Number(u64),
    Text(String),
}

macro_rules! in_configuration {
    ($kind:ident, $of_number:expr) => {
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Raw::deserialize(deserializer)? {
                    Raw::Number(number) => Ok(Self($of_number(number))),
                    Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
                }
            }
        }
    };
}

in_configuration!(Bytes, std::convert::identity);
in_configuration!(Span, Duration::from_secs);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (10 << 10, "10.0 KiB"),
            (999 << 10, "999 KiB"),
            (1_023_500, "0.98 MiB"),
            (5 << 30, "5.00 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn amounts_of_bytes() {
        let ok = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("500k", 500 << 10),
            ("5M", 5 << 20),
            ("5MiB", 5 << 20),
            ("5MB/s", 5_000_000),
            ("1.5G", 3 << 29),
            ("16 KiB", 16 << 10),
            ("2t", 2 << 40),
        ];
        for (text, bytes) in ok {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "5X", "5MM", "1..5M", "99999999999T", "5 M b", "\u{661}k", "5i"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1025, 5 << 20, (5 << 20) + 1, 1 << 40, u64::MAX] {
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
        for seconds in [0, 59, 60, 61, 3_600, 5_400, 90_061, 86_400 * 400] {
            let span = Span(Duration::from_secs(seconds));
            assert_eq!(span.to_string().parse(), Ok(span), "{span}");
        }
    }

    #[test]
    fn spans_of_time() {
        let ok = [("90", 90), ("90s", 90), ("30m", 1_800), ("1h30m", 5_400), ("7d", 604_800)];
        for (text, seconds) in ok {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "h", "1y", "-3s", "1.5h", "99999999999999999999d", "9999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
