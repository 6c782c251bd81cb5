//! Any bytes are a stream of messages up to the first refusal; a message that is encoded again is what it was; a block has the name
//! that its bytes have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_ipfs::bitswap::frame::Frames;
use peerage_ipfs::bitswap::message::{ENTRIES_MAX, ITEMS_MAX, Message, Protocol};
use peerage_ipfs::bitswap::verify::{self, Prefix};

fuzz_target!(|input: (u8, &[u8])| {
    let (part, stream) = input;
    let mut frames = Frames::new();
    for bytes in stream.chunks(usize::from(part) + 1) {
        frames.room().extend_from_slice(bytes);
        loop {
            let frame = match frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return,
            };
            let Ok(message) = Message::decode(&frame) else { continue };
            check(message);
        }
    }
});

fn check(message: Message) {
    assert!(message.wantlist.entries.len() <= ENTRIES_MAX);
    assert!(message.blocks.len() <= ITEMS_MAX && message.presences.len() <= ITEMS_MAX);
    for block in &message.blocks {
        if let Ok(cid) = verify::name(&block.prefix, &block.data) {
            assert_eq!(Prefix::of(&cid), block.prefix);
        }
    }
    for protocol in Protocol::ALL {
        let mut again = Frames::new();
        message.encode(protocol).iter().for_each(|part| again.room().extend_from_slice(part));
        let decoded = Message::decode(&again.next().unwrap().unwrap()).unwrap();
        assert!(again.is_between_messages());
        if protocol == Protocol::V1_2 {
            assert_eq!(decoded, Message { left_out: 0, ..message.clone() });
        }
    }
}
