//! Hashing what is to be shared, off the runtime.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use crate::author::{Authored, MakeError, make};
use crate::model::{AuthorOptions, Problem};

/// Makes the torrent of a transfer's files; the entry tells how far it is.
///
/// # Errors
/// A [`Problem`] for people: what cannot be read or shared.
pub(super) async fn hash_for(
    entry: &Arc<Entry>,
    path: &Path,
    options: &AuthorOptions,
) -> Result<Authored, Problem> {
    let (entry, path, options) = (entry.clone(), path.to_owned(), options.clone());
    // Whoever stops waiting stops the work.
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let work = move || {
        let progress = |bytes, total| {
            entry.hashed.store(bytes, Ordering::Relaxed);
            entry.facts().hashing = Some(total);
            !entry.cancel.is_cancelled() && !stop.is_cancelled()
        };
        make(&path, &options, &progress).map_err(told)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::new("internal", error))?
}

fn told(error: MakeError) -> Problem {
    match error {
        MakeError::Storage(error) => super::AddError::from(error).into(),
        other => {
            let told =
                Problem::from(super::AddError::Refused { what: "what is to be shared", why: other.into() });
            told.hint("name a file, or a folder that holds files")
        }
    }
}
