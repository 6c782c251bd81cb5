//! Which bytes: the `Range` header (RFC 9110, section 14) and `entity-bytes` of CAR requests.

use std::ops::Range;

use crate::Refusal;

/// Ranges that one request may ask for. Who asks for more gets everything.
const RANGES_MAX: usize = 64;

/// One range as it was asked for, before the length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRanges(Vec<Spec>);

/// What is sent of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: 200.
    Whole,
    /// One range, not empty: 206.
    Range(Range<u64>),
    /// More than one, as `multipart/byteranges`: 206.
    Ranges(Vec<Range<u64>>),
}

impl ByteRanges {
    /// Reads the header. What is malformed, of another unit, or too much counts as not there, as the RFC wants.
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, list) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = Vec::new();
        for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if specs.len() == RANGES_MAX {
                return None;
            }
            specs.push(Spec::parse(part)?);
        }
        (!specs.is_empty()).then_some(Self(specs))
    }

    /// The parts of something of this length.
    ///
    /// # Errors
    /// 416, when none of the ranges has a byte in it.
    pub fn of(&self, length: u64) -> Result<Part, Refusal> {
        let mut ranges: Vec<_> = self.0.iter().filter_map(|spec| spec.of(length)).collect();
        if ranges.len() < 2 {
            return ranges.pop().map(Part::Range).ok_or_else(|| Refusal::outside(length));
        }
        // Who asks for the same bytes over and over would have the answer be longer than what there is.
        let asked = ranges.iter().try_fold(0_u64, |sum, range| sum.checked_add(range.end - range.start));
        Ok(if asked.is_some_and(|asked| asked <= length) { Part::Ranges(ranges) } else { Part::Whole })
    }
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The range, clipped to the length; `None` when nothing is left.
    fn of(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..length,
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// Digits alone: no sign. More than fit are as good as endless.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// What `entity-bytes` asks for: first and last byte, from the end where negative, all to the end where there is no last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntityBytes {
    from: i64,
    to: Option<i64>,
}

impl EntityBytes {
    /// Reads the parameter.
    ///
    /// # Errors
    /// 400, when it is malformed.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::malformed(format!("entity-bytes is FROM:TO, bytes or *, not {text:?}"));
        let (from, to) = text.split_once(':').ok_or_else(malformed)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| malformed());
        let to = if to == "*" { None } else { Some(number(to)?) };
        let bytes = Self { from: number(from)?, to };
        if bytes.is_backwards() {
            Err(Refusal::malformed("entity-bytes ends before it begins"))
        } else {
            Ok(bytes)
        }
    }

    /// Whether it ends before it begins, whatever the length.
    fn is_backwards(self) -> bool {
        self.to.is_some_and(|to| (self.from < 0) == (to < 0) && to < self.from)
    }

    /// The range of something of this length; empty when nothing of it exists.
    pub fn of(self, length: u64) -> Range<u64> {
        let place = |at: i64| match u64::try_from(at) {
            Ok(at) => at.min(length),
            Err(_) => length.saturating_sub(at.unsigned_abs()),
        };
        let end = match self.to {
            None => length,
            // From the end, further than there are bytes: before the first.
            Some(to) if to < 0 && to.unsigned_abs() > length => 0,
            Some(to) => place(to).saturating_add(1).min(length),
        };
        let start = place(self.from);
        start..end.max(start)
    }
}

impl std::fmt::Display for EntityBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to {
            Some(to) => write!(f, "{}:{to}", self.from),
            None => write!(f, "{}:*", self.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(header: &str, length: u64) -> Option<Result<Part, Refusal>> {
        ByteRanges::parse(header).map(|ranges| ranges.of(length))
    }

    #[test]
    fn ranges_of_rfc_9110() {
        for (header, range) in [
            ("bytes=0-", 0..100),
            ("bytes=0-0", 0..1),
            ("bytes=10-19", 10..20),
            ("Bytes = 10 - 19 ", 10..20),
            ("bytes=90-1000", 90..100),
            ("bytes=-10", 90..100),
            ("bytes=-1000", 0..100),
            ("bytes=0-18446744073709551615", 0..100),
            ("bytes=0-99999999999999999999999", 0..100),
            ("bytes=,5-6,", 5..7),
            ("bytes=5-6,100-", 5..7),
        ] {
            assert_eq!(part(header, 100), Some(Ok(Part::Range(range))), "{header}");
        }
    }

    #[test]
    fn a_range_without_a_byte_is_416_and_a_malformed_one_is_none() {
        for header in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(part(header, 100), Some(Err(Refusal::outside(100))), "{header}");
        }
        assert_eq!(part("bytes=0-", 0), Some(Err(Refusal::outside(0))));
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=5-x",
            "bytes=+5-6",
            "items=0-1",
        ] {
            assert_eq!(part(header, 100), None, "{header}");
        }
    }

    #[test]
    fn many_ranges_are_parts_unless_they_are_more_than_there_is() {
        assert_eq!(part("bytes=0-1, -1", 100), Some(Ok(Part::Ranges(vec![0..2, 99..100]))));
        assert_eq!(part("bytes=0-99,0-99", 100), Some(Ok(Part::Whole)));
        assert_eq!(part("bytes=0-,0-", u64::MAX), Some(Ok(Part::Whole)));
        let many = format!("bytes={}", "0-0,".repeat(RANGES_MAX + 1));
        assert_eq!(part(&many, 100), None);
    }

    #[test]
    fn entity_bytes_count_from_both_ends() {
        for (text, range) in [
            ("0:*", 0..1000),
            ("-100:*", 900..1000),
            ("-2000:*", 0..1000),
            ("0:0", 0..1),
            ("10:19", 10..20),
            ("499:-101", 499..900),
            ("-100:-1", 900..1000),
            ("900:5000", 900..1000),
            ("1000:*", 1000..1000),
            ("5000:6000", 1000..1000),
            ("0:-2000", 0..0),
            ("950:-500", 950..950),
        ] {
            assert_eq!(EntityBytes::parse(text).map(|bytes| bytes.of(1000)), Ok(range), "{text}");
        }
        for text in ["", ":", "0", "*:*", "a:b", "5:4", "-1:-2", "1:", "0:99999999999999999999"] {
            assert!(EntityBytes::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_range_leaves_the_content(header in "bytes=[0-9,-]{0,40}", length: u64) {
            let ranges = match part(&header, length) {
                Some(Ok(Part::Range(range))) => vec![range],
                Some(Ok(Part::Ranges(ranges))) => ranges,
                _ => vec![],
            };
            for range in ranges {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }

        #[test]
        fn nor_do_entity_bytes(from: i64, to: Option<i64>, length: u64) {
            let range = EntityBytes { from, to }.of(length);
            prop_assert!(range.start <= range.end && range.end <= length);
        }
    }
}
