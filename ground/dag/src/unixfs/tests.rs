use proptest::prelude::*;

use super::*;

#[test]
fn the_smallest_messages_are_those_that_everybody_writes() {
    assert_eq!(Data::new(Kind::Directory).encode(), [0x08, 0x01]);
    let empty = Data { filesize: Some(0), ..Data::new(Kind::File) };
    assert_eq!(empty.encode(), [0x08, 0x02, 0x18, 0x00]);
}

#[test]
fn packed_sizes_read_like_single_ones() {
    let single = Data::decode(&[0x08, 2, 0x20, 1, 0x20, 0x80, 2]).unwrap();
    let packed = Data::decode(&[0x08, 2, 0x22, 3, 1, 0x80, 2]).unwrap();
    assert_eq!(single, packed);
    assert_eq!(single.blocksizes, [1, 256]);
}

#[test]
fn what_is_malformed_is_named() {
    for (message, why) in [
        (&[][..], UnixFsError::NoKind),
        (&[0x18, 1], UnixFsError::NoKind),
        (&[0x08, 6], UnixFsError::Field(1)),
        (&[0x08, 2, 0x10, 0], UnixFsError::Field(2)),
        (&[0x08, 2, 0x22, 2, 0x80, 0x80], UnixFsError::Proto(ProtoError::Truncated)),
        (&[0x08, 2, 0x38, 0x80, 0x80, 0x80, 0x80, 0x10], UnixFsError::Field(7)),
        (&[0x08, 2, 0x42, 5, 0x15, 0, 0, 0, 0], UnixFsError::Nanos),
        (&[0x08, 2, 0x42, 5, 0x15, 0, 0xca, 0x9a, 0x3b], UnixFsError::Nanos),
    ] {
        assert_eq!(Data::decode(message), Err(why), "{message:?}");
    }
}

#[test]
fn fields_to_come_are_passed_over() {
    let data = Data::decode(&[0x08, 4, 0x12, 1, b'x', 0x4a, 2, 1, 2, 0xa0, 0x01, 5]).unwrap();
    assert_eq!(data, Data { data: Some(b"x"), ..Data::new(Kind::Symlink) });
}

proptest! {
    #[test]
    fn any_message_survives(
        kind in 0..6_u64,
        data in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        filesize in prop::option::of(any::<u64>()),
        blocksizes in prop::collection::vec(any::<u64>(), 0..20),
        fanout in prop::option::of(any::<u64>()),
        mode in prop::option::of(any::<u32>()),
        mtime in prop::option::of((any::<i64>(), 0..NANOS)),
    ) {
        let message = Data {
            kind: Kind::from_number(kind).unwrap(),
            data: data.as_deref(),
            filesize,
            blocksizes,
            hash_type: fanout,
            fanout,
            metadata: Metadata { mode, mtime: mtime.map(|(seconds, nanos)| Mtime { seconds, nanos }) },
        };
        let encoded = message.encode();
        prop_assert_eq!(Data::decode(&encoded), Ok(message));
    }
}
