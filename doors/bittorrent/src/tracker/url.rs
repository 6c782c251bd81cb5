//! A tracker's address, checked once.

use std::fmt;

use url::{Host, Url};

use crate::web::missing_part;

/// Bytes of an announce URL; longer ones are not addresses but ammunition.
const URL_LENGTH_MAX: usize = 2_048;

/// How a tracker is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP or HTTPS (BEP 3).
    Http,
    /// UDP (BEP 15).
    Udp,
}

/// The announce URL of a tracker that we can speak to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TrackerUrl {
    url: Url,
    protocol: Protocol,
}

/// Why a tracker's URL was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerUrlError {
    /// More than 2,048 bytes.
    #[error("tracker URL of {0} bytes is too long")]
    TooLong(usize),
    /// Not a URL.
    #[error("tracker URL is not a URL: {0}")]
    Syntax(url::ParseError),
    /// WebSocket trackers and the like.
    #[error("tracker protocol {0:?} is not supported")]
    Scheme(String),
    /// A URL without a protocol or host, or a UDP one without a port.
    #[error("tracker URL names no {0}")]
    Missing(&'static str),
}

impl From<url::ParseError> for TrackerUrlError {
    fn from(error: url::ParseError) -> Self {
        missing_part(error).map_or(Self::Syntax(error), Self::Missing)
    }
}

impl TrackerUrl {
    /// Parses an announce URL.
    ///
    /// # Errors
    /// [`TrackerUrlError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TrackerUrlError> {
        if text.len() > URL_LENGTH_MAX {
            return Err(TrackerUrlError::TooLong(text.len()));
        }
        let mut url = Url::parse(text.trim())?;
        let protocol = match url.scheme() {
            "http" | "https" => Protocol::Http,
            "udp" => Protocol::Udp,
            other => return Err(TrackerUrlError::Scheme(other.to_owned())),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(TrackerUrlError::Missing("host"));
        }
        if url.port_or_known_default().is_none_or(|port| port == 0) {
            return Err(TrackerUrlError::Missing("port"));
        }
        url.set_fragment(None);
        Ok(Self { url, protocol })
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How it is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host without the brackets of an IPv6 address, as a resolver takes it.
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(ip)) => ip.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(0)
    }

    /// What names the server: protocol, host and port. Transfers that share it share one server. It is
    /// also what people are shown, since the rest of a URL may hold a passkey.
    pub fn authority(&self) -> String {
        match (self.url.host_str(), self.url.port()) {
            (Some(host), Some(port)) => format!("{}://{host}:{port}", self.url.scheme()),
            (Some(host), None) => format!("{}://{host}", self.url.scheme()),
            (None, _) => self.url.scheme().to_owned(),
        }
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// Shows no path and no query: logs must not leak passkeys.
impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_speak_is_taken() {
        let tracker = TrackerUrl::parse("http://t.example/announce?passkey=s3cret#x").unwrap();
        assert_eq!((tracker.protocol(), tracker.port()), (Protocol::Http, 80));
        assert_eq!(tracker.to_string(), "http://t.example/announce?passkey=s3cret");
        let tracker = TrackerUrl::parse(" udp://[2001:db8::1]:6969/announce ").unwrap();
        assert_eq!((tracker.protocol(), tracker.port()), (Protocol::Udp, 6969));
        assert_eq!(tracker.host(), "2001:db8::1");
        assert_eq!(tracker.authority(), "udp://[2001:db8::1]:6969");
    }

    #[test]
    fn passkeys_do_not_reach_logs() {
        let tracker = TrackerUrl::parse("https://t.example/s3cret/announce").unwrap();
        assert_eq!(format!("{tracker:?} {}", tracker.authority()), "https://t.example https://t.example");
    }

    #[test]
    fn the_rest_is_refused_with_a_reason() {
        let refused = |text: &str| TrackerUrl::parse(text).unwrap_err().to_string();
        assert_eq!(refused("udp://t.example/announce"), "tracker URL names no port");
        assert_eq!(refused("http://t.example:0/announce"), "tracker URL names no port");
        assert_eq!(refused("wss://t.example"), "tracker protocol \"wss\" is not supported");
        assert_eq!(refused("udp://:80/announce"), "tracker URL names no host");
        assert_eq!(refused("http://[::g]/announce"), "tracker URL is not a URL: invalid IPv6 address");
        assert_eq!(refused("announce"), "tracker URL names no protocol");
        assert_eq!(
            refused(&format!("http://{}", "a".repeat(3_000))),
            "tracker URL of 3007 bytes is too long"
        );
    }
}
