//! Whatever the head of a request to the gateway says, it is an ask or a refusal; no answer leads to another host than those that it
//! goes by, and no range leaves what there is.
#![no_main]

use hyper::Request;
use libfuzzer_sys::fuzz_target;
use peerage_http::ask::{Ask, Hosts, Part};

const NAMES: [&str; 8] =
    ["host", "accept", "range", "if-range", "if-none-match", "cache-control", "x-forwarded-host", "x-forwarded-proto"];

fuzz_target!(|input: (String, [Option<String>; NAMES.len()], u64)| {
    let (target, values, length) = input;
    let mut request = Request::builder().uri(target);
    for (name, value) in NAMES.iter().zip(&values) {
        if let Some(value) = value {
            request = request.header(*name, value);
        }
    }
    let Ok(request) = request.body(()) else { return };
    match Ask::of(&request.into_parts().0, &Hosts::default()) {
        Ok(Ask::Content(ask)) => {
            assert!(ask.segments.iter().all(|name| !matches!(&name[..], b"" | b"." | b"..") && !name.contains(&b'/')));
            assert!(ask.target.as_folder().starts_with('/') && !ask.target.as_folder().starts_with("//"));
            match ask.conditions.ranges.map(|ranges| ranges.of(length)) {
                Some(Ok(Part::Range(range))) => assert!(range.start < range.end && range.end <= length),
                Some(Ok(Part::Ranges(ranges))) => {
                    assert!(ranges.iter().map(|range| range.end - range.start).sum::<u64>() <= length);
                }
                _ => {}
            }
        }
        Ok(Ask::Redirect(location)) => {
            let is_here = location.starts_with("/ipfs/") || location.starts_with("/ipns/");
            let host = location.split_once("://").and_then(|(_, rest)| rest.split('/').next());
            let host = host.map(|host| host.split(':').next().unwrap_or_default());
            assert!(is_here || host.is_some_and(|host| host.ends_with(".localhost")), "{location}");
        }
        _ => {}
    }
});
