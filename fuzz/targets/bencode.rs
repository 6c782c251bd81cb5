//! Any bytes are a value or a refusal; a value walks to its end, and encodes to what it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::bencode::{Cursor, Dict, Item, Keys, Kind, Step, Value, decode, decode_prefix};

fuzz_target!(|bytes: &[u8]| {
    let strict = decode(bytes, Keys::Sorted);
    if let Ok(value) = strict {
        assert_eq!(value.raw(), bytes);
        assert_eq!(rebuilt(value).encode(), bytes);
    }
    let prefix = decode_prefix(bytes, Keys::AnyOrder);
    if let Ok((value, end)) = prefix {
        assert_eq!(value.raw(), &bytes[..end]);
        assert_eq!(rebuilt(value).encode().len(), end);
        if let Some(dict) = value.as_dict() {
            assert_eq!(keys_by_cursor(dict.cursor()), keys_by_view(dict));
        }
    }
    assert!(strict.is_err() || prefix.is_ok());
});

/// The tree that a view shows, gathered by walking it; every span must name its own bytes.
fn rebuilt(value: Value<'_>) -> Item {
    assert_eq!(value.span().len(), value.raw().len());
    match value.kind() {
        Kind::Int => Item::Int(value.as_int().unwrap()),
        Kind::Bytes => Item::from(value.as_bytes().unwrap()),
        Kind::List => Item::list(value.as_list().unwrap().map(rebuilt)),
        Kind::Dict => {
            let dict = value.as_dict().unwrap();
            Item::dict(dict.map(|(key, value)| (key.to_vec(), rebuilt(value))))
        }
    }
}

/// All keys of a tree of dictionaries, in the order of the bytes.
fn keys_by_view<'a>(dict: Dict<'a>) -> Vec<&'a [u8]> {
    let below = |value: Value<'a>| value.as_dict().map(keys_by_view).unwrap_or_default();
    dict.flat_map(|(key, value)| std::iter::once(key).chain(below(value))).collect()
}

/// The same in one pass.
fn keys_by_cursor(mut cursor: Cursor<'_>) -> Vec<&[u8]> {
    let mut keys = Vec::new();
    while let Some(step) = cursor.step() {
        if let Step::Key(key) = step {
            keys.push(key);
            let _ = cursor.enter();
        }
    }
    keys
}
