//! A file of a transfer as an HTTP answer, whole or a range of it (RFC 9110, section 14), while it may still be downloading.

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio_util::io::ReaderStream;

use super::refusal::Refusal;
use crate::control::Control;
use crate::model::{FileView, Problem, TransferId};

/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;

/// Which file.
#[derive(Clone, Debug)]
pub struct FileBody {
    /// Of which transfer.
    pub transfer: TransferId,
    /// The file.
    pub file: FileView,
}

/// Answers `GET` or `HEAD` for a file. Several ranges in one request are answered with the whole file, as the RFC allows.
///
/// # Errors
/// The node's, as a [`Refusal`].
pub async fn file_response(
    control: &dyn Control,
    body: &FileBody,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let size = body.file.size;
    let asked = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let (status, range) = match asked.map(|text| parse_range(text, size)) {
        None | Some(Asked::Whole) => (StatusCode::OK, 0..size),
        Some(Asked::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Asked::Outside) => {
            let mut response =
                Refusal(Problem::new("not_in_file", "the range lies outside the file")).into_response();
            insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let content = if *method == Method::HEAD || range.is_empty() {
        Body::empty()
    } else {
        let reader = control.read(body.transfer, body.file.index, range.clone()).await?;
        Body::from_stream(ReaderStream::with_capacity(reader, CHUNK))
    };
    let mut response = (status, content).into_response();
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    insert(headers, CONTENT_TYPE, media_type(body.file.path.as_path().extension()));
    // Foreign content is shown by no browser as if it were of this origin.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    if status == StatusCode::PARTIAL_CONTENT {
        insert(headers, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    Ok(response)
}

fn insert(headers: &mut HeaderMap, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: also what is malformed or more than one range.
    Whole,
    /// A span, clipped to the file, not empty.
    Part(Range<u64>),
    /// Nothing that the file has.
    Outside,
}

fn parse_range(text: &str, size: u64) -> Asked {
    let Some(spec) = text.trim().strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else {
        return Asked::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Asked::Whole };
    let number = |text: &str| text.trim().parse::<u64>();
    match (number(first), number(last)) {
        (Ok(first), Ok(last)) if first > last => Asked::Whole,
        (Ok(first), _) if first >= size && (last.trim().is_empty() || number(last).is_ok()) => Asked::Outside,
        (Ok(first), Ok(last)) => Asked::Part(first..last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.trim().is_empty() => Asked::Part(first..size),
        (Err(_), Ok(suffix)) if first.trim().is_empty() => match suffix.min(size) {
            0 => Asked::Outside,
            suffix => Asked::Part(size - suffix..size),
        },
        _ => Asked::Whole,
    }
}

/// The type of what players and browsers play; anything else is bytes.
fn media_type(extension: Option<&std::ffi::OsStr>) -> &'static str {
    match extension.and_then(|text| text.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("mp4" | "m4v") => "video/mp4",
        Some("mkv") => "video/x-matroska",
        Some("webm") => "video/webm",
        Some("avi") => "video/x-msvideo",
        Some("mov") => "video/quicktime",
        Some("mpg" | "mpeg") => "video/mpeg",
        Some("ts" | "m2ts") => "video/mp2t",
        Some("ogv") => "video/ogg",
        Some("mp3") => "audio/mpeg",
        Some("m4a") => "audio/mp4",
        Some("ogg" | "oga" | "opus") => "audio/ogg",
        Some("flac") => "audio/flac",
        Some("wav") => "audio/wav",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("pdf") => "application/pdf",
        Some("txt" | "md" | "nfo" | "srt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_rfc_9110() {
        let cases = [
            ("bytes=0-", Asked::Part(0..100)),
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=10-19", Asked::Part(10..20)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=-0", Asked::Outside),
            ("bytes=100-", Asked::Outside),
            ("bytes=100-200", Asked::Outside),
            ("bytes=5-4", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=5-x", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("bytes=0-18446744073709551615", Asked::Part(0..100)),
            ("bytes=99999999999999999999-", Asked::Whole),
        ];
        for (text, asked) in cases {
            assert_eq!(parse_range(text, 100), asked, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::Outside);
        assert_eq!(parse_range("bytes=-5", 0), Asked::Outside);
    }
}
