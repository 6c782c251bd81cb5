//! Whatever comes over the wire, a pairing ends with an error or waits; whoever is paired has the card of whom it spoke to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_identity::{Introduction, NodeKey, Pairing, PairingCode, Role};

/// What is sent from one to the other is passed on, or other bytes are, in pieces of `cut`.
type Input<'a> = (bool, u8, Vec<Option<&'a [u8]>>);

fuzz_target!(|input: Input<'_>| {
    let (same_code, cut, turns) = input;
    let (host_key, guest_key) = (NodeKey::from_seed([1; 32]), NodeKey::from_seed([2; 32]));
    let code = |text: &str| -> PairingCode { text.parse().unwrap() };
    let guests = if same_code { "7-otter-violin" } else { "7-violin-otter" };
    let begin = |role, code, us, them: &NodeKey| {
        Pairing::begin(role, code, Introduction { key: us, name: None, addresses: &[] }, them.peer_id())
    };
    let (mut host, mut to_guest) = begin(Role::Host, code("7-otter-violin"), &host_key, &guest_key);
    let (mut guest, mut to_host) = begin(Role::Guest, code(guests), &guest_key, &host_key);
    for (at, turn) in turns.iter().enumerate() {
        let (side, from, to, them) = if at % 2 == 0 {
            (&mut guest, &mut to_guest, &mut to_host, &host_key)
        } else {
            (&mut host, &mut to_host, &mut to_guest, &guest_key)
        };
        let sent = std::mem::take(from);
        for piece in turn.unwrap_or(&sent).chunks(usize::from(cut) + 1) {
            let Ok(step) = side.feed(piece) else { return };
            to.extend(step.send);
            if let Some(card) = step.card {
                assert!(same_code && card.peer == them.peer_id());
                return;
            }
        }
    }
});
