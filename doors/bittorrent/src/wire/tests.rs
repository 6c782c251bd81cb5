//! Laws of the decoder: what was encoded comes back, at every split, and nothing foreign makes it panic or wait for
//! more than the limits allow.

use peerage_content::Block;
use proptest::prelude::*;

use super::*;

const PIECES: u32 = 1000;
const LIMITS: Limits = Limits { pieces: Some(PIECES) };
const UNKNOWN: Limits = Limits { pieces: None };

/// An owned message, for strategies.
#[derive(Clone, Debug)]
enum Sample {
    Plain(Message<'static>),
    Bitfield(Vec<u8>),
    Piece(Block, Vec<u8>),
    Extended(u8, Vec<u8>),
    Hashes(HashRequest, Vec<[u8; 32]>),
}

impl Sample {
    fn message(&self) -> Message<'_> {
        match self {
            Self::Plain(message) => *message,
            Self::Bitfield(bits) => Message::Bitfield(bits),
            Self::Piece(block, data) => Message::Piece { block: *block, data },
            Self::Extended(id, payload) => Message::Extended { id: *id, payload },
            Self::Hashes(request, hashes) => Message::Hashes { request: *request, hashes },
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.message().encode(&mut out);
        out
    }
}

fn block() -> impl Strategy<Value = Block> {
    any::<(u32, u32, u32)>().prop_map(|(piece, begin, length)| Block { piece, begin, length })
}

fn hash_request() -> impl Strategy<Value = HashRequest> {
    any::<([u8; 32], u32, u32, u32, u32)>().prop_map(|(root, base, index, count, proofs)| HashRequest {
        root,
        base,
        index,
        count,
        proofs,
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    use Message::*;
    let bare = prop::sample::select(vec![
        KeepAlive,
        Choke,
        Unchoke,
        Interested,
        NotInterested,
        HaveAll,
        HaveNone,
        Unknown { id: 200 },
    ]);
    prop_oneof![
        bare.prop_map(Sample::Plain),
        any::<u32>()
            .prop_flat_map(|n| prop::sample::select(vec![Have(n), Suggest(n), AllowedFast(n)]))
            .prop_map(Sample::Plain),
        any::<u16>().prop_map(|port| Sample::Plain(Port(port))),
        block()
            .prop_flat_map(|b| prop::sample::select(vec![Request(b), Cancel(b), Reject(b)]))
            .prop_map(Sample::Plain),
        hash_request()
            .prop_flat_map(|r| prop::sample::select(vec![HashRequest(r), HashReject(r)]))
            .prop_map(Sample::Plain),
        prop::collection::vec(any::<u8>(), PIECES as usize / 8).prop_map(Sample::Bitfield),
        (block(), prop::collection::vec(any::<u8>(), 1..300))
            .prop_map(|(block, data)| Sample::Piece(Block { length: data.len() as u32, ..block }, data)),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 1..300))
            .prop_map(|(id, payload)| Sample::Extended(id, payload)),
        (hash_request(), prop::collection::vec(any::<[u8; 32]>(), 0..9))
            .prop_map(|(r, h)| Sample::Hashes(r, h)),
    ]
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(sample in sample()) {
        let bytes = sample.encoded();
        prop_assert_eq!(Message::decode(&bytes, &LIMITS), Ok(sample.message()));
    }

    /// A stream of frames, of which only the first `seen` bytes have arrived, is told apart as it would be whole.
    #[test]
    fn headers_are_right_at_every_split(sample in sample(), next in sample()) {
        let frame = sample.encoded();
        let mut stream = frame.clone();
        next.message().encode(&mut stream);
        for seen in 0..stream.len() {
            match peek_header(&stream[..seen], &LIMITS).unwrap() {
                Header::NeedMore(needed) => {
                    prop_assert!(seen < needed && needed <= frame.len(), "{seen} of {needed}");
                }
                Header::Piece { block } => {
                    prop_assert!(seen >= PIECE_HEADER_LENGTH);
                    prop_assert_eq!(&piece_header(block)[..], &frame[..PIECE_HEADER_LENGTH]);
                    prop_assert_eq!(PIECE_HEADER_LENGTH + block.length as usize, frame.len());
                }
                Header::Control { total_len } => prop_assert_eq!(total_len, frame.len()),
            }
        }
    }

    /// Any bytes are either refused, or say how many more are needed, within the limits.
    #[test]
    fn foreign_bytes_are_refused_or_bounded(bytes in prop::collection::vec(any::<u8>(), 0..64), known: bool) {
        let limits = if known { LIMITS } else { UNKNOWN };
        match peek_header(&bytes, &limits) {
            Ok(Header::NeedMore(needed)) => prop_assert!(needed > bytes.len() && needed <= PIECE_HEADER_LENGTH),
            Ok(Header::Piece { block }) => prop_assert!((1..=PIECE_DATA_MAX).contains(&block.length)),
            Ok(Header::Control { total_len }) => {
                prop_assert!(total_len <= 5 + EXTENDED_LENGTH_MAX.max(BITFIELD_LENGTH_MAX_UNKNOWN) as usize);
                if let Some(frame) = bytes.get(..total_len) {
                    let _ = Message::decode(frame, &limits);
                }
            }
            Err(_) => {}
        }
        let _ = Message::decode(&bytes, &limits);
    }

    #[test]
    fn a_spoilt_message_is_refused_or_another_message(sample in sample(), at: prop::sample::Index, with: u8) {
        let mut bytes = sample.encoded();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = peek_header(&bytes, &LIMITS);
        if let Ok(message) = Message::decode(&bytes, &LIMITS)
            && !matches!(message, Message::Unknown { .. })
        {
            let mut again = Vec::new();
            message.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

/// The first bytes of a frame of this kind and length.
fn start_of(kind: u8, length: u32) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes
}

/// Each row: kind, a length that is right, one that is too long, one that is wrong otherwise.
#[test]
fn lengths_are_refused_before_the_message_is_there() {
    let hashes = 49 + 32 * HASHES_MAX;
    let table = [
        (0, 1, 2, 2),
        (1, 1, 2, 2),
        (2, 1, 2, 2),
        (3, 1, 2, 2),
        (4, 5, 6, 4),
        (5, 126, 127, 125),
        (6, 13, 14, 12),
        (7, 9 + PIECE_DATA_MAX, 10 + PIECE_DATA_MAX, 9),
        (8, 13, 14, 12),
        (9, 3, 4, 2),
        (13, 5, 6, 4),
        (14, 1, 2, 2),
        (15, 1, 2, 2),
        (16, 13, 14, 12),
        (17, 5, 6, 4),
        (20, EXTENDED_LENGTH_MAX, EXTENDED_LENGTH_MAX + 1, 1),
        (21, 49, 50, 48),
        (22, hashes, hashes + 32, 50),
        (23, 49, 50, 48),
        (99, UNKNOWN_LENGTH_MAX, UNKNOWN_LENGTH_MAX + 1, u32::MAX),
    ];
    for (kind, right, long, wrong) in table {
        assert!(peek_header(&start_of(kind, right), &LIMITS).is_ok(), "{kind}");
        assert!(peek_header(&start_of(kind, long), &LIMITS).is_err(), "{kind}");
        assert!(peek_header(&start_of(kind, wrong), &LIMITS).is_err(), "{kind}");
        assert!(peek_header(&start_of(kind, u32::MAX), &LIMITS).is_err(), "{kind}");
    }
}

#[test]
fn bitfields_are_bounded_while_the_piece_count_is_unknown() {
    assert!(peek_header(&start_of(5, 1 + BITFIELD_LENGTH_MAX_UNKNOWN), &UNKNOWN).is_ok());
    assert!(peek_header(&start_of(5, 2 + BITFIELD_LENGTH_MAX_UNKNOWN), &UNKNOWN).is_err());
}

#[test]
fn spare_bits_of_a_bitfield_must_be_zero() {
    let nine = Limits { pieces: Some(9) };
    let decode = |last: u8| Message::decode(&[0, 0, 0, 3, 5, 0xff, last], &nine).map(|_| ());
    assert_eq!(decode(0x80), Ok(()));
    assert_eq!(decode(0xc0), Err(WireError::SpareBits { pieces: 9 }));
    assert_eq!(decode(0x01), Err(WireError::SpareBits { pieces: 9 }));
}

#[test]
fn errors_name_the_message_and_what_was_wrong() {
    let error = |kind, length| peek_header(&start_of(kind, length), &LIMITS).unwrap_err().to_string();
    assert_eq!(error(4, 9), "have message has a length of 9 bytes, must be 5");
    assert_eq!(error(7, 1 << 20), "piece message of 1048576 bytes is longer than the 131081 allowed");
    assert_eq!(error(5, 4), "bitfield message has a length of 4 bytes, must be one bit a piece");
}

#[test]
fn a_frame_that_is_not_exactly_one_is_the_callers_mistake() {
    let refused = |bytes: &[u8]| Message::decode(bytes, &LIMITS).unwrap_err();
    assert_eq!(refused(&[0, 0]), WireError::NotOneFrame { found: 2, announced: 0 });
    assert_eq!(refused(&[0, 0, 0, 1]), WireError::NotOneFrame { found: 4, announced: 5 });
    assert_eq!(refused(&[0, 0, 0, 1, 1, 1]), WireError::NotOneFrame { found: 6, announced: 5 });
}
