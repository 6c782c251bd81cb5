//! Any bytes are a value or a refusal; a value walks to its end, and encodes to what it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::bencode::{Item, Keys, Kind, Value, decode, decode_prefix};

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
