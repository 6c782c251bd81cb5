//! Who may talk to the daemon.
//!
//! A browser on this machine runs programs of strangers, and they can reach loopback. They do not know the token; the other checks keep
//! them from even trying, so that a later way to authorise (a cookie of the dashboard) does not open a door unseen:
//! - `Host` must name loopback: a name that was rebound to 127.0.0.1 is refused.
//! - `Origin`, when there is one, must be this server; `Sec-Fetch-Site` must not say that another site asks.
//! - `POST` must be JSON, which no form can send and no script without asking first.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::refusal::Refusal;
use crate::model::Problem;

/// What the guard goes by.
#[derive(Clone)]
pub struct Guard {
    /// The secret of this run.
    pub token: String,
    /// `/metrics` is readable without it.
    pub metrics_open: bool,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("metrics_open", &self.metrics_open).finish_non_exhaustive()
    }
}

/// The middleware: passes a request on or refuses it.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Result<Response, Refusal> {
    let open = guard.metrics_open && request.uri().path() == "/metrics";
    is_local(request.headers())?;
    is_json(request.method(), request.headers())?;
    if !open {
        is_authorised(request.headers(), &guard.token)?;
    }
    Ok(next.run(request).await)
}

/// Refuses what comes from elsewhere than this machine's own programs.
///
/// # Errors
/// 403, with what is wrong.
pub fn is_local(headers: &HeaderMap) -> Result<(), Refusal> {
    let refused = |what: &str| Refusal(Problem::new("forbidden", what));
    let Some(host) = single(headers, &HOST).filter(|host| names_loopback(host)) else {
        return Err(refused("the Host header does not name a loopback address"));
    };
    if headers.contains_key(ORIGIN) {
        let own = single(headers, &ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") == Some(host));
        if !own {
            return Err(refused("the Origin header names another site"));
        }
    }
    let site = HeaderName::from_static("sec-fetch-site");
    if headers.contains_key(&site) && !matches!(single(headers, &site), Some("same-origin" | "none")) {
        return Err(refused("another site asks"));
    }
    Ok(())
}

fn is_json(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let media = single(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next()).map(str::trim);
    if *method == Method::POST && !media.is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return Err(Refusal(Problem::new("not_json", "POST needs content type application/json")));
    }
    Ok(())
}

fn is_authorised(headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
    let given = single(headers, &AUTHORIZATION).and_then(|value| value.split_once(' '));
    match given {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") && is_same(given.trim(), token) => {
            Ok(())
        }
        _ => {
            Err(Refusal(Problem::new("unauthorised", "this needs the token of the daemon").hint(
                "send `Authorization: Bearer TOKEN` with the token of daemon.json in the data directory",
            )))
        }
    }
}

/// The value of a header that is there exactly once and is text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn names_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares in a time that does not tell where the first difference is.
fn is_same(given: &str, secret: &str) -> bool {
    let difference = given.bytes().zip(secret.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == secret.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_a_host() {
        for host in ["127.0.0.1", "127.0.0.1:6880", "localhost:1", "LOCALHOST", "[::1]:6880", "127.8.9.1"] {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:6880",
            "192.0.2.1",
            "[::]",
            "a@127.0.0.1",
            "127.0.0.1@evil",
            "0.0.0.0",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_secret_is_equal_only_to_itself() {
        assert!(is_same("abc", "abc"));
        for other in ["", "ab", "abd", "abcd"] {
            assert!(!is_same(other, "abc"));
        }
    }
}
