//! Both roles against each other, at every split of the stream, and against what is no handshake at all.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::wire::{HANDSHAKE_LENGTH, Handshake, PeerId, Reserved};

const SWARM: SwarmHash = SwarmHash([0x5a; 20]);
const REPLY: &[u8] = b"the responder's own handshake, and more";

fn hello() -> [u8; HANDSHAKE_LENGTH] {
    Handshake { reserved: Reserved::NONE, swarm: SWARM, peer_id: PeerId([1; 20]) }.encode()
}

fn find(key: &[u8; 20]) -> Option<SwarmHash> {
    (*key == lookup_key(SWARM)).then_some(SWARM)
}

/// What the two sides said to each other, and what they made of it.
struct Dialogue {
    initiator: Established,
    responder: Established,
    /// All that the initiator sent.
    said: Vec<u8>,
    /// All that the responder sent, its reply included.
    answered: Vec<u8>,
}

/// Runs a whole handshake. `cut` says how many of so many bytes to hand over at a time.
fn dialogue(
    seed: u64,
    offers: Methods,
    encryption: Encryption,
    mut cut: impl FnMut(usize) -> usize,
) -> Result<Dialogue, MseError> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut said, mut answered) = (Vec::new(), Vec::new());
    let (mut heard, mut understood) = (0, 0);
    let mut initiator = Progress::More(Initiator::start(SWARM, offers, hello(), &mut rng, &mut said));
    let mut responder = Progress::More(Responder::new(encryption, &mut rng));
    loop {
        responder = match responder {
            Progress::More(role) => {
                let count = cut(said.len() - heard);
                let from = heard;
                heard += count;
                match role.feed(&said[from..heard], find, &mut answered)? {
                    Progress::Done(mut done) => {
                        let mut reply = REPLY.to_vec();
                        if let Some(ciphers) = &mut done.ciphers {
                            ciphers.outgoing.apply(&mut reply);
                        }
                        answered.extend_from_slice(&reply);
                        Progress::Done(done)
                    }
                    more => more,
                }
            }
            done => done,
        };
        initiator = match initiator {
            Progress::More(role) => {
                let count = cut(answered.len() - understood);
                let from = understood;
                understood += count;
                role.feed(&answered[from..understood], &mut said)?
            }
            done => done,
        };
        if let (Progress::Done(_), Progress::Done(_)) = (&initiator, &responder) {
            break;
        }
    }
    let (Progress::Done(mut initiator), Progress::Done(mut responder)) = (initiator, responder) else {
        unreachable!()
    };
    // What is still under way belongs to the streams.
    for (side, mut rest) in
        [(&mut responder, said[heard..].to_vec()), (&mut initiator, answered[understood..].to_vec())]
    {
        if let Some(ciphers) = &mut side.ciphers {
            ciphers.incoming.apply(&mut rest);
        }
        side.received.extend_from_slice(&rest);
    }
    Ok(Dialogue { initiator, responder, said, answered })
}

fn all(available: usize) -> usize {
    available
}

fn check(dialogue: Dialogue, method: Method) {
    let Dialogue { mut initiator, mut responder, said, answered } = dialogue;
    assert_eq!((initiator.swarm, responder.swarm), (SWARM, SWARM));
    assert_eq!(responder.received, hello());
    assert_eq!(initiator.received, REPLY);
    assert_eq!(initiator.ciphers.is_some(), method == Method::Rc4);
    assert_eq!(responder.ciphers.is_some(), method == Method::Rc4);
    let shows = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|bytes| bytes == needle);
    assert!(!shows(&said, PROTOCOL), "the initial payload is always encrypted");
    assert_eq!(shows(&answered, REPLY), method == Method::Plain);
    if let (Some(one), Some(other)) = (&mut initiator.ciphers, &mut responder.ciphers) {
        for (from, to) in [(&mut one.outgoing, &mut other.incoming), (&mut other.outgoing, &mut one.incoming)]
        {
            let mut bytes = *b"and so on, in both directions";
            from.apply(&mut bytes);
            assert_ne!(&bytes, b"and so on, in both directions");
            to.apply(&mut bytes);
            assert_eq!(&bytes, b"and so on, in both directions");
        }
    }
}

#[test]
fn methods_are_agreed_on() {
    let both = Methods::PLAIN | Methods::RC4;
    for (offers, encryption, method) in [
        (both, Encryption::Require, Method::Rc4),
        (both, Encryption::Prefer, Method::Rc4),
        (both, Encryption::Allow, Method::Plain),
        (Methods::RC4, Encryption::Allow, Method::Rc4),
        (Methods::PLAIN, Encryption::Prefer, Method::Plain),
    ] {
        check(dialogue(1, offers, encryption, all).unwrap(), method);
    }
}

#[test]
fn no_common_method_ends_the_handshake() {
    let error = dialogue(1, Methods::PLAIN, Encryption::Require, all).map(|_| ()).unwrap_err();
    assert_eq!(error, MseError::NoMethod(Methods::PLAIN));
    assert_eq!(error.to_string(), "encrypted handshake offers no method that is allowed here (plain text)");
}

#[test]
fn every_split_in_two_and_every_byte_alone() {
    check(dialogue(2, Methods::RC4, Encryption::Require, |available| available.min(1)).unwrap(), Method::Rc4);
    let length = dialogue(2, Methods::RC4, Encryption::Require, all).unwrap().said.len();
    for first in 0..length {
        let mut left = Some(first);
        let cut = |available: usize| left.take().map_or(available, |first| first.min(available));
        check(dialogue(2, Methods::RC4, Encryption::Require, cut).unwrap(), Method::Rc4);
    }
}

#[test]
fn paddings_have_different_lengths() {
    let lengths: std::collections::BTreeSet<_> = (0..20)
        .map(|seed| dialogue(seed, Methods::RC4, Encryption::Require, all).unwrap().said.len())
        .collect();
    assert!(lengths.len() > 10, "{lengths:?}");
    assert!(lengths.iter().all(|length| (96..=96 + PAD_MAX + 40 + 16 + HANDSHAKE_LENGTH).contains(length)));
}

#[test]
fn a_swarm_that_is_not_here_ends_the_handshake() {
    let mut rng = StdRng::seed_from_u64(3);
    let (mut said, mut answered) = (Vec::new(), Vec::new());
    let initiator = Initiator::start(SwarmHash([1; 20]), Methods::RC4, hello(), &mut rng, &mut said);
    let responder = Responder::new(Encryption::Allow, &mut rng);
    let Ok(Progress::More(responder)) = responder.feed(&said, find, &mut answered) else { panic!() };
    said.clear();
    let Ok(Progress::More(_)) = initiator.feed(&answered, &mut said) else { panic!() };
    let mut out = Vec::new();
    assert_eq!(responder.feed(&said, find, &mut out).map(|_| ()), Err(MseError::UnknownSwarm));
    assert!(out.is_empty(), "strangers learn nothing");
}

/// A peer that selects what was not offered, or pads too much.
#[test]
fn bad_answers_end_the_handshake() {
    let both = Methods::PLAIN | Methods::RC4;
    for (offers, select, padding, expected) in [
        (Methods::RC4, 1_u32, 0_u16, MseError::Selection(Methods::PLAIN)),
        (both, 3, 0, MseError::Selection(both)),
        (both, 0, 0, MseError::Selection(Methods(0))),
        (both, 2, 513, MseError::Padding(513)),
    ] {
        let mut rng = StdRng::seed_from_u64(4);
        let mut said = Vec::new();
        let initiator = Initiator::start(SWARM, offers, hello(), &mut rng, &mut said);
        let keys = dh::KeyPair::new(&mut rng);
        let theirs = said.first_chunk().unwrap();
        let mut ciphers = keys::Secret(keys.agree(theirs).unwrap()).responder_ciphers(SWARM);
        let mut answer = [&[0; 8][..], &select.to_be_bytes(), &padding.to_be_bytes()].concat();
        ciphers.outgoing.apply(&mut answer);
        let stream = [&keys.public[..], &answer].concat();
        assert_eq!(initiator.feed(&stream, &mut said).map(|_| ()), Err(expected));
    }
}

#[test]
fn a_worthless_key_is_refused_before_anything_is_answered() {
    let mut out = Vec::new();
    let responder = Responder::new(Encryption::Allow, &mut StdRng::seed_from_u64(5));
    assert_eq!(responder.feed(&[0; 96], find, &mut out).map(|_| ()), Err(MseError::PublicKey));
    assert!(out.is_empty());
}

#[test]
fn noise_is_given_up_as_soon_as_it_cannot_be_a_handshake() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut responder = Responder::new(Encryption::Allow, &mut rng);
    let (mut fed, mut out) = (0, Vec::new());
    let error = loop {
        fed += 1;
        match responder.feed(&[0x2a], find, &mut out) {
            Ok(Progress::More(more)) => responder = more,
            Ok(Progress::Done(_)) => panic!("noise was taken for a handshake"),
            Err(error) => break error,
        }
    };
    assert_eq!((fed, error), (96 + PAD_MAX + 20, MseError::NoSync));
    let mut said = Vec::new();
    let initiator = Initiator::start(SWARM, Methods::RC4, hello(), &mut rng, &mut said);
    let noise = vec![0x2a; 96 + PAD_MAX + 8];
    assert_eq!(initiator.feed(&noise, &mut said).map(|_| ()), Err(MseError::NoSync));
}

#[test]
fn greetings_are_told_apart_by_twenty_bytes() {
    let hello = hello();
    for seen in 0..20 {
        assert_eq!(greeting(&hello[..seen]), Greeting::Undecided);
    }
    assert_eq!(greeting(&hello), Greeting::Plain);
    let mut encrypted = hello;
    encrypted[19] ^= 1;
    assert_eq!(greeting(&encrypted), Greeting::Encrypted, "although it begins with a 19");
    assert_eq!(greeting(&[0x14]), Greeting::Encrypted);
}

proptest! {
    // Each case is four exponentiations, without optimisation.
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_splits_will_do(seed: u64, cuts in prop::collection::vec(1_usize..200, 1..40), method: bool) {
        let mut cuts = cuts.into_iter().cycle();
        let cut = |available: usize| cuts.next().unwrap_or(1).min(available);
        let (encryption, method) =
            if method { (Encryption::Prefer, Method::Rc4) } else { (Encryption::Allow, Method::Plain) };
        check(dialogue(seed, Methods::PLAIN | Methods::RC4, encryption, cut).unwrap(), method);
    }

    /// One wrong byte somewhere in the initiator's part: refused, or nothing but padding or payload is different.
    #[test]
    fn spoilt_handshakes_never_panic(at: prop::sample::Index, with: u8) {
        let mut rng = StdRng::seed_from_u64(7);
        let (mut said, mut answered) = (Vec::new(), Vec::new());
        let initiator = Initiator::start(SWARM, Methods::RC4, hello(), &mut rng, &mut said);
        let responder = Responder::new(Encryption::Allow, &mut rng);
        let spoil = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] = with;
        };
        spoil(&mut said);
        let Ok(Progress::More(responder)) = responder.feed(&said, find, &mut answered) else { return Ok(()) };
        let mut said = Vec::new();
        let mut spoilt = answered.clone();
        spoil(&mut spoilt);
        let _ = initiator.feed(&spoilt, &mut said);
        let _ = responder.feed(&said, find, &mut answered);
    }
}
