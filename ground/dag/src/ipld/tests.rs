use super::*;
use crate::sha2_256;

fn path(text: &str) -> Vec<Vec<u8>> {
    text.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
}

const LINK: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

fn json() -> Vec<u8> {
    format!(
        r#"{{"a":{{"b":[1,{{"/":"{LINK}"}},{{"c":null}}]}},"bytes":{{"/":{{"bytes":"AAAA"}}}},"n":-1.5}}"#
    )
    .into_bytes()
}

/// The same document in dag-cbor.
fn cbor() -> Vec<u8> {
    let document: ipld_core::ipld::Ipld = serde_ipld_dagjson::from_slice(&json()).unwrap();
    serde_ipld_dagcbor::to_vec(&document).unwrap()
}

#[test]
fn paths_lead_to_links_and_values_in_both_codecs() {
    let link: Cid = LINK.parse().unwrap();
    for (codec, block) in [(Codec::DagJson, json()), (Codec::DagCbor, cbor())] {
        for (at, found) in [
            ("", Found::Value),
            ("a", Found::Value),
            ("a/b", Found::Value),
            ("a/b/0", Found::Value),
            ("a/b/1", Found::Link(link, 3)),
            ("a/b/1/further/on", Found::Link(link, 3)),
            ("a/b/2/c", Found::Value),
            ("bytes", Found::Value),
            ("n", Found::Value),
            ("a/b/3", Found::Nothing),
            ("a/b/x", Found::Nothing),
            ("a/b/0/x", Found::Nothing),
            ("bytes/x", Found::Nothing),
            ("x", Found::Nothing),
        ] {
            assert_eq!(seek(codec, &block, &path(at)), Ok(found), "{codec:?} {at}");
        }
        assert_eq!(links(&sha2_256(codec, &block), &block), Ok(vec![link]));
    }
}

#[test]
fn what_is_malformed_is_refused_wherever_the_path_leads() {
    for block in [&b""[..], b"{", b"{}x", br#"{"a":1,"b":}"#, br#"{"/":"no cid"}"#] {
        assert!(matches!(seek(Codec::DagJson, block, &path("a")), Err(WalkError::Ipld { .. })), "{block:?}");
    }
    for block in [&[][..], &[0xa1], &[0x01, 0x01], &[0xd8, 0x2a, 0x41, 0x00], &[0xff], &[0x9f]] {
        assert!(matches!(seek(Codec::DagCbor, block, &path("a")), Err(WalkError::Ipld { .. })), "{block:?}");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = "[".repeat(100_000);
    assert!(seek(Codec::DagJson, deep.as_bytes(), &path("0/0")).is_err());
    assert!(seek(Codec::DagCbor, &vec![0x81; 100_000], &path("0/0")).is_err());
    assert!(seek(Codec::DagCbor, &vec![0x81; 100_000], &path("x")).is_err());
    assert!(links(&sha2_256(Codec::DagCbor, b""), &vec![0x81; 100_000]).is_err());
}

#[test]
fn a_key_is_no_block_with_links() {
    assert_eq!(links(&sha2_256(Codec::Libp2pKey, b""), b""), Err(WalkError::Codec(0x72)));
    assert_eq!(links(&sha2_256(Codec::Raw, b"x"), b"x"), Ok(Vec::new()));
}
