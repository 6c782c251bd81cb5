//! The smallest parts: numbers, strings, and the letters that open and close containers.

use super::{DecodeError, Fault};

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    List,
    Dict,
    End,
}

/// Reads the token at `at`, and where the next one begins.
pub(super) fn read(bytes: &[u8], at: usize) -> Result<(Token<'_>, usize), DecodeError> {
    match bytes.get(at) {
        None => Err(DecodeError { at, fault: Fault::Ended }),
        Some(b'i') => int(bytes, at),
        Some(b'l') => Ok((Token::List, at + 1)),
        Some(b'd') => Ok((Token::Dict, at + 1)),
        Some(b'e') => Ok((Token::End, at + 1)),
        Some(b'0'..=b'9') => string(bytes, at),
        Some(&other) => Err(DecodeError { at, fault: Fault::NotAValue(other) }),
    }
}

/// Where the value at `at` ends. For bytes that were checked: anything wrong ends the walk at once.
pub(super) fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = 0_usize;
    loop {
        let (token, next) = read(bytes, at).ok()?;
        match token {
            Token::List | Token::Dict => open += 1,
            Token::End => open = open.checked_sub(1)?,
            Token::Int(_) | Token::Bytes(_) => {}
        }
        at = next;
        if open == 0 {
            return Some(at);
        }
    }
}

fn int(bytes: &[u8], start: usize) -> Result<(Token<'_>, usize), DecodeError> {
    let negative = bytes.get(start + 1) == Some(&b'-');
    let first = start + 1 + usize::from(negative);
    let mut at = first;
    // Gathered below zero, because the smallest i64 has no positive twin.
    let mut value = 0_i64;
    loop {
        match bytes.get(at) {
            None => return Err(DecodeError { at, fault: Fault::Ended }),
            Some(digit @ b'0'..=b'9') => {
                let digit = i64::from(digit - b'0');
                value = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_sub(digit))
                    .ok_or(DecodeError { at: start, fault: Fault::NumberTooLarge })?;
                at += 1;
            }
            Some(b'e') if at > first => break,
            Some(_) => return Err(DecodeError { at, fault: Fault::NotANumber }),
        }
    }
    if bytes.get(first) == Some(&b'0') {
        if at - first > 1 {
            return Err(DecodeError { at: first, fault: Fault::LeadingZero });
        }
        if negative {
            return Err(DecodeError { at: start, fault: Fault::MinusZero });
        }
    }
    if !negative {
        value = value.checked_neg().ok_or(DecodeError { at: start, fault: Fault::NumberTooLarge })?;
    }
    Ok((Token::Int(value), at + 1))
}

fn string(bytes: &[u8], start: usize) -> Result<(Token<'_>, usize), DecodeError> {
    let mut at = start;
    let mut length = 0_u64;
    loop {
        match bytes.get(at) {
            None => return Err(DecodeError { at, fault: Fault::Ended }),
            Some(digit @ b'0'..=b'9') => {
                length = length
                    .checked_mul(10)
                    .and_then(|length| length.checked_add(u64::from(digit - b'0')))
                    .ok_or(DecodeError { at: start, fault: Fault::NumberTooLarge })?;
                at += 1;
            }
            Some(b':') => break,
            Some(_) => return Err(DecodeError { at, fault: Fault::NotANumber }),
        }
    }
    if bytes.get(start) == Some(&b'0') && at - start > 1 {
        return Err(DecodeError { at: start, fault: Fault::LeadingZero });
    }
    let rest = bytes.get(at + 1..).unwrap_or_default();
    let text = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    match text {
        Some(text) => Ok((Token::Bytes(text), at + 1 + text.len())),
        None => Err(DecodeError { at: start, fault: Fault::StringPastEnd { length, left: rest.len() } }),
    }
}
