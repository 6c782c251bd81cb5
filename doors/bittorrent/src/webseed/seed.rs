//! One web seed of one torrent: where its files are, and what it has shown of itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use peerage_content::{EntryKind, Layout, PieceSet};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::{Host, Url};

use super::answer::WebSeedFailure;
use crate::address::{Reach, reach};
use crate::web::missing_part;

/// Bytes of a web seed's URL.
const URL_LENGTH_MAX: usize = 2_048;

/// The first pause after a failure; it doubles with every further one in a row.
const PAUSE_FIRST: Duration = Duration::from_secs(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30 * 60);

/// Failures in a row after which a server is given up.
const FAILURES_MAX: u32 = 12;

/// All but the unreserved characters (RFC 3986, section 2.3): names are raw bytes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a web seed's URL was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSeedUrlError {
    /// More than 2,048 bytes.
    #[error("web seed URL of {0} bytes is too long")]
    TooLong(usize),
    /// Not a URL.
    #[error("web seed URL is not a URL: {0}")]
    Syntax(url::ParseError),
    /// A URL without a protocol or host.
    #[error("web seed URL names no {0}")]
    Missing(&'static str),
    /// FTP and the like.
    #[error("web seed protocol {0:?} is not supported")]
    Scheme(String),
    /// A service of this machine with a query: a torrent must not push buttons on it.
    #[error("web seed URL with a query leads to this machine")]
    LocalQuery,
}

impl From<url::ParseError> for WebSeedUrlError {
    fn from(error: url::ParseError) -> Self {
        missing_part(error).map_or(Self::Syntax(error), Self::Missing)
    }
}

/// What a failure means for the transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The server has less than was thought: [`WebSeed::has`] shrank.
    HasLess,
    /// Nothing is asked of it before then.
    Pause(Instant),
    /// Nothing is asked of it any more.
    GivenUp,
}

/// A server that holds the files.
#[derive(Clone, Debug)]
pub struct WebSeed {
    base: Url,
    /// The folder's name, for torrents of several files.
    folder: Option<Vec<u8>>,
    /// Entries that it does not have (right).
    missing: HashSet<usize>,
    failures: u32,
    paused_until: Option<Instant>,
    given_up: bool,
}

impl WebSeed {
    /// The web seed at `url`. `folder` is the torrent's name if it has several files (`None`: a single file).
    ///
    /// # Errors
    /// [`WebSeedUrlError`].
    pub fn new(url: &str, folder: Option<&[u8]>) -> Result<Self, WebSeedUrlError> {
        if url.len() > URL_LENGTH_MAX {
            return Err(WebSeedUrlError::TooLong(url.len()));
        }
        let mut base = Url::parse(url.trim())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(WebSeedUrlError::Scheme(base.scheme().to_owned()));
        }
        if base.query().is_some() && is_local(&base) {
            return Err(WebSeedUrlError::LocalQuery);
        }
        base.set_fragment(None);
        let folder = folder.map(<[u8]>::to_vec);
        Ok(Self { base, folder, missing: HashSet::new(), failures: 0, paused_until: None, given_up: false })
    }

    /// What names the server, for people.
    pub fn host(&self) -> &str {
        // A literal IPv6 address stands in brackets in a URL, but not where a name is looked up.
        self.base.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.base.port_or_known_default().unwrap_or(80)
    }

    /// Where an entry is (BEP 19): for a single file the URL itself, with the name behind it if it ends in a slash; for several, the URL as a folder,
    /// the torrent's name, and the path.
    pub fn url(&self, layout: &Layout, entry: usize) -> Option<Url> {
        let entry = layout.entries().get(entry)?;
        let is_folder = self.base.path().ends_with('/');
        if self.folder.is_none() && !is_folder {
            return Some(self.base.clone());
        }
        let mut path = self.base.path().to_owned();
        if !is_folder {
            path.push('/');
        }
        let names: Vec<&[u8]> = self.folder.as_deref().into_iter().chain(entry.path.components()).collect();
        let names: Vec<String> = names.iter().map(|name| percent_encode(name, ESCAPED).to_string()).collect();
        path.push_str(&names.join("/"));
        let mut url = self.base.clone();
        url.set_path(&path);
        Some(url)
    }

    /// The pieces that the server has, as far as is known: all but those with bytes in files that it lacks.
    pub fn has(&self, layout: &Layout) -> PieceSet {
        if self.given_up {
            return PieceSet::empty(layout.piece_count());
        }
        let mut has = PieceSet::full(layout.piece_count());
        let is_file = |entry: &usize| {
            layout.entries().get(*entry).is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. }))
        };
        for entry in self.missing.iter().filter(|entry| is_file(entry)) {
            for piece in layout.pieces_of(*entry) {
                has.remove(piece);
            }
        }
        has
    }

    /// Whether something may be asked now.
    pub fn is_ready(&self, now: Instant) -> bool {
        !self.given_up && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Until when nothing is asked; `None` when it is ready or given up.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now && !self.given_up)
    }

    /// A fetch has worked.
    pub fn handle_success(&mut self) {
        self.failures = 0;
        self.paused_until = None;
    }

    /// A fetch of an entry has failed.
    pub fn handle_failure(&mut self, now: Instant, entry: usize, failure: &WebSeedFailure) -> Consequence {
        let pause = match failure {
            WebSeedFailure::Missing(_) | WebSeedFailure::WrongLength { .. } | WebSeedFailure::NoRanges => {
                self.missing.insert(entry);
                return Consequence::HasLess;
            }
            WebSeedFailure::Busy { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        };
        self.pause(now, pause)
    }

    /// Bytes of it were proven bad. Files on a server are sometimes of another version than the torrent: it is not banned at the first.
    pub fn handle_bad_data(&mut self, now: Instant, entry: usize) -> Consequence {
        self.missing.insert(entry);
        match self.pause(now, Duration::ZERO) {
            Consequence::Pause(_) => Consequence::HasLess,
            other => other,
        }
    }

    fn pause(&mut self, now: Instant, at_least: Duration) -> Consequence {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.given_up = true;
            return Consequence::GivenUp;
        }
        let usual = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(self.failures - 1)).min(PAUSE_MAX);
        let until = now + usual.max(at_least);
        self.paused_until = Some(until);
        Consequence::Pause(until)
    }
}

/// Whether a URL names this machine, as far as can be seen without asking.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => reach(ip.into()) == Reach::Machine,
        Some(Host::Ipv6(ip)) => reach(ip.into()) == Reach::Machine,
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webseed::plan::tests::layout as folder_layout;
    use peerage_content::{Alignment, BLOCK_LENGTH, Entry, RelPath};

    fn of_path(path: &[&[u8]]) -> Layout {
        let path = RelPath::from_components(path).unwrap();
        let kind = EntryKind::File { executable: false };
        Layout::new(vec![Entry { path, length: 10, kind, offset: 0 }], BLOCK_LENGTH, Alignment::Stream)
            .unwrap()
    }

    fn url(base: &str, folder: Option<&[u8]>, path: &[&[u8]]) -> String {
        WebSeed::new(base, folder).unwrap().url(&of_path(path), 0).unwrap().to_string()
    }

    /// The rules of BEP 19.
    #[test]
    fn urls_of_single_files() {
        assert_eq!(url("http://e.com/pub/x.iso", None, &[b"x.iso"]), "http://e.com/pub/x.iso");
        assert_eq!(url("http://e.com/pub/", None, &[b"x.iso"]), "http://e.com/pub/x.iso");
        assert_eq!(url("http://e.com/get?id=5", None, &[b"x.iso"]), "http://e.com/get?id=5");
    }

    #[test]
    fn urls_of_folders() {
        let path: [&[u8]; 2] = [b"michael", b"first.txt"];
        assert_eq!(url("http://e.com/pub/", Some(b"docs"), &path), "http://e.com/pub/docs/michael/first.txt");
        assert_eq!(url("http://e.com/pub", Some(b"docs"), &path), "http://e.com/pub/docs/michael/first.txt");
        assert_eq!(
            url("http://e.com/pub/?k=1", Some(b"docs"), &path),
            "http://e.com/pub/docs/michael/first.txt?k=1"
        );
    }

    #[test]
    fn names_are_raw_bytes() {
        let path: [&[u8]; 2] =
            ["ü/?#%&+ ".trim_matches('/').replace('/', "-").leak().as_bytes(), b"\xff..txt"];
        assert_eq!(
            url("http://e.com/", Some(b"a b"), &path),
            "http://e.com/a%20b/%C3%BC-%3F%23%25%26%2B%20/%FF..txt"
        );
    }

    #[test]
    fn urls_that_are_refused() {
        let refused = |url: &str| WebSeed::new(url, None).unwrap_err().to_string();
        assert_eq!(refused("ftp://e.com/"), "web seed protocol \"ftp\" is not supported");
        assert_eq!(refused("pub/"), "web seed URL names no protocol");
        for nowhere in ["http://", "https:///", "http://:80/", "http://?x", " http://# "] {
            assert_eq!(refused(nowhere), "web seed URL names no host", "{nowhere}");
        }
        assert_eq!(refused("http://a b/"), "web seed URL is not a URL: invalid international domain name");
        for local in [
            "http://127.0.0.1/set?x=1",
            "http://localhost:8080/?x",
            "http://[::1]/?",
            "http://a.localhost/?b",
        ] {
            assert_eq!(refused(local), "web seed URL with a query leads to this machine");
        }
        assert!(WebSeed::new("http://127.0.0.1:8080/files/", None).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_takes_its_pieces_with_it() {
        let b = i64::from(BLOCK_LENGTH);
        let layout = folder_layout(&[2 * b, b / 2, b / 2, b], BLOCK_LENGTH, Alignment::Stream);
        let mut seed = WebSeed::new("http://e.com/", Some(b"folder")).unwrap();
        assert!(seed.has(&layout).is_full());
        let now = Instant::now();
        assert_eq!(seed.handle_failure(now, 2, &WebSeedFailure::Missing(404)), Consequence::HasLess);
        assert!(seed.is_ready(now), "other files may be there");
        assert_eq!(seed.has(&layout).iter().collect::<Vec<_>>(), [0, 1, 3]);
        let wrong = WebSeedFailure::WrongLength { found: 1, expected: 2 };
        assert_eq!(seed.handle_failure(now, 0, &wrong), Consequence::HasLess);
        assert_eq!(seed.has(&layout).iter().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn pauses_grow_and_end_in_giving_up() {
        let mut seed = WebSeed::new("http://e.com/", None).unwrap();
        let now = Instant::now();
        let failure = WebSeedFailure::Cut;
        assert_eq!(seed.handle_failure(now, 0, &failure), Consequence::Pause(now + PAUSE_FIRST));
        assert!(!seed.is_ready(now));
        assert!(seed.is_ready(now + PAUSE_FIRST));
        assert_eq!(seed.handle_failure(now, 0, &failure), Consequence::Pause(now + PAUSE_FIRST * 2));
        let busy = WebSeedFailure::Busy { status: 503, retry_after: Duration::from_secs(600) };
        assert_eq!(seed.handle_failure(now, 0, &busy), Consequence::Pause(now + Duration::from_secs(600)));
        seed.handle_success();
        assert!(seed.is_ready(now));
        for _ in 1..FAILURES_MAX {
            assert!(
                matches!(seed.handle_failure(now, 0, &failure), Consequence::Pause(until) if until <= now + PAUSE_MAX)
            );
        }
        assert_eq!(seed.handle_failure(now, 0, &failure), Consequence::GivenUp);
        assert!(!seed.is_ready(now + PAUSE_MAX));
        assert!(seed.has(&of_path(&[b"x"])).is_empty());
    }
}
