//! The datagram of BEP 14.

use std::net::SocketAddr;

use crate::hash::SwarmHash;

/// Bytes of a datagram we send: it fits every link's frame.
pub(super) const LENGTH_MAX: usize = 1_400;

/// Swarms in a datagram we send; with the longest head, that many fit [`LENGTH_MAX`].
pub(super) const SWARMS_MAX: usize = 24;

/// Swarms taken from a datagram of others.
const SWARMS_HEARD_MAX: usize = 64;

const REQUEST: &str = "BT-SEARCH * HTTP/1.1";

/// What a neighbour says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// Its TCP port; its address is the datagram's.
    pub(super) port: u16,
    /// The swarms it is in.
    pub(super) swarms: Vec<SwarmHash>,
    /// Tells its own datagrams from those of others.
    pub(super) cookie: Option<String>,
}

/// The datagram that announces up to [`SWARMS_MAX`] swarms to a group.
pub(super) fn print(group: SocketAddr, port: u16, swarms: &[SwarmHash], cookie: &str) -> String {
    let mut text = format!("{REQUEST}\r\nHost: {group}\r\nPort: {port}\r\n");
    for swarm in swarms.iter().take(SWARMS_MAX) {
        text.push_str(&format!("Infohash: {swarm}\r\n"));
    }
    text.push_str(&format!("cookie: {cookie}\r\n\r\n\r\n"));
    text
}

/// Reads a datagram; `None` when it is no announcement, or one that names no port or no swarm.
pub(super) fn parse(datagram: &[u8]) -> Option<Announcement> {
    let text = std::str::from_utf8(datagram).ok()?;
    let mut lines = text.split("\r\n");
    if lines.next()? != REQUEST {
        return None;
    }
    let mut announcement = Announcement { port: 0, swarms: Vec::new(), cookie: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("port") {
            announcement.port = value.parse().ok()?;
        } else if name.eq_ignore_ascii_case("cookie") {
            announcement.cookie = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("infohash") && announcement.swarms.len() < SWARMS_HEARD_MAX {
            announcement.swarms.extend(swarm(value));
        }
    }
    (announcement.port != 0 && !announcement.swarms.is_empty()).then_some(announcement)
}

fn swarm(hex: &str) -> Option<SwarmHash> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
    Some(SwarmHash(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lan::{GROUP_V4, GROUP_V6};
    use proptest::prelude::*;

    /// The format of BEP 14, headers and line ends and all.
    #[test]
    fn printed_as_in_bep_14() {
        let text = print(GROUP_V4, 6881, &[SwarmHash([0xab; 20]), SwarmHash([1; 20])], "name=value");
        let expected = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {}\r\nInfohash: {}\r\ncookie: name=value\r\n\r\n\r\n",
            "ab".repeat(20),
            "01".repeat(20)
        );
        assert_eq!(text, expected);
        assert!(print(GROUP_V6, 1, &[], "").contains("Host: [ff15::efc0:988f]:6771\r\n"));
    }

    /// "A client should keep packet sizes below 1400 bytes."
    #[test]
    fn the_fullest_datagram_fits_a_frame() {
        let full = print(GROUP_V6, 65_535, &[SwarmHash([0xff; 20]); 100], &"f".repeat(16));
        assert!(full.len() <= LENGTH_MAX, "{}", full.len());
        assert_eq!(parse(full.as_bytes()).unwrap().swarms.len(), SWARMS_MAX);
    }

    /// As libtorrent 2.0.8 sends it.
    #[test]
    fn what_libtorrent_says_is_read() {
        let text = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
            Infohash: 0123456789ABCDEF0123456789abcdef01234567\r\ncookie: 2c9a1f\r\n\r\n\r\n";
        let heard = parse(text.as_bytes()).unwrap();
        assert_eq!((heard.port, heard.cookie.as_deref()), (6881, Some("2c9a1f")));
        assert_eq!(heard.swarms[0].to_string(), "0123456789abcdef0123456789abcdef01234567");
    }

    #[test]
    fn what_is_no_announcement_is_ignored() {
        let hash = "ab".repeat(20);
        let head = "BT-SEARCH * HTTP/1.1\r\n";
        for text in [
            String::new(),
            format!("GET / HTTP/1.1\r\nPort: 1\r\nInfohash: {hash}\r\n\r\n"),
            format!("{head}Infohash: {hash}\r\n\r\n"),
            format!("{head}Port: 0\r\nInfohash: {hash}\r\n\r\n"),
            format!("{head}Port: 65536\r\nInfohash: {hash}\r\n\r\n"),
            format!("{head}Port: 6881\r\nInfohash: {hash}ff\r\n\r\n"),
            format!("{head}Port: 6881\r\n\r\nInfohash: {hash}\r\n"),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        let flood = format!("{head}Port: 1\r\n{}\r\n", format!("Infohash: {hash}\r\n").repeat(1_000));
        assert_eq!(parse(flood.as_bytes()).unwrap().swarms.len(), SWARMS_HEARD_MAX);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(port in 1..=u16::MAX, hashes in prop::collection::vec(any::<[u8; 20]>(), 1..SWARMS_MAX), cookie in "[a-z0-9]{1,16}") {
            let swarms: Vec<_> = hashes.into_iter().map(SwarmHash).collect();
            let text = print(GROUP_V4, port, &swarms, &cookie);
            prop_assert_eq!(parse(text.as_bytes()), Some(Announcement { port, swarms, cookie: Some(cookie) }));
        }

        #[test]
        fn no_datagram_breaks_the_parser(datagram in prop::collection::vec(any::<u8>(), 0..300), text in "(Port|Infohash|cookie|:|\r\n| |[0-9a-f]){0,40}") {
            parse(&datagram);
            parse(format!("{REQUEST}\r\n{text}").as_bytes());
        }
    }
}
