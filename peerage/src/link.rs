//! What `get` and `inspect` take: a magnet link, an info hash, a .torrent by path or by URL.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use peerage_bittorrent::magnet::Magnet;
use peerage_bittorrent::metainfo::METAINFO_LENGTH_MAX;
use peerage_bittorrent::web::{self, NO_ROOTS};

use crate::errors::HintExt;
use crate::model::{Base64, Link, Problem};
use crate::ui::Shown;

/// How long a web server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;

/// Turns what the user typed into a link that a node understands. Links are checked here, so that a mistake is told at once.
///
/// # Errors
/// What is wrong with the link, the file or the URL.
pub async fn resolve(text: &str) -> Result<Link> {
    let lower = text.trim().to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return Ok(Link::Torrent(Base64(fetch(text.trim()).await?)));
    }
    // A file may be called like a hash; a magnet link is never a file.
    if !lower.starts_with("magnet:") && Path::new(text).exists() {
        return Ok(Link::Torrent(Base64(read_torrent(Path::new(text))?)));
    }
    if text.trim().contains('\n') {
        return Err(anyhow!("{} has a line break in it", Shown::text(text.trim())))
            .hint("name one link, without what stands in other lines");
    }
    match text.parse::<Magnet>() {
        Ok(_) => Ok(Link::Name(text.trim().to_owned())),
        Err(error) if lower.starts_with("magnet:") => {
            let told = Problem::refused("the magnet link", &error);
            Err(told.hint("quote the whole link: peerage get 'magnet:?xt=…'").into())
        }
        Err(error) => Err(anyhow!(error))
            .with_context(|| format!("{} is no file, and no link", Shown::text(text)))
            .hint("name a .torrent file, a URL of one, a magnet link or an info hash"),
    }
}

/// Reads a .torrent file, no more than one can have.
///
/// # Errors
/// The file's.
pub fn read_torrent(path: &Path) -> Result<Vec<u8>> {
    let at = || format!("read the torrent {}", Shown::path(path));
    let file = File::open(path).with_context(at)?;
    let mut bytes = Vec::new();
    file.take(METAINFO_LENGTH_MAX as u64 + 1).read_to_end(&mut bytes).with_context(at)?;
    if bytes.len() > METAINFO_LENGTH_MAX {
        return Err(anyhow!("it is longer than {METAINFO_LENGTH_MAX} bytes")).with_context(at);
    }
    Ok(bytes)
}

async fn fetch(url: &str) -> Result<Vec<u8>> {
    let at = || format!("fetch the torrent {}", Shown::text(url));
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("peerage/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(SILENCE_MAX)
            .read_timeout(SILENCE_MAX)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
    };
    let web = web::client(builder).with_context(at)?;
    if !web.has_roots && url.to_ascii_lowercase().starts_with("https:") {
        return Err(anyhow!(NO_ROOTS)).with_context(at);
    }
    let mut response = match web.client.get(url).send().await {
        Err(error) if web::is_of_another_day(&error) => {
            return Err(error)
                .with_context(at)
                .hint("is this machine's clock right? `date` tells what it says");
        }
        answer => answer.with_context(at)?,
    };
    if !response.status().is_success() {
        return Err(anyhow!("the server answered {}", response.status())).with_context(at);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(at)? {
        if bytes.len() + chunk.len() > METAINFO_LENGTH_MAX {
            bail!("{}: it is longer than {METAINFO_LENGTH_MAX} bytes", at());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
