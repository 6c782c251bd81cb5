//! What the head of an HTTP answer means for a range that was asked for (RFC 9110, sections 14 and 15).

use std::time::Duration;

use super::plan::Fetch;

/// A server that ignores ranges is put up with when no more than this must be thrown away before the wanted bytes.
pub const SKIP_MAX: u64 = 1 << 20;

/// After an error that may pass, unless the server says when.
const RETRY_DEFAULT: Duration = Duration::from_secs(30);

/// Longer is not waited for, whatever the server says.
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerHead {
    /// The status.
    pub status: u16,
    /// The `Content-Range` header.
    pub content_range: Option<String>,
    /// The length of the body, if announced.
    pub content_length: Option<u64>,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// Whether the body is encoded (`Content-Encoding`), so that its bytes are not the file's.
    pub encoded: bool,
}

/// Where the wanted bytes lie in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Bytes to throw away first.
    pub skip: u64,
}

/// Why a fetch failed, and so what to believe of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSeedFailure {
    /// The server does not have this file, or does not give it to us.
    #[error("the server does not have the file (HTTP status {0})")]
    Missing(u16),
    /// The server has another file there.
    #[error("the server's file has {found} bytes instead of {expected}")]
    WrongLength {
        /// Bytes of the server's file.
        found: u64,
        /// Bytes of the torrent's.
        expected: u64,
    },
    /// The server only gives whole files, and this one is too large for that.
    #[error("the server ignores ranges")]
    NoRanges,
    /// The answer makes no sense.
    #[error("the server's answer makes no sense: {0}")]
    Malformed(&'static str),
    /// The server cannot now.
    #[error("the server is busy (HTTP status {status})")]
    Busy {
        /// The status.
        status: u16,
        /// When to ask again.
        retry_after: Duration,
    },
    /// A service of this machine with a query: a torrent must not push buttons on it.
    #[error("a URL with a query leads to this machine")]
    LocalQuery,
    /// The server leads astray.
    #[error("the server redirects {0}")]
    Redirect(&'static str),
    /// No connection, or it broke.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// The body ended early.
    #[error("the server's answer ends early")]
    Cut,
    /// Silence.
    #[error("the server sent nothing for {} s", .0.as_secs())]
    Stalled(Duration),
}

/// Judges an answer that is no redirect.
///
/// # Errors
/// [`WebSeedFailure`], when the wanted bytes are not in the body.
pub fn judge(fetch: &Fetch, head: &AnswerHead) -> Result<Body, WebSeedFailure> {
    match head.status {
        200 | 206 if head.encoded => Err(WebSeedFailure::Malformed("an encoded body")),
        206 => partial(fetch, head),
        200 => whole(fetch, head),
        // Not satisfiable: the server's file ends before the range.
        416 => {
            let found =
                head.content_range.as_deref().and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
            Err(WebSeedFailure::WrongLength { found: found.unwrap_or(0), expected: fetch.file_length })
        }
        status @ (408 | 425 | 429 | 500..=599) => {
            Err(WebSeedFailure::Busy { status, retry_after: retry_after(head.retry_after.as_deref()) })
        }
        status => Err(WebSeedFailure::Missing(status)),
    }
}

fn partial(fetch: &Fetch, head: &AnswerHead) -> Result<Body, WebSeedFailure> {
    let range = head.content_range.as_deref().ok_or(WebSeedFailure::Malformed("no content range"))?;
    let (first, last, total) =
        content_range(range).ok_or(WebSeedFailure::Malformed("a content range of its own"))?;
    if let Some(found) = total.filter(|total| *total != fetch.file_length) {
        return Err(WebSeedFailure::WrongLength { found, expected: fetch.file_length });
    }
    // A shorter range than asked for shows as a body that ends early.
    if first != fetch.offset || last >= fetch.offset + fetch.length {
        return Err(WebSeedFailure::Malformed("another range than asked for"));
    }
    Ok(Body { skip: 0 })
}

fn whole(fetch: &Fetch, head: &AnswerHead) -> Result<Body, WebSeedFailure> {
    if let Some(found) = head.content_length.filter(|length| *length != fetch.file_length) {
        return Err(WebSeedFailure::WrongLength { found, expected: fetch.file_length });
    }
    if fetch.offset > SKIP_MAX {
        return Err(WebSeedFailure::NoRanges);
    }
    Ok(Body { skip: fetch.offset })
}

/// First byte, last byte, length of the whole if known.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.trim().parse().ok()?) };
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, total))
}

/// Seconds; dates are taken as not said.
fn retry_after(text: Option<&str>) -> Duration {
    let seconds = text.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    seconds.unwrap_or(RETRY_DEFAULT).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fetch(offset: u64) -> Fetch {
        Fetch { entry: 0, offset, length: 1_000, file_length: 10_000_000, parts: Vec::new() }
    }

    fn head(status: u16) -> AnswerHead {
        AnswerHead { status, ..AnswerHead::default() }
    }

    fn partial(range: &str) -> AnswerHead {
        AnswerHead { content_range: Some(range.to_owned()), ..head(206) }
    }

    #[test]
    fn the_range_that_was_asked_for() {
        assert_eq!(judge(&fetch(5_000), &partial("bytes 5000-5999/10000000")), Ok(Body { skip: 0 }));
        assert_eq!(judge(&fetch(5_000), &partial("bytes 5000-5999/*")), Ok(Body { skip: 0 }));
        assert_eq!(judge(&fetch(5_000), &partial("bytes 5000-5099/10000000")), Ok(Body { skip: 0 }));
    }

    #[test]
    fn another_range_or_file() {
        let wrong = Err(WebSeedFailure::Malformed("another range than asked for"));
        assert_eq!(judge(&fetch(5_000), &partial("bytes 0-5999/10000000")), wrong);
        assert_eq!(judge(&fetch(5_000), &partial("bytes 5000-6000/10000000")), wrong);
        let other = Err(WebSeedFailure::WrongLength { found: 7_000, expected: 10_000_000 });
        assert_eq!(judge(&fetch(5_000), &partial("bytes 5000-5999/7000")), other);
        let beyond = AnswerHead { content_range: Some("bytes */7000".to_owned()), ..head(416) };
        assert_eq!(judge(&fetch(5_000), &beyond), other);
        assert!(judge(&fetch(5_000), &head(206)).is_err());
        assert!(judge(&fetch(5_000), &partial("lines 1-2/3")).is_err());
    }

    #[test]
    fn a_server_without_ranges_will_do_near_the_start() {
        let whole = AnswerHead { content_length: Some(10_000_000), ..head(200) };
        assert_eq!(judge(&fetch(5_000), &whole), Ok(Body { skip: 5_000 }));
        assert_eq!(judge(&fetch(5_000), &head(200)), Ok(Body { skip: 5_000 }));
        assert_eq!(judge(&fetch(SKIP_MAX + 1), &whole), Err(WebSeedFailure::NoRanges));
        let page = AnswerHead { content_length: Some(512), ..head(200) };
        let other = WebSeedFailure::WrongLength { found: 512, expected: 10_000_000 };
        assert_eq!(judge(&fetch(0), &page), Err(other));
        let zipped = AnswerHead { encoded: true, ..whole };
        assert!(judge(&fetch(0), &zipped).is_err());
    }

    #[test]
    fn errors_that_pass_and_errors_that_do_not() {
        let busy = |seconds| WebSeedFailure::Busy { status: 503, retry_after: Duration::from_secs(seconds) };
        let after = |text: &str| AnswerHead { retry_after: Some(text.to_owned()), ..head(503) };
        assert_eq!(judge(&fetch(0), &head(503)), Err(busy(30)));
        assert_eq!(judge(&fetch(0), &after("120")), Err(busy(120)));
        assert_eq!(judge(&fetch(0), &after("999999999")), Err(busy(3_600)));
        assert_eq!(judge(&fetch(0), &after("Fri, 31 Dec 1999 23:59:59 GMT")), Err(busy(30)));
        assert_eq!(judge(&fetch(0), &head(404)), Err(WebSeedFailure::Missing(404)));
        assert_eq!(judge(&fetch(0), &head(403)), Err(WebSeedFailure::Missing(403)));
    }

    proptest! {
        #[test]
        fn no_head_breaks_the_judge(status in any::<u16>(), range in "(bytes )?[0-9*-]{0,30}(/[0-9*]{0,25})?", retry in ".{0,9}") {
            let head = AnswerHead { content_range: Some(range), retry_after: Some(retry), ..head(status) };
            let _ = judge(&fetch(1), &head);
        }
    }
}
