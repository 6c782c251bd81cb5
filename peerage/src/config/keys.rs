//! The keys of the configuration, in words.

/// A key and what it is for.
#[derive(Debug)]
pub struct Key {
    /// As in the file.
    pub name: &'static str,
    /// For people, a phrase.
    pub about: &'static str,
}

const fn key(name: &'static str, about: &'static str) -> Key {
    Key { name, about }
}

/// All keys, in the order of `peerage config`.
pub const KEYS: &[Key] = &[
    key("data_dir", "where Peerage keeps what it must remember; not your files"),
    key("download_dir", "where `get` puts what it fetches unless -o says otherwise"),
    key("listen", "addresses to accept peers on"),
    key("dht", "find peers through the Mainline DHT"),
    key("dht_bootstrap", "host:port of DHT nodes to begin with; empty: the well-known ones"),
    key("lan", "find peers on the local network"),
    key("encryption", "encrypt connections: prefer, require or off"),
    key("limit_up", "upload limit in bytes a second, such as 5M; 0: none"),
    key("limit_down", "download limit in bytes a second; 0: none"),
    key("limit_up_per_peer", "upload limit of each peer; 0: none"),
    key("limit_down_per_peer", "download limit of each peer; 0: none"),
    key("connections", "connections to peers, of all transfers together"),
    key("connections_per_transfer", "connections to peers of one transfer"),
    key("upload_slots", "peers that one transfer serves at a time; 0: as many as the upload rate suggests"),
    key("super_seed", "reveal what is shared piece by piece, so that distinct pieces spread first"),
    key("active_downloads", "transfers that download at a time, others wait; 0: no bound"),
    key("seed_ratio", "stop serving after uploading the size so many times; 0: never"),
    key("seed_time", "stop serving after so long, such as 2h; 0: never"),
    key("disk_quota", "bytes that all downloads may take on disk together, such as 500G; 0: no bound"),
    key("preallocate", "take the space of a download up front"),
    key("gateway", "let browsers and other programs read what is shared over HTTP"),
    key("gateway_listen", "address of that gateway; beyond loopback, others can read it, too"),
    key("api_listen", "loopback address of the daemon's API"),
    key("metrics_open", "let /metrics be read on loopback without the token"),
];

/// The key that was probably meant: the one that differs least, if it differs little.
pub fn nearest(key: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|known| (distance(key, known.name), known.name))
        .min()
        .filter(|(distance, name)| *distance * 3 <= name.len().max(3))
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("dht", "dth", 2)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn near_misses_are_recognised_and_far_ones_are_not() {
        assert_eq!(nearest("limit-up"), Some("limit_up"));
        assert_eq!(nearest("seedratio"), Some("seed_ratio"));
        assert_eq!(nearest("colour"), None);
    }
}
