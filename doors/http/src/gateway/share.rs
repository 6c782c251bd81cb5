//! What this node shares, by its own names: as plain web servers have it, so that BitTorrent clients take it for a web seed (BEP 19).
//!
//! Scripts of other sites may not read it: the names say what somebody shares.

use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};

use super::Gateway;
use super::plain::{describe_page, shown_path};
use crate::answer::{redirect, with_status};
use crate::ask::ShareAsk;
use crate::backend::{Backend, Shared, SharedEntry};
use crate::body::Body;
use crate::listing::{ENTRIES_MAX, Entry, Listing};
use crate::source::Source;
use crate::{Refusal, media};

impl<B: Backend> Gateway<B> {
    pub(super) fn share(&self, ask: &ShareAsk) -> Result<Response<Body>, Refusal> {
        let missing = || Refusal::not_found("nothing of that name is shared here");
        let mut response = match self.backend.share(&ask.id, &ask.segments).ok_or_else(missing)? {
            Shared::File { file, tag } => {
                let name = ask.segments.last().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
                let media = media::by_name(&name).unwrap_or_else(|| "application/octet-stream".to_owned());
                Source::<B>::InPlace(file).answer(&ask.conditions, &format!("\"{tag}\""), &media)?
            }
            Shared::Folder(_) if !ask.is_folder => {
                return Ok(redirect(StatusCode::MOVED_PERMANENTLY, &ask.target.as_folder()));
            }
            Shared::Folder(entries) => page(ask, entries),
        };
        // Another share may have this name tomorrow.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(response)
    }
}

fn page(ask: &ShareAsk, mut entries: Vec<SharedEntry>) -> Response<Body> {
    let is_cut = entries.len() > ENTRIES_MAX;
    entries.truncate(ENTRIES_MAX);
    let entry = |entry: SharedEntry| Entry {
        name: entry.name,
        cid: None,
        size: Some(entry.size),
        is_folder: entry.is_folder,
    };
    let entries: Vec<_> = entries.into_iter().map(entry).collect();
    let listing = Listing {
        path: &shown_path(&format!("/share/{}", ask.id), &ask.segments),
        cid: None,
        has_parent: !ask.segments.is_empty(),
        cid_prefix: None,
        entries: &entries,
        is_cut,
    };
    let mut response = with_status(StatusCode::OK, Body::from(listing.page()));
    describe_page(response.headers_mut());
    response
}
