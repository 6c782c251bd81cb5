//! Whatever the head of a web server's answer says: either the bytes that were asked for are where it says, or it is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::webseed::{AnswerHead, Fetch, SKIP_MAX, WebSeedFailure, judge};

fuzz_target!(|input: (u32, u32, u64, u16, [Option<String>; 2], Option<u64>, bool)| {
    let (offset, length, file_length, status, [content_range, retry_after], content_length, encoded) = input;
    let (offset, length) = (u64::from(offset), u64::from(length).max(1));
    let file_length = file_length.max(offset + length);
    let fetch = Fetch { entry: 0, offset, length, file_length, parts: Vec::new() };
    let head = AnswerHead { status, content_range, content_length, retry_after, encoded };
    match judge(&fetch, &head) {
        Ok(body) => {
            assert!(!head.encoded && body.skip <= SKIP_MAX);
            assert!(status == 206 && body.skip == 0 || status == 200 && body.skip == offset);
        }
        Err(WebSeedFailure::Busy { retry_after, .. }) => assert!(retry_after.as_secs() <= 3_600),
        Err(_) => {}
    }
});
