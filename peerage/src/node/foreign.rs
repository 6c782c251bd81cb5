//! What lies at the place of a download that was never begun: the user's own files are not overwritten.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use peerage_content::{EntryKind, PieceSet, Store, Truth, recheck};

use super::begin::storage;
use crate::model::{FilePriority, Problem};

/// Compares what lies there with the hashes; what matches is verified in `store` then. `progress` gets bytes hashed and returns false to
/// stop. With `overwrite` what does not match is left to be replaced.
///
/// # Errors
/// A [`Problem`] for people: something is in the way, or the caller stopped it. Nothing was written.
pub(super) fn examine(
    store: &Store,
    truth: &Truth,
    priorities: &[FilePriority],
    overwrite: bool,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<(), Problem> {
    let layout = store.layout();
    let is_wanted = |entry: usize| priorities.get(entry) != Some(&FilePriority::Skip);
    let mut written = PieceSet::empty(layout.piece_count());
    for entry in (0..layout.entries().len()).filter(|entry| is_wanted(*entry)) {
        layout.pieces_of(entry).for_each(|piece| {
            written.insert(piece);
        });
    }
    let mut pieces = PieceSet::empty(layout.piece_count());
    let mut present = Vec::new();
    for (index, entry) in layout.entries().iter().enumerate() {
        // A file that is not wanted is written all the same as far as it shares pieces with one that is.
        let touched = is_wanted(index) || layout.pieces_of(index).any(|piece| written.contains(piece));
        if !touched || !matches!(entry.kind, EntryKind::File { .. }) {
            continue;
        }
        let path = store.path_of(index);
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if !found.is_file() {
            let what = if found.is_dir() { "it is a folder" } else { "it is not a plain file" };
            return Err(in_the_way(&path, what).hint("move it away, or choose another folder with -o DIR"));
        }
        if found.len() > entry.length && !overwrite {
            let what = format!("it has {} bytes, what is fetched has {}", found.len(), entry.length);
            return Err(in_the_way(&path, what));
        }
        if found.len() > entry.length {
            let file = OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(&path);
            file.and_then(|file| file.set_len(entry.length)).map_err(|source| {
                storage(peerage_content::StorageError { attempt: "shorten", path: path.clone(), source })
            })?;
        }
        if found.len() > 0 && entry.length > 0 {
            present.push((index, path));
            layout.pieces_of(index).for_each(|piece| {
                pieces.insert(piece);
            });
        }
    }
    if present.is_empty() {
        return Ok(());
    }
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let go_on = |bytes| {
        let go_on = progress(bytes);
        stopped.fetch_or(!go_on, std::sync::atomic::Ordering::Relaxed);
        go_on
    };
    // What it says is in the store.
    let _ = recheck(store, truth, &pieces, 0, &go_on);
    if stopped.into_inner() {
        return Err(Problem::new("stopped", "stopped while it compared what is there with its hashes"));
    }
    let foreign =
        present.iter().find(|(entry, _)| layout.pieces_of(*entry).all(|piece| !store.is_verified(piece)));
    match foreign {
        Some((_, path)) if !overwrite => Err(in_the_way(path, "none of its pieces is what is fetched")),
        _ => Ok(()),
    }
}

/// `O_NOFOLLOW`, so that the file that was looked at is the one that is opened.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

fn in_the_way(path: &std::path::Path, why: impl std::fmt::Display) -> Problem {
    let told = Problem::new("in_the_way", format!("{path:?} is there already and is something else"))
        .hint("choose another folder with -o DIR; --overwrite replaces it");
    Problem { causes: vec![why.to_string()], ..told }
}
