//! Following names from a root.

use cid::Cid;
use peerage_dag::{Resolved, ResolvedKind, Resolver, WalkError};

use crate::Refusal;
use crate::backend::Backend;
use crate::blocks::Blocks;
use crate::tree::malformed;

/// Where a path ends.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What lies there. Its block was not looked at: it may be a file in place.
    pub(crate) cid: Cid,
    /// The root and what each name led to, the last of which is `cid`.
    pub(crate) roots: Vec<Cid>,
    /// All blocks on the way, in order, without the last: what a proof of the path needs.
    pub(crate) visited: Vec<Cid>,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    /// A name that is not there: the site may say where to go.
    NoSuchName(Refusal),
    /// Anything else.
    Refused(Refusal),
}

impl From<Refusal> for Lost {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoSuchName(refusal) | Lost::Refused(refusal) => refusal,
        }
    }
}

/// Follows names from a root.
///
/// # Errors
/// [`Lost`]: a name that is not there, or a block that is missing or malformed.
pub(crate) async fn follow<B: Backend>(
    blocks: &Blocks<B>,
    root: Cid,
    names: &[Vec<u8>],
) -> Result<Found, Lost> {
    let mut resolver = Resolver::new(root, &names.join(&b'/')).map_err(|error| lost(&root, error))?;
    let (mut visited, mut last) = (Vec::new(), root);
    loop {
        if let Some(resolved) = resolver.next().map_err(|error| lost(&last, error))? {
            return found(resolved, visited);
        }
        let Some(cid) = resolver.need().copied() else {
            return Err(lost(&last, WalkError::NotAsked));
        };
        let block = blocks.get(&cid).await?;
        resolver.feed(&cid, &block).map_err(|error| lost(&cid, error))?;
        visited.push(cid);
        last = cid;
    }
}

/// Only whole blocks are answers.
fn found(resolved: Resolved, visited: Vec<Cid>) -> Result<Found, Lost> {
    let Resolved { cid, kind, remainder, roots } = resolved;
    let rest = || String::from_utf8_lossy(&remainder.join(&b'/')).into_owned();
    match kind {
        ResolvedKind::Block => Ok(Found { cid, roots, visited }),
        ResolvedKind::Value => Err(Lost::Refused(Refusal::not_found(format!(
            "{:?} is a value inside {cid}: only whole blocks are served",
            rest()
        )))),
        ResolvedKind::Symlink(target) => Err(Lost::NoSuchName(Refusal::not_found(format!(
            "{cid} is a symbolic link to {:?}, which is not followed to {:?}",
            String::from_utf8_lossy(&target),
            rest()
        )))),
    }
}

fn lost(cid: &Cid, error: WalkError) -> Lost {
    match error {
        WalkError::NotFound(name) => {
            Lost::NoSuchName(Refusal::not_found(format!("{cid} has no entry {name:?}")))
        }
        WalkError::NotADirectory(_) | WalkError::Codec(_) => {
            Lost::NoSuchName(Refusal::not_found(format!("{cid} is no directory: nothing is below it")))
        }
        WalkError::Climbs => Lost::Refused(Refusal::malformed(error.to_string())),
        other => Lost::Refused(malformed(cid, other)),
    }
}
