//! What a request asks for: read from its head alone, with no block at hand.

mod format;
mod range;
mod root;
mod site;

use hyper::header::{ACCEPT, CACHE_CONTROL, HOST, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use url::form_urlencoded;

use crate::Refusal;
pub use format::{CarAsk, DagScope, Encoding, Format, FormatParameters, Negotiated, negotiate};
pub use range::{ByteRanges, EntityBytes, Part};
pub use root::{Name, Root, parse_cid};
pub use site::{HostKind, Hosts, Site};

/// Parts of a path that are read.
const SEGMENTS_MAX: usize = 512;
/// Characters of a name for a download.
const FILENAME_MAX: usize = 1024;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Content.
    Content(Box<ContentAsk>),
    /// Another address is the right one.
    Redirect(String),
    /// What a script of another site may do here.
    Preflight,
    /// A file or folder that this node shares, by its own names, as web seeds are.
    Share(Box<ShareAsk>),
}

/// Content by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentAsk {
    /// What it begins at.
    pub root: Root,
    /// The names to follow from there, as bytes: not every name is text.
    pub segments: Vec<Vec<u8>>,
    /// The path as it was asked for ends in a slash.
    pub is_folder: bool,
    /// The root has a host of its own: scripts of this site see no other, and `_redirects` are followed.
    pub is_isolated: bool,
    /// The path and query as they were asked for, for redirects of the same host.
    pub target: Target,
    /// In which form.
    pub negotiated: Negotiated,
    /// What to call it when it is saved.
    pub filename: Option<String>,
    /// It is to be saved, not shown.
    pub download: bool,
    /// No more than what is here at once.
    pub only_if_cached: bool,
    /// Conditions and ranges.
    pub conditions: Conditions,
}

/// A share by its own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareAsk {
    /// Which: an info hash or a CID.
    pub id: String,
    /// Names below, the first of which is its own.
    pub segments: Vec<Vec<u8>>,
    /// The path as it was asked for ends in a slash.
    pub is_folder: bool,
    /// The path and query as they were asked for.
    pub target: Target,
    /// Conditions and ranges.
    pub conditions: Conditions,
}

/// The target of a request as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path.
    pub path: String,
    /// What stands behind the question mark.
    pub query: Option<String>,
}

/// Under which conditions, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Not if it is one of these.
    pub if_none_match: Option<String>,
    /// Only if it is one of these.
    pub if_match: Option<String>,
    /// The ranges count only if it is this.
    pub if_range: Option<String>,
    /// Which bytes.
    pub ranges: Option<ByteRanges>,
}

impl Ask {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// 400, 404, 405, 406: with what is wrong.
    pub fn of(head: &Parts, hosts: &Hosts) -> Result<Self, Refusal> {
        match head.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return hosts.site(host(head)?).map(|_| Self::Preflight),
            _ => {
                return Err(Refusal::new(
                    hyper::StatusCode::METHOD_NOT_ALLOWED,
                    "only GET, HEAD and OPTIONS",
                ));
            }
        }
        let target = Target::of(head);
        match hosts.site(host(head)?)? {
            Site::Elsewhere(host) => Ok(Self::Redirect(format!("{}://{host}{target}", scheme(head)))),
            Site::Root(root) => ContentAsk::of(head, root, &target.path, target.clone(), true),
            Site::Paths => Self::by_path(head, hosts, target, None),
            Site::Parent(parent) => Self::by_path(head, hosts, target, Some(parent)),
        }
    }

    /// A site of many roots. With a parent, each root has a host of its own below it.
    fn by_path(head: &Parts, hosts: &Hosts, target: Target, parent: Option<String>) -> Result<Self, Refusal> {
        let (namespace, name, rest) = split_path(&target.path);
        match namespace {
            "ipfs" | "ipns" if name.is_empty() => routed_uri(&target).map(Self::Redirect),
            "ipfs" | "ipns" => {
                let root = Root::parse(namespace, &text(name)?)?;
                if rest.is_empty() && head.headers.contains_key("service-worker") {
                    // It would have a say over all that begins with this name.
                    return Err(Refusal::malformed("a service worker needs a path that ends in a slash"));
                }
                match parent {
                    Some(parent) => {
                        let parent = forwarded_host(head, hosts).unwrap_or(parent);
                        let (label, rest) = (root.label()?, if rest.is_empty() { "/" } else { rest });
                        let (scheme, query) = (scheme(head), target.shown_query());
                        Ok(Self::Redirect(format!("{scheme}://{label}.{namespace}.{parent}{rest}{query}")))
                    }
                    None => ContentAsk::of(head, root, rest, target.clone(), false),
                }
            }
            "share" if !name.is_empty() => {
                refuse_other_sites(&head.headers)?;
                let (segments, is_folder) = segments(rest)?;
                let conditions = Conditions::of(&head.headers);
                let (id, target) = (text(name)?, target.clone());
                Ok(Self::Share(Box::new(ShareAsk { id, segments, is_folder, target, conditions })))
            }
            _ => Err(Refusal::not_found("nothing is here: content is below /ipfs/ and /ipns/")),
        }
    }
}

impl ContentAsk {
    fn of(head: &Parts, root: Root, rest: &str, target: Target, is_isolated: bool) -> Result<Ask, Refusal> {
        let (segments, is_folder) = segments(rest)?;
        let query = Query::of(target.query.as_deref().unwrap_or_default());
        let negotiated = negotiate(&query.format_parameters(), single(&head.headers, &ACCEPT))?;
        let cache = single(&head.headers, &CACHE_CONTROL).unwrap_or_default();
        let ask = Self {
            root,
            segments,
            is_folder,
            is_isolated,
            negotiated,
            filename: query.get("filename").map(|name| name.chars().take(FILENAME_MAX).collect()),
            download: query.get("download") == Some("true"),
            only_if_cached: cache.split(',').any(|part| part.trim().eq_ignore_ascii_case("only-if-cached")),
            conditions: Conditions::of(&head.headers),
            target,
        };
        Ok(Ask::Content(Box::new(ask)))
    }

    /// The content path, as `X-Ipfs-Path` has it.
    pub fn content_path(&self) -> String {
        let mut path = self.root.to_string();
        for segment in &self.segments {
            path.push('/');
            path.extend(percent_encode(segment, IN_PATH));
        }
        if self.is_folder && !self.segments.is_empty() {
            path.push('/');
        }
        path
    }

    /// What it is called: as was asked for, or as the path ends.
    pub fn name(&self) -> Option<String> {
        let last = || self.segments.last().map(|name| String::from_utf8_lossy(name).into_owned());
        self.filename.clone().or_else(last)
    }
}

impl Conditions {
    fn of(headers: &HeaderMap) -> Self {
        let owned = |name| single(headers, name).map(str::to_owned);
        Self {
            if_none_match: joined(headers, &IF_NONE_MATCH),
            if_match: joined(headers, &IF_MATCH),
            if_range: owned(&IF_RANGE),
            ranges: single(headers, &RANGE).and_then(ByteRanges::parse),
        }
    }
}

impl Target {
    fn of(head: &Parts) -> Self {
        // A target that is a host alone has no path.
        let path = if head.uri.path().is_empty() { "/" } else { head.uri.path() };
        Self { path: path.to_owned(), query: head.uri.query().map(str::to_owned) }
    }

    /// The query with its question mark, if there is one.
    pub fn shown_query(&self) -> String {
        self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default()
    }

    /// The same with a slash at the end of the path: where a directory lies, so that links in it work.
    pub fn as_folder(&self) -> String {
        // Two slashes at the beginning would name a host.
        let path = self.path.trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        format!("/{path}{slash}{}", self.shown_query())
    }

    /// The same with one more parameter.
    pub fn with_parameter(&self, name: &str, value: &str) -> String {
        let others = self.query.iter().flat_map(|query| query.split('&'));
        let others = others.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
        let query: Vec<_> = others.map(str::to_owned).chain([format!("{name}={value}")]).collect();
        format!("/{}?{}", self.path.trim_start_matches('/'), query.join("&"))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.path, self.shown_query())
    }
}

/// The parameters of a query; of one that is repeated, the first counts.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn format_parameters(&self) -> FormatParameters<'_> {
        FormatParameters {
            format: self.get("format"),
            dag_scope: self.get("dag-scope"),
            entity_bytes: self.get("entity-bytes"),
            car_version: self.get("car-version"),
            car_order: self.get("car-order"),
            car_dups: self.get("car-dups"),
        }
    }
}

/// What is written in a path as it is: what a browser leaves alone.
pub(crate) const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\');

/// `/namespace/name/rest`: the rest keeps its slash.
fn split_path(path: &str) -> (&str, &str, &str) {
    let path = path.trim_start_matches('/');
    let (namespace, behind) = path.split_once('/').unwrap_or((path, ""));
    let behind = behind.trim_start_matches('/');
    let (name, rest) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
    (namespace, name, rest)
}

/// The names in a path, and whether it ends in a slash.
fn segments(path: &str) -> Result<(Vec<Vec<u8>>, bool), Refusal> {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let mut segments = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()) {
        if matches!(segment, b"." | b"..") || segment.contains(&0) {
            return Err(Refusal::malformed("a name in the path climbs, or holds a zero byte"));
        }
        if segments.len() == SEGMENTS_MAX {
            return Err(Refusal::malformed(format!("a path has {SEGMENTS_MAX} names at most")));
        }
        segments.push(segment.to_vec());
    }
    Ok((segments, decoded.last() == Some(&b'/')))
}

fn text(segment: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(Into::into).map_err(|_| Refusal::malformed("a root that is no text"))
}

/// What a browser asks for that was told to open addresses of IPFS here: `/ipfs/?uri=ipfs://…`.
fn routed_uri(target: &Target) -> Result<String, Refusal> {
    let query = Query::of(target.query.as_deref().unwrap_or_default());
    let uri = query.get("uri").ok_or_else(|| Refusal::malformed("no CID or name in the path"))?;
    let refused = || Refusal::malformed(format!("{uri:?} is no address of IPFS"));
    let (namespace, rest) = uri.split_once("://").ok_or_else(refused)?;
    let namespace = namespace.to_ascii_lowercase();
    let root = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Root::parse(&namespace, &text(root)?)?;
    let plain = |byte: u8| (0x21..0x7f).contains(&byte);
    if !rest.bytes().all(plain) {
        return Err(refused());
    }
    Ok(format!("/{namespace}/{rest}"))
}

/// The host that was asked for.
fn host(head: &Parts) -> Result<&str, Refusal> {
    let refused = || Refusal::malformed("no Host header that names a host");
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.as_str());
    }
    single(&head.headers, &HOST).ok_or_else(refused)
}

/// The host that a proxy was asked for, if it is one that this gateway goes by.
fn forwarded_host(head: &Parts, hosts: &Hosts) -> Option<String> {
    let host = single(&head.headers, "x-forwarded-host")?;
    hosts.has_subdomains(host).then(|| host.to_owned())
}

/// `https` where a proxy says so.
fn scheme(head: &Parts) -> &'static str {
    let https =
        single(&head.headers, "x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
    if https { "https" } else { "http" }
}

/// A page of another site could find out what is shared here, if only by whether an image loads.
fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Refusal> {
    match single(headers, "sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => {
            Err(Refusal::new(hyper::StatusCode::FORBIDDEN, "another site asks for what is shared here"))
        }
    }
}

/// The value of a header that is there exactly once and is text.
fn single(headers: &HeaderMap, name: impl hyper::header::AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// The values of a header that is a list.
fn joined(headers: &HeaderMap, name: impl hyper::header::AsHeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests;
