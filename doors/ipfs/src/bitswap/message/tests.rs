use cid::Version;
use cid::multihash::Multihash;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::bitswap::frame::Frames;
use crate::bitswap::verify::{self, Nameless};

const HELLO: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"; // raw, "hello world"
const EMPTY: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"; // dag-pb, no bytes

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

fn hex(text: &str) -> Bytes {
    HEXLOWER.decode(text.replace(' ', "").as_bytes()).unwrap().into()
}

/// The frame without its length.
fn body(message: &Message, protocol: Protocol) -> Bytes {
    let mut frames = Frames::new();
    message.encode(protocol).iter().for_each(|part| frames.room().extend_from_slice(part));
    let body = frames.next().unwrap().unwrap();
    assert!(frames.is_between_messages());
    body
}

#[test]
fn a_want_has_these_bytes() {
    let message = Message {
        wantlist: Wantlist {
            entries: vec![Entry { priority: 7, ..Entry::have(cid(HELLO)) }, Entry::cancel(cid(EMPTY))],
            full: true,
        },
        pending_bytes: 300,
        ..Message::default()
    };
    let hello = "01551220 b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let empty = "1220 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let wire = format!("0a58 0a2c 0a24{hello} 1007 2001 2801 0a26 0a22{empty} 1801 1001 28ac02");
    assert_eq!(body(&message, Protocol::V1_2), hex(&wire));
    assert_eq!(Message::decode(&hex(&wire)), Ok(message));
}

#[test]
fn blocks_and_presences_have_these_bytes() {
    let message = Message {
        blocks: vec![Block { prefix: Prefix::of(&cid(HELLO)), data: Bytes::from_static(b"hello world") }],
        presences: vec![(cid(HELLO), Presence::DontHave), (cid(EMPTY), Presence::Have)],
        ..Message::default()
    };
    let hello = "01551220 b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let empty = "1220 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let block = "1a13 0a04 01551220 120b 68656c6c6f20776f726c64";
    let wire = format!("{block} 2228 0a24{hello} 1001 2224 0a22{empty}");
    assert_eq!(body(&message, Protocol::V1_2), hex(&wire));
    assert_eq!(Message::decode(&hex(&wire)), Ok(message.clone()));
    assert_eq!(body(&message, Protocol::V1_1), hex(block));
    assert_eq!(body(&message, Protocol::V1_0), hex("120b 68656c6c6f20776f726c64"));
}

#[test]
fn older_protocols_say_nothing_of_haves() {
    let entries = vec![Entry::have(cid(HELLO)), Entry::block(cid(EMPTY))];
    let message = Message { wantlist: Wantlist { entries, full: false }, ..Message::default() };
    let empty = "1220 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for protocol in [Protocol::V1_0, Protocol::V1_1] {
        assert_eq!(body(&message, protocol), hex(&format!("0a28 0a26 0a22{empty} 1001")));
    }
}

#[test]
fn a_block_has_the_name_that_its_bytes_have() {
    let data = Bytes::from_static(b"hello world");
    assert_eq!(verify::name(&Prefix::of(&cid(HELLO)), &data), Ok(cid(HELLO)));
    assert_eq!(verify::name(&Prefix::V0, &Bytes::new()), Ok(cid(EMPTY)));
    let md5 = Prefix { version: Version::V1, hash: 0xd5, length: 16, ..Prefix::V0 };
    assert!(matches!(verify::name(&md5, &data), Err(Nameless::Hash(_))));
    let short = Prefix { version: Version::V1, length: 20, ..Prefix::V0 };
    assert_eq!(verify::name(&short, &data), Err(Nameless::Prefix(short)));
    let raw_v0 = Prefix { codec: 0x55, ..Prefix::V0 };
    assert_eq!(verify::name(&raw_v0, &data), Err(Nameless::Prefix(raw_v0)));
}

#[test]
fn a_block_lies_in_the_frame_it_came_in() {
    let block = Block { prefix: Prefix::V0, data: vec![5; 100_000].into() };
    let frame = body(&Message { blocks: vec![block.clone()], ..Message::default() }, Protocol::V1_2);
    let message = Message::decode(&frame).unwrap();
    assert_eq!(message.blocks, [block]);
    assert!(frame.as_ptr_range().contains(&message.blocks[0].data.as_ptr()));
}

#[test]
fn what_nobody_knows_is_skipped() {
    // Fields 9 (varint), 10 (bytes), 11 (64 bits), 12 (32 bits).
    assert_eq!(Message::decode(&hex("4805 520101 590102030405060708 6501020304")), Ok(Message::default()));
}

#[test]
fn what_names_nothing_is_left_out_and_counted() {
    for wire in [
        "0a06 0a04 0a020155",          // a CID that ends early
        "0a08 0a06 0a0401550000",      // one of no digest is fine, see below
        "0a0a 0a08 0a0401550000 2009", // a want of kind 9
        "2208 0a0401550000 1005",      // a presence of kind 5
        "1a08 0a0402551220 1200",      // a block with a CID of version 2
    ] {
        let message = Message::decode(&hex(wire)).unwrap();
        let fine = wire.starts_with("0a08");
        assert_eq!(message.left_out, usize::from(!fine), "{wire}");
        assert_eq!(message.wantlist.entries.len(), usize::from(fine), "{wire}");
    }
}

#[test]
fn malformed_messages_are_refused() {
    for (wire, error) in [
        ("0a05 0a", DecodeError::Truncated),
        ("0a", DecodeError::Truncated),
        ("08 01", DecodeError::WireType),
        ("0b", DecodeError::WireType),
        ("02 00", DecodeError::FieldNumber),
        ("28 ffffffffffffffffff7f", DecodeError::Varint),
        ("28 ffffffffffffffffffff01", DecodeError::Varint),
        ("1a03 0a0101", DecodeError::Prefix),
        ("1a07 0a050155122000", DecodeError::Prefix),
    ] {
        assert_eq!(Message::decode(&hex(wire)), Err(error), "{wire}");
    }
}

#[test]
fn of_a_huge_wantlist_a_bounded_part_is_taken() {
    let entry = hex("0a06 0a0401550000");
    let mut wire = Vec::new();
    pb::put_bytes(&mut wire, 1, &entry.repeat(ENTRIES_MAX + 10));
    let message = Message::decode(&wire.into()).unwrap();
    assert_eq!((message.wantlist.entries.len(), message.left_out), (ENTRIES_MAX, 10));
    let message = Message::decode(&hex("1200").repeat(ITEMS_MAX + 3).into()).unwrap();
    assert_eq!((message.blocks.len(), message.left_out), (ITEMS_MAX, 3));
}

fn any_cid() -> impl Strategy<Value = Cid> {
    (any::<bool>(), any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..=64), any::<[u8; 32]>())
        .prop_map(|(old, codec, hash, digest, sha)| match old {
            true => Cid::new_v0(Multihash::wrap(0x12, &sha).unwrap()).unwrap(),
            false => Cid::new_v1(codec, Multihash::wrap(hash, &digest).unwrap()),
        })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let want = prop_oneof![Just(Want::Block), Just(Want::Have), Just(Want::Cancel)];
    (any_cid(), any::<i32>(), want, any::<bool>()).prop_map(|(cid, priority, want, send_dont_have)| Entry {
        cid,
        priority,
        want,
        send_dont_have,
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let block = (any_cid(), prop::collection::vec(any::<u8>(), 0..6000))
        .prop_map(|(cid, data)| Block { prefix: Prefix::of(&cid), data: data.into() });
    let presence = (any_cid(), prop_oneof![Just(Presence::Have), Just(Presence::DontHave)]);
    (
        prop::collection::vec(any_entry(), 0..8),
        any::<bool>(),
        prop::collection::vec(block, 0..5),
        prop::collection::vec(presence, 0..8),
        any::<i32>(),
    )
        .prop_map(|(entries, full, blocks, presences, pending_bytes)| Message {
            wantlist: Wantlist { entries, full },
            blocks,
            presences,
            pending_bytes,
            left_out: 0,
        })
}

proptest! {
    #[test]
    fn a_message_is_what_it_was_after_a_journey(message in any_message()) {
        prop_assert_eq!(Message::decode(&body(&message, Protocol::V1_2)), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(mut message) = Message::decode(&bytes.into()) {
            message.left_out = 0;
            prop_assert_eq!(Message::decode(&body(&message, Protocol::V1_2)), Ok(message));
        }
    }
}
