use proptest::prelude::*;

use super::{DEPTH_MAX, DecodeError, Fault, Item, Keys, Kind, Step, decode, decode_prefix};

fn fault(input: &[u8]) -> (usize, Fault) {
    let DecodeError { at, fault } = decode(input, Keys::Sorted).unwrap_err();
    (at, fault)
}

#[test]
fn reads_the_examples_of_bep_3() {
    assert_eq!(decode(b"4:spam", Keys::Sorted).unwrap().as_bytes(), Some(&b"spam"[..]));
    assert_eq!(decode(b"i3e", Keys::Sorted).unwrap().as_int(), Some(3));
    assert_eq!(decode(b"i-3e", Keys::Sorted).unwrap().as_int(), Some(-3));
    assert_eq!(decode(b"i-3e", Keys::Sorted).unwrap().as_uint(), None);
    let list: Vec<_> = decode(b"l4:spam4:eggse", Keys::Sorted).unwrap().as_list().unwrap().collect();
    assert_eq!(list.iter().filter_map(super::Value::as_str).collect::<Vec<_>>(), ["spam", "eggs"]);
    let dict = decode(b"d3:cow3:moo4:spaml1:a1:bee", Keys::Sorted).unwrap().as_dict().unwrap();
    assert_eq!(dict.bytes("cow"), Some(&b"moo"[..]));
    assert_eq!(dict.list("spam").unwrap().count(), 2);
    assert!(dict.get("pig").is_none());
    assert_eq!(dict.int("cow"), None);
}

#[test]
fn gives_the_span_and_original_bytes_of_every_value() {
    let input = b"d4:infod1:bi1e1:ai2eee";
    let info = decode(input, Keys::AnyOrder).unwrap().as_dict().unwrap().get("info").unwrap();
    assert_eq!(info.raw(), b"d1:bi1e1:ai2ee");
    assert_eq!(&input[info.span()], info.raw());
    let inner = info.as_dict().unwrap().get("a").unwrap();
    assert_eq!(&input[inner.span()], b"i2e");
    assert_eq!(inner.kind(), Kind::Int);
}

#[test]
fn numbers_have_one_spelling() {
    assert_eq!(fault(b"i03e"), (1, Fault::LeadingZero));
    assert_eq!(fault(b"i-03e"), (2, Fault::LeadingZero));
    assert_eq!(fault(b"i00e"), (1, Fault::LeadingZero));
    assert_eq!(fault(b"i-0e"), (0, Fault::MinusZero));
    assert_eq!(fault(b"i+1e"), (1, Fault::NotANumber));
    assert_eq!(fault(b"ie"), (1, Fault::NotANumber));
    assert_eq!(fault(b"i-e"), (2, Fault::NotANumber));
    assert_eq!(fault(b"i1.5e"), (2, Fault::NotANumber));
    assert_eq!(fault(b"01:a"), (0, Fault::LeadingZero));
    assert_eq!(fault(b"1x:a"), (1, Fault::NotANumber));
    assert_eq!(fault(b"-1:a"), (0, Fault::NotAValue(b'-')));
}

#[test]
fn numbers_fit_64_bits() {
    assert_eq!(decode(b"i9223372036854775807e", Keys::Sorted).unwrap().as_int(), Some(i64::MAX));
    assert_eq!(decode(b"i-9223372036854775808e", Keys::Sorted).unwrap().as_int(), Some(i64::MIN));
    assert_eq!(fault(b"i9223372036854775808e"), (0, Fault::NumberTooLarge));
    assert_eq!(fault(b"i-9223372036854775809e"), (0, Fault::NumberTooLarge));
    assert_eq!(fault(b"99999999999999999999:a"), (0, Fault::NumberTooLarge));
    let longest = u64::MAX.to_string();
    let expected = Fault::StringPastEnd { length: u64::MAX, left: 1 };
    assert_eq!(fault(format!("{longest}:a").as_bytes()), (0, expected));
}

#[test]
fn strings_end_inside_the_input() {
    assert_eq!(fault(b"5:spam"), (0, Fault::StringPastEnd { length: 5, left: 4 }));
    assert_eq!(fault(b"l6:spame"), (1, Fault::StringPastEnd { length: 6, left: 5 }));
    // The string swallows the bracket: the list never ends.
    assert_eq!(fault(b"l5:spame"), (8, Fault::Ended));
}

#[test]
fn says_where_the_input_ended() {
    assert_eq!(fault(b""), (0, Fault::Ended));
    assert_eq!(fault(b"i12"), (3, Fault::Ended));
    assert_eq!(fault(b"12"), (2, Fault::Ended));
    assert_eq!(fault(b"l"), (1, Fault::Ended));
    assert_eq!(fault(b"d1:a"), (4, Fault::Ended));
    assert_eq!(fault(b"i1ei2e"), (3, Fault::TrailingBytes));
    assert_eq!(fault(b"e"), (0, Fault::NotAValue(b'e')));
    assert_eq!(fault(b"x"), (0, Fault::NotAValue(b'x')));
}

#[test]
fn dictionaries_pair_string_keys_with_values() {
    assert_eq!(fault(b"di1ei2ee"), (1, Fault::KeyNotString));
    assert_eq!(fault(b"dlei2ee"), (1, Fault::KeyNotString));
    assert_eq!(fault(b"d1:ae"), (4, Fault::KeyWithoutValue));
}

#[test]
fn keys_are_sorted_unless_any_order_is_asked_for() {
    assert_eq!(fault(b"d1:bi1e1:ai2ee"), (7, Fault::UnsortedKey));
    let dict = decode(b"d1:bi1e1:ai2ee", Keys::AnyOrder).unwrap().as_dict().unwrap();
    assert_eq!((dict.int("a"), dict.int("b")), (Some(2), Some(1)));
    // As bytes, not as text and not by length: BEP 3.
    assert!(decode(b"d2:aai1e1:bi2ee", Keys::Sorted).is_ok());
    assert!(decode(b"d1:Bi1e1:ai2ee", Keys::Sorted).is_ok());
}

#[test]
fn repeated_keys_are_refused_in_any_order() {
    assert_eq!(fault(b"d1:ai1e1:ai2ee"), (7, Fault::DuplicateKey));
    let apart = decode(b"d1:bi1e1:ai2e1:bi3ee", Keys::AnyOrder).unwrap_err();
    assert_eq!(apart, DecodeError { at: 13, fault: Fault::DuplicateKey });
    let nested = decode(b"ld1:bi1e1:ad1:ci0ee1:ble1:zi0eee", Keys::AnyOrder).unwrap_err();
    assert_eq!(nested.fault, Fault::DuplicateKey);
    // The same key in another dictionary is another key.
    assert!(decode(b"d1:bd1:bi1ee1:ad1:bi1eee", Keys::AnyOrder).is_ok());
}

#[test]
fn a_cursor_goes_through_a_tree_in_one_pass() {
    let tree = b"d1:ad1:bi1e1:cd1:di2eee1:ei3e1:fi4ee";
    let mut cursor = decode(tree, Keys::Sorted).unwrap().as_dict().unwrap().cursor();
    assert_eq!(cursor.take(), None);
    assert_eq!(cursor.step(), Some(Step::Key(b"a")));
    assert_eq!(cursor.enter(), Ok(()));
    assert_eq!(cursor.step(), Some(Step::Key(b"b")));
    assert_eq!(cursor.enter(), Err(Kind::Int));
    let value = cursor.take().unwrap();
    assert_eq!((value.as_int(), value.span()), (Some(1), 8..11));
    assert_eq!(cursor.take(), None);
    assert_eq!(cursor.step(), Some(Step::Key(b"c")));
    assert_eq!(cursor.enter(), Ok(()));
    assert_eq!(cursor.step(), Some(Step::Key(b"d")));
    // Not used, so passed over.
    assert_eq!(cursor.step(), Some(Step::Up));
    assert_eq!(cursor.enter(), Err(Kind::Bytes));
    assert_eq!(cursor.step(), Some(Step::Up));
    assert_eq!(cursor.step(), Some(Step::Key(b"e")));
    assert_eq!(cursor.step(), Some(Step::Key(b"f")));
    assert_eq!(cursor.step(), None);
}

/// Unsorted at every level: looking for repeated keys level by level would read the inside 60 times.
#[test]
fn unsorted_keys_cost_one_pass() {
    let inside = [b"l".as_slice(), &b"0:".repeat(200_000), b"e"].concat();
    let nested =
        |levels: usize| [&b"d1:b".repeat(levels), inside.as_slice(), &b"1:ai0ee".repeat(levels)].concat();
    let time = |bytes: &[u8]| {
        let start = std::time::Instant::now();
        decode(bytes, Keys::AnyOrder).unwrap();
        start.elapsed()
    };
    let (flat, deep) = (nested(1), nested(60));
    let best = |bytes: &[u8]| (0..3).map(|_| time(bytes)).min().unwrap();
    assert!(best(&deep) < 10 * best(&flat));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(decode(&nested(DEPTH_MAX), Keys::Sorted).is_ok());
    assert_eq!(fault(&nested(DEPTH_MAX + 1)), (DEPTH_MAX, Fault::TooDeep));
    assert_eq!(fault(&vec![b'l'; 1 << 20]), (DEPTH_MAX, Fault::TooDeep));
}

#[test]
fn a_prefix_leaves_the_rest() {
    let message = b"d8:msg_typei1e5:piecei0eeraw bytes";
    let (value, end) = decode_prefix(message, Keys::Sorted).unwrap();
    assert_eq!(value.as_dict().unwrap().int("piece"), Some(0));
    assert_eq!(&message[end..], b"raw bytes");
}

#[test]
fn encodes_with_sorted_keys() {
    let item = Item::dict([
        ("z", Item::from(true)),
        ("a", Item::list(["x", "y"])),
        ("m", Item::Raw("d1:ai1ee".into())),
        ("b", Item::from(-5)),
    ]);
    assert_eq!(item.encode(), b"d1:al1:x1:ye1:bi-5e1:md1:ai1ee1:zi1ee");
}

#[test]
fn debug_output_is_short_and_escaped() {
    let value = decode(b"d1:\x1bi1e1:zl1:aee", Keys::Sorted).unwrap();
    assert_eq!(format!("{value:?}"), "a dictionary of 16 bytes");
    assert_eq!(format!("{:?}", value.as_dict().unwrap()), r#"{"\\x1b": 1, "z": a list of 5 bytes}"#);
}

fn items() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Item::from),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Item::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = proptest::collection::vec(any::<u8>(), 0..6);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Item::List),
            proptest::collection::vec((key, inner), 0..6).prop_map(Item::dict),
        ]
    })
}

/// Builds the tree that a view shows.
fn item_of(value: super::Value<'_>) -> Item {
    match value.kind() {
        Kind::Int => Item::Int(value.as_int().unwrap()),
        Kind::Bytes => Item::from(value.as_bytes().unwrap()),
        Kind::List => Item::List(value.as_list().unwrap().map(item_of).collect()),
        Kind::Dict => Item::dict(value.as_dict().unwrap().map(|(key, value)| (key.to_vec(), item_of(value)))),
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(item in items()) {
        let bytes = item.encode();
        prop_assert_eq!(item_of(decode(&bytes, Keys::Sorted).unwrap()), item);
    }

    #[test]
    fn what_decodes_strictly_encodes_to_the_same(bytes in "[ilde0-3:a-]{0,24}") {
        if let Ok(value) = decode(bytes.as_bytes(), Keys::Sorted) {
            prop_assert_eq!(item_of(value).encode(), bytes.as_bytes());
        }
    }

    #[test]
    fn no_prefix_of_a_container_is_complete(item in items()) {
        let bytes = Item::List(vec![item]).encode();
        for end in 0..bytes.len() {
            prop_assert!(decode(&bytes[..end], Keys::AnyOrder).is_err());
        }
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok((value, end)) = decode_prefix(&bytes, Keys::AnyOrder) {
            prop_assert_eq!(value.raw(), &bytes[..end]);
            item_of(value);
        }
    }
}
