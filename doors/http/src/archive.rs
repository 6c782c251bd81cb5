//! A tree of files as a stream in the format of `tar`.

use bytes::Bytes;
use cid::Cid;
use hyper::StatusCode;
use peerage_dag::Listed;
use peerage_dag::unixfs::Metadata;

use crate::Refusal;
use crate::backend::Backend;
use crate::blocks::Blocks;
use crate::listing::ENTRIES_MAX;
use crate::path::Found;
use crate::tar::{self, Attributes, Item};
use crate::tree::{self, Entity, Sink, malformed};

/// Directories above each other in an archive.
const DEPTH_MAX: usize = 256;
/// Entries of one directory of an archive.
const FOLDER_MAX: usize = 100 * ENTRIES_MAX;

/// A directory whose entries are being sent.
struct Folder {
    path: Vec<u8>,
    left: std::vec::IntoIter<Listed>,
}

/// Sends what lies at a path, with all in it, below the name `root`.
///
/// # Errors
/// A block that is missing or malformed, or a name that leads out of the archive.
pub(crate) async fn pour<B: Backend>(
    blocks: &Blocks<B>,
    found: &Found,
    block: &Bytes,
    root: &str,
    out: &Sink,
) -> Result<(), Refusal> {
    let root = root.as_bytes().to_vec();
    let mut folders: Vec<_> = item(blocks, &found.cid, block, root, out).await?.into_iter().collect();
    while let Some(folder) = folders.last_mut() {
        let Some(link) = folder.left.next() else {
            folders.pop();
            continue;
        };
        let path = tar::joined(&folder.path, &link.name).map_err(|name| {
            malformed(&found.cid, format!("the name {name:?} would lead out of the archive"))
        })?;
        let block = blocks.get(&link.cid).await?;
        if let Some(folder) = item(blocks, &link.cid, &block, path, out).await? {
            if folders.len() == DEPTH_MAX {
                return Err(malformed(&link.cid, "too deep"));
            }
            folders.push(folder);
        }
    }
    out.send(&tar::END[..]).await;
    Ok(())
}

/// Whether something can be in an archive.
///
/// # Errors
/// 406: it is neither file nor directory.
pub(crate) fn check(found: &Found, block: &Bytes) -> Result<(), Refusal> {
    match Entity::of(&found.cid, block)? {
        Entity::Other(_) => Err(Refusal::not_acceptable("only files and directories make an archive")),
        _ => Ok(()),
    }
}

/// Sends one item; a directory comes back, so that what is in it follows.
async fn item<B: Backend>(
    blocks: &Blocks<B>,
    cid: &Cid,
    block: &Bytes,
    path: Vec<u8>,
    out: &Sink,
) -> Result<Option<Folder>, Refusal> {
    match Entity::of(cid, block)? {
        Entity::File { length, metadata } => {
            out.send(tar::head(&path, Item::File(length), attributes(&metadata))).await;
            tree::pour(blocks, cid, 0..length, out).await?;
            out.send(tar::padding(length)).await;
            Ok(None)
        }
        Entity::Link(target) => {
            out.send(tar::head(&path, Item::Link(&target), Attributes::default())).await;
            Ok(None)
        }
        Entity::Directory { metadata } => {
            out.send(tar::head(&path, Item::Folder, attributes(&metadata))).await;
            let (links, is_cut) = tree::list(blocks, cid, FOLDER_MAX).await?;
            if is_cut {
                let message = format!("{cid} has more than {FOLDER_MAX} entries");
                return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message));
            }
            Ok(Some(Folder { path, left: links.into_iter() }))
        }
        Entity::Other(_) => Err(malformed(cid, "neither file nor directory")),
    }
}

fn attributes(metadata: &Metadata) -> Attributes {
    let mtime = metadata.mtime.and_then(|mtime| u64::try_from(mtime.seconds).ok());
    Attributes { mode: metadata.mode, mtime }
}
