//! The datagrams of BEP 15.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::hash::SwarmHash;
use crate::tracker::announce::{AnnounceRequest, AnnounceResponse, Event, PEERS_MAX, Scrape, text};

/// Tells BEP 15 from everything else that may listen on a UDP port.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;

/// The option that carries a part of the URL (BEP 41).
const OPTION_URL_DATA: u8 = 2;

/// Swarms in one scrape: more do not fit into a datagram (BEP 15).
pub const SCRAPE_MAX: usize = 74;

/// A question to a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// For peers.
    Announce {
        /// What to say.
        request: Box<AnnounceRequest>,
        /// Path and query of the tracker's URL (BEP 41).
        url_data: String,
    },
    /// For the sizes of swarms; the first [`SCRAPE_MAX`] are asked for.
    Scrape(Vec<SwarmHash>),
}

/// What a tracker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection id to ask with.
    Connected(u64),
    /// To an announce.
    Announced(AnnounceResponse),
    /// To a scrape, in the order asked.
    Scraped(Vec<Scrape>),
    /// A refusal.
    Failed(String),
}

/// The datagram that asks for a connection id.
pub(super) fn connect(transaction: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(16);
    packet.extend(PROTOCOL_ID.to_be_bytes());
    packet.extend(ACTION_CONNECT.to_be_bytes());
    packet.extend(transaction.to_be_bytes());
    packet
}

/// The datagram that asks a question over a family.
pub(super) fn ask(connection: u64, transaction: u32, ask: &Ask, ipv6: bool) -> Vec<u8> {
    let mut packet = Vec::with_capacity(128);
    packet.extend(connection.to_be_bytes());
    match ask {
        Ask::Announce { request, url_data } => {
            packet.extend(ACTION_ANNOUNCE.to_be_bytes());
            packet.extend(transaction.to_be_bytes());
            let port = request.ports.over(ipv6).unwrap_or_default();
            announce(&mut packet, request, port, url_data);
        }
        Ask::Scrape(swarms) => {
            packet.extend(ACTION_SCRAPE.to_be_bytes());
            packet.extend(transaction.to_be_bytes());
            for swarm in swarms.iter().take(SCRAPE_MAX) {
                packet.extend(swarm.0);
            }
        }
    }
    packet
}

fn announce(packet: &mut Vec<u8>, request: &AnnounceRequest, port: u16, url_data: &str) {
    let event: u32 = match request.event {
        Event::Regular => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    packet.extend(request.swarm.0);
    packet.extend(request.peer_id);
    packet.extend(request.downloaded.to_be_bytes());
    packet.extend(request.left.to_be_bytes());
    packet.extend(request.uploaded.to_be_bytes());
    packet.extend(event.to_be_bytes());
    // The address field: 0 asks the tracker to take the sender's, and no other is believed today.
    packet.extend(0_u32.to_be_bytes());
    packet.extend(request.key.to_be_bytes());
    packet.extend(request.numwant.to_be_bytes());
    packet.extend(port.to_be_bytes());
    // Options of at most 255 bytes each; their data is joined by the tracker (BEP 41).
    for part in url_data.as_bytes().chunks(usize::from(u8::MAX)) {
        packet.push(OPTION_URL_DATA);
        packet.push(part.len() as u8);
        packet.extend(part);
    }
}

/// Takes big-endian numbers off the front of a datagram.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }
}

/// The transaction and the content of a datagram from a tracker; `None` when it is none. `ipv6` says over
/// which family it came, since that decides the size of the addresses in it.
pub(super) fn parse(datagram: &[u8], ipv6: bool) -> Option<(u32, Reply)> {
    let mut reader = Reader(datagram);
    let (action, transaction) = (reader.u32()?, reader.u32()?);
    let reply = match action {
        ACTION_CONNECT => Reply::Connected(reader.u64()?),
        ACTION_ANNOUNCE => {
            let interval = Duration::from_secs(u64::from(reader.u32()?));
            let (leechers, seeders) = (reader.u32()?, reader.u32()?);
            let peers = if ipv6 { peers_v6(reader.0) } else { peers_v4(reader.0) };
            Reply::Announced(AnnounceResponse {
                interval,
                leechers: Some(leechers),
                seeders: Some(seeders),
                peers,
                ..AnnounceResponse::default()
            })
        }
        ACTION_SCRAPE => {
            let mut swarms = Vec::new();
            while let (Some(seeders), Some(completed), Some(leechers)) =
                (reader.u32(), reader.u32(), reader.u32())
            {
                swarms.push(Scrape { seeders, completed, leechers });
                if swarms.len() == SCRAPE_MAX {
                    break;
                }
            }
            Reply::Scraped(swarms)
        }
        ACTION_ERROR => Reply::Failed(text(reader.0)),
        _ => return None,
    };
    Some((transaction, reply))
}

/// Compact IPv4 peers: 4 bytes of address, 2 of port (BEP 23). Bytes that are not a whole peer are skipped.
pub(crate) fn peers_v4(bytes: &[u8]) -> Vec<SocketAddr> {
    let (peers, _) = bytes.as_chunks::<6>();
    peers
        .iter()
        .take(PEERS_MAX)
        .map(|[a, b, c, d, high, low]| {
            SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])))
        })
        .collect()
}

/// Compact IPv6 peers: 16 bytes of address, 2 of port (BEP 7). Bytes that are not a whole peer are skipped.
pub(crate) fn peers_v6(bytes: &[u8]) -> Vec<SocketAddr> {
    let (peers, _) = bytes.as_chunks::<18>();
    peers
        .iter()
        .take(PEERS_MAX)
        .filter_map(|peer| {
            let (ip, port) = peer.split_first_chunk::<16>()?;
            Some(SocketAddr::from((Ipv6Addr::from(*ip), u16::from_be_bytes(port.try_into().ok()?))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            swarm: SwarmHash([0xaa; 20]),
            peer_id: *b"-PG0001-abcdefghijkl",
            ports: Ports::of(&["0.0.0.0:6881".parse().unwrap(), "[::]:6882".parse().unwrap()]),
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: Event::Started,
            numwant: 50,
            key: 0xdead_beef,
            ipv4: None,
            ipv6: None,
            tracker_id: None,
        }
    }

    /// The layouts of BEP 15, byte by byte.
    #[test]
    fn questions_have_the_layout_of_bep_15() {
        assert_eq!(HEXLOWER.encode(&connect(0x0102_0304)), "00000417271019800000000001020304");
        let announce = Ask::Announce { request: Box::new(request()), url_data: String::new() };
        let packet = ask(0x1122_3344_5566_7788, 9, &announce, false);
        assert_eq!(packet.len(), 98);
        let expected = [
            "1122334455667788",
            "00000001",
            "00000009",
            &"aa".repeat(20),
            &HEXLOWER.encode(b"-PG0001-abcdefghijkl"),
            "0000000000000001",
            "0000000000000002",
            "0000000000000003",
            "00000002",
            "00000000",
            "deadbeef",
            "00000032",
            "1ae1",
        ]
        .concat();
        assert_eq!(HEXLOWER.encode(&packet), expected);
        assert_eq!(ask(1, 9, &announce, true)[96..], 6882_u16.to_be_bytes());
        let scrape = ask(1, 2, &Ask::Scrape(vec![SwarmHash([1; 20]); 100]), false);
        assert_eq!(scrape.len(), 16 + 20 * SCRAPE_MAX);
    }

    /// BEP 41: long data is split over several options.
    #[test]
    fn url_data_is_split_into_options() {
        let url_data = format!("/announce?passkey={}", "k".repeat(300));
        let announce = Ask::Announce { request: Box::new(request()), url_data: url_data.clone() };
        let packet = ask(1, 2, &announce, false);
        let options = &packet[98..];
        assert_eq!(&options[..2], [2, 255]);
        assert_eq!(&options[2..257], &url_data.as_bytes()[..255]);
        assert_eq!(&options[257..259], [2, (url_data.len() - 255) as u8]);
        assert_eq!(&options[259..], &url_data.as_bytes()[255..]);
    }

    #[test]
    fn answers_are_read_by_the_family_they_came_over() {
        let head = "0000000100000009000007080000000300000005";
        let v4 = HEXLOWER.decode(format!("{head}0a0000011ae1c0a8000100500102").as_bytes()).unwrap();
        let Some((9, Reply::Announced(answer))) = parse(&v4, false) else { panic!("not an announce") };
        assert_eq!(answer.interval, Duration::from_secs(1800));
        assert_eq!((answer.leechers, answer.seeders), (Some(3), Some(5)));
        assert_eq!(answer.peers, ["10.0.0.1:6881".parse().unwrap(), "192.168.0.1:80".parse().unwrap()]);
        let v6 = HEXLOWER.decode(format!("{head}20010db80000000000000000000000011ae1").as_bytes()).unwrap();
        let Some((9, Reply::Announced(answer))) = parse(&v6, true) else { panic!("not an announce") };
        assert_eq!(answer.peers, ["[2001:db8::1]:6881".parse().unwrap()]);
    }

    /// "Check whether the packet is at least 16 (connect), 20 (announce), 8 (scrape, error) bytes."
    #[test]
    fn short_packets_are_no_answers() {
        for action in [0, 1, 2, 3, 4_u32] {
            let full = [action.to_be_bytes().as_slice(), &[7; 40]].concat();
            let shortest = (0..=full.len()).find(|length| parse(&full[..*length], false).is_some());
            assert_eq!(shortest, [Some(16), Some(20), Some(8), Some(8), None][action as usize]);
        }
    }

    #[test]
    fn a_flood_of_peers_is_cut() {
        let flood = [&[0, 0, 0, 1, 0, 0, 0, 1][..], &[1; 12], &[9; 60_000]].concat();
        let Some((1, Reply::Announced(answer))) = parse(&flood, false) else { panic!("not an announce") };
        assert_eq!(answer.peers.len(), PEERS_MAX);
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_the_parser(datagram in prop::collection::vec(any::<u8>(), 0..200), action in 0..5_u8, ipv6 in any::<bool>()) {
            let _ = parse(&datagram, ipv6);
            let _ = parse(&[&[0, 0, 0, action][..], &datagram].concat(), ipv6);
        }
    }
}
