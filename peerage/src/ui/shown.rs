//! Foreign text on a terminal: names of files, clients and trackers.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use unicode_width::UnicodeWidthChar;

/// Text as it is, but harmless: control characters (also C1, which some terminals obey), line separators and characters that turn the
/// direction of writing or are invisible by design appear as `\u{…}`, bytes that are not UTF-8 as `\x…`. A letter of any
/// script stays itself.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a OsStr);

impl<'a> Shown<'a> {
    /// Of a path.
    pub fn path(path: &'a Path) -> Self {
        Self(path.as_os_str())
    }

    /// Of text.
    pub fn text(text: &'a str) -> Self {
        Self(OsStr::new(text))
    }

    /// Cut to `columns` columns of a terminal, with `…` for what is left out in the middle: names often differ at both ends.
    pub fn within(self, columns: usize) -> String {
        let whole = self.to_string();
        if width(&whole) <= columns {
            return whole;
        }
        if columns == 0 {
            return String::new();
        }
        let head = columns / 2;
        let tail = columns - 1 - head;
        let mut text = fitting(whole.chars(), head);
        text.push('…');
        text.extend(fitting(whole.chars().rev(), tail).chars().rev());
        text
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_harmful(c) { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a terminal or a reader could be fooled by it.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}'   // direction marks
            | '\u{202a}'..='\u{202e}'              // embeddings and overrides
            | '\u{2066}'..='\u{2069}'              // isolates
            | '\u{2028}' | '\u{2029}'              // line and paragraph separator
            | '\u{200b}' | '\u{2060}' | '\u{feff}' // invisible; joiners (200c, 200d) belong to scripts and emoji
            | '\u{fff9}'..='\u{fffb}'              // interlinear annotation
            | '\u{e0000}'..='\u{e007f}') // tags
}

/// Columns that text takes on a terminal.
pub fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// `text` and the spaces that make it `columns` wide.
pub fn padded(text: &str, columns: usize) -> String {
    let mut padded = text.to_owned();
    padded.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(text))));
    padded
}

/// As many characters as fit into `columns`.
fn fitting(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut left = columns;
    chars
        .take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are() {
        for name in [
            "holiday.mkv",
            "Grüße aus 東京",
            "a\\b \"quoted\" $(rm)",
            "👩\u{200d}👩\u{200d}👧",
            "नमस्\u{200c}ते",
            "עברית",
        ] {
            assert_eq!(Shown::text(name).to_string(), name);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_neutralised() {
        let bad = [
            ("\x1b[2Jx", "\\u{1b}[2Jx"),
            ("a\nb\r\t\0", "a\\u{a}b\\u{d}\\u{9}\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\x7f", "\\u{7f}"),
            ("a\u{202e}gpj.exe", "a\\u{202e}gpj.exe"),
            ("\u{2066}\u{200b}\u{feff}\u{2028}", "\\u{2066}\\u{200b}\\u{feff}\\u{2028}"),
        ];
        for (name, shown) in bad {
            assert_eq!(Shown::text(name).to_string(), shown);
        }
        assert_eq!(Shown(OsStr::from_bytes(b"\xff\xfeok\x9b1m")).to_string(), "\\xff\\xfeok\\x9b1m");
    }

    #[test]
    fn nothing_shown_holds_a_control_character() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = Shown::text(&c.to_string()).to_string();
            assert!(!shown.chars().any(is_harmful), "{c:?}");
        }
    }

    #[test]
    fn long_names_are_cut_in_the_middle_by_columns() {
        assert_eq!(Shown::text("holiday-2026-07-part-12.mkv").within(12), "holida…2.mkv");
        assert_eq!(Shown::text("short").within(5), "short");
        let cut = Shown::text("東京東京東京東京").within(7);
        assert!(width(&cut) <= 7, "{cut}");
        assert_eq!(Shown::text("abc").within(0), "");
        assert_eq!(Shown::text("abc").within(1), "…");
    }

    #[test]
    fn padding_counts_columns() {
        assert_eq!(padded("東京", 6), "東京  ");
        assert_eq!(padded("long", 2), "long");
    }
}
