//! Content as what it is: files, pages that list directories, websites.

use bytes::Bytes;
use cid::Cid;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use hyper::{HeaderMap, Response, StatusCode};
use peerage_dag::Listed;
use percent_encoding::percent_encode;

use super::{Gateway, Origin, describe_path, encoding_of};
use crate::Refusal;
use crate::answer::{redirect, tagged, unchanged};
use crate::ask::{ContentAsk, Format, IN_PATH};
use crate::backend::Backend;
use crate::blocks::Blocks;
use crate::body::Body;
use crate::listing::{ENTRIES_MAX, Entry, Listing};
use crate::path::{self, Found};
use crate::redirects::{Followed, REDIRECTS_MAX, Redirects};
use crate::source::Source;
use crate::tree::{self, Entity};
use crate::{headers, media};

/// How long a page that lists a directory may be kept: a week, and shown for a month while it is asked for again.
const LISTING_CACHE: &str = "public, max-age=604800, stale-while-revalidate=2678400";
/// What is shown in place of a directory.
const INDEX: &[u8] = b"index.html";

/// What content is.
#[derive(Debug)]
pub(super) enum Content<B> {
    File(Source<B>),
    Directory,
    /// A symbolic link, and where to.
    Link(Bytes),
    /// A block of another codec.
    Document(u64, Bytes),
}

impl<B: Backend> Gateway<B> {
    /// Content as what it is.
    pub(super) async fn plain(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        found: &Found,
    ) -> Result<Response<Body>, Refusal> {
        let tag = headers::tag(&found.cid, &Format::Plain);
        let mut response = match self.content_at(blocks, &found.cid).await? {
            Content::File(file) => self.file(blocks, ask, &found.cid, file, ask.name()).await?,
            Content::Directory => self.directory(blocks, ask, found).await?,
            Content::Link(target) => {
                Source::<B>::Memory(target).answer(&ask.conditions, &tag, "inode/symlink")?
            }
            Content::Document(code, block) => {
                let format = encoding_of(code).map(Format::Encoded).ok_or_else(|| {
                    Refusal::not_acceptable(format!("codec {code:#x} is not known: ask with ?format=raw"))
                })?;
                let media = format.media_type().unwrap_or_default();
                Source::<B>::Memory(block).answer(&ask.conditions, &tag, media)?
            }
        };
        describe_path(ask, found, response.headers_mut());
        Ok(response)
    }

    /// What a block is the root of.
    pub(super) async fn content_at(&self, blocks: &Blocks<B>, cid: &Cid) -> Result<Content<B>, Refusal> {
        if let Some(file) = blocks.backend().in_place(cid) {
            return Ok(Content::File(Source::InPlace(file)));
        }
        let block = blocks.get(cid).await?;
        Ok(match Entity::of(cid, &block)? {
            // Nothing but the bytes of the file is in it.
            Entity::File { length, .. } if length == block.len() as u64 => {
                Content::File(Source::Memory(block))
            }
            Entity::File { length, .. } => {
                let blocks = blocks.each(self.config.patience);
                Content::File(Source::Tree { blocks, root: *cid, length })
            }
            Entity::Directory { .. } => Content::Directory,
            Entity::Link(target) => Content::Link(target),
            Entity::Other(code) => Content::Document(code, block),
        })
    }

    async fn file(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        cid: &Cid,
        file: Source<B>,
        name: Option<String>,
    ) -> Result<Response<Body>, Refusal> {
        let tag = headers::tag(cid, &Format::Plain);
        if headers::is_unchanged(&ask.conditions, &tag) {
            return Ok(unchanged(&tag));
        }
        let media = match name.as_deref().and_then(media::by_name) {
            Some(media) => media,
            None => media::by_content(&file.start(blocks, media::SNIFF_LENGTH).await?).to_owned(),
        };
        file.begin(blocks, &ask.conditions, &tag).await?;
        let mut response = file.answer(&ask.conditions, &tag, &media)?;
        if ask.download || ask.filename.is_some() {
            let disposition = headers::disposition(ask.download, name.as_deref());
            headers::set(response.headers_mut(), CONTENT_DISPOSITION, &disposition);
        }
        Ok(response)
    }

    /// A website's page, or one that lists the directory.
    async fn directory(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        found: &Found,
    ) -> Result<Response<Body>, Refusal> {
        if !ask.is_folder {
            return Ok(redirect(StatusCode::MOVED_PERMANENTLY, &ask.target.as_folder()));
        }
        match path::follow(blocks, found.cid, &[INDEX.to_vec()]).await {
            Ok(index) => {
                if let Content::File(file) = self.content_at(blocks, &index.cid).await? {
                    return self.file(blocks, ask, &index.cid, file, Some("index.html".to_owned())).await;
                }
            }
            Err(path::Lost::NoSuchName(_)) => {}
            Err(lost) => return Err(lost.into()),
        }
        let tag = headers::listing_tag(&found.cid);
        if headers::is_unchanged(&ask.conditions, &tag) {
            return Ok(unchanged(&tag));
        }
        let (links, is_cut) = tree::list(blocks, &found.cid, ENTRIES_MAX).await?;
        Ok(self.page(ask, found, &tag, links, is_cut))
    }

    fn page(
        &self,
        ask: &ContentAsk,
        found: &Found,
        tag: &str,
        mut links: Vec<Listed>,
        is_cut: bool,
    ) -> Response<Body> {
        links.sort_by(|a, b| a.name.cmp(&b.name));
        let entries: Vec<_> = links.into_iter().map(entry).collect();
        let listing = Listing {
            path: &ask.content_path(),
            cid: Some(&found.cid.to_string()),
            has_parent: !ask.segments.is_empty(),
            // On a host of its own, the root is not below a path.
            cid_prefix: (!ask.is_isolated).then_some("/ipfs/"),
            entries: &entries,
            is_cut,
        };
        let mut response = tagged(StatusCode::OK, tag, Body::from(listing.page()));
        describe_page(response.headers_mut());
        response
    }

    /// A path of a website that does not exist: its author may have said where to go.
    pub(super) async fn lost(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        site: &Origin,
        refusal: Refusal,
    ) -> Result<Response<Body>, Refusal> {
        let Some(rules) = self.redirects(blocks, site).await? else { return Err(refusal) };
        let mut path = String::new();
        for segment in &ask.segments {
            path.push('/');
            path.push_str(&String::from_utf8_lossy(segment));
        }
        match rules.follow(&path, ask.target.query.as_deref()) {
            None => Err(refusal),
            Some(Followed::Redirect { status, location }) => Ok(redirect(status, &location)),
            Some(Followed::Rewrite { status, path }) => {
                self.rewritten(blocks, ask, site, status, &path).await
            }
        }
    }

    async fn redirects(&self, blocks: &Blocks<B>, site: &Origin) -> Result<Option<Redirects>, Refusal> {
        let names = [&site.prefix[..], &[b"_redirects".to_vec()]].concat();
        let found = match path::follow(blocks, site.root, &names).await {
            Ok(found) => found,
            Err(path::Lost::NoSuchName(_)) => return Ok(None),
            Err(lost) => return Err(lost.into()),
        };
        let Content::File(file) = self.content_at(blocks, &found.cid).await? else { return Ok(None) };
        let text = file.start(blocks, REDIRECTS_MAX as u64 + 1).await?;
        Redirects::parse(&text).map(Some)
    }

    /// Another file of the website, in place of the one that does not exist.
    async fn rewritten(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        site: &Origin,
        status: StatusCode,
        path: &str,
    ) -> Result<Response<Body>, Refusal> {
        let names = path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec());
        let segments: Vec<_> = names.collect();
        let found = path::follow(blocks, site.root, &[&site.prefix[..], &segments].concat()).await?;
        // A page that says what is not there is no part of something else, and there is nothing to compare it with.
        let conditions = if status == StatusCode::OK { ask.conditions.clone() } else { Default::default() };
        let ask = ContentAsk { segments, is_folder: true, conditions, filename: None, ..ask.clone() };
        let mut response = self.plain(blocks, &ask, &found).await?;
        if response.status() == StatusCode::OK {
            *response.status_mut() = status;
        }
        Ok(response)
    }
}

/// Whether a file is JSON, as far as its name and beginning tell.
pub(super) async fn is_json<B: Backend>(
    blocks: &Blocks<B>,
    ask: &ContentAsk,
    file: &Source<B>,
) -> Result<bool, Refusal> {
    if ask.name().and_then(|name| media::by_name(&name)).is_some_and(|media| media == "application/json") {
        return Ok(true);
    }
    let start = file.start(blocks, media::SNIFF_LENGTH).await?;
    Ok(matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
        && media::by_content(&start).starts_with("text/plain"))
}

fn entry(link: Listed) -> Entry {
    // What is said of its size counts the framing too; of a raw block there is none.
    let is_folder = false;
    Entry { name: link.name, cid: Some(link.cid.to_string()), size: link.tsize, is_folder }
}

/// Headers of pages that are made here.
pub(super) fn describe_page(all: &mut HeaderMap) {
    headers::set(all, CONTENT_TYPE, "text/html; charset=utf-8");
    headers::set(all, CACHE_CONTROL, LISTING_CACHE);
    // The page needs nothing but its own style.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    headers::set(all, hyper::header::CONTENT_SECURITY_POLICY, policy);
}

/// Names as the path of an address.
pub(super) fn shown_path(prefix: &str, names: &[Vec<u8>]) -> String {
    let mut path = prefix.to_owned();
    for name in names {
        path.push('/');
        path.extend(percent_encode(name, IN_PATH));
    }
    path + "/"
}
