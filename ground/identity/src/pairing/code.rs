//! The code that one person reads to another.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use cid::multihash::Multihash;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

use super::words::{self, WORDS};

/// Numbers begin at 1. Enough that two pairs who pair at the same time seldom meet, few enough to be read aloud.
const NUMBER_MAX: u16 = 9_999;
/// The longest text that is read as a code.
const TEXT_LENGTH_MAX: usize = 64;
const RAW: u64 = 0x55;
const SHA2_256: u64 = 0x12;

/// A code such as `7-otter-violin`, good for one pairing. The number says where the two meet and is no secret; the two words are.
#[derive(PartialEq, Eq)]
pub struct PairingCode {
    number: u16,
    words: [&'static str; 2],
}

/// Why a text is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// It does not have three parts.
    #[error("a code is a number and two words, such as 7-otter-violin")]
    Parts,
    /// The first part is no number, or none that a code has.
    #[error("{0:?} is no number from 1 to {NUMBER_MAX}")]
    Number(String),
    /// A word that no code has.
    #[error("{word:?} is no word of a code{}", .nearest.map(|nearest| format!(": {nearest:?}?")).unwrap_or_default())]
    Word {
        /// What was typed.
        word: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
}

impl PairingCode {
    /// A new code.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn generate() -> Result<Self, rand::rngs::SysError> {
        let mut bytes = [0; 8];
        SysRng.try_fill_bytes(&mut bytes)?;
        let drawn = u64::from_le_bytes(bytes);
        // The words have 9 bits each; the number, of the 46 bits above them, leans to no side that matters.
        let word = |shift: u32| WORDS[(drawn >> shift) as usize % WORDS.len()];
        let number = (drawn >> 18) % u64::from(NUMBER_MAX) + 1;
        Ok(Self { number: number as u16, words: [word(0), word(9)] })
    }

    /// What the host provides in the DHT, and the guest looks up there: made of the number alone, since whoever sees it could try all words.
    #[expect(clippy::missing_panics_doc, reason = "a digest of 32 bytes fits into 64")]
    pub fn rendezvous(&self) -> Cid {
        let digest = Sha256::digest(format!("/peerage/pairing/1/{}", self.number));
        Cid::new_v1(RAW, Multihash::wrap(SHA2_256, &digest).expect("32 bytes fit into 64"))
    }

    /// What both must know.
    pub(super) fn secret(&self) -> String {
        self.to_string()
    }
}

impl FromStr for PairingCode {
    type Err = CodeError;

    /// Capitals do not matter, nor whether the parts have hyphens or spaces between them.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > TEXT_LENGTH_MAX {
            return Err(CodeError::Parts);
        }
        let text = text.to_ascii_lowercase();
        let mut parts =
            text.split(|char: char| char == '-' || char.is_whitespace()).filter(|part| !part.is_empty());
        let (Some(number), Some(first), Some(second), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CodeError::Parts);
        };
        let read = number.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        let number = read.ok_or_else(|| CodeError::Number(number.to_owned()))?;
        Ok(Self { number, words: [word(first)?, word(second)?] })
    }
}

fn word(text: &str) -> Result<&'static str, CodeError> {
    let found = words::place(text).and_then(|place| WORDS.get(place).copied());
    found.ok_or_else(|| CodeError::Word { word: text.to_owned(), nearest: words::nearest(text) })
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.words;
        write!(f, "{}-{first}-{second}", self.number)
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairingCode {}-…", self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for text in ["7-otter-violin", " 7 Otter  violin ", "7-OTTER violin", "007-otter-violin"] {
            assert_eq!(text.parse::<PairingCode>().unwrap().to_string(), "7-otter-violin", "{text}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused_with_what_was_meant() {
        use CodeError::*;
        let number = |text: &str| Number(text.to_owned());
        let unknown = |word: &str, nearest| Word { word: word.to_owned(), nearest };
        for (text, refusal) in [
            ("", Parts),
            ("otter-violin", Parts),
            ("7-otter-violin-otter", Parts),
            (&*"7-otter-violin ".repeat(9), Parts),
            ("x-otter-violin", number("x")),
            ("0-otter-violin", number("0")),
            ("10000-otter-violin", number("10000")),
            ("7-oter-violin", unknown("oter", Some("otter"))),
            ("7-otter-xylophone", unknown("xylophone", None)),
        ] {
            assert_eq!(text.parse::<PairingCode>(), Err(refusal), "{text}");
        }
    }

    #[test]
    fn a_new_code_is_another_one_and_reads_as_itself() {
        let codes: Vec<PairingCode> = (0..500).map(|_| PairingCode::generate().unwrap()).collect();
        let texts: HashSet<String> = codes.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), codes.len());
        for code in codes {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    }

    #[test]
    fn where_two_meet_depends_on_the_number_alone() {
        let meet = |text: &str| text.parse::<PairingCode>().unwrap().rendezvous().to_string();
        assert_eq!(meet("7-otter-violin"), meet("7-acorn-album"));
        assert_ne!(meet("7-otter-violin"), meet("8-otter-violin"));
        // Both sides may run different versions: it is the same for ever.
        assert_eq!(meet("7-otter-violin"), "bafkreigu6v6u6eaas6dl6obmlyfur4ch3ptgtrpexbdivpvvvarlaz7osy");
    }

    #[test]
    fn the_words_do_not_show_in_a_log() {
        assert_eq!(format!("{:?}", "7-otter-violin".parse::<PairingCode>().unwrap()), "PairingCode 7-…");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = text.parse::<PairingCode>();
        }
    }
}
