//! Scenarios of the downloading half.

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_content::{Alignment, BLOCK_LENGTH, Block, Entry, EntryKind, Layout, PieceSet, RelPath};

use super::super::*;
use super::rig::{Rig, caps};

fn requests(outputs: &[Output]) -> Vec<(PeerKey, Block)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Request { peer, blocks } => Some(blocks.iter().map(|block| (*peer, *block))),
            _ => None,
        })
        .flatten()
        .collect()
}

#[test]
fn one_seed_gives_everything() {
    let mut rig = Rig::new(Config::default(), 40, 16);
    rig.join(caps(1), 0..40);
    assert_eq!(rig.run(10_000), 640);
    assert!(rig.swarm.is_finished());
    assert_eq!(rig.outputs.iter().filter(|output| **output == Output::Finished).count(), 1);
    assert!(rig.peers.is_empty(), "two seeds part");
    let stats = rig.swarm.stats(rig.now);
    assert_eq!((stats.downloaded, stats.wasted, stats.left), (640 * 16384, 0, 0));
    rig.check();
}

#[test]
fn four_leechers_piece_each_other_together() {
    let mut rig = Rig::new(Config::default(), 40, 4);
    for host in 0..4 {
        rig.join(caps(host), (0..40).filter(|piece| piece % 4 == host));
    }
    rig.run(10_000);
    assert!(rig.swarm.is_finished());
    rig.check();
}

#[test]
fn the_rarest_piece_is_fetched_first() {
    let mut rig = Rig::new(Config::default(), 20, 1);
    let slow = caps(9);
    let first = rig.join(PeerCaps { requests_max: 1, ..slow }, [19]);
    rig.answer(first);
    rig.verify(19);
    // Piece 7 only with the one we ask, all others with three more.
    (1..4).for_each(|host| {
        let peer = rig.join_silently(caps(host));
        rig.has(peer, (0..19).filter(|piece| *piece != 7).collect());
    });
    rig.take_outputs();
    rig.join(PeerCaps { requests_max: 3, ..caps(5) }, 0..20);
    assert_eq!(requests(&rig.take_outputs())[0].1.piece, 7);
}

#[test]
fn a_piece_that_was_begun_is_completed_before_another_is() {
    let mut rig = Rig::new(Config::default(), 10, 8);
    let peer = rig.join(PeerCaps { requests_max: 3, ..caps(1) }, 0..10);
    let begun = requests(&rig.outputs)[0].1.piece;
    for _ in 0..5 {
        rig.answer(peer);
    }
    let other = rig.join(PeerCaps { requests_max: 1, ..caps(2) }, 0..10);
    let asked: Vec<u32> = requests(&rig.outputs).iter().take(8).map(|(_, block)| block.piece).collect();
    assert_eq!(asked, [begun; 8]);
    assert!(rig.requests_of(other).len() == 1);
}

#[test]
fn the_first_piece_is_random() {
    let firsts: BTreeSet<u32> = (0..40)
        .map(|seed| {
            let layout = Layout::of_length(50 * 16384, 16384);
            let mut rig = Rig::over(Config::default(), layout, PieceSet::empty(50), seed);
            rig.join(caps(1), 0..50);
            requests(&rig.outputs)[0].1.piece
        })
        .collect();
    assert!(firsts.len() > 15, "{firsts:?}");
}

#[test]
fn in_sequence_the_lowest_piece_comes_first_and_priorities_rule() {
    let config = Config { sequential: true, ..Config::default() };
    let mut rig = Rig::new(config, 30, 2);
    rig.input(Input::Prioritise { ranges: &[(20..22, Priority::High)] });
    rig.input(Input::Prioritise { ranges: &[(0..1, Priority::Low)] });
    rig.input(Input::Prioritise { ranges: &[(5..9, Priority::Skip)] });
    rig.join(caps(1), 0..30);
    rig.run(1_000);
    let mut order: Vec<u32> = requests(&rig.outputs).iter().map(|(_, block)| block.piece).collect();
    order.dedup();
    let expected: Vec<u32> = [20, 21].into_iter().chain(1..5).chain(9..20).chain(22..30).chain([0]).collect();
    assert_eq!(order, expected);
    assert!(rig.swarm.is_finished(), "skipped pieces are not waited for");
    assert_eq!(rig.swarm.stats(rig.now).left, 0);
    rig.check();
}

#[test]
fn wanting_more_after_the_end_fetches_it_and_finishes_again() {
    let mut rig = Rig::new(Config::default(), 10, 2);
    rig.input(Input::Prioritise { ranges: &[(3..10, Priority::Skip)] });
    rig.join(caps(1), 0..10);
    rig.run(1_000);
    assert!(rig.swarm.is_finished());
    rig.join(caps(2), 0..9);
    rig.input(Input::Prioritise { ranges: &[(3..5, Priority::Normal)] });
    assert!(!rig.swarm.is_finished());
    rig.check();
    rig.run(1_000);
    assert!(rig.swarm.is_finished());
    assert_eq!(rig.outputs.iter().filter(|output| **output == Output::Finished).count(), 2);
    rig.check();
}

#[test]
fn what_a_reader_waits_for_comes_before_what_is_rare() {
    let mut rig = Rig::new(Config::default(), 50, 4);
    for (order, piece) in [(2, 30), (1, 31), (3, 7)] {
        rig.input(Input::Deadline {
            reader: ReaderId(1),
            piece,
            at: rig.now + Duration::from_secs(10 * order),
        });
    }
    rig.join(PeerCaps { requests_max: 12, ..caps(1) }, 0..50);
    rig.run(12);
    let order: Vec<u32> = requests(&rig.outputs).iter().take(12).map(|(_, block)| block.piece).collect();
    assert_eq!(order, [31, 31, 31, 31, 30, 30, 30, 30, 7, 7, 7, 7]);
}

#[test]
fn a_reader_does_not_wait_for_a_slow_peer_when_a_fast_one_is_there() {
    let mut rig = Rig::new(Config::default(), 200, 4);
    let slow = rig.join(caps(1), 0..200);
    let piece = rig.requests_of(slow)[0].piece;
    let fast = rig.join(caps(2), 0..200);
    for _ in 0..40 {
        rig.pass(Duration::from_millis(100));
        (0..3).for_each(|_| {
            rig.answer(fast);
        });
        rig.complete().into_iter().for_each(|piece| rig.verify(piece));
    }
    rig.take_outputs();
    rig.input(Input::Deadline { reader: ReaderId(1), piece, at: rig.now + Duration::from_secs(1) });
    for _ in 0..10 {
        rig.pass(Duration::from_millis(100));
        (0..3).for_each(|_| {
            rig.answer(fast);
        });
    }
    assert!(requests(&rig.outputs).iter().any(|(peer, block)| *peer == fast && block.piece == piece));
}

#[test]
fn in_the_end_game_a_fast_peer_takes_over_from_a_slow_one_and_the_loser_is_cancelled() {
    let mut rig = Rig::new(Config::default(), 8, 4);
    let slow = rig.join(PeerCaps { requests_max: 6, ..caps(1) }, 0..8);
    let fast = rig.join(caps(2), 0..8);
    for _ in 0..400 {
        rig.pass(Duration::from_millis(50));
        rig.answer(fast);
        rig.complete().into_iter().for_each(|piece| rig.verify(piece));
    }
    assert!(rig.swarm.is_finished());
    let cancelled = rig
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::Cancel { peer, .. } if *peer == slow))
        .count();
    assert_eq!(cancelled, 6);
    assert_eq!(rig.swarm.stats(rig.now).wasted, 0);
}

#[test]
fn late_data_of_a_cancelled_block_is_a_duplicate_and_of_a_missing_one_wanted() {
    let mut rig = Rig::new(Config::default(), 4, 2);
    let peer = rig.join(PeerCaps { fast: false, ..caps(1) }, 0..4);
    let block = rig.requests_of(peer)[0];
    rig.choke_us(peer, true);
    assert_eq!(rig.send(peer, block), Received::Wanted, "the choke overtook it");
    assert_eq!(rig.send(peer, block), Received::Unrequested, "but not twice");
    rig.check();
}

#[test]
fn a_choke_frees_the_requests_for_others() {
    let mut rig = Rig::new(Config::default(), 1, 4);
    let one = rig.join(PeerCaps { fast: false, ..caps(1) }, 0..1);
    assert_eq!(rig.requests_of(one).len(), 4);
    let other = rig.join(caps(2), 0..1);
    rig.choke_us(one, true);
    assert_eq!(rig.requests_of(other).len(), 4);
    rig.check();
}

#[test]
fn a_peer_with_the_fast_extension_rejects_one_by_one() {
    let mut rig = Rig::new(Config::default(), 1, 4);
    let one = rig.join(caps(1), 0..1);
    rig.choke_us(one, true);
    let blocks = rig.requests_of(one);
    assert_eq!(blocks.len(), 4, "still expected");
    rig.peers.get_mut(&one).unwrap().requests.clear();
    rig.input(Input::Rejected { peer: one, blocks: &blocks });
    assert!(!rig.swarm.is_requested(0));
    let other = rig.join(caps(2), 0..1);
    assert_eq!(rig.requests_of(other).len(), 4);
    rig.check();
}

#[test]
fn one_that_refuses_everything_is_not_asked_in_a_loop() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join(caps(1), 0..4);
    let mut asked = 0;
    for _ in 0..300 {
        let blocks = rig.requests_of(peer);
        asked += blocks.len();
        rig.peers.get_mut(&peer).unwrap().requests.clear();
        rig.input(Input::Rejected { peer, blocks: &blocks });
        rig.pass(Duration::from_millis(200));
    }
    assert!(asked < 120, "{asked} requests in a minute");
}

#[test]
fn allowed_fast_pieces_are_fetched_while_choked() {
    let mut rig = Rig::new(Config::default(), 10, 2);
    let peer = rig.join_silently(caps(1));
    rig.has(peer, (0..10).collect());
    assert_eq!(rig.requests_of(peer), []);
    for piece in [3, 1 << 30] {
        rig.peers.get_mut(&peer).unwrap().allowed.insert(piece);
        rig.input(Input::AllowedFast { peer, piece });
    }
    assert_eq!(rig.requests_of(peer).iter().map(|block| block.piece).collect::<Vec<_>>(), [3, 3]);
    rig.run(10);
    assert!(rig.swarm.have().contains(3));
    rig.check();
}

#[test]
fn one_that_sends_nothing_is_snubbed_and_its_blocks_go_to_others() {
    let mut rig = Rig::new(Config::default(), 1, 8);
    let silent = rig.join(PeerCaps { fast: false, ..caps(1) }, 0..1);
    let oldest = rig.requests_of(silent)[0];
    let other = rig.join_silently(caps(2));
    rig.has(other, (0..1).collect());
    rig.pass(snub::SNUB_AFTER + Duration::from_secs(2));
    rig.choke_us(other, false);
    assert_eq!(rig.requests_of(other).len(), 8);
    assert!(rig.requests_of(silent).len() <= 1);
    assert!(rig.swarm.peers(rig.now).iter().find(|peer| peer.peer == silent).unwrap().snubbed);
    assert_eq!(rig.send(silent, oldest), Received::Wanted, "late, but still missing");
    assert!(!rig.swarm.peers(rig.now).iter().find(|peer| peer.peer == silent).unwrap().snubbed);
    rig.check();
}

#[test]
fn one_that_never_answers_is_sent_away() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let silent = rig.join(caps(1), 0..4);
    rig.pass(Duration::from_secs(400));
    assert!(rig.outputs.contains(&Output::Dismiss { peer: silent, why: Dismissal::Stalled }));
}

#[test]
fn padding_is_never_requested_and_not_counted() {
    let entry = |name: &str, length, kind| Entry {
        path: RelPath::from_components([name]).unwrap(),
        length,
        kind,
        offset: 0,
    };
    let file = EntryKind::File { executable: false };
    let piece_length = 4 * BLOCK_LENGTH;
    let pad = u64::from(piece_length) - 20_000;
    let entries =
        vec![entry("a", 20_000, file.clone()), entry("pad", pad, EntryKind::Pad), entry("b", 100_000, file)];
    let layout = Layout::new(entries, piece_length, Alignment::Stream).unwrap();
    let mut rig = Rig::over(Config::default(), layout, PieceSet::empty(3), 1);
    assert_eq!(rig.swarm.stats(rig.now).left, 120_000);
    rig.join(caps(1), 0..3);
    assert_eq!(rig.run(1_000), 2 + 4 + 3);
    assert!(rig.swarm.is_finished());
}

#[test]
fn pieces_whose_hash_is_unknown_wait_for_it() {
    let mut rig = Rig::new(Config::default(), 6, 2);
    rig.input(Input::Knowable { pieces: 2..99, known: false });
    let peer = rig.join(caps(1), 0..6);
    rig.run(1_000);
    assert_eq!(rig.swarm.have().count(), 2);
    assert!(!rig.swarm.is_finished());
    assert_eq!(rig.requests_of(peer), []);
    rig.check();
    rig.input(Input::Knowable { pieces: 0..6, known: true });
    rig.run(1_000);
    assert!(rig.swarm.is_finished());
    rig.check();
}

#[test]
fn no_new_piece_is_begun_while_too_much_is_buffered() {
    let config = Config { buffered_max: 8 * u64::from(BLOCK_LENGTH), ..Config::default() };
    let mut rig = Rig::new(config, 100, 4);
    let peer = rig.join(caps(1), 0..100);
    for _ in 0..400 {
        rig.answer(peer);
    }
    let waiting = rig.complete().len();
    assert!(waiting <= 6, "{waiting} pieces wait for their verdict");
    rig.check();
    rig.complete().into_iter().for_each(|piece| rig.verify(piece));
    rig.run(1_000);
    assert!(rig.swarm.is_finished(), "and it goes on when they are verified");
}

#[test]
fn pausing_takes_everything_back_and_going_on_asks_again() {
    let mut rig = Rig::new(Config::default(), 10, 4);
    let peer = rig.join(caps(1), 0..10);
    rig.answer(peer);
    rig.input(Input::Flow { fetching: false, serving: true });
    assert_eq!(rig.requests_of(peer), []);
    assert!(!rig.peers[&peer].interesting);
    rig.check();
    rig.input(Input::Flow { fetching: true, serving: true });
    rig.run(1_000);
    assert!(rig.swarm.is_finished());
}

#[test]
fn a_lost_piece_is_fetched_again() {
    let mut rig = Rig::seed(Config::default(), 5, 2);
    rig.input(Input::Lost { piece: 2 });
    assert!(!rig.swarm.is_finished());
    assert!(rig.outputs.contains(&Output::Retract { piece: 2 }));
    rig.join(caps(1), 0..5);
    assert_eq!(rig.run(100), 2);
    assert!(rig.swarm.is_finished());
    rig.check();
}

#[test]
fn a_piece_that_could_not_be_written_is_fetched_again() {
    let mut rig = Rig::new(Config::default(), 2, 2);
    let peer = rig.join(caps(1), 0..2);
    (0..4).for_each(|_| {
        rig.answer(peer);
    });
    rig.input(Input::Lost { piece: 1 });
    rig.check();
    rig.run(100);
    assert!(rig.swarm.is_finished());
}

#[test]
fn the_lone_sender_of_a_corrupt_piece_is_banned() {
    let mut rig = Rig::new(Config::default(), 3, 2);
    let peer = rig.join(caps(1), 0..3);
    (0..6).for_each(|_| {
        rig.answer(peer);
    });
    rig.corrupt(rig.complete()[0], &[]);
    assert!(rig.outputs.contains(&Output::Ban { address: caps(1).address }));
    assert!(rig.outputs.contains(&Output::Dismiss { peer, why: Dismissal::BadData }));
    assert_eq!(rig.swarm.stats(rig.now).hosts_banned, 1, "and people are told");
    let back = rig.join_silently(caps(1));
    assert!(
        rig.outputs.contains(&Output::Dismiss { peer: back, why: Dismissal::BadData }),
        "its host stays banned"
    );
    rig.check();
}

#[test]
fn proof_by_block_bans_its_sender_alone() {
    let mut rig = Rig::new(Config::default(), 1, 4);
    let limited = |host| PeerCaps { requests_max: 2, ..caps(host) };
    let (bad, good) = (rig.join(limited(1), 0..1), rig.join(limited(2), 0..1));
    let block = rig.requests_of(bad)[0];
    while rig.complete().is_empty() {
        rig.answer(bad);
        rig.answer(good);
    }
    rig.corrupt(0, &[block]);
    assert!(!rig.peers.contains_key(&bad) && rig.peers.contains_key(&good));
    rig.check();
}

#[test]
fn a_poisoner_among_honest_peers_is_banned_and_they_are_not() {
    for seed in 0..20 {
        let layout = Layout::of_length(60 * 8 * 16384, 8 * 16384);
        let mut rig = Rig::over(Config::default(), layout, PieceSet::empty(60), seed);
        let limited = |host| PeerCaps { requests_max: 3, ..caps(host) };
        let peers: Vec<PeerKey> = (0..4).map(|host| rig.join(limited(host), 0..60)).collect();
        let mut poisoned = BTreeSet::new();
        let mut count = 0;
        for _ in 0..20_000 {
            for peer in &peers {
                let block = rig.requests_of(*peer).first().copied();
                if rig.answer(*peer) == Some(Received::Wanted) && *peer == peers[0] {
                    count += 1;
                    if count % 5 == 0 {
                        poisoned.extend(block.map(|block| block.piece));
                    }
                }
                for piece in rig.complete() {
                    if poisoned.remove(&piece) { rig.corrupt(piece, &[]) } else { rig.verify(piece) }
                }
            }
            rig.pass(Duration::from_millis(20));
            if rig.swarm.is_finished() {
                break;
            }
        }
        assert!(rig.swarm.is_finished(), "seed {seed}");
        let bans: Vec<&Output> =
            rig.outputs.iter().filter(|output| matches!(output, Output::Ban { .. })).collect();
        assert_eq!(bans, [&Output::Ban { address: caps(0).address }], "seed {seed}");
    }
}

#[test]
fn one_that_floods_what_nobody_asked_for_is_sent_away() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join(caps(1), 0..4);
    let odd = [
        Block { piece: 9, begin: 0, length: 16384 },
        Block { piece: 0, begin: 1, length: 16384 },
        Block { piece: 0, begin: 0, length: 0 },
        Block { piece: 0, begin: u32::MAX, length: u32::MAX },
        Block { piece: u32::MAX, begin: u32::MAX, length: 16384 },
    ];
    for block in odd.into_iter().cycle().take(100) {
        if !rig.peers.contains_key(&peer) {
            break;
        }
        assert_eq!(rig.send(peer, block), Received::Unrequested);
    }
    assert!(rig.outputs.contains(&Output::Dismiss { peer, why: Dismissal::Unrequested }));
}

#[test]
fn a_web_seed_is_asked_without_an_unchoke() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join_silently(PeerCaps { serves_only: true, ..caps(1) });
    rig.has(peer, (0..4).collect());
    assert_eq!(rig.run(100), 16);
    assert!(
        !rig.outputs.iter().any(|output| matches!(output, Output::Introduce { .. } | Output::Choke { .. }))
    );
}

/// A wire without the fast extension drops what it does not serve without a word, and goes on with the rest.
#[test]
fn a_request_that_was_dropped_in_silence_goes_to_another() {
    let mut rig = Rig::new(Config::default(), 40, 4);
    let peer = rig.join(PeerCaps { fast: false, ..caps(1) }, 0..40);
    let dropped = rig.requests_of(peer)[0];
    for _ in 0..110 {
        let place = usize::from(rig.requests_of(peer).first() == Some(&dropped));
        rig.answer_at(peer, place);
        rig.pass(Duration::from_millis(100));
    }
    let cancelled =
        |output: &Output| matches!(output, Output::Cancel { blocks, .. } if blocks.contains(&dropped));
    assert_eq!(rig.outputs.iter().filter(|output| cancelled(output)).count(), 1, "given up");
    let again = requests(&rig.outputs).iter().filter(|(_, block)| *block == dropped).count();
    assert_eq!(again, 2, "and asked for again");
    rig.check();
}

#[test]
fn a_helper_takes_over_what_was_dropped_in_silence() {
    let mut rig = Rig::new(Config::default(), 1, 16);
    let peer = rig.join(PeerCaps { fast: false, ..caps(1) }, 0..1);
    let dropped = rig.requests_of(peer)[0];
    for _ in 0..9 {
        rig.answer_at(peer, 1);
        rig.pass(Duration::from_millis(400));
    }
    rig.take_outputs();
    let helper = rig.join(caps(2), 0..1);
    rig.answer(helper);
    rig.pass(Duration::from_millis(1_100));
    let outputs = rig.take_outputs();
    assert!(requests(&outputs).contains(&(helper, dropped)), "{outputs:?}");
    rig.check();
}

#[test]
fn a_new_list_of_priorities_ends_nothing_on_its_way() {
    let mut rig = Rig::new(Config::default(), 10, 4);
    let peer = rig.join(caps(1), 0..10);
    rig.answer(peer);
    let seed = rig.join(caps(2), 0..10);
    let asked = rig.requests_of(peer);
    let begun = asked[0].piece;
    rig.input(Input::Deadline { reader: ReaderId(1), piece: begun, at: rig.now + Duration::from_secs(9) });
    rig.take_outputs();
    rig.input(Input::Prioritise {
        ranges: &[(0..10, Priority::Skip), (0..10, Priority::Normal), (9..10, Priority::High)],
    });
    let outputs = rig.take_outputs();
    assert!(
        !outputs.iter().any(|output| {
            matches!(
                output,
                Output::Finished | Output::Discard { .. } | Output::Cancel { .. } | Output::Dismiss { .. }
            )
        }),
        "{outputs:?}"
    );
    assert!(rig.peers.contains_key(&seed) && rig.swarm.picker.wishes.deadline(begun).is_some());
    rig.check();
}

#[test]
fn a_reader_that_leaves_takes_only_its_own_deadlines_along() {
    let mut rig = Rig::new(Config::default(), 50, 4);
    let at = rig.now + Duration::from_secs(5);
    for (reader, piece) in [(1, 30), (2, 30), (1, 31), (2, 7)] {
        rig.input(Input::Deadline { reader: ReaderId(reader), piece, at });
    }
    rig.input(Input::ClearDeadlines { reader: ReaderId(1) });
    rig.join(PeerCaps { requests_max: 8, ..caps(1) }, 0..50);
    let order: BTreeSet<u32> = requests(&rig.outputs).iter().take(8).map(|(_, block)| block.piece).collect();
    assert_eq!(order, [7, 30].into());
}

#[test]
fn a_deadline_waits_for_the_hash_of_its_piece() {
    let mut rig = Rig::new(Config::default(), 60, 2);
    rig.input(Input::Knowable { pieces: 40..60, known: false });
    rig.input(Input::Deadline { reader: ReaderId(1), piece: 50, at: rig.now });
    let peer = rig.join(PeerCaps { requests_max: 2, ..caps(1) }, 0..60);
    rig.take_outputs();
    rig.input(Input::Knowable { pieces: 40..60, known: true });
    rig.answer(peer);
    rig.answer(peer);
    assert!(requests(&rig.outputs).iter().all(|(_, block)| block.piece == 50), "{:?}", rig.outputs);
    rig.check();
}

#[test]
fn a_reader_gets_what_the_user_skipped_and_no_more() {
    let mut rig = Rig::new(Config::default(), 10, 2);
    rig.input(Input::Prioritise { ranges: &[(3..10, Priority::Skip)] });
    rig.join(caps(1), 0..10);
    rig.run(1_000);
    assert!(rig.swarm.is_finished());
    for piece in [6, 7] {
        rig.input(Input::Deadline { reader: ReaderId(1), piece, at: rig.now });
    }
    assert!(!rig.swarm.is_finished());
    rig.check();
    let peer = rig.join(caps(2), 0..9);
    rig.answer(peer);
    rig.answer(peer);
    rig.complete().into_iter().for_each(|piece| rig.verify(piece));
    rig.check();
    rig.input(Input::ClearDeadlines { reader: ReaderId(1) });
    assert!(rig.swarm.is_finished());
    assert_eq!(rig.swarm.have().count(), 4, "{:?}", rig.swarm.have());
    rig.check();
}

#[test]
fn a_snub_is_forgotten_when_nothing_more_is_asked() {
    let silent_then = |then: &dyn Fn(&mut Rig)| {
        let mut rig = Rig::new(Config::default(), 4, 4);
        let silent = rig.join(caps(1), 0..3);
        rig.pass(snub::SNUB_AFTER + Duration::from_secs(2));
        assert!(rig.swarm.peers(rig.now)[0].snubbed);
        then(&mut rig);
        rig.pass(2 * snub::STALLED_AFTER);
        assert!(rig.peers.contains_key(&silent), "{:?}", rig.outputs);
    };
    silent_then(&|rig| rig.input(Input::Flow { fetching: false, serving: true }));
    silent_then(&|rig| rig.input(Input::Prioritise { ranges: &[(0..4, Priority::Skip)] }));
    silent_then(&|rig| {
        rig.input(Input::Verified { piece: 3 });
        rig.input(Input::Interest { peer: PeerKey(0), interested: true });
    });
}

#[test]
fn nobody_is_snubbed_because_our_own_limit_holds_them_back() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join(caps(1), 0..4);
    rig.input(Input::Throttled(Throttled { up: false, down: true }));
    rig.pass(3 * snub::SNUB_AFTER);
    assert!(!rig.swarm.peers(rig.now)[0].snubbed);
    assert!(rig.answer(peer).is_some());
    rig.pass(11 * snub::SNUB_AFTER);
    assert!(rig.swarm.peers(rig.now)[0].snubbed, "but not for ever");
}
