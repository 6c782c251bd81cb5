use proptest::prelude::*;

use super::*;
use crate::{Codec, sha2_256};

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// Blocks of the codec's published fixtures.
#[test]
fn fixtures_read_and_are_written_again_the_same() {
    for block in [
        "",
        "0a00",
        "0a03010203",
        "120b0a09015500050001020304",
        "120d0a090155000500010203041200",
        "12160a090155000500010203041209736f6d65206e616d65",
        "12140a0901550005000102030418ffffffffffffff0f",
        "120d0a090155000500010203041800",
        "120b0a0901550005000102030412100a09015500050001020304120362617212100a090155000500010203041203666f6f",
        "120e0a09015500050001020304120161120e0a09015500050001020304120161",
    ] {
        let block = hex(block);
        assert_eq!(Node::decode(&block).unwrap().encode(), block);
    }
}

#[test]
fn data_may_stand_before_the_links_and_moves_behind_them() {
    let node = hex("0a0101120b0a09015500050001020304");
    assert_eq!(Node::decode(&node).unwrap().encode(), hex("120b0a090155000500010203040a0101"));
}

#[test]
fn what_other_codecs_refuse_is_refused() {
    for (block, why) in [
        ("0a010a0a0101", PbError::Order(1)), // data twice
        ("120b0a090155000500010203040a0101120b0a09015500050001020304", PbError::Order(2)), // data between links
        ("1801", PbError::Field(3)), // no field of a node
        ("0801", PbError::Field(1)), // data that is a number
        ("1200", PbError::NoCid),
        ("12020a00", PbError::BadCid),
        ("120312016a", PbError::NoCid),
        ("120e12016a0a09015500050001020304", PbError::Order(1)), // name before hash
        ("12160a090155000500010203040a09015500050001020304", PbError::Order(1)),
        ("120d0a09015500050001020304200a", PbError::Field(4)),
        ("12ff0f", PbError::Proto(ProtoError::Truncated)),
    ] {
        assert_eq!(Node::decode(&hex(block)), Err(why), "{block}");
    }
}

#[test]
fn the_number_of_links_is_bounded() {
    let link = hex("12060a040155000012060a0401550000");
    assert!(Node::decode(&link.repeat(LINKS_MAX / 2)).is_ok());
    assert_eq!(Node::decode(&link.repeat(LINKS_MAX / 2 + 1)), Err(PbError::TooManyLinks));
}

proptest! {
    #[test]
    fn any_node_survives_and_its_links_have_the_length_foretold(
        links in prop::collection::vec((any::<u8>(), ".{0,40}", any::<u64>()), 0..20),
        data in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)),
    ) {
        let links: Vec<_> = links
            .iter()
            .map(|(seed, name, tsize)| Link {
                cid: sha2_256(Codec::Raw, &[*seed]),
                name: Some(name.as_bytes()),
                tsize: Some(*tsize),
            })
            .collect();
        let lengths: usize = links.iter().map(|link| link_len(36, link.name().len(), link.tsize.unwrap())).sum();
        let node = Node { links, data: data.as_deref() };
        let block = node.encode();
        prop_assert_eq!(Node::decode(&block).unwrap(), node.clone());
        prop_assert_eq!(block.len(), lengths + node.data.map_or(0, |data| proto::bytes_len(data.len())));
    }
}
