//! Answers: what was asked for, out of a backend.

mod plain;
mod share;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LOCATION, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use peerage_dag::Codec;
use tokio::sync::Semaphore;
use tracing::debug;

use plain::Content;

use crate::answer::{for_method, redirect, refused, stream, tagged, unchanged, with_status};
use crate::ask::{Ask, ContentAsk, Encoding, Format, Hosts, Name, Root};
use crate::backend::{Backend, Tried};
use crate::blocks::Blocks;
use crate::body::Body;
use crate::path::{self, Found, Lost};
use crate::source::Source;
use crate::{Refusal, archive, car, headers};

/// How a gateway behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The names it goes by.
    pub hosts: Hosts,
    /// How long whoever asks waits for an answer to begin, and then for each block of it.
    pub patience: Duration,
    /// Requests that are answered at a time; more are told to come back.
    pub requests_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { hosts: Hosts::default(), patience: Duration::from_secs(30), requests_max: 512 }
    }
}

/// Answers requests. Knows no socket.
#[derive(Debug)]
pub struct Gateway<B> {
    backend: Arc<B>,
    config: Config,
    places: Arc<Semaphore>,
}

/// The longest that anybody is told to keep what a name points at.
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

impl<B: Backend> Gateway<B> {
    /// A gateway.
    pub fn new(backend: B, config: Config) -> Self {
        let places = Arc::new(Semaphore::new(config.requests_max));
        Self { backend: Arc::new(backend), config, places }
    }

    /// What it stands on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Answers a request, of which only the head counts. Never fails, and never takes longer than its patience.
    pub async fn answer(&self, head: &Parts) -> Response<Body> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let message = "this gateway is busy with other requests";
            return refused(&Refusal::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(1));
        };
        let ask = Ask::of(head, &self.config.hosts);
        // What this node shares, by its own names, is no business of other sites.
        let is_public = !matches!(ask, Ok(Ask::Share(_)));
        let answered = match ask {
            Ok(ask) => self.respond(&ask).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = answered.unwrap_or_else(|refusal| {
            debug!(uri = %head.uri, %refusal, "refused");
            refused(&refusal)
        });
        if is_public {
            headers::allow_all_origins(response.headers_mut());
        }
        for_method(response, &head.method).map(|body| body.holding(place))
    }

    async fn respond(&self, ask: &Ask) -> Result<Response<Body>, Refusal> {
        match ask {
            Ask::Content(ask) => self.content(ask).await,
            Ask::Share(ask) => self.share(ask),
            Ask::Redirect(location) => Ok(redirect(StatusCode::MOVED_PERMANENTLY, location)),
            Ask::Preflight => {
                let mut response = with_status(StatusCode::NO_CONTENT, Body::default());
                headers::allow_for_a_day(response.headers_mut());
                Ok(response)
            }
        }
    }

    async fn content(&self, ask: &ContentAsk) -> Result<Response<Body>, Refusal> {
        let blocks = Blocks::new(self.backend.clone(), self.config.patience, ask.only_if_cached);
        if ask.negotiated.format == Format::IpnsRecord {
            return self.record(&blocks, ask).await;
        }
        let site = Origin::of(&blocks, &ask.root).await?;
        let names = [&site.prefix[..], &ask.segments].concat();
        let mut response = match path::follow(&blocks, site.root, &names).await {
            Ok(found) => self.found(&blocks, ask, &found).await?,
            Err(Lost::NoSuchName(refusal)) if ask.is_isolated && ask.negotiated.or_plain => {
                self.lost(&blocks, ask, &site, refusal).await?
            }
            Err(lost) => return Err(lost.into()),
        };
        site.limit_cache(response.headers_mut());
        Ok(response)
    }

    /// What lies at the end of a path, in the form that was asked for.
    async fn found(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        found: &Found,
    ) -> Result<Response<Body>, Refusal> {
        let format = ask.negotiated.format;
        let tag = headers::tag(&found.cid, &format);
        let mut response = match format {
            Format::Plain => return self.plain(blocks, ask, found).await,
            Format::Encoded(encoding) => match self.encoded(blocks, ask, found, encoding).await? {
                Some(response) => response,
                None if ask.negotiated.or_plain => return self.plain(blocks, ask, found).await,
                None => {
                    return Err(Refusal::not_acceptable(format!(
                        "{} is of another codec, and nothing is converted here: ask for it with ?format=raw",
                        found.cid
                    )));
                }
            },
            _ if headers::is_unchanged(&ask.conditions, &tag) => unchanged(&tag),
            Format::Raw => Self::in_memory(ask, &tag, blocks.get(&found.cid).await?)?,
            Format::Car(car_ask) => {
                let block = blocks.get(&found.cid).await?;
                let (blocks, found) = (blocks.each(self.config.patience), found.clone());
                let car = |out| async move { car::pour(&blocks, &found, &block, car_ask, &out).await };
                tagged(StatusCode::OK, &tag, stream(None, car))
            }
            Format::Tar => {
                let block = blocks.get(&found.cid).await?;
                archive::check(found, &block)?;
                let (blocks, found) = (blocks.each(self.config.patience), found.clone());
                let root = ask.segments.last().map(|name| String::from_utf8_lossy(name).into_owned());
                let root = root.unwrap_or_else(|| found.cid.to_string());
                let tar = |out| async move { archive::pour(&blocks, &found, &block, &root, &out).await };
                tagged(StatusCode::OK, &tag, stream(None, tar))
            }
            Format::IpnsRecord => return Err(Refusal::malformed("a record is of a name, not of content")),
        };
        describe_format(ask, &found.cid, response.headers_mut());
        describe_path(ask, found, response.headers_mut());
        Ok(response)
    }

    /// A block of that codec, or a file that is JSON; `None`: it is neither.
    async fn encoded(
        &self,
        blocks: &Blocks<B>,
        ask: &ContentAsk,
        found: &Found,
        encoding: Encoding,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let tag = headers::tag(&found.cid, &ask.negotiated.format);
        if found.cid.codec() == code_of(encoding) {
            return Self::in_memory(ask, &tag, blocks.get(&found.cid).await?).map(Some);
        }
        match self.content_at(blocks, &found.cid).await? {
            Content::File(file)
                if encoding == Encoding::Json && plain::is_json(blocks, ask, &file).await? =>
            {
                file.answer(&ask.conditions, &tag, "application/json").map(Some)
            }
            _ => Ok(None),
        }
    }

    /// An answer from memory, in the form that was asked for.
    fn in_memory(ask: &ContentAsk, tag: &str, bytes: Bytes) -> Result<Response<Body>, Refusal> {
        let media = ask.negotiated.format.media_type().unwrap_or_default();
        Source::<B>::Memory(bytes).answer(&ask.conditions, tag, media)
    }

    async fn record(&self, blocks: &Blocks<B>, ask: &ContentAsk) -> Result<Response<Body>, Refusal> {
        let key = match &ask.root {
            Root::Ipns(Name::Key(key)) if ask.segments.is_empty() => key,
            _ => {
                return Err(Refusal::malformed(
                    "a record is of a key, without a path: /ipns/<key>?format=ipns-record",
                ));
            }
        };
        let tried = Tried::default();
        let record = blocks.wait("record", &tried, blocks.backend().record(key, &tried)).await?;
        let tag = headers::tag(&peerage_dag::sha2_256(Codec::Raw, &record.bytes), &Format::IpnsRecord);
        let mut response = Self::in_memory(ask, &tag, record.bytes)?;
        let all = response.headers_mut();
        all.remove(CACHE_CONTROL);
        if let Some(ttl) = record.ttl {
            headers::set(all, CACHE_CONTROL, &max_age(ttl));
        }
        let name = ask.filename.clone().unwrap_or_else(|| format!("{}.ipns-record", key.to_cid()));
        headers::set(all, CONTENT_DISPOSITION, &headers::disposition(true, Some(&name)));
        describe_media(ask, all);
        Ok(response)
    }
}

/// Where the root of a request is.
pub(crate) struct Origin {
    root: Cid,
    /// Names that the pointer has, before those that were asked for.
    prefix: Vec<Vec<u8>>,
    pointer: Option<Option<Duration>>,
}

impl Origin {
    async fn of<B: Backend>(blocks: &Blocks<B>, root: &Root) -> Result<Self, Refusal> {
        match root {
            Root::Ipfs(cid) => Ok(Self { root: *cid, prefix: Vec::new(), pointer: None }),
            Root::Ipns(name) => {
                let tried = Tried::default();
                let resolved = blocks.backend().resolve(name, &tried);
                let pointer = blocks.wait(&format!("name {name}"), &tried, resolved).await?;
                Ok(Self { root: pointer.root, prefix: pointer.segments, pointer: Some(pointer.ttl) })
            }
        }
    }

    /// What a pointer points at may be kept only for as long as the pointer.
    fn limit_cache(&self, all: &mut HeaderMap) {
        match self.pointer {
            None => {}
            Some(None) => {
                all.remove(CACHE_CONTROL);
            }
            Some(Some(ttl)) => headers::set(all, CACHE_CONTROL, &max_age(ttl)),
        }
    }
}

fn max_age(ttl: Duration) -> String {
    format!("public, max-age={}", ttl.min(TTL_MAX).as_secs())
}

/// Headers of forms that are saved, not shown.
fn describe_format(ask: &ContentAsk, cid: &Cid, all: &mut HeaderMap) {
    let format = ask.negotiated.format;
    let is_attachment =
        !matches!(format, Format::Encoded(Encoding::Json | Encoding::DagJson)) || ask.download;
    let extension = format.extension().unwrap_or_default();
    let name = ask.filename.clone().unwrap_or_else(|| format!("{cid}.{extension}"));
    headers::set(all, CONTENT_DISPOSITION, &headers::disposition(is_attachment, Some(&name)));
    if matches!(format, Format::Car(_) | Format::Tar) {
        all.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    }
    describe_media(ask, all);
}

fn describe_media(ask: &ContentAsk, all: &mut HeaderMap) {
    let format = ask.negotiated.format;
    if !all.contains_key(hyper::header::CONTENT_TYPE) {
        headers::set(all, hyper::header::CONTENT_TYPE, format.media_type().unwrap_or_default());
    }
    all.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(name) = format.parameter().filter(|_| ask.negotiated.by_header) {
        headers::set(all, CONTENT_LOCATION, &ask.target.with_parameter("format", name));
    }
}

/// What was asked for, and what it led to.
fn describe_path(ask: &ContentAsk, found: &Found, all: &mut HeaderMap) {
    headers::set(all, X_IPFS_PATH, &ask.content_path());
    let roots: Vec<_> = found.roots.iter().map(Cid::to_string).collect();
    headers::set(all, X_IPFS_ROOTS, &roots.join(","));
}

const X_IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
const X_IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");

/// The number of a codec in the multicodec table.
fn code_of(encoding: Encoding) -> u64 {
    match encoding {
        Encoding::DagJson => 0x0129,
        Encoding::DagCbor => 0x71,
        Encoding::Json => 0x0200,
        Encoding::Cbor => 0x51,
    }
}

/// The form that a block of another codec is shown in.
fn encoding_of(code: u64) -> Option<Encoding> {
    [Encoding::DagJson, Encoding::DagCbor, Encoding::Json, Encoding::Cbor]
        .into_iter()
        .find(|encoding| code_of(*encoding) == code)
}
