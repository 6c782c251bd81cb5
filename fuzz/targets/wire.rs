//! Any bytes are a stream of messages up to the first refusal; a message that is encoded again is what it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::wire::{
    BITFIELD_LENGTH_MAX_UNKNOWN, EXTENDED_LENGTH_MAX, Handshake, HandshakeHead, Header, Limits, Message,
    PIECE_DATA_MAX, PIECE_HEADER_LENGTH, peek_header, piece_header,
};

fuzz_target!(|input: (Option<u16>, &[u8])| {
    let (pieces, mut stream) = input;
    let limits = Limits { pieces: pieces.map(u32::from) };
    if let Ok(Some(handshake)) = Handshake::decode(stream) {
        assert_eq!(handshake.encode(), stream[..68]);
        assert_eq!(HandshakeHead::decode(stream).unwrap().unwrap().swarm, handshake.swarm);
    }
    loop {
        let length = match peek_header(stream, &limits) {
            Err(_) => return,
            Ok(Header::NeedMore(needed)) => {
                assert!(stream.len() < needed && needed <= PIECE_HEADER_LENGTH);
                return;
            }
            Ok(Header::Piece { block }) => {
                assert!((1..=PIECE_DATA_MAX).contains(&block.length));
                assert_eq!(piece_header(block), stream[..PIECE_HEADER_LENGTH]);
                PIECE_HEADER_LENGTH + block.length as usize
            }
            Ok(Header::Control { total_len }) => {
                assert!(total_len <= 5 + EXTENDED_LENGTH_MAX.max(BITFIELD_LENGTH_MAX_UNKNOWN) as usize);
                total_len
            }
        };
        let Some((frame, rest)) = stream.split_at_checked(length) else { return };
        match Message::decode(frame, &limits) {
            Err(_) => return,
            Ok(Message::Unknown { .. }) => {}
            Ok(message) => {
                let mut again = Vec::new();
                message.encode(&mut again);
                assert_eq!(again, frame);
            }
        }
        stream = rest;
    }
});
