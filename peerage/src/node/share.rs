//! Hashing what is to be shared, once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use peerage_bittorrent::metainfo::{Metainfo, author};
use peerage_content::{EntryKind, FileStamp, HashPlan, HashedFile, RelPath, StorageError, Walked, hash, walk};

use super::entry::Entry;
use crate::model::{AuthorOptions, Problem, Versions};

/// Files that were hashed: the torrent, and how they were when they were read.
#[derive(Debug)]
pub(super) struct Authored {
    pub(super) metainfo: Metainfo,
    pub(super) stamps: Vec<Option<FileStamp>>,
    /// What was passed over.
    pub(super) skipped: Vec<(std::path::PathBuf, &'static str)>,
}

/// Makes the torrent of a file or folder. Blocks; `progress` hears of bytes hashed, of how many, and says whether to go on.
///
/// # Errors
/// A [`Problem`] for people: what cannot be read or shared.
pub fn author(
    path: &Path,
    options: &AuthorOptions,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<(Metainfo, Vec<Option<FileStamp>>, Vec<(std::path::PathBuf, &'static str)>), Problem> {
    let Walked { single, entries, skipped } = walk(path).map_err(storage)?;
    let format = format(options.versions);
    let lengths = entries.iter().map(|entry| entry.length);
    let piece_length = options.piece_size.unwrap_or_else(|| author::piece_length(lengths, format));
    let layout = author::layout(entries, single, format, piece_length).map_err(refused)?;
    let total = layout.content_length();
    let files = layout
        .entries()
        .iter()
        .map(|entry| match entry.kind {
            EntryKind::File { .. } => {
                let path = if single { path.to_owned() } else { path.join(entry.path.as_path()) };
                Some(HashedFile { path, length: entry.length })
            }
            EntryKind::Pad | EntryKind::Symlink { .. } => None,
        })
        .collect();
    let plan = HashPlan { layout: &layout, files, v1: format.has_v1(), v2: format.has_v2(), threads: 0 };
    let hashed = hash(&plan, &|bytes| progress(bytes, total)).map_err(storage)?;
    let name = name_of(path, options.name.as_deref())?;
    let author_options = author::Options {
        format,
        private: options.private,
        trackers: options.trackers.clone(),
        web_seeds: options.web_seeds.clone(),
        created_by: Some(concat!("Peerage ", env!("CARGO_PKG_VERSION")).to_owned()),
        ..author::Options::default()
    };
    let metainfo = author::create(&layout, &hashed, &name, single, &author_options).map_err(refused)?;
    Ok((metainfo, hashed.stamps, skipped))
}

/// Hashes for a transfer of the node.
pub(super) async fn hash_for(entry: &Arc<Entry>, path: &Path, options: &AuthorOptions) -> Result<Authored, Problem> {
    let (entry, path, options) = (entry.clone(), path.to_owned(), options.clone());
    let work = move || {
        let progress = |bytes, total| {
            entry.hashed.store(bytes, Ordering::Relaxed);
            entry.facts().hashing = Some(total);
            !entry.cancel.is_cancelled()
        };
        let (metainfo, stamps, skipped) = author(&path, &options, &progress)?;
        Ok(Authored { metainfo, stamps, skipped })
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::new("internal", error))?
}

fn format(versions: Versions) -> author::Format {
    match versions {
        Versions::Hybrid => author::Format::Hybrid,
        Versions::V1 => author::Format::V1,
        Versions::V2 => author::Format::V2,
    }
}

/// The name of what lies at a path.
fn name_of(path: &Path, chosen: Option<&str>) -> Result<RelPath, Problem> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = match chosen {
        Some(name) => name.as_bytes(),
        None => path.file_name().map(OsStrExt::as_bytes).unwrap_or_default(),
    };
    RelPath::from_components([bytes]).map_err(|error| {
        let told = Problem::new("refused", format!("share {path:?}")).hint("give it a name with --name NAME");
        Problem { causes: vec![error.to_string()], ..told }
    })
}

fn storage(error: StorageError) -> Problem {
    crate::node::AddError::from(error).into()
}

fn refused(error: author::AuthorError) -> Problem {
    let told = Problem::new("refused", "this cannot be shared");
    Problem { causes: vec![error.to_string()], ..told }
}
