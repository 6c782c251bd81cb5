//! Bencode written by hand, so that it can be wrong.

/// A number.
pub fn int(value: i64) -> Vec<u8> {
    format!("i{value}e").into_bytes()
}

/// A string of bytes.
pub fn bytes(value: &[u8]) -> Vec<u8> {
    [format!("{}:", value.len()).as_bytes(), value].concat()
}

/// A string.
pub fn text(value: &str) -> Vec<u8> {
    bytes(value.as_bytes())
}

/// A list of values that are bencoded already.
pub fn list(values: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let inner: Vec<u8> = values.into_iter().flatten().collect();
    [b"l", &inner[..], b"e"].concat()
}

/// A dictionary, in the order given; values are bencoded already.
pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let inner: Vec<u8> =
        entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"d", &inner[..], b"e"].concat()
}
