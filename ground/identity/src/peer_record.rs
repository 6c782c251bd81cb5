//! Peer records (libp2p RFC 0003): where a node says that it may be reached, signed by itself.
//!
//! Domain and type are those of the programs that are out there (`libp2p-peer-record`, the multicodec 0x0301), not those of the RFC's text.

use prost::Message;

use crate::address::Address;
use crate::envelope::{self, EnvelopeError, Purpose};
use crate::key::NodeKey;
use crate::peer_id::PeerId;

const PURPOSE: Purpose = Purpose { domain: "libp2p-peer-record", payload_type: &[0x03, 0x01] };
/// Of one record no more addresses are taken, nor put into one.
const ADDRESSES_MAX: usize = 64;

/// Where a node says that it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Which node.
    pub peer: PeerId,
    /// Counts up with every record of a node: a greater one replaces a lesser one. It tells no time.
    pub sequence: u64,
    /// Where. What a node says of itself need not be true, and those that are not understood are left out.
    pub addresses: Vec<Address>,
}

/// Why a record is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerRecordError {
    /// Its envelope is bad.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// No record is in it.
    #[error("no peer record: {0}")]
    Encoding(String),
    /// It speaks of a node that did not sign it.
    #[error("a record of one peer, signed by another")]
    Signer,
}

/// The record in its envelope.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(bytes = "vec", tag = "1")]
    peer: Vec<u8>,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(message, repeated, tag = "3")]
    addresses: Vec<WireAddress>,
}

/// An address on the wire: a message, so that it can say more one day.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireAddress {
    #[prost(bytes = "vec", tag = "1")]
    multiaddr: Vec<u8>,
}

impl WireAddress {
    /// As many as a message takes.
    pub(crate) fn of(addresses: &[Address], max: usize) -> Vec<Self> {
        addresses.iter().take(max).map(|address| Self { multiaddr: address.to_bytes() }).collect()
    }

    /// Those that are understood.
    pub(crate) fn read(found: &[Self], max: usize) -> Vec<Address> {
        found.iter().filter_map(|address| Address::from_bytes(&address.multiaddr).ok()).take(max).collect()
    }
}

impl PeerRecord {
    /// The envelope with a record of the node that has `key`.
    pub fn sign(key: &NodeKey, sequence: u64, addresses: &[Address]) -> Vec<u8> {
        let wire = Wire {
            peer: key.peer_id().to_bytes(),
            sequence,
            addresses: WireAddress::of(addresses, ADDRESSES_MAX),
        };
        envelope::sign(key, PURPOSE, &wire.encode_to_vec())
    }

    /// The record in an envelope, if the node that it speaks of signed it.
    ///
    /// # Errors
    /// [`PeerRecordError`].
    pub fn open(envelope: &[u8]) -> Result<Self, PeerRecordError> {
        let signed = envelope::open(envelope, PURPOSE)?;
        let wire = Wire::decode(&*signed.payload);
        let wire = wire.map_err(|error| PeerRecordError::Encoding(error.to_string()))?;
        let peer = signed.signer.peer_id();
        if wire.peer != peer.to_bytes() {
            return Err(PeerRecordError::Signer);
        }
        let addresses = WireAddress::read(&wire.addresses, ADDRESSES_MAX);
        Ok(Self { peer, sequence: wire.sequence, addresses })
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    // What @libp2p/peer-record 9.0.16 makes with the keys in the vectors of the peer id specification.
    const ED25519: &str = "0a24080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e120203011a51\
                           0a260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e10bdaade\
                           ec051a0a0a0804c000020006002a1a150a13360b6578616d706c652e6f7267910201bbcd032a40323d24825b\
                           6c9870c7f1c8256f9ddd5bcdfd97e4bd6b6243ca0708202e202bd3cf906a230efed3ddf8041212f9082e6919\
                           ef67397f50be69d5ceab59611ae40c";
    const SEED: &str = "7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d";
    const SECP256K1: &str = "0a2508021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99120203011a\
                             2b0a27002508021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca991007\
                             2a473045022100d3f17cef8f2b082b6614162926bce3499bb4a57df4f425ad7be90f1d2a9d6280022052e949\
                             9e874b967059a2b8950e95836676f12e5b00a522ec4075fb5ecdd3cede";

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn records_are_those_of_other_programs() {
        let key = NodeKey::from_seed(hex(SEED).try_into().unwrap());
        let addresses =
            ["/ip4/192.0.2.0/tcp/42", "/dns4/example.org/udp/443/quic-v1"].map(|text| text.parse().unwrap());
        assert_eq!(HEXLOWER.encode(&PeerRecord::sign(&key, 1_570_215_229, &addresses)), ED25519);
        let record = PeerRecord::open(&hex(ED25519)).unwrap();
        let expected =
            PeerRecord { peer: key.peer_id(), sequence: 1_570_215_229, addresses: addresses.to_vec() };
        assert_eq!(record, expected);
    }

    #[test]
    fn a_record_of_another_kind_of_key_is_believed_too() {
        let record = PeerRecord::open(&hex(SECP256K1)).unwrap();
        assert_eq!(record.peer.to_string(), "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY");
        assert_eq!((record.sequence, record.addresses), (7, Vec::new()));
    }

    #[test]
    fn nobody_speaks_for_another() {
        let (key, other) = (NodeKey::from_seed([1; 32]), NodeKey::from_seed([2; 32]));
        let lie = Wire { peer: other.peer_id().to_bytes(), ..Wire::default() };
        let envelope = envelope::sign(&key, PURPOSE, &lie.encode_to_vec());
        assert!(matches!(PeerRecord::open(&envelope), Err(PeerRecordError::Signer)));
    }

    #[test]
    fn unknown_addresses_are_left_out_and_too_many_too() {
        let key = NodeKey::from_seed([1; 32]);
        let address: Address = "/ip4/192.0.2.0/tcp/42".parse().unwrap();
        let mut wire = Wire { peer: key.peer_id().to_bytes(), ..Wire::default() };
        wire.addresses = vec![WireAddress { multiaddr: b"\xff\xff\x7fnonsense".to_vec() }];
        wire.addresses.extend(WireAddress::of(&vec![address.clone(); 100], 100));
        let record = PeerRecord::open(&envelope::sign(&key, PURPOSE, &wire.encode_to_vec())).unwrap();
        assert_eq!(record.addresses, vec![address.clone(); ADDRESSES_MAX]);
        let own = PeerRecord::open(&PeerRecord::sign(&key, 1, &vec![address; 100])).unwrap();
        assert_eq!(own.addresses.len(), ADDRESSES_MAX);
    }
}
