//! The question: a URL.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;

use crate::hash::SwarmHash;
use crate::tracker::{AnnounceRequest, Event};

/// All but the unreserved characters (RFC 3986, section 2.3): hashes and ids are raw bytes, and servers differ in what else they tolerate.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The URL that announces `request` to `tracker` over a family. A query that is there already (a passkey) stays in front.
pub fn announce_url(tracker: &Url, request: &AnnounceRequest, ipv6: bool) -> Url {
    let mut query = Query::of(tracker);
    query.raw("info_hash", &request.swarm.0);
    query.raw("peer_id", &request.peer_id);
    if let Some(port) = request.ports.over(ipv6) {
        query.add("port", port);
    }
    query.add("uploaded", request.uploaded);
    query.add("downloaded", request.downloaded);
    query.add("left", request.left);
    query.add("numwant", request.numwant);
    query.add("key", format_args!("{:08x}", request.key));
    query.add("compact", 1);
    query.add("no_peer_id", 1);
    query.add("supportcrypto", 1);
    match request.event {
        Event::Regular => {}
        Event::Started => query.add("event", "started"),
        Event::Completed => query.add("event", "completed"),
        Event::Stopped => query.add("event", "stopped"),
    }
    if let Some(ip) = request.ipv4 {
        query.add("ipv4", ip);
    }
    if let Some(ip) = request.ipv6 {
        query.raw("ipv6", ip.to_string().as_bytes());
    }
    if let Some(id) = &request.tracker_id {
        query.raw("trackerid", id);
    }
    query.on(tracker.clone())
}

/// The URL that asks `tracker` for the sizes of `swarms`. `None` when its announce URL does not lead to one: only a
/// last path segment that begins with `announce` does (BEP 48).
pub fn scrape_url(tracker: &Url, swarms: &[SwarmHash]) -> Option<Url> {
    let (folder, last) = tracker.path().rsplit_once('/')?;
    let path = format!("{folder}/scrape{}", last.strip_prefix("announce")?);
    let mut query = Query::of(tracker);
    for swarm in swarms {
        query.raw("info_hash", &swarm.0);
    }
    let mut url = query.on(tracker.clone());
    url.set_path(&path);
    Some(url)
}

struct Query(String);

impl Query {
    fn of(url: &Url) -> Self {
        Self(url.query().unwrap_or_default().trim_end_matches('&').to_owned())
    }

    fn raw(&mut self, key: &str, value: &[u8]) {
        self.add(key, percent_encode(value, ESCAPED));
    }

    fn add(&mut self, key: &str, value: impl std::fmt::Display) {
        let and = if self.0.is_empty() { "" } else { "&" };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{and}{key}={value}");
    }

    fn on(self, mut url: Url) -> Url {
        url.set_query(Some(&self.0));
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;
    use proptest::prelude::*;

    fn request(swarm: [u8; 20]) -> AnnounceRequest {
        AnnounceRequest {
            swarm: SwarmHash(swarm),
            peer_id: *b"-PG0001-abc&= +/\xff\0xy",
            ports: Ports::of(&["0.0.0.0:6881".parse().unwrap(), "[::]:6882".parse().unwrap()]),
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Event::Started,
            numwant: 50,
            key: 0xabc,
            ipv4: None,
            ipv6: Some("2001:db8::1".parse().unwrap()),
            tracker_id: Some(b"id &1".to_vec()),
        }
    }

    /// The example hash of the HTTP part of the specification's wiki.
    #[test]
    fn the_whole_question() {
        let swarm = *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a";
        let tracker = Url::parse("http://t.example:6969/a/announce?passkey=k%2B1&").unwrap();
        let expected = "http://t.example:6969/a/announce?passkey=k%2B1&info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
            &peer_id=-PG0001-abc%26%3D%20%2B%2F%FF%00xy&port=6881&uploaded=1&downloaded=2&left=3&numwant=50&key=00000abc\
            &compact=1&no_peer_id=1&supportcrypto=1&event=started&ipv6=2001%3Adb8%3A%3A1&trackerid=id%20%261";
        assert_eq!(announce_url(&tracker, &request(swarm), false).as_str(), expected);
        let over_v6 = expected.replace("port=6881", "port=6882");
        assert_eq!(announce_url(&tracker, &request(swarm), true).as_str(), over_v6);
    }

    /// The table of BEP 48.
    #[test]
    fn scrape_lives_beside_announce() {
        let scrape = |tracker: &str| {
            scrape_url(&Url::parse(tracker).unwrap(), &[SwarmHash([b'a'; 20])]).map(|url| url.to_string())
        };
        let hash = "info_hash=aaaaaaaaaaaaaaaaaaaa";
        assert_eq!(scrape("http://e.com/announce"), Some(format!("http://e.com/scrape?{hash}")));
        assert_eq!(scrape("http://e.com/x/announce"), Some(format!("http://e.com/x/scrape?{hash}")));
        assert_eq!(scrape("http://e.com/announce.php"), Some(format!("http://e.com/scrape.php?{hash}")));
        assert_eq!(
            scrape("http://e.com/announce?x2%0644"),
            Some(format!("http://e.com/scrape?x2%0644&{hash}"))
        );
        assert_eq!(scrape("http://e.com/a"), None);
        assert_eq!(scrape("http://e.com/announce/x"), None);
        assert_eq!(scrape("http://e.com/announce?x=2/4"), Some(format!("http://e.com/scrape?x=2/4&{hash}")));
    }

    proptest! {
        /// A server that decodes the query gets exactly the bytes of the hash, whatever they are.
        #[test]
        fn hashes_survive_the_url(swarm in any::<[u8; 20]>()) {
            let url = announce_url(&Url::parse("http://t.example/announce?a=b").unwrap(), &request(swarm), false);
            let value = url.query().unwrap().split('&').find_map(|pair| pair.strip_prefix("info_hash=")).unwrap();
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(value).collect();
            prop_assert_eq!(&decoded[..], &swarm[..]);
        }
    }
}
