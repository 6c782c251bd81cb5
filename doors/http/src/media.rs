//! What a file is: by its name, or by how it begins.

/// Bytes of the beginning that are looked at.
pub(crate) const SNIFF_LENGTH: u64 = 512;

/// What is sent when nobody knows.
const UNKNOWN: &str = "application/octet-stream";

/// The media type that a name ends in; `None`: it says nothing.
pub(crate) fn by_name(name: &str) -> Option<String> {
    let extension = name.rsplit_once('.')?.1;
    let guess = mime_guess::from_ext(extension).first_raw()?;
    Some(with_charset(guess))
}

/// The media type of what begins so.
pub(crate) fn by_content(start: &[u8]) -> &'static str {
    let found =
        MAGIC.iter().find(|(at, magic, _)| start.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((_, _, media)) = found {
        return media;
    }
    if !is_text(start) {
        return UNKNOWN;
    }
    let text = start.trim_ascii_start();
    let begins = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") || begins(b"<body") {
        "text/html; charset=utf-8"
    } else if begins(b"<svg") || begins(b"<?xml") && text.windows(4).any(|tag| tag == b"<svg") {
        "image/svg+xml"
    } else if begins(b"<?xml") {
        "text/xml; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    }
}

/// Text says how it is encoded, since browsers would guess by their user's country.
fn with_charset(media: &str) -> String {
    let is_text = media.starts_with("text/") || media == "application/javascript";
    if is_text { format!("{media}; charset=utf-8") } else { media.to_owned() }
}

/// UTF-8 without control characters that no text has. What is cut off in the middle of a character is text too.
fn is_text(start: &[u8]) -> bool {
    let is_utf8 = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    is_utf8 && !start.iter().any(is_control)
}

/// Where, what, and what it is then.
const MAGIC: [(usize, &[u8], &str); 26] = [
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (0, b"BM", "image/bmp"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"%PDF-", "application/pdf"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "application/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/wave"),
    (8, b"AVI ", "video/avi"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (257, b"ustar", "application/x-tar"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is() {
        for (name, media) in [
            ("a.txt", Some("text/plain; charset=utf-8")),
            ("a.HTML", Some("text/html; charset=utf-8")),
            ("a.min.js", Some("text/javascript; charset=utf-8")),
            ("a.mp4", Some("video/mp4")),
            ("a.svg", Some("image/svg+xml")),
            ("a.json", Some("application/json")),
            ("a.wasm", Some("application/wasm")),
            ("txt", None),
            ("a.", None),
            ("a.unheard-of", None),
        ] {
            assert_eq!(by_name(name).as_deref(), media, "{name}");
        }
    }

    #[test]
    fn so_does_a_beginning() {
        for (start, media) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], "image/png"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"  <!DOCTYPE HTML><title>", "text/html; charset=utf-8"),
            (b"<?xml version='1.0'?><svg>", "image/svg+xml"),
            (b"<?xml version='1.0'?><feed>", "text/xml; charset=utf-8"),
            (b"<svg xmlns=", "image/svg+xml"),
            ("gr\u{fc}n".as_bytes(), "text/plain; charset=utf-8"),
            ("gr\u{fc}".as_bytes().split_last().unwrap().1, "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"gr\xfcn", UNKNOWN),
            (b"a\0b", UNKNOWN),
        ] {
            assert_eq!(by_content(start), media, "{start:?}");
        }
    }
}
