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

/// A dictionary that is not closed yet.
#[derive(Default)]
struct OpenDict<'a> {
    /// The key in front of this place.
    last: Option<&'a [u8]>,
    /// Whether that key waits for its value.
    waiting: bool,
    /// Where its keys begin in the list of keys.
    first_key: usize,
    /// Whether a key was smaller than the one before it; then repetition shows only when all keys are known.
    unsorted: bool,
}

/// Checks the value that `bytes` begin with; returns where it ends.
pub(super) fn check(bytes: &[u8], keys: Keys) -> Result<usize, DecodeError> {
    // `None` for lists.
    let mut stack: Vec<Option<OpenDict<'_>>> = Vec::new();
    // Where the keys of the open dictionaries are. Gathered on the way, because looking for them again when a dictionary turns
    // out to be unsorted would take as many passes as it is deep. A key takes no more here than in the input, or nearly so.
    let mut open_keys: Vec<usize> = Vec::new();
    let mut at = 0;
    loop {
        let (token, next) = token::read(bytes, at)?;
        if let Some(Some(dict)) = stack.last_mut() {
            if dict.waiting {
                if token == Token::End {
                    return Err(DecodeError { at, fault: Fault::KeyWithoutValue });
                }
                dict.waiting = false;
            } else if token != Token::End {
                dict.key(token, at, keys)?;
                if keys == Keys::AnyOrder {
                    open_keys.push(at);
                }
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
                let dict = OpenDict { first_key: open_keys.len(), ..OpenDict::default() };
                stack.push((token == Token::Dict).then_some(dict));
            }
            Token::End => {
                let Some(closed) = stack.pop() else {
                    return Err(DecodeError { at, fault: Fault::NotAValue(b'e') });
                };
                if let Some(dict) = closed {
                    if dict.unsorted {
                        refuse_repetition(bytes, open_keys.get_mut(dict.first_key..).unwrap_or_default())?;
                    }
                    open_keys.truncate(dict.first_key);
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

/// Looks for a repeated key among those at `keys`.
fn refuse_repetition(bytes: &[u8], keys: &mut [usize]) -> Result<(), DecodeError> {
    let key = |at| match token::read(bytes, at) {
        Ok((Token::Bytes(key), _)) => key,
        _ => &[],
    };
    // By place among equals, so that the second of a pair is the later one.
    keys.sort_unstable_by_key(|&at| (key(at), at));
    let repeated = keys.windows(2).find_map(|pair| match *pair {
        [first, second] if key(first) == key(second) => Some(second),
        _ => None,
    });
    repeated.map_or(Ok(()), |at| Err(DecodeError { at, fault: Fault::DuplicateKey }))
}
