//! Bytes on disk: frames of items.
//!
//! A frame is what one commit appended. It counts wholly or not at all:
//!
//! ```text
//! length: u32   bytes of the payload, never 0
//! check:  u32   CRC-32 of the length, salted, so that neither zeros nor a damaged length pass for a head
//! crc:    u32   CRC-32 of the payload
//! payload       items: a tag byte and what belongs to it; numbers are LEB128
//! ```
//!
//! A frame that the end of the file cuts short was being written when the process or the machine died: its commit never
//! returned. Anything else that does not check is damage.

use super::belief::Item;
use crate::{FileStamp, PieceIndex};

/// Bytes before the payload.
const HEAD: usize = 12;
const SALT: &[u8] = b"peerage journal 1";

/// What is wrong with the end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    None,
    /// The last frame is incomplete.
    Torn,
    /// Bytes changed after they were written: what followed, if only the loss of a piece, is not known.
    Inside,
}

/// One frame of items.
pub(super) fn encode(items: &[Item]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    items.iter().for_each(|item| put_item(&mut bytes, item));
    let length = (bytes.len() - HEAD) as u32;
    let crc = crc32fast::hash(&bytes[HEAD..]);
    for (at, word) in [length, check_of(length), crc].into_iter().enumerate() {
        bytes[at * 4..][..4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The frame at the start of `bytes`: its items and its length on disk.
pub(super) fn decode(bytes: &[u8]) -> Result<(Vec<Item>, usize), Damage> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Err(Damage::Torn) };
    let word = |at: usize| {
        head.get(at * 4..).and_then(|bytes| bytes.first_chunk()).copied().map_or(0, u32::from_le_bytes)
    };
    let (length, check, crc) = (word(0), word(1), word(2));
    if length == 0 || check != check_of(length) {
        return Err(Damage::Inside);
    }
    let Some(payload) = rest.get(..length as usize) else { return Err(Damage::Torn) };
    if crc32fast::hash(payload) != crc {
        return Err(Damage::Inside);
    }
    let mut input = Input(payload);
    let mut items = Vec::new();
    while !input.0.is_empty() {
        items.push(input.item().ok_or(Damage::Inside)?);
    }
    Ok((items, HEAD + payload.len()))
}

fn check_of(length: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(SALT);
    crc.update(&length.to_le_bytes());
    crc.finalize()
}

const HEADER: u8 = 1;
const BOOT: u8 = 2;
const VERIFIED: u8 = 3;
const LOST: u8 = 4;
const SUSPECT: u8 = 5;
const SYNCED: u8 = 6;
const STAMP: u8 = 7;
const NOTE: u8 = 8;
const TOTALS: u8 = 9;
/// A stamp with a change time, which those of the other tag are without.
const TIMED_STAMP: u8 = 10;

fn put_item(out: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Header { identity, pieces, entries } => {
            out.push(HEADER);
            put_number(out, u64::from(*pieces));
            put_number(out, *entries as u64);
            put_bytes(out, identity);
        }
        Item::Boot(id) => {
            out.push(BOOT);
            put_bytes(out, id);
        }
        Item::Verified(pieces) => put_pieces(out, VERIFIED, pieces),
        Item::Lost(pieces) => put_pieces(out, LOST, pieces),
        Item::Suspect(pieces) => put_pieces(out, SUSPECT, pieces),
        Item::Synced => out.push(SYNCED),
        Item::Stamp(entry, Some(stamp @ FileStamp { changed_ns: Some(changed_ns), .. })) => {
            out.push(TIMED_STAMP);
            put_number(out, *entry as u64);
            put_untimed(out, stamp);
            out.extend_from_slice(&changed_ns.to_le_bytes());
        }
        Item::Stamp(entry, stamp) => {
            out.push(STAMP);
            put_number(out, *entry as u64);
            out.push(stamp.is_some().into());
            if let Some(stamp) = stamp {
                put_untimed(out, stamp);
            }
        }
        Item::Note(note) => {
            out.push(NOTE);
            put_bytes(out, note);
        }
        Item::Totals(up, down) => {
            out.push(TOTALS);
            put_number(out, *up);
            put_number(out, *down);
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A stamp without its change time.
fn put_untimed(out: &mut Vec<u8>, stamp: &FileStamp) {
    put_number(out, stamp.length);
    put_number(out, stamp.inode);
    out.extend_from_slice(&stamp.modified_ns.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Pieces as runs: how many, then for each the gap before it and its length less one.
fn put_pieces(out: &mut Vec<u8>, tag: u8, pieces: &[PieceIndex]) {
    let mut sorted = pieces.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let runs = || sorted.chunk_by(|before, after| before + 1 == *after);
    out.push(tag);
    put_number(out, runs().count() as u64);
    let mut end = 0;
    for run in runs() {
        put_number(out, u64::from(run[0] - end));
        put_number(out, run.len() as u64 - 1);
        end = run[0] + run.len() as u32;
    }
}

/// What is left of a payload. Every reader gives `None` where the bytes make no sense.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn item(&mut self) -> Option<Item> {
        Some(match self.byte()? {
            HEADER => {
                let pieces = self.number()?.try_into().ok()?;
                let entries = self.number()?.try_into().ok()?;
                Item::Header { identity: self.bytes()?.to_vec(), pieces, entries }
            }
            BOOT => Item::Boot(self.bytes()?.to_vec()),
            VERIFIED => Item::Verified(self.pieces()?),
            LOST => Item::Lost(self.pieces()?),
            SUSPECT => Item::Suspect(self.pieces()?),
            SYNCED => Item::Synced,
            STAMP => Item::Stamp(self.number()?.try_into().ok()?, self.stamp()?),
            NOTE => Item::Note(self.bytes()?.to_vec()),
            TOTALS => Item::Totals(self.number()?, self.number()?),
            TIMED_STAMP => {
                let entry = self.number()?.try_into().ok()?;
                let untimed = self.untimed()?;
                Item::Stamp(entry, Some(FileStamp { changed_ns: Some(self.nanoseconds()?), ..untimed }))
            }
            _ => return None,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?.try_into().ok()?;
        self.take(length)
    }

    fn pieces(&mut self) -> Option<Vec<PieceIndex>> {
        let runs = self.number()?;
        let mut pieces = Vec::new();
        let mut end: PieceIndex = 0;
        for _ in 0..runs {
            let start = end.checked_add(self.number()?.try_into().ok()?)?;
            let length: u32 = self.number()?.try_into().ok()?;
            end = start.checked_add(length)?.checked_add(1)?;
            pieces.extend(start..end);
        }
        Some(pieces)
    }

    fn stamp(&mut self) -> Option<Option<FileStamp>> {
        if self.byte()? == 0 {
            return Some(None);
        }
        self.untimed().map(Some)
    }

    /// A stamp without its change time.
    fn untimed(&mut self) -> Option<FileStamp> {
        let (length, inode) = (self.number()?, self.number()?);
        Some(FileStamp { length, modified_ns: self.nanoseconds()?, inode, changed_ns: None })
    }

    fn nanoseconds(&mut self) -> Option<i128> {
        Some(i128::from_le_bytes(*self.take(16)?.first_chunk()?))
    }
}
