//! Headers of answers: tags, conditions, names for downloads, and what scripts of other sites may see.

use std::hash::{DefaultHasher, Hash, Hasher};

use cid::Cid;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName, HeaderValue,
};
use hyper::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Refusal;
use crate::ask::{Conditions, Format, Part};

/// Content by its CID never changes.
pub(crate) const IMMUTABLE: &str = "public, max-age=29030400, immutable";

/// Sets a header, if its value can be one.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What names this answer among all answers at the same address. Ranges have the tag of the whole, as RFC 9110 wants: downloads are
/// resumed by it.
pub(crate) fn tag(cid: &Cid, format: &Format) -> String {
    match format {
        Format::Plain => format!("\"{cid}\""),
        // Nobody promises that blocks are cut into the same sections by a later version.
        Format::Car(ask) => {
            let mut hasher = DefaultHasher::new();
            (ask.bytes, ask.duplicates).hash(&mut hasher);
            format!("W/\"{}-{cid}.car.{:x}\"", ask.scope, hasher.finish())
        }
        Format::Tar => format!("W/\"{cid}.x-tar\""),
        other => format!("\"{cid}.{}\"", other.parameter().unwrap_or_default()),
    }
}

/// The tag of a page that lists a directory: another version of this program makes another page.
pub(crate) fn listing_tag(cid: &Cid) -> String {
    format!("\"DirIndex-{}_CID-{cid}\"", env!("CARGO_PKG_VERSION"))
}

/// What the conditions of a request make of an answer that has this tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Whoever asks has it already: 304.
    Unchanged,
    /// These parts are sent.
    Send(Part),
}

/// Judges the conditions (RFC 9110, section 13) of what has this tag and length.
///
/// # Errors
/// 412: what was asked for is something else by now. 416: no byte of the range exists.
pub(crate) fn judge(conditions: &Conditions, tag: &str, length: u64) -> Result<Verdict, Refusal> {
    if conditions.if_match.as_ref().is_some_and(|wanted| !lists(wanted, tag, is_same_strongly)) {
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, format!("this is {tag} by now")));
    }
    if is_unchanged(conditions, tag) {
        return Ok(Verdict::Unchanged);
    }
    let counts = conditions.if_range.as_ref().is_none_or(|wanted| is_same_strongly(wanted.trim(), tag));
    match conditions.ranges.as_ref().filter(|_| counts) {
        Some(ranges) => ranges.of(length).map(Verdict::Send),
        None => Ok(Verdict::Send(Part::Whole)),
    }
}

/// Whether whoever asks has it already.
pub(crate) fn is_unchanged(conditions: &Conditions, tag: &str) -> bool {
    conditions.if_none_match.as_ref().is_some_and(|known| lists(known, tag, is_same_weakly))
}

fn lists(list: &str, tag: &str, is_same: fn(&str, &str) -> bool) -> bool {
    // No tag of ours has a comma in it.
    list.split(',').map(str::trim).any(|item| item == "*" || is_same(item, tag))
}

fn is_same_weakly(a: &str, b: &str) -> bool {
    a.trim_start_matches("W/") == b.trim_start_matches("W/")
}

fn is_same_strongly(a: &str, b: &str) -> bool {
    a == b && !a.starts_with("W/")
}

/// What a download is called, in ASCII for old programs and in Unicode for all others.
pub(crate) fn disposition(is_attachment: bool, name: Option<&str>) -> String {
    let kind = if is_attachment { "attachment" } else { "inline" };
    let Some(name) = name else { return kind.to_owned() };
    let plain = |char: char| match char {
        '"' | '\\' | '/' => '_',
        char if char.is_ascii() && !char.is_ascii_control() => char,
        _ => '_',
    };
    let ascii: String = name.chars().map(plain).collect();
    if ascii == name {
        return format!("{kind}; filename=\"{ascii}\"");
    }
    let utf8 = utf8_percent_encode(name, IN_VALUE);
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{utf8}")
}

/// What RFC 8187 allows as it is.
const IN_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'!');

/// Scripts of every site may read content by its name: whoever knows the name could have it from anywhere.
pub(crate) fn allow_all_origins(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Cache-Control, Content-Type, If-None-Match, Range, User-Agent, X-Requested-With",
        ),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Accept-Ranges, Content-Disposition, Content-Length, Content-Location, Content-Range, ETag, Retry-After, \
             X-Ipfs-Path, X-Ipfs-Roots",
        ),
    );
}

/// How long a browser may remember that.
pub(crate) fn allow_for_a_day(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{ByteRanges, CarAsk, DagScope, EntityBytes};

    const TAG: &str = "\"bafkqaaa\"";

    fn conditions(header: &str) -> Conditions {
        let (name, value) = header.split_once(": ").unwrap();
        let value = Some(value.to_owned());
        match name {
            "If-None-Match" => Conditions { if_none_match: value, ..Conditions::default() },
            "If-Match" => Conditions { if_match: value, ..Conditions::default() },
            "If-Range" => {
                Conditions { if_range: value, ranges: ByteRanges::parse("bytes=1-"), ..Conditions::default() }
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn conditions_of_rfc_9110() {
        let whole = Ok(Verdict::Send(Part::Whole));
        let part = Ok(Verdict::Send(Part::Range(1..9)));
        for (header, verdict) in [
            ("If-None-Match: \"bafkqaaa\"", Ok(Verdict::Unchanged)),
            ("If-None-Match: W/\"bafkqaaa\"", Ok(Verdict::Unchanged)),
            ("If-None-Match: \"x\", W/\"bafkqaaa\"", Ok(Verdict::Unchanged)),
            ("If-None-Match: *", Ok(Verdict::Unchanged)),
            ("If-None-Match: \"x\"", whole.clone()),
            ("If-None-Match: bafkqaaa", whole.clone()),
            ("If-Match: \"bafkqaaa\"", whole.clone()),
            ("If-Match: *", whole.clone()),
            ("If-Match: W/\"bafkqaaa\"", Err(412)),
            ("If-Match: \"x\"", Err(412)),
            ("If-Range: \"bafkqaaa\"", part),
            ("If-Range: \"x\"", whole.clone()),
            ("If-Range: W/\"bafkqaaa\"", whole.clone()),
            ("If-Range: Wed, 21 Oct 2015 07:28:00 GMT", whole),
        ] {
            let judged = judge(&conditions(header), TAG, 9).map_err(|refusal| refusal.status.as_u16());
            assert_eq!(judged, verdict, "{header}");
        }
        let outside = Conditions { ranges: ByteRanges::parse("bytes=9-"), ..Conditions::default() };
        assert_eq!(judge(&outside, TAG, 9), Err(Refusal::outside(9)));
    }

    #[test]
    fn every_form_has_a_tag_of_its_own() {
        let cid: Cid = "bafkqaaa".parse().unwrap();
        let car = |ask| tag(&cid, &Format::Car(ask));
        let all = CarAsk::default();
        let tags = [
            tag(&cid, &Format::Plain),
            tag(&cid, &Format::Raw),
            tag(&cid, &Format::Tar),
            listing_tag(&cid),
            car(all),
            car(CarAsk { duplicates: true, ..all }),
            car(CarAsk { scope: DagScope::Block, ..all }),
            car(CarAsk { scope: DagScope::Entity, ..all }),
            car(CarAsk { scope: DagScope::Entity, bytes: EntityBytes::parse("0:9").ok(), ..all }),
        ];
        for (at, tag) in tags.iter().enumerate() {
            assert!(!tags[..at].contains(tag), "{tag}");
            assert!(tag.ends_with('"') && tag.contains("bafkqaaa"), "{tag}");
        }
    }

    #[test]
    fn names_of_downloads() {
        assert_eq!(disposition(false, None), "inline");
        assert_eq!(disposition(true, Some("a b.txt")), "attachment; filename=\"a b.txt\"");
        assert_eq!(
            disposition(false, Some("testтест.pdf")),
            "inline; filename=\"test____.pdf\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.pdf"
        );
        let nasty = disposition(true, Some("a\"; x=\"\r\nb/../c"));
        assert!(
            !nasty.contains(['\r', '\n']) && nasty.starts_with("attachment; filename=\"a_; x=___b_.._c\""),
            "{nasty}"
        );
    }
}
