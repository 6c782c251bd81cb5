//! Known messages of other programs, round trips, and foreign bytes.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::{Limits, Message};
use super::*;

fn own_ids() -> ExtensionIds {
    ExtensionIds::own(&Extension::ALL)
}

/// Encodes, takes the frame apart, and decodes.
fn there_and_back(message: &ExtendedMessage<'_>, check: impl FnOnce(ExtendedMessage<'_>)) {
    let mut frame = Vec::new();
    assert!(message.encode(&own_ids(), &mut frame));
    let Ok(Message::Extended { id, payload }) = Message::decode(&frame, &Limits::default()) else {
        panic!("not an extended message: {frame:?}");
    };
    check(ExtendedMessage::decode(id, payload).unwrap());
}

fn handshake_of(payload: &[u8]) -> ExtendedHandshake {
    match ExtendedMessage::decode(HANDSHAKE_ID, payload) {
        Ok(ExtendedMessage::Handshake(handshake)) => handshake,
        other => panic!("{other:?}"),
    }
}

/// What libtorrent 2.0.8 sends, with a few keys that are not ours.
#[test]
fn handshake_of_libtorrent() {
    let payload = b"d12:complete_agoi-1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e\
        11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei31235e4:reqqi500e11:upload_onlyi1e1:v16:libtorrent/2.0.8\
        6:yourip4:\x7f\x00\x00\x01e";
    let handshake = handshake_of(payload);
    assert_eq!(handshake.ids.get(Extension::DontHave), Some(7));
    assert_eq!(handshake.ids.get(Extension::UploadOnly), Some(3));
    assert_eq!(handshake.ids.get(Extension::Metadata), Some(2));
    assert_eq!(handshake.ids.get(Extension::Pex), Some(1));
    assert_eq!(handshake.metadata_size, Some(31235));
    assert_eq!(handshake.requests_max, Some(500));
    assert_eq!(handshake.upload_only, Some(true));
    assert_eq!(handshake.client.as_deref(), Some("libtorrent/2.0.8"));
    assert_eq!(handshake.your_ip, Some([127, 0, 0, 1].into()));
    assert_eq!(handshake.port, None);
}

#[test]
fn values_of_the_wrong_kind_are_as_good_as_missing() {
    let handshake = handshake_of(
        b"d4:ipv43:abc4:ipv65:abcde1:mi5e13:metadata_sizei-1e1:pi65536e4:reqq3:abc11:upload_only1:x1:vi1e6:yourip5:abcdee",
    );
    assert_eq!(handshake, ExtendedHandshake::default());
    let ids = handshake_of(b"d1:md11:lt_donthavei-1e11:ut_metadatai256e6:ut_pex1:aeee").ids;
    assert_eq!(ids, ExtensionIds::default());
}

#[test]
fn a_second_handshake_changes_only_what_it_names() {
    let mut ids = handshake_of(b"d1:md11:ut_metadatai2e6:ut_pexi1eee").ids;
    ids.merge(&handshake_of(b"d1:md11:upload_onlyi9e6:ut_pexi0eee").ids);
    assert_eq!(ids.get(Extension::Metadata), Some(2));
    assert_eq!(ids.get(Extension::UploadOnly), Some(9));
    assert_eq!(ids.get(Extension::Pex), None, "0 withdraws");
}

#[test]
fn names_of_clients_are_short_and_harmless() {
    let name = "\u{1b}[2Jevil\n".to_string() + &"ä".repeat(500);
    let mut payload = format!("d1:v{}:", name.len()).into_bytes();
    payload.extend_from_slice(name.as_bytes());
    payload.push(b'e');
    let client = handshake_of(&payload).client.unwrap();
    assert!(client.starts_with("[2Jevilää"), "{client}");
    assert_eq!(client.chars().count(), CLIENT_NAME_MAX);
}

#[test]
fn messages_the_peer_does_not_understand_are_not_sent() {
    let mut out = Vec::new();
    assert!(!ExtendedMessage::UploadOnly(true).encode(&ExtensionIds::default(), &mut out));
    let mut withdrawn = own_ids();
    withdrawn.set(Extension::UploadOnly, 0);
    assert!(!ExtendedMessage::UploadOnly(true).encode(&withdrawn, &mut out));
    assert!(out.is_empty());
}

/// The examples of BEP 9.
#[test]
fn metadata_messages_as_specified() {
    let id = Extension::Metadata.own_id();
    let decode = |payload| ExtendedMessage::decode(id, payload);
    assert_eq!(
        decode(b"d8:msg_typei0e5:piecei0ee"),
        Ok(ExtendedMessage::Metadata(MetadataMessage::Request { piece: 0 }))
    );
    assert_eq!(
        decode(b"d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxx"),
        Ok(ExtendedMessage::Metadata(MetadataMessage::Data { piece: 0, total_size: 3425, data: b"xxxx" }))
    );
    assert_eq!(
        decode(b"d8:msg_typei2e5:piecei0ee"),
        Ok(ExtendedMessage::Metadata(MetadataMessage::Reject { piece: 0 }))
    );
}

#[test]
fn metadata_messages_of_unknown_type_must_be_ignored() {
    let id = Extension::Metadata.own_id();
    assert_eq!(ExtendedMessage::decode(id, b"d8:msg_typei9ee"), Ok(ExtendedMessage::Unknown { id }));
}

#[test]
fn metadata_messages_are_refused_with_a_reason() {
    let refuse = |payload: &[u8]| {
        ExtendedMessage::decode(Extension::Metadata.own_id(), payload).unwrap_err().to_string()
    };
    assert_eq!(refuse(b"d8:msg_typei0ee"), "ut_metadata message has no sound value for `piece`");
    assert_eq!(refuse(b"d5:piecei0ee"), "ut_metadata message has no sound value for `msg_type`");
    assert_eq!(
        refuse(b"d8:msg_typei0e5:piecei4294967296ee"),
        "ut_metadata message has no sound value for `piece`"
    );
    assert_eq!(refuse(b"le"), "ut_metadata message is not a dictionary");
    assert_eq!(refuse(b"d8:msg_typ"), "ut_metadata message cannot be decoded");
    let mut long = b"d8:msg_typei1e5:piecei0ee".to_vec();
    assert!(refuse(&long).contains("payload of 0 bytes"));
    long.resize(long.len() + METADATA_PIECE_LENGTH + 1, 0);
    assert!(refuse(&long).contains("payload of 16385 bytes"));
}

#[test]
fn peer_exchange_of_another_program() {
    let payload = b"d5:added12:\x0a\x00\x00\x01\x1a\xe1\x0a\x00\x00\x02\x1a\xe27:added.f2:\x02\x117:dropped6:\x0a\x00\x00\x03\x00\x00\
        6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe18:added6.f0:e";
    let Ok(ExtendedMessage::Pex(pex)) = ExtendedMessage::decode(Extension::Pex.own_id(), payload) else {
        panic!()
    };
    let peer = |address: &str, flags| PexPeer { address: address.parse().unwrap(), flags: PexFlags(flags) };
    assert_eq!(
        pex.added,
        [peer("10.0.0.1:6881", 2), peer("10.0.0.2:6882", 0x11), peer("[2001:db8::1]:6881", 0)]
    );
    assert_eq!(pex.dropped, ["10.0.0.3:0".parse::<SocketAddr>().unwrap()]);
    assert_eq!(pex.ignored, 0);
}

#[test]
fn peer_exchange_with_thousands_of_peers_is_cut_off() {
    let peers = PEX_PEERS_MAX + 1000;
    let mut payload = format!("d5:added{}:", peers * 6).into_bytes();
    payload.resize(payload.len() + peers * 6, 7);
    payload.push(b'e');
    let Ok(ExtendedMessage::Pex(pex)) = ExtendedMessage::decode(Extension::Pex.own_id(), &payload) else {
        panic!()
    };
    assert_eq!((pex.added.len(), pex.ignored), (PEX_PEERS_MAX, 1000));
}

#[test]
fn small_messages_have_their_length() {
    let decode = |extension: Extension, payload| ExtendedMessage::decode(extension.own_id(), payload);
    assert_eq!(decode(Extension::DontHave, &[0, 0, 1, 2]), Ok(ExtendedMessage::DontHave(258)));
    assert!(decode(Extension::DontHave, &[0, 0, 1]).is_err());
    assert_eq!(decode(Extension::UploadOnly, &[1]), Ok(ExtendedMessage::UploadOnly(true)));
    assert_eq!(decode(Extension::UploadOnly, &[0]), Ok(ExtendedMessage::UploadOnly(false)));
    assert!(decode(Extension::UploadOnly, &[]).is_err());
    assert_eq!(ExtendedMessage::decode(77, b"?"), Ok(ExtendedMessage::Unknown { id: 77 }));
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u16; 7], u16)>().prop_map(|([a, b, c, d, e, f, g], port)| (
            [0x2001, a, b, c, d, e, f, g],
            port
        )
            .into()),
    ]
}

fn handshake() -> impl Strategy<Value = ExtendedHandshake> {
    let ids = prop::collection::vec((prop::sample::select(Extension::ALL.to_vec()), any::<u8>()), 0..4)
        .prop_map(|named| {
            let mut ids = ExtensionIds::default();
            for (extension, id) in named {
                ids.set(extension, id);
            }
            ids
        });
    let numbers = (
        prop::option::of(1_u16..),
        any::<Option<u32>>(),
        prop::option::of(1_u32..),
        any::<(Option<bool>, bool)>(),
    );
    let client = prop::option::of("[a-zA-Z0-9/. ä]{0,64}");
    (ids, client, numbers, any::<[Option<[u8; 4]>; 2]>(), prop::option::of(address())).prop_map(
        |(ids, client, (port, requests_max, metadata_size, (upload_only, hashes)), [ipv4, _], seen)| {
            ExtendedHandshake {
                ids,
                client,
                port,
                requests_max,
                your_ip: seen.map(|address| address.ip()),
                ipv4: ipv4.map(Into::into),
                ipv6: seen.and_then(|address| match address.ip() {
                    std::net::IpAddr::V6(ip) => Some(ip),
                    std::net::IpAddr::V4(_) => None,
                }),
                metadata_size,
                upload_only,
                hashes,
            }
        },
    )
}

fn pex() -> impl Strategy<Value = PexMessage> {
    let peer =
        (address(), any::<u8>()).prop_map(|(address, flags)| PexPeer { address, flags: PexFlags(flags) });
    (prop::collection::vec(peer, 0..20), prop::collection::vec(address(), 0..20)).prop_map(
        |(mut added, mut dropped)| {
            // On the wire each family has its own list, so its order among the other is lost.
            added.sort_by_key(|peer| peer.address.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            PexMessage { added, dropped, ignored: 0 }
        },
    )
}

proptest! {
    #[test]
    fn handshakes_come_back(handshake in handshake()) {
        let message = ExtendedMessage::Handshake(handshake);
        there_and_back(&message, |back| assert_eq!(back, message));
    }

    #[test]
    fn peer_exchange_comes_back(pex in pex()) {
        let message = ExtendedMessage::Pex(pex);
        there_and_back(&message, |back| assert_eq!(back, message));
    }

    #[test]
    fn metadata_comes_back(piece: u32, total_size: u32, data in prop::collection::vec(any::<u8>(), 1..500)) {
        for message in [
            MetadataMessage::Request { piece },
            MetadataMessage::Data { piece, total_size, data: &data },
            MetadataMessage::Reject { piece },
        ] {
            let message = ExtendedMessage::Metadata(message);
            there_and_back(&message, |back| assert_eq!(back, message));
        }
    }

    #[test]
    fn foreign_payloads_never_panic(id in 0_u8..6, payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ExtendedMessage::decode(id, &payload);
    }

    #[test]
    fn spoilt_payloads_never_panic(handshake in handshake(), pex in pex(), at: prop::sample::Index, with: u8, id in 0_u8..6) {
        for mut payload in [handshake.payload(), pex.payload()] {
            let at = at.index(payload.len());
            payload[at] = with;
            let _ = ExtendedMessage::decode(id, &payload);
            let _ = ExtendedMessage::decode(id, &payload[..at]);
        }
    }
}
