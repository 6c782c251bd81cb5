//! Any bytes are refused as an envelope, an id, an address or a key, or are read; what was read is written as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_identity::{Address, ContactCard, NetworkKey, NodeKey, PeerId, PeerRecord, PublicKey, seal};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = PeerRecord::open(bytes) {
        assert!(record.addresses.len() <= 64);
    }
    let _ = ContactCard::open(bytes);
    let _ = NetworkKey::parse(bytes);
    assert!(seal::open(&NodeKey::from_seed([1; 32]), bytes).is_err());
    if let Ok(key) = NodeKey::from_protobuf(bytes) {
        assert_eq!(NodeKey::from_protobuf(&key.to_protobuf()).unwrap().peer_id(), key.peer_id());
    }
    if let Ok(key) = PublicKey::from_protobuf(bytes) {
        assert_eq!(PublicKey::from_protobuf(&key.to_protobuf()).unwrap(), key);
        let _ = key.verify(b"", bytes);
    }
    if let Ok(id) = PeerId::from_bytes(bytes) {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_cid().to_string().parse(), Ok(id));
    }
    if let Ok(address) = Address::from_bytes(bytes) {
        assert_eq!(Address::from_bytes(&address.to_bytes()), Ok(address));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<PeerId>();
        let _ = text.parse::<Address>();
    }
});
