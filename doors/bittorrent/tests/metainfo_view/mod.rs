//! How we see a torrent, in the lines of `fixtures/view.py`.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use peerage_bittorrent::metainfo::Metainfo;
use peerage_content::EntryKind;

/// The lines for a torrent.
pub(crate) fn view(torrent: &Metainfo) -> String {
    let info = &torrent.info;
    let hex = |hash: Option<&[u8]>| hash.map_or("-".to_owned(), |hash| HEXLOWER.encode(hash));
    let v1 = hex(info.hashes.v1.as_ref().map(|hash| hash.as_slice()));
    let v2 = hex(info.hashes.v2.as_ref().map(|hash| hash.as_slice()));
    let private = u8::from(info.private);
    let mut lines =
        format!("torrent\t{v1}\t{v2}\t{}\t{}\t{private}\n", info.display_name(), info.piece_length());
    let full = |path: &std::path::Path| match info.root() {
        Some(root) => root.as_path().join(path).display().to_string(),
        None => path.display().to_string(),
    };
    for entry in info.layout.entries() {
        let (kind, target) = match &entry.kind {
            EntryKind::Pad => continue,
            EntryKind::File { executable: false } => ("file", "-".to_owned()),
            EntryKind::File { executable: true } => ("executable", "-".to_owned()),
            EntryKind::Symlink { target } => ("link", full(target.as_path())),
        };
        writeln!(lines, "{kind}\t{}\t{}\t{target}", full(entry.path.as_path()), entry.length).unwrap();
    }
    for (tier, urls) in torrent.trackers.iter().enumerate() {
        for url in urls {
            writeln!(lines, "tracker\t{tier}\t{url}").unwrap();
        }
    }
    for url in &torrent.web_seeds {
        writeln!(lines, "web seed\t{url}").unwrap();
    }
    for node in &torrent.nodes {
        writeln!(lines, "node\t{}\t{}", node.host, node.port).unwrap();
    }
    writeln!(lines, "comment\t{}", torrent.comment.as_deref().unwrap_or_default()).unwrap();
    lines
}
