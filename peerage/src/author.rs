//! Makes the names of files: walk, cut, hash, write down a torrent and a DAG.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use peerage_bittorrent::metainfo::author::{self, AuthorError, Format, Options};
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_blocks::{Dag, LeafSet};
use peerage_content::{
    Alignment, Entry, EntryKind, HashPlan, Hashed, HashedFile, Layout, LeafFrame, LeafPlan, PathError,
    RelPath, StorageError, hash, walk,
};
use peerage_dag::directory::BuildError;
use peerage_dag::{Cid, Profile};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::model::{AuthorOptions, Problem, Versions};

/// The names of files and what was learnt by making them.
#[derive(Debug)]
pub struct Authored {
    /// The torrent.
    pub torrent: Metainfo,
    /// The names in IPFS, if these were asked for; or why a folder of these names cannot be there.
    pub ipfs: Option<Result<Named, BuildError>>,
    /// The hashes, and the files' stamps when they were read.
    pub hashed: Hashed,
    /// What was passed over, with the reason.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// What IPFS names files by.
#[derive(Debug)]
pub struct Named {
    /// The digests of their leaves.
    pub leaves: LeafSet,
    /// What stands above these.
    pub dag: Dag,
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
    let files = |layout: &Layout| {
        let file = |entry: &Entry| match entry.kind {
            EntryKind::File { .. } => {
                let place = if walked.single { path.to_owned() } else { path.join(entry.path.as_path()) };
                Some(HashedFile { path: place, length: entry.length })
            }
            EntryKind::Pad | EntryKind::Symlink { .. } => None,
        };
        layout.entries().iter().map(file).collect::<Vec<_>>()
    };
    let profile = options.profile();
    let frame = profile.clone().map(frames);
    let leaves = profile.as_ref().zip(frame.as_ref()).map(|(profile, frame)| {
        let frame: &(dyn Fn(u32) -> LeafFrame + Sync) = frame;
        LeafPlan { length: profile.chunk_size(), frame }
    });
    let is_aligned = walked.single || format != Format::V1;
    let plan = HashPlan {
        layout: &layout,
        files: files(&layout),
        v1: format.has_v1(),
        v2: format.has_v2(),
        leaves: leaves.filter(|_| is_aligned),
        threads: 0,
    };
    let mut hashed = hash(&plan, &|done| progress(done, total))?;
    if leaves.is_some() && !is_aligned {
        // Files that begin within a piece have their leaves hashed one file after the other; they are in memory now, if they fit.
        let apart = Layout::new(layout.entries().to_vec(), layout.piece_length(), Alignment::PerFile)
            .map_err(AuthorError::from)?;
        let plan =
            HashPlan { layout: &apart, files: files(&apart), v1: false, v2: false, leaves, threads: 0 };
        hashed.leaves = hash(&plan, &|done| progress(done, total))?.leaves;
    }
    let leaves = profile.zip(hashed.leaves.take());
    let leaves = leaves.map(|(profile, leaves)| LeafSet { profile, leaves });
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
    let ipfs = leaves.map(|leaves| {
        let dag = leaves.build(&torrent.info.layout, walked.single)?;
        Ok(Named { leaves, dag })
    });
    Ok(Authored { torrent, ipfs, hashed, skipped: walked.skipped })
}

/// The names of content in IPFS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpfsNames {
    /// The file or folder itself.
    pub(crate) content: Cid,
    /// The folder in which a single file has its name; a folder itself.
    pub(crate) root: Cid,
    /// The name of a single file.
    file: Option<RelPath>,
}

impl IpfsNames {
    pub(crate) fn of(dag: &Dag, info: &Info) -> Self {
        let file = info.root().is_none().then(|| info.name.clone());
        Self { content: dag.content, root: dag.root, file }
    }

    /// What leads to it with its name: in a link behind `ipfs://`, at a gateway behind `/ipfs/`.
    pub(crate) fn path(&self) -> String {
        let root = self.root.into_v1().unwrap_or(self.root);
        let name =
            |file: &RelPath| percent_encode(file.as_path().as_os_str().as_bytes(), ESCAPED).to_string();
        match &self.file {
            Some(file) => format!("{root}/{}", name(file)),
            None => format!("{root}"),
        }
    }
}

/// All but the unreserved characters (RFC 3986, section 2.3): names are raw bytes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Says why there is no CID of something that is shared all the same.
pub(crate) fn no_cid(error: &BuildError) -> Problem {
    Problem::new("no_cid", format!("it has no CID: {error}"))
        .hint("IPFS cannot find it; the magnet link works")
}

/// What is hashed around the bytes of a leaf.
pub(crate) fn frames(profile: Profile) -> impl Fn(u32) -> LeafFrame + Send + Sync {
    move |length| {
        let peerage_dag::LeafFrame { prefix, suffix } = profile.leaf_frame(length);
        LeafFrame { prefix, suffix }
    }
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
