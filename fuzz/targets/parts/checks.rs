//! What holds for every torrent that was accepted.

use std::path::Component;

use peerage_bittorrent::metainfo::{Info, PIECES_MAX};

/// Names stay in their folder, and the sizes agree with each other.
pub(crate) fn info(info: &Info) {
    let inside = |path: &std::path::Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    assert!(inside(info.name.as_path()));
    let layout = &info.layout;
    let mut pieces = 0;
    for (index, entry) in layout.entries().iter().enumerate() {
        assert!(inside(entry.path.as_path()));
        let range = layout.pieces_of(index);
        assert!(range.end <= layout.piece_count());
        pieces = pieces.max(range.end);
        assert!(info.v2_root(index).is_none() || entry.length > 0);
    }
    assert_eq!(pieces, layout.piece_count());
    assert!(layout.piece_count() <= PIECES_MAX);
    if let Some(hashes) = info.v1_hashes() {
        assert_eq!(hashes.len(), layout.piece_count() as usize);
    }
    assert!(info.hashes.primary().is_some());
    info.case_collision();
}
