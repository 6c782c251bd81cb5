//! Any bytes are an extended message or a refusal; what was read is bounded, and reads the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::wire::extended::{
    CLIENT_NAME_MAX, ExtendedMessage, Extension, ExtensionIds, METADATA_PIECE_LENGTH, MetadataMessage,
    PEX_PEERS_MAX,
};
use peerage_bittorrent::wire::{Limits, Message};

fuzz_target!(|input: (u8, &[u8])| {
    let (id, payload) = input;
    let id = id % 8;
    let Ok(message) = ExtendedMessage::decode(id, payload) else { return };
    match &message {
        ExtendedMessage::Unknown { .. } => return,
        ExtendedMessage::Handshake(handshake) => {
            assert!(handshake.client.as_ref().is_none_or(|name| name.chars().count() <= CLIENT_NAME_MAX));
        }
        ExtendedMessage::Pex(pex) => {
            assert!(pex.added.len() <= 2 * PEX_PEERS_MAX && pex.dropped.len() <= 2 * PEX_PEERS_MAX);
            if pex.ignored > 0 {
                return;
            }
        }
        ExtendedMessage::Metadata(MetadataMessage::Data { data, .. }) => {
            assert!((1..=METADATA_PIECE_LENGTH).contains(&data.len()));
        }
        _ => {}
    }
    let mut frame = Vec::new();
    assert!(message.encode(&ExtensionIds::own(&Extension::ALL), &mut frame));
    let Ok(Message::Extended { id: again, payload }) = Message::decode(&frame, &Limits::default()) else {
        panic!()
    };
    assert_eq!(again, id);
    let read = ExtendedMessage::decode(id, payload).unwrap();
    if !has_mapped_address(&message) {
        assert_eq!(read, message);
    }
});

/// An IPv4 address inside IPv6 is written as what it is.
fn has_mapped_address(message: &ExtendedMessage<'_>) -> bool {
    let ExtendedMessage::Pex(pex) = message else { return false };
    let addresses = pex.added.iter().map(|peer| peer.address).chain(pex.dropped.iter().copied());
    addresses.map(|address| address.ip()).any(|ip| ip != ip.to_canonical())
}
