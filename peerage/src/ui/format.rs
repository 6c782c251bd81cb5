//! Numbers for people.

use std::fmt;
use std::time::Duration;

use crate::values::Size;

/// Bytes a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

/// A span of time by its two largest units: `8 s`, `2 min 5 s`, `3 h 12 min`, `9 d 4 h`.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        let (large, small) = match seconds {
            0..60 => return write!(f, "{seconds} s"),
            60..3_600 => ((seconds / 60, "min"), (seconds % 60, "s")),
            3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "min")),
            _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
        };
        write!(f, "{} {}", large.0, large.1)?;
        if small.0 > 0 { write!(f, " {} {}", small.0, small.1) } else { Ok(()) }
    }
}

/// How long something took: `0.31 s`, `12.4 s`, `2 min 5 s`.
pub fn took(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        Time(elapsed.as_secs()).to_string()
    }
}

/// `part` of `whole` in whole percent, 100 only when nothing is missing. Nothing of nothing is all of it.
pub fn percent(part: u64, whole: u64) -> u64 {
    if part >= whole { 100 } else { (u128::from(part) * 100 / u128::from(whole)) as u64 }
}

/// `1 file`, `3 files`, `2 addresses`.
pub fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ if one.ends_with('s') => format!("{number} {one}es"),
        _ => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        let times = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3_600, "1 h"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, text) in times {
            assert_eq!(Time(seconds).to_string(), text);
        }
    }

    #[test]
    fn all_but_a_byte_is_not_a_hundred_percent() {
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
        assert_eq!(percent(5, 5), 100);
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(1, 3), 33);
    }
}
