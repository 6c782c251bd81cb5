//! How long pieces should be.

use super::Format;

/// The shortest piece: one block, and the least that v2 allows (BEP 52).
pub const PIECE_LENGTH_MIN: u32 = 16 << 10;

/// The longest piece that is made on request; libtorrent loads nothing longer.
pub const PIECE_LENGTH_MAX: u32 = 128 << 20;

/// The longest piece that is chosen without being asked for. A piece is downloaded whole before any of it is served
/// or played, and thrown away whole when a byte of it is wrong.
const AUTOMATIC_MAX: u32 = 16 << 20;

/// Pieces to stay below while lengths can grow. About a thousand or two keep the torrent small (20 or 52 bytes a piece, fetched by every
/// magnet) and the `have` messages few, and are enough for peers to have something to trade.
const PIECES_WANTED_MAX: u64 = 2048;

/// The piece length for files of these lengths: the shortest power of two that makes no more than 2048 pieces, from 16 KiB to 16 MiB.
///
/// Where every file begins a piece, a file more is a piece more whatever the length. So the first piece of a file is not counted
/// there: longer ones would only add padding that hybrids must hash.
pub fn piece_length(lengths: impl IntoIterator<Item = u64>, format: Format) -> u32 {
    let lengths: Vec<u64> = lengths.into_iter().collect();
    let pieces = |piece_length: u32| {
        let piece_length = u64::from(piece_length);
        if format.has_v2() {
            // Of each file, those beyond the first.
            let beyond = lengths.iter().map(|length| length.saturating_sub(1) / piece_length);
            beyond.fold(0, u64::saturating_add)
        } else {
            lengths.iter().fold(0, |sum: u64, &length| sum.saturating_add(length)).div_ceil(piece_length)
        }
    };
    let mut chosen = PIECE_LENGTH_MIN;
    while chosen < AUTOMATIC_MAX && pieces(chosen) > PIECES_WANTED_MAX {
        chosen *= 2;
    }
    chosen
}
