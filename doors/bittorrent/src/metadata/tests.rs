//! Searches among honest, silent, refusing and lying peers, in simulated time.

use std::time::{Duration, Instant};

use peerage_swarm::core::PeerKey;
use proptest::prelude::*;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::*;
use crate::hash::InfoHashes;
use crate::wire::extended::{METADATA_PIECE_LENGTH, MetadataMessage};

fn info(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn v1_of(info: &[u8]) -> InfoHashes {
    InfoHashes { v1: Some(Sha1::digest(info).into()), v2: None }
}

fn part(info: &[u8], piece: u32) -> &[u8] {
    info.chunks(METADATA_PIECE_LENGTH).nth(piece as usize).unwrap_or_default()
}

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);

fn drain(fetch: &mut Fetch, now: Instant) -> Vec<(PeerKey, u32)> {
    std::iter::from_fn(|| fetch.poll_request(now)).collect()
}

#[test]
fn parts_are_spread_over_peers_and_verified_as_a_whole() {
    let now = Instant::now();
    let info = info(5 * METADATA_PIECE_LENGTH + 1);
    let mut fetch = Fetch::new(v1_of(&info));
    assert!(fetch.joined(A, info.len() as u32) && fetch.joined(B, info.len() as u32));
    let requests = drain(&mut fetch, now);
    assert_eq!(requests, [(A, 0), (A, 1), (A, 2), (A, 3), (B, 4), (B, 5)]);
    for (at, &(peer, piece)) in requests.iter().enumerate() {
        let received = fetch.data(now, peer, piece, info.len() as u32, part(&info, piece));
        if at + 1 < requests.len() {
            assert_eq!(received, Received::Taken);
            assert_eq!(fetch.progress(), Some(((at + 1) * METADATA_PIECE_LENGTH, info.len() as u32)));
        } else {
            assert_eq!(received, Received::Complete(info.clone().into()));
        }
    }
    assert!(drain(&mut fetch, now).is_empty());
    assert_eq!(fetch.poll_timeout(now), None);
}

/// Whoever claims one size after the other would fill memory with beginnings.
#[test]
fn what_was_there_of_a_size_goes_with_the_last_who_claims_it() {
    let now = Instant::now();
    let info = info(5 * METADATA_PIECE_LENGTH);
    let size = info.len() as u32;
    let mut fetch = Fetch::new(v1_of(&info));
    assert!(fetch.joined(A, size) && fetch.joined(B, size));
    drain(&mut fetch, now);
    assert_eq!(fetch.data(now, A, 0, size, part(&info, 0)), Received::Taken);
    fetch.joined(A, size + 1);
    assert_eq!(fetch.progress(), Some((METADATA_PIECE_LENGTH, size)), "B may complete it");
    fetch.joined(B, size + 1);
    assert_eq!(fetch.progress(), Some((0, size + 1)));
}

/// Each row: what is wanted of a hybrid's info, and whether it is found.
#[test]
fn every_wanted_hash_must_match() {
    let info = info(100);
    let v1: [u8; 20] = Sha1::digest(&info).into();
    let v2: [u8; 32] = Sha256::digest(&info).into();
    for (wanted_v1, wanted_v2, found) in [
        (Some(v1), None, true),
        (None, Some(v2), true),
        (Some(v1), Some(v2), true),
        (Some(v1), Some([0; 32]), false),
        (Some([0; 20]), Some(v2), false),
        (None, None, false),
    ] {
        let now = Instant::now();
        let mut fetch = Fetch::new(InfoHashes { v1: wanted_v1, v2: wanted_v2 });
        fetch.joined(A, 100);
        assert_eq!(fetch.poll_request(now), Some((A, 0)));
        let expected = if found { Received::Complete(info.clone().into()) } else { Received::Lie };
        assert_eq!(fetch.data(now, A, 0, 100, &info), expected);
    }
}

#[test]
fn sizes_out_of_bounds_are_not_asked_for() {
    let mut fetch = Fetch::new(v1_of(b""));
    assert!(!fetch.joined(A, 0));
    assert!(!fetch.joined(A, METADATA_SIZE_MAX + 1));
    assert_eq!(fetch.poll_request(Instant::now()), None);
}

#[test]
fn a_slow_peer_is_hedged_then_left_alone_for_a_while() {
    let start = Instant::now();
    let info = info(100);
    let mut fetch = Fetch::new(v1_of(&info));
    fetch.joined(A, 100);
    fetch.joined(B, 100);
    assert_eq!(drain(&mut fetch, start), [(A, 0)]);
    let hedge = fetch.poll_timeout(start).unwrap();
    assert_eq!(hedge, start + Duration::from_secs(3));
    assert_eq!(drain(&mut fetch, hedge), [(B, 0)]);
    fetch.left(B);
    let given_up = start + Duration::from_secs(20);
    assert!(drain(&mut fetch, given_up).is_empty());
    let rested = fetch.poll_timeout(given_up).unwrap();
    assert_eq!(rested, given_up + Duration::from_secs(4), "there is nobody else to ask");
    assert_eq!(drain(&mut fetch, rested), [(A, 0)]);
}

/// A slow line brings answers late, and what is true does not depend on when it came.
#[test]
fn an_answer_that_was_given_up_is_taken_when_it_comes_after_all() {
    let start = Instant::now();
    let info = info(2 * METADATA_PIECE_LENGTH);
    let size = info.len() as u32;
    let mut fetch = Fetch::new(v1_of(&info));
    fetch.joined(A, size);
    assert_eq!(drain(&mut fetch, start), [(A, 0), (A, 1)]);
    let late = start + Duration::from_secs(21);
    assert!(drain(&mut fetch, late).is_empty());
    assert_eq!(fetch.data(late, A, 0, size, part(&info, 0)), Received::Taken);
    assert_eq!(drain(&mut fetch, late), [(A, 1)], "it answers: it rests no longer");
    assert_eq!(fetch.data(late, A, 0, size, part(&info, 0)), Received::Unrequested, "once");
    assert_eq!(fetch.data(late, A, 1, size, part(&info, 1)), Received::Complete(info.into()));
}

#[test]
fn a_refusing_peer_is_left_alone_for_a_while() {
    let now = Instant::now();
    let mut fetch = Fetch::new(v1_of(b""));
    fetch.joined(A, 100);
    assert_eq!(drain(&mut fetch, now), [(A, 0)]);
    fetch.rejected(now, A, 0);
    assert!(drain(&mut fetch, now).is_empty());
    let soon = now + Duration::from_secs(4);
    assert_eq!(fetch.poll_timeout(now), Some(soon), "there is nobody else to ask");
    assert_eq!(drain(&mut fetch, soon), [(A, 0)]);
    fetch.joined(B, 100);
    fetch.rejected(soon, A, 0);
    assert_eq!(drain(&mut fetch, soon), [(B, 0)]);
    let hedged = soon + Duration::from_secs(4);
    assert!(drain(&mut fetch, hedged).is_empty(), "somebody else is asked");
}

#[test]
fn what_cannot_be_true_is_a_lie_at_once() {
    let now = Instant::now();
    for (total_size, data) in [(100, &[0; 99][..]), (99, &[0; 100]), (100, &[])] {
        let mut fetch = Fetch::new(v1_of(b""));
        fetch.joined(A, 100);
        assert_eq!(fetch.poll_request(now), Some((A, 0)));
        assert_eq!(fetch.data(now, A, 0, total_size, data), Received::Lie);
        fetch.joined(A, 101);
        assert_eq!(fetch.poll_request(now), None, "a liar stays one");
    }
}

#[test]
fn after_a_mismatch_each_must_deliver_alone_and_the_liar_is_found() {
    let now = Instant::now();
    let info = info(2 * METADATA_PIECE_LENGTH);
    let size = info.len() as u32;
    let mut fetch = Fetch::new(v1_of(&info));
    fetch.joined(A, size);
    fetch.joined(B, size);
    assert_eq!(drain(&mut fetch, now), [(A, 0), (A, 1)]);
    fetch.data(now, A, 0, size, &[0; METADATA_PIECE_LENGTH]);
    let later = now + Duration::from_secs(3);
    assert_eq!(drain(&mut fetch, later), [(B, 1)]);
    assert_eq!(fetch.data(later, B, 1, size, part(&info, 1)), Received::Mismatch);
    assert_eq!(drain(&mut fetch, later), [(A, 0), (B, 0), (B, 1)]);
    assert_eq!(fetch.data(later, A, 1, size, part(&info, 1)), Received::Taken, "asked for before");
    assert_eq!(fetch.data(later, A, 0, size, &[0; METADATA_PIECE_LENGTH]), Received::Lie);
    assert_eq!(fetch.data(later, B, 0, size, part(&info, 0)), Received::Taken);
    assert_eq!(fetch.data(later, B, 1, size, part(&info, 1)), Received::Complete(info.into()));
}

#[derive(Clone, Copy, Debug)]
enum Character {
    Honest,
    /// Delivers wrong bytes of the right length.
    Liar,
    /// Claims another size, and delivers.
    Dreamer(u32),
    Silent,
    Refusing,
}

fn character() -> impl Strategy<Value = Character> {
    prop_oneof![
        Just(Character::Liar),
        (1_u32..200_000).prop_map(Character::Dreamer),
        Just(Character::Silent),
        Just(Character::Refusing),
    ]
}

proptest! {
    /// One honest peer is enough, whoever else is there and in whatever order answers come.
    #[test]
    fn one_honest_peer_suffices(
        length in 1_usize..120_000,
        mut cast in prop::collection::vec(character(), 0..12),
        place: prop::sample::Index,
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..50),
    ) {
        let info = info(length);
        let size = length as u32;
        let at = place.index(cast.len() + 1);
        cast.insert(at, Character::Honest);
        let mut now = Instant::now();
        let mut fetch = Fetch::new(v1_of(&info));
        for (key, character) in cast.iter().enumerate() {
            let claimed = if let Character::Dreamer(size) = *character { size } else { size };
            fetch.joined(PeerKey(key as u64), claimed);
        }
        let mut order = order.iter().cycle();
        let mut under_way: Vec<(PeerKey, u32)> = Vec::new();
        for _ in 0..10_000 {
            while let Some(request) = fetch.poll_request(now) {
                under_way.push(request);
            }
            if under_way.is_empty() {
                now = fetch.poll_timeout(now).expect("an honest peer is left");
                continue;
            }
            let next = order.next().unwrap().index(under_way.len());
            let (key, piece) = under_way.swap_remove(next);
            now += Duration::from_millis(20);
            let lie = |size: u32| vec![0xee; assembly::piece_length(size, piece)];
            let received = match cast[key.0 as usize] {
                Character::Honest => fetch.data(now, key, piece, size, part(&info, piece)),
                Character::Liar => fetch.data(now, key, piece, size, &lie(size)),
                Character::Dreamer(size) => fetch.data(now, key, piece, 0, &lie(size)),
                Character::Silent => continue,
                Character::Refusing => {
                    fetch.rejected(now, key, piece);
                    continue;
                }
            };
            match received {
                Received::Complete(found) => {
                    prop_assert_eq!(&found[..], &info[..]);
                    return Ok(());
                }
                Received::Lie => prop_assert!(!matches!(cast[key.0 as usize], Character::Honest)),
                _ => {}
            }
        }
        prop_assert!(false, "never completed");
    }

    #[test]
    fn foreign_parts_never_panic(calls in prop::collection::vec((0_u64..3, any::<u32>(), any::<u32>(), 0_usize..20_000), 0..30)) {
        let now = Instant::now();
        let mut fetch = Fetch::new(v1_of(b""));
        for (peer, piece, size, length) in calls {
            fetch.joined(PeerKey(peer), size % 100_000);
            let asked = fetch.poll_request(now).filter(|_| piece % 2 == 0).map_or(piece, |(_, piece)| piece);
            fetch.data(now, PeerKey(peer), asked, size, &vec![0; length]);
            fetch.rejected(now, PeerKey(peer), piece);
            prop_assert!(fetch.progress().is_none_or(|(there, whole)| there <= whole as usize));
        }
    }
}

#[test]
fn requests_are_answered_until_a_peer_had_more_than_its_share() {
    let start = Instant::now();
    let info = info(20 * METADATA_PIECE_LENGTH + 5);
    let mut serve = Serve::new(start);
    let total_size = info.len() as u32;
    let last = MetadataMessage::Data { piece: 20, total_size, data: &info[20 * METADATA_PIECE_LENGTH..] };
    assert_eq!(serve.answer(start, &info, 20), last);
    assert_eq!(serve.answer(start, &info, 21), MetadataMessage::Reject { piece: 21 });
    assert_eq!(serve.answer(start, &info, u32::MAX), MetadataMessage::Reject { piece: u32::MAX });
    let given =
        (0..1000).filter(|_| matches!(serve.answer(start, &info, 0), MetadataMessage::Data { .. })).count();
    assert_eq!(given, 2 * 21 - 1);
    assert_eq!(serve.answer(start + Duration::from_secs(60), &info, 20), last);
}
