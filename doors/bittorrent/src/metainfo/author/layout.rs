//! The order of files, and the padding between them.

use peerage_content::{Alignment, Entry, EntryKind, Layout};

use super::{AuthorError, Format, PIECE_LENGTH_MAX, PIECE_LENGTH_MIN};
use crate::metainfo::{MetainfoError, names};

/// The layout of a torrent of `entries` (files and links; offsets and order do not matter).
///
/// Files are sorted as in a v2 tree, component by component. In a hybrid there is a pad between a file that does not fill its
/// last piece and the next one (BEP 47, 52), and none behind the last. A single file never has pads: its torrent has no list to put them in.
///
/// # Errors
/// [`AuthorError`]: a bad piece length, nothing to share, or too much of it.
pub fn layout(
    entries: Vec<Entry>,
    single: bool,
    format: Format,
    piece_length: u32,
) -> Result<Layout, AuthorError> {
    if !piece_length.is_power_of_two() || !(PIECE_LENGTH_MIN..=PIECE_LENGTH_MAX).contains(&piece_length) {
        return Err(AuthorError::PieceLength(piece_length));
    }
    let mut entries = entries;
    entries.retain(|entry| entry.kind != EntryKind::Pad);
    if entries.is_empty() {
        return Err(AuthorError::NoFiles);
    }
    if single && !matches!(entries.as_slice(), [Entry { kind: EntryKind::File { .. }, .. }]) {
        return Err(AuthorError::NotSingle);
    }
    entries.sort_by(|a, b| a.path.components().cmp(b.path.components()));
    let alignment = match format {
        Format::V2 => Alignment::PerFile,
        Format::V1 | Format::Hybrid => Alignment::Stream,
    };
    if format == Format::Hybrid {
        entries = padded(entries, piece_length.into())?;
    }
    Ok(Layout::new(entries, piece_length, alignment)?)
}

/// Puts a pad in front of every file with bytes that would not begin a piece. libtorrent puts them at the same places when it
/// is told to make no pad at the end, so that both make the same torrent.
fn padded(entries: Vec<Entry>, piece_length: u64) -> Result<Vec<Entry>, AuthorError> {
    let mut out = Vec::with_capacity(entries.len());
    // Bytes that the file before left in its last piece.
    let mut beyond = 0;
    for entry in entries {
        if beyond > 0 && entry.length > 0 {
            let length = piece_length - beyond;
            let path = names::pad_path(length)
                .map_err(|reason| AuthorError::Refused(MetainfoError::new("pad", reason)))?;
            out.push(Entry { path, length, kind: EntryKind::Pad, offset: 0 });
            beyond = 0;
        }
        beyond = (beyond + entry.length % piece_length) % piece_length;
        out.push(entry);
    }
    Ok(out)
}
