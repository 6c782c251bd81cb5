//! The torrent of shared files as the last run left it, and whether it still holds.

use std::path::Path;
use std::sync::Arc;

use peerage_bittorrent::metainfo::Metainfo;
use peerage_content::{EntryKind, FilePool, Journal, Place, Store, Walked, walk};

use super::begin::LOOK_AGAIN;
use super::entry::Entry;
use super::life::blocking;
use super::state::set_state;
use super::{AddError, Inner};
use crate::model::{Problem, State};

/// What is known of shared files from before.
enum Kept {
    /// Their torrent, which still holds: it was given, or the files are as they were when it was made.
    Torrent(Box<Metainfo>),
    /// Nothing that still holds.
    Nothing,
    /// They were shared before, and are not there now: they may be on a disk that is not mounted.
    Absent(Problem),
}

/// The torrent of shared files as it was kept, if it still holds. Waits while what was shared is not there.
pub(super) async fn kept_when_there(
    node: &Inner,
    entry: &Arc<Entry>,
    path: &Path,
) -> Result<Option<Metainfo>, Problem> {
    loop {
        let (owner, place) = (entry.clone(), path.to_owned());
        let absent = match blocking(move || kept(&owner, &place)).await? {
            Kept::Torrent(metainfo) => return Ok(Some(*metainfo)),
            Kept::Nothing => return Ok(None),
            Kept::Absent(problem) => problem,
        };
        set_state(node, entry, State::Error, Some(absent));
        tokio::select! {
            () = entry.retry.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

fn kept(entry: &Entry, path: &Path) -> Kept {
    let metainfo = entry.slot.read_torrent().and_then(|bytes| Metainfo::parse(&bytes).ok());
    let Some(metainfo) = metainfo.map(Box::new) else { return Kept::Nothing };
    if entry.facts().hashes.is_some() {
        return Kept::Torrent(metainfo);
    }
    match walk(path) {
        Err(error) if error.kind().passes() => Kept::Absent(absent(Problem::from(AddError::from(error)))),
        Ok(walked) if walked.entries.is_empty() => {
            Kept::Absent(absent(Problem::new("vanished", format!("{path:?} is empty"))))
        }
        Ok(walked) if is_unchanged(entry, &metainfo, path, &walked) => Kept::Torrent(metainfo),
        _ => Kept::Nothing,
    }
}

/// What was shared is not there now.
fn absent(problem: Problem) -> Problem {
    let hint = "bring back what was shared (mount its disk): it goes on by itself within seconds; `peerage remove` forgets it";
    Problem { code: "vanished".to_owned(), ..problem.hint(hint) }
}

/// Whether files are as they were when they were hashed, so that they need not be hashed again.
fn is_unchanged(entry: &Entry, metainfo: &Metainfo, path: &Path, walked: &Walked) -> bool {
    let Ok((identity, resumed)) = Journal::peek(&entry.slot.journal()) else { return false };
    let primary = metainfo.info.hashes.primary().map(|swarm| swarm.0).unwrap_or_default();
    let files = |entries: &[peerage_content::Entry]| {
        let mut files: Vec<_> = entries
            .iter()
            .filter(|entry| entry.kind != EntryKind::Pad)
            .map(|entry| (entry.path.clone(), entry.length))
            .collect();
        files.sort();
        files
    };
    let same_files = walked.single || files(&walked.entries) == files(metainfo.info.layout.entries());
    identity == primary && resumed.verified.is_full() && resumed.suspect.is_empty() && same_files && {
        let store = Store::new(
            metainfo.info.layout.clone(),
            Place::InPlace(path.to_owned()),
            FilePool::new(8),
            resumed.verified,
            resumed.stamps,
        );
        store.check_stamps().is_empty()
    }
}
