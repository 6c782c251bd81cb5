//! The answer: bencode.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::bencode::{self, Dict, Keys, Value};
use crate::hash::SwarmHash;
use crate::tracker::announce::{PEERS_MAX, text};
use crate::tracker::udp::{peers_v4, peers_v6};
use crate::tracker::{AnnounceResponse, Scrape, TrackerError};

/// When to come back to a tracker that does not say.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// Bytes kept of a tracker's id for itself.
const TRACKER_ID_MAX: usize = 256;

/// Reads the answer to an announce. What is missing or of the wrong type is taken as not said, as long as
/// the whole is a dictionary.
///
/// # Errors
/// [`TrackerError::Refused`] with the tracker's reason, or [`TrackerError::Malformed`].
pub fn parse_announce(body: &[u8]) -> Result<AnnounceResponse, TrackerError> {
    let answer = dictionary(body)?;
    let mut peers = answer.get("peers").map(peers_of).unwrap_or_default();
    peers.extend(answer.bytes("peers6").map(peers_v6).unwrap_or_default());
    peers.truncate(PEERS_MAX);
    let seconds = |key| answer.uint(key).map(Duration::from_secs);
    Ok(AnnounceResponse {
        interval: seconds("interval").unwrap_or(INTERVAL_DEFAULT),
        interval_min: seconds("min interval"),
        seeders: count(&answer, "complete"),
        leechers: count(&answer, "incomplete"),
        peers,
        warning: answer.bytes("warning message").map(text),
        tracker_id: answer.bytes("tracker id").filter(|id| id.len() <= TRACKER_ID_MAX).map(<[u8]>::to_vec),
        external_ip: answer.bytes("external ip").and_then(ip_of),
    })
}

/// Reads the answer to a scrape: the swarms of `asked` that the tracker knows, in the order asked.
///
/// # Errors
/// As [`parse_announce`].
pub fn parse_scrape(body: &[u8], asked: &[SwarmHash]) -> Result<Vec<(SwarmHash, Scrape)>, TrackerError> {
    let answer = dictionary(body)?;
    let files =
        answer.dict("files").ok_or_else(|| TrackerError::Malformed("a scrape without files".to_owned()))?;
    let size = |file: Dict<'_>| Scrape {
        seeders: count(&file, "complete").unwrap_or(0),
        completed: count(&file, "downloaded").unwrap_or(0),
        leechers: count(&file, "incomplete").unwrap_or(0),
    };
    Ok(asked.iter().filter_map(|swarm| Some((*swarm, size(files.dict(swarm.0)?)))).collect())
}

/// The dictionary that every answer is, unless it says why it failed.
fn dictionary(body: &[u8]) -> Result<Dict<'_>, TrackerError> {
    let malformed = |what: &dyn std::fmt::Display| TrackerError::Malformed(what.to_string());
    // Some trackers send a line break behind the answer.
    let (value, _) = bencode::decode_prefix(body, Keys::AnyOrder).map_err(|error| malformed(&error))?;
    let answer = value
        .as_dict()
        .ok_or_else(|| malformed(&format_args!("{} instead of a dictionary", value.kind())))?;
    match answer.bytes("failure reason") {
        Some(reason) => Err(TrackerError::Refused(text(reason))),
        None => Ok(answer),
    }
}

fn count(answer: &Dict<'_>, key: &str) -> Option<u32> {
    answer.uint(key).and_then(|count| u32::try_from(count).ok())
}

/// Peers as one string (BEP 23) or as a list of dictionaries (BEP 3). Peers given by host name are skipped: nobody sends
/// them, and looking up names that strangers choose is no service to anybody.
fn peers_of(value: Value<'_>) -> Vec<SocketAddr> {
    if let Some(compact) = value.as_bytes() {
        return peers_v4(compact);
    }
    let peer = |value: Value<'_>| {
        let peer = value.as_dict()?;
        let ip: IpAddr = std::str::from_utf8(peer.bytes("ip")?).ok()?.parse().ok()?;
        Some(SocketAddr::new(ip, u16::try_from(peer.uint("port")?).ok()?))
    };
    value.as_list().into_iter().flatten().take(PEERS_MAX).filter_map(peer).collect()
}

/// Four or sixteen bytes (BEP 24), or text, which some trackers send.
fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        return Some(IpAddr::from(v6).to_canonical());
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_compact_answer_of_both_families() {
        let body = b"d8:completei5e10:downloadedi9e11:external ip4:\x01\x02\x03\x0410:incompletei3e8:intervali1800e\
            12:min intervali900e5:peers6:\x0a\0\0\x01\x1a\xe16:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1\
            10:tracker id3:abc15:warning message4:slowe\n";
        let expected = AnnounceResponse {
            interval: Duration::from_secs(1800),
            interval_min: Some(Duration::from_secs(900)),
            seeders: Some(5),
            leechers: Some(3),
            peers: vec!["10.0.0.1:6881".parse().unwrap(), "[2001:db8::1]:6881".parse().unwrap()],
            warning: Some("slow".to_owned()),
            tracker_id: Some(b"abc".to_vec()),
            external_ip: Some("1.2.3.4".parse().unwrap()),
        };
        assert_eq!(parse_announce(body), Ok(expected));
    }

    #[test]
    fn an_answer_with_dictionaries() {
        let body =
            b"d8:intervali60e5:peersld2:ip8:10.0.0.17:peer id2:xx4:porti6881eed2:ip11:2001:db8::14:porti1ee\
            d2:ip9:localhost4:porti1eed2:ip8:10.0.0.24:porti70000eei7eee";
        let peers = parse_announce(body).unwrap().peers;
        assert_eq!(peers, ["10.0.0.1:6881".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()]);
    }

    #[test]
    fn wrong_types_and_silly_numbers_are_not_said() {
        let body = b"d8:completei-1e10:incomplete1:x8:intervali-5e5:peersi7e6:peers6lee";
        let answer = parse_announce(body).unwrap();
        assert_eq!(answer, AnnounceResponse { interval: INTERVAL_DEFAULT, ..AnnounceResponse::default() });
    }

    #[test]
    fn failures_are_told_in_the_trackers_words() {
        let refused = parse_announce(b"d14:failure reason14:not registerede").unwrap_err();
        assert_eq!(refused.to_string(), "the tracker refused: not registered");
        let refused = parse_announce(b"d14:failure reason3:\xff\xfexe").unwrap_err();
        assert_eq!(refused, TrackerError::Refused("\u{fffd}\u{fffd}x".to_owned()));
        let html = parse_announce(b"<html>").unwrap_err().to_string();
        assert_eq!(
            html,
            "the tracker's answer makes no sense: bencode: no value starts with byte 0x3c at byte 0"
        );
        let list = parse_announce(b"le").unwrap_err().to_string();
        assert_eq!(list, "the tracker's answer makes no sense: a list instead of a dictionary");
    }

    #[test]
    fn floods_of_peers_are_cut() {
        let compact = [b"d5:peers600000:".as_slice(), &[9; 600_000], b"e"].concat();
        assert_eq!(parse_announce(&compact).unwrap().peers.len(), PEERS_MAX);
        let listed = [b"d5:peersl".as_slice(), &b"d2:ip7:8.8.8.84:porti1ee".repeat(40_000), b"ee"].concat();
        assert_eq!(parse_announce(&listed).unwrap().peers.len(), PEERS_MAX);
        let reason = [b"d14:failure reason9000:".as_slice(), &[b'x'; 9_000], b"e"].concat();
        assert!(parse_announce(&reason).unwrap_err().to_string().len() < 600);
    }

    #[test]
    fn a_scrape_is_read_in_the_order_asked() {
        let (one, two, unknown) = (SwarmHash([b'1'; 20]), SwarmHash([b'2'; 20]), SwarmHash([b'3'; 20]));
        let body = b"d5:filesd20:11111111111111111111d8:completei1e10:downloadedi2e10:incompletei3ee\
            20:22222222222222222222d8:completei4eeee";
        let first = Scrape { seeders: 1, completed: 2, leechers: 3 };
        let second = Scrape { seeders: 4, completed: 0, leechers: 0 };
        assert_eq!(parse_scrape(body, &[two, unknown, one]), Ok(vec![(two, second), (one, first)]));
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_parser(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_announce(&body);
            let _ = parse_scrape(&body, &[SwarmHash([0; 20])]);
        }

        #[test]
        fn no_peers_value_breaks_the_parser(peers in "(i-?[0-9]{1,6}e|l(d2:ip[0-9]:[0-9.]{0,9}4:porti-?[0-9]{1,6}ee)*e|[0-9]{1,2}:.{0,20})") {
            let _ = parse_announce(format!("d5:peers{peers}e").as_bytes());
        }
    }
}
