//! Bencode, the encoding of everything in BitTorrent that is not the peer wire itself (BEP 3).
//!
//! [`decode`] checks the whole input once, without recursion and without building anything, and gives a [`Value`]:
//! a view of the original bytes that is read by walking them again. So a bomb of a million nested or tiny values costs
//! the bytes it consists of and nothing more, and [`Value::raw`] is always what was received, byte for byte: info hashes
//! are taken of that, never of something encoded anew.
//!
//! [`Item`] is the way out: a tree that is encoded with sorted keys by construction.
//!
//! Strict: numbers have one spelling (no leading zeros, no `-0`, no `+`) and fit an `i64`, keys are byte strings and never
//! repeat, nothing follows the value, containers nest at most [`DEPTH_MAX`] deep. Unsorted keys are against the rules
//! too, but torrents and peers that have them exist: the caller decides with [`Keys`].

mod check;
mod cursor;
mod error;
mod item;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub use check::{DEPTH_MAX, Keys};
pub use cursor::{Cursor, Step};
pub use error::{DecodeError, Fault};
pub use item::Item;
pub use value::{Dict, Kind, List, Value};

/// Decodes `bytes`, which must be one value and nothing else.
///
/// # Errors
/// [`DecodeError`] with the first byte that is wrong, and why.
pub fn decode(bytes: &[u8], keys: Keys) -> Result<Value<'_>, DecodeError> {
    let (value, end) = decode_prefix(bytes, keys)?;
    if end < bytes.len() {
        return Err(DecodeError { at: end, fault: Fault::TrailingBytes });
    }
    Ok(value)
}

/// Decodes the value that `bytes` begin with, and says how many bytes it took: extension messages carry raw bytes
/// behind a dictionary (BEP 9).
///
/// # Errors
/// [`DecodeError`] with the first byte that is wrong, and why.
pub fn decode_prefix(bytes: &[u8], keys: Keys) -> Result<(Value<'_>, usize), DecodeError> {
    let end = check::check(bytes, keys)?;
    let raw = bytes.get(..end).unwrap_or_default();
    Ok((Value::checked(raw, 0), end))
}
