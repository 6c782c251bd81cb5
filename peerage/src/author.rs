//! Makes a torrent of files: walk, cut, hash, write down.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::metainfo::author::{self, AuthorError, Format, Options};
use peerage_content::{
    Entry, EntryKind, HashPlan, Hashed, HashedFile, PathError, RelPath, StorageError, hash, walk,
};

use crate::model::{AuthorOptions, Versions};

/// A torrent and what was learnt by making it.
#[derive(Debug)]
pub struct Authored {
    /// The torrent.
    pub torrent: Metainfo,
    /// The hashes, and the files' stamps when they were read.
    pub hashed: Hashed,
    /// What was passed over, with the reason.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Why there is no torrent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A file could not be read, or the caller stopped it (`Interrupted`).
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The torrent cannot be.
    #[error("make a torrent")]
    Author(#[from] AuthorError),
    /// The name is none.
    #[error("the name {name:?} cannot be used")]
    Name {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: PathError,
    },
}

/// Reads everything at `path` once. `progress` is called now and then with bytes hashed and bytes of all files; it
/// returns false to stop. Blocks for as long as that takes.
///
/// # Errors
/// [`MakeError`].
pub fn make(
    path: &Path,
    options: &AuthorOptions,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Authored, MakeError> {
    let walked = walk(path)?;
    let format = match options.versions {
        Versions::Hybrid => Format::Hybrid,
        Versions::V1 => Format::V1,
        Versions::V2 => Format::V2,
    };
    let name = name_of(path, options)?;
    let lengths = || walked.entries.iter().map(|entry| entry.length);
    let total = lengths().sum();
    let piece_length = options.piece_size.unwrap_or_else(|| author::piece_length(lengths(), format));
    let layout = author::layout(walked.entries.clone(), walked.single, format, piece_length)?;
    let file = |entry: &Entry| match entry.kind {
        EntryKind::File { .. } => {
            let place = if walked.single { path.to_owned() } else { path.join(entry.path.as_path()) };
            Some(HashedFile { path: place, length: entry.length })
        }
        EntryKind::Pad | EntryKind::Symlink { .. } => None,
    };
    let files = layout.entries().iter().map(file).collect();
    let plan = HashPlan {
        layout: &layout,
        files,
        v1: format.has_v1(),
        v2: format.has_v2(),
        leaves: None,
        threads: 0,
    };
    let hashed = hash(&plan, &|done| progress(done, total))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let options = Options {
        format,
        private: options.private,
        trackers: options.trackers.clone(),
        web_seeds: options.web_seeds.clone(),
        created_by: Some(concat!("Peerage ", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: now.and_then(|now| i64::try_from(now.as_secs()).ok()),
        ..Options::default()
    };
    let torrent = author::create(&layout, &hashed, &name, walked.single, &options)?;
    Ok(Authored { torrent, hashed, skipped: walked.skipped })
}

/// The name that was asked for, or that of the file; of `.` and the like, that of the folder it stands for.
fn name_of(path: &Path, options: &AuthorOptions) -> Result<RelPath, MakeError> {
    let real = || path.canonicalize().ok();
    let own = path.file_name().map(|name| name.to_owned());
    let own =
        own.or_else(|| real()?.file_name().map(|name| name.to_owned())).unwrap_or_else(|| "root".into());
    let bytes = options.name.as_deref().map_or(own.as_bytes(), str::as_bytes);
    RelPath::from_components([bytes])
        .map_err(|source| MakeError::Name { name: String::from_utf8_lossy(bytes).into_owned(), source })
}
