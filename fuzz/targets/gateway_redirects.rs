//! Whatever a website's `_redirects` says, it is rules or a refusal; a rewrite stays on the site.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_http::redirects::{Followed, Redirects};

fuzz_target!(|input: (&[u8], &str, Option<&str>)| {
    let (file, path, query) = input;
    let Ok(rules) = Redirects::parse(file) else { return };
    match rules.follow(path, query) {
        Some(Followed::Rewrite { status, path }) => assert!(!status.is_redirection() && path.starts_with('/')),
        Some(Followed::Redirect { status, .. }) => assert!(status.is_redirection()),
        None => {}
    }
});
