//! One pass that proves the rules, so that [`super::Value`] can walk the bytes without doubting them.

use super::token::{self, Token};
use super::{DecodeError, Fault};

/// How many containers may lie inside each other. Metainfo needs four and a level per folder of a v2 file tree.
pub const DEPTH_MAX: usize = 64;

/// What to do about dictionaries whose keys are not sorted. Repeated keys are refused either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Refuse them: the rule of BEP 3.
    Sorted,
    /// Accept them: real torrents and peers have them, and hashes are taken of the original bytes.
    AnyOrder,
}

/// An open container.
struct Open<'a> {
    /// Where its first element begins.
    start: usize,
    /// `None` for a list.
    dict: Option<OpenDict<'a>>,
}

#[derive(Default)]
struct OpenDict<'a> {
    /// The key in front of this place.
    last: Option<&'a [u8]>,
    /// Whether that key waits for its value.
    waiting: bool,
    /// Whether a key was smaller than the one before it; then repetition shows only when all keys are known.
    unsorted: bool,
}

/// Checks the value that `bytes` begin with; returns where it ends.
pub(super) fn check(bytes: &[u8], keys: Keys) -> Result<usize, DecodeError> {
    let mut stack: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    loop {
        let (token, next) = token::read(bytes, at)?;
        if let Some(dict) = stack.last_mut().and_then(|open| open.dict.as_mut()) {
            if dict.waiting {
                if token == Token::End {
                    return Err(DecodeError { at, fault: Fault::KeyWithoutValue });
                }
                dict.waiting = false;
            } else if token != Token::End {
                dict.key(token, at, keys)?;
                at = next;
                continue;
            }
        }
        match token {
            Token::Int(_) | Token::Bytes(_) => {}
            Token::List | Token::Dict => {
                if stack.len() == DEPTH_MAX {
                    return Err(DecodeError { at, fault: Fault::TooDeep });
                }
                let dict = (token == Token::Dict).then(OpenDict::default);
                stack.push(Open { start: next, dict });
            }
            Token::End => {
                let Some(closed) = stack.pop() else {
                    return Err(DecodeError { at, fault: Fault::NotAValue(b'e') });
                };
                if closed.dict.is_some_and(|dict| dict.unsorted) {
                    refuse_repetition(bytes, closed.start)?;
                }
            }
        }
        at = next;
        if stack.is_empty() {
            return Ok(at);
        }
    }
}

impl<'a> OpenDict<'a> {
    fn key(&mut self, token: Token<'a>, at: usize, keys: Keys) -> Result<(), DecodeError> {
        let Token::Bytes(key) = token else {
            return Err(DecodeError { at, fault: Fault::KeyNotString });
        };
        match self.last.map(|last| last.cmp(key)) {
            None | Some(std::cmp::Ordering::Less) => {}
            Some(std::cmp::Ordering::Equal) => return Err(DecodeError { at, fault: Fault::DuplicateKey }),
            Some(std::cmp::Ordering::Greater) => match keys {
                Keys::Sorted => return Err(DecodeError { at, fault: Fault::UnsortedKey }),
                Keys::AnyOrder => self.unsorted = true,
            },
        }
        self.last = Some(key);
        self.waiting = true;
        Ok(())
    }
}

/// Looks for a repeated key in a complete, unsorted dictionary whose first key is at `at`.
fn refuse_repetition(bytes: &[u8], mut at: usize) -> Result<(), DecodeError> {
    let mut keys = Vec::new();
    while let Ok((Token::Bytes(key), value)) = token::read(bytes, at) {
        keys.push((key, at));
        match token::skip(bytes, value) {
            Some(next) => at = next,
            None => break,
        }
    }
    keys.sort_unstable();
    let repeated = keys.windows(2).find_map(|pair| match pair {
        [(first, _), (second, at)] if first == second => Some(*at),
        _ => None,
    });
    repeated.map_or(Ok(()), |at| Err(DecodeError { at, fault: Fault::DuplicateKey }))
}
