use proptest::prelude::*;

use super::*;

/// The two of a pairing, and what each has still to be given.
struct Pair {
    host: Pairing,
    guest: Pairing,
    to_guest: Vec<u8>,
    to_host: Vec<u8>,
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed([seed; 32])
}

fn code(text: &str) -> PairingCode {
    text.parse().unwrap()
}

fn begin(role: Role, code: PairingCode, us: u8, them: u8) -> (Pairing, Vec<u8>) {
    let name = format!("node {us}").parse().unwrap();
    let us = Introduction { key: &key(us), name: Some(&name), addresses: &[] };
    Pairing::begin(role, code, us, key(them).peer_id())
}

impl Pair {
    fn new(host: &str, guest: &str) -> Self {
        let (host, to_guest) = begin(Role::Host, code(host), 1, 2);
        let (guest, to_host) = begin(Role::Guest, code(guest), 2, 1);
        Self { host, guest, to_guest, to_host }
    }

    /// Gives the guest what is there for it.
    fn guest(&mut self) -> Result<Option<ContactCard>, PairingError> {
        let step = self.guest.feed(&std::mem::take(&mut self.to_guest))?;
        self.to_host.extend(step.send);
        Ok(step.card)
    }

    fn host(&mut self) -> Result<Option<ContactCard>, PairingError> {
        let step = self.host.feed(&std::mem::take(&mut self.to_host))?;
        self.to_guest.extend(step.send);
        Ok(step.card)
    }
}

#[test]
fn who_has_the_same_code_gets_the_card_of_the_other() {
    let mut pair = Pair::new("7-otter-violin", "7 Otter Violin");
    assert_eq!(pair.guest().unwrap(), None);
    assert_eq!(pair.host().unwrap(), None);
    let host = pair.guest().unwrap().unwrap();
    let guest = pair.host().unwrap().unwrap();
    let card = |seed: u8| ContactCard {
        peer: key(seed).peer_id(),
        name: Some(format!("node {seed}").parse().unwrap()),
        addresses: Vec::new(),
    };
    assert_eq!((host, guest), (card(1), card(2)));
    assert!(matches!(pair.host.feed(b""), Err(PairingError::Over)));
    assert!(pair.host.into_code().is_none() && pair.guest.into_code().is_none());
}

#[test]
fn a_wrong_guess_burns_the_code_and_learns_nothing() {
    let mut pair = Pair::new("7-otter-violin", "7-otter-acorn");
    pair.guest().unwrap();
    assert!(matches!(pair.host(), Err(PairingError::WrongCode)));
    assert!(pair.to_guest.is_empty(), "neither a confirmation nor a card goes out");
    assert!(matches!(pair.guest.hung_up(), PairingError::HungUp { refused: true }));
    assert!(matches!(pair.host.feed(b"x"), Err(PairingError::Over)));
    assert!(pair.host.into_code().is_none() && pair.guest.into_code().is_none());
}

/// An attacker who says hello and hangs up learns nothing, and is not able to burn the codes of others without a guess.
#[test]
fn a_code_that_nobody_guessed_at_is_still_good() {
    let mut pair = Pair::new("7-otter-violin", "7-otter-violin");
    let hello = std::mem::take(&mut pair.to_host);
    assert!(pair.host.feed(&hello).unwrap().send.is_empty(), "a host waits for the proof of the guest");
    assert!(matches!(pair.host.hung_up(), PairingError::HungUp { refused: false }));
    assert_eq!(pair.host.into_code().unwrap().to_string(), "7-otter-violin");
    assert_eq!(pair.guest.into_code().unwrap().to_string(), "7-otter-violin");

    let (mut host, _) = begin(Role::Host, code("7-otter-violin"), 1, 2);
    assert!(matches!(host.feed(&[9; 99]), Err(PairingError::Protocol(_))));
    assert!(host.into_code().is_some());
}

/// Somebody with two streams, one to each, who passes on what they say.
#[test]
fn who_sits_in_the_middle_is_found_out() {
    let (mut host, to_guest) = begin(Role::Host, code("7-otter-violin"), 1, 66);
    let (mut guest, to_host) = begin(Role::Guest, code("7-otter-violin"), 2, 66);
    let _ = host.feed(&to_host).unwrap();
    let confirmation = guest.feed(&to_guest).unwrap().send;
    assert!(matches!(host.feed(&confirmation), Err(PairingError::WrongCode)));
}

#[test]
fn nobody_is_paired_with_their_own_words() {
    for (role, us, them) in [(Role::Host, 1, 2), (Role::Guest, 2, 1)] {
        let (mut pairing, hello) = begin(role, code("7-otter-violin"), us, them);
        assert!(matches!(pairing.feed(&hello), Err(PairingError::Protocol(_))));
    }
    // The guest's own proof, instead of the host's.
    let mut twice = Pair::new("7-otter-violin", "7-otter-violin");
    let own = twice.guest.feed(&std::mem::take(&mut twice.to_guest)).unwrap().send;
    assert!(matches!(twice.guest.feed(&own), Err(PairingError::WrongCode)));
}

#[test]
fn a_card_of_somebody_else_is_refused() {
    let mut pair = Pair::new("7-otter-violin", "7-otter-violin");
    pair.guest.card = ContactCard::sign(&key(3), None, &[]);
    pair.guest().unwrap();
    pair.host().unwrap();
    pair.guest().unwrap();
    let refusal = pair.host().unwrap_err();
    assert!(matches!(refusal, PairingError::Impostor(peer) if peer == key(3).peer_id()), "{refusal}");
}

#[test]
fn another_version_is_told() {
    let (mut host, _) = begin(Role::Host, code("7-otter-violin"), 1, 2);
    let hello = frame::write(Kind::Hello, &[&[2], &[0; 100]]);
    assert!(matches!(host.feed(&hello), Err(PairingError::Version(2))));
}

proptest! {
    /// However a stream cuts the messages, the pairing is the same.
    #[test]
    fn messages_come_in_any_pieces(cuts in proptest::collection::vec(1_usize..40, 1..60)) {
        let mut pair = Pair::new("7-otter-violin", "7-otter-violin");
        let mut cards = (None, None);
        for cut in cuts.iter().cycle().take(2_000) {
            let piece: Vec<u8> = pair.to_guest.drain(..pair.to_guest.len().min(*cut)).collect();
            if cards.0.is_none() {
                let step = pair.guest.feed(&piece).unwrap();
                pair.to_host.extend(step.send);
                cards.0 = step.card;
            }
            let piece: Vec<u8> = pair.to_host.drain(..pair.to_host.len().min(*cut)).collect();
            if cards.1.is_none() {
                let step = pair.host.feed(&piece).unwrap();
                pair.to_guest.extend(step.send);
                cards.1 = step.card;
            }
        }
        prop_assert_eq!(cards.0.unwrap().peer, key(1).peer_id());
        prop_assert_eq!(cards.1.unwrap().peer, key(2).peer_id());
    }

    /// Whoever changes a bit on the way pairs nobody with a wrong card.
    #[test]
    fn a_changed_message_pairs_nobody(at in any::<prop::sample::Index>(), change in 1_u8.., turn in 0..3) {
        let mut pair = Pair::new("7-otter-violin", "7-otter-violin");
        let spoil = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        };
        let mut converse = || -> Result<_, PairingError> {
            if turn == 0 { spoil(&mut pair.to_guest) }
            pair.guest()?;
            pair.host()?;
            if turn == 1 { spoil(&mut pair.to_guest) }
            let host = pair.guest()?;
            if turn == 2 { spoil(&mut pair.to_host) }
            Ok((host, pair.host()?))
        };
        if let Ok((host, guest)) = converse() {
            // A length that was made longer leaves the other waiting.
            prop_assert!(host.is_none_or(|card| card.peer == key(1).peer_id()));
            prop_assert!(guest.is_none_or(|card| card.peer == key(2).peer_id()));
        }
    }

    #[test]
    fn any_bytes_end_in_an_error_or_wait(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for role in [Role::Host, Role::Guest] {
            let (mut pairing, _) = begin(role, code("7-otter-violin"), 1, 2);
            if let Ok(step) = pairing.feed(&bytes) {
                prop_assert!(step.card.is_none());
            }
        }
    }
}
