//! Scenarios of peers that come and go.

use std::time::Duration;

use super::super::*;
use super::rig::{Rig, address, caps};

fn dials(rig: &mut Rig) -> Vec<std::net::SocketAddr> {
    rig.take_outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Dial { address } => Some(address),
            _ => None,
        })
        .collect()
}

#[test]
fn dials_stay_within_their_limits() {
    let config = Config { connections_max: 5, dials_max: 3, ..Config::default() };
    let mut rig = Rig::new(config, 4, 4);
    let known: Vec<_> = (0..20).map(address).collect();
    rig.input(Input::Known { addresses: &known, found: Found::TRACKER });
    let first = dials(&mut rig);
    assert_eq!(first.len(), 3);
    for address in first {
        rig.join_silently(PeerCaps { address, ..caps(0) });
    }
    let second = dials(&mut rig);
    assert_eq!(second.len(), 2, "five connections at most");
    rig.input(Input::DialFailed { address: second[0] });
    assert_eq!(dials(&mut rig).len(), 1);
}

#[test]
fn the_same_peer_twice_is_a_duplicate() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    rig.join_silently(caps(1));
    let again = rig.join_silently(caps(1));
    assert!(rig.outputs.contains(&Output::Dismiss { peer: again, why: Dismissal::Duplicate }));
    let incoming = PeerCaps {
        address: "10.0.0.1:50000".parse().unwrap(),
        listen_address: Some(address(1)),
        outgoing: false,
        ..caps(1)
    };
    let third = rig.join_silently(incoming);
    assert!(rig.outputs.contains(&Output::Dismiss { peer: third, why: Dismissal::Duplicate }));
    let neighbour = PeerCaps {
        listen_address: None,
        address: "10.0.0.1:50001".parse().unwrap(),
        outgoing: false,
        ..caps(1)
    };
    let fourth = rig.join_silently(neighbour);
    assert!(rig.peers.contains_key(&fourth), "another one behind the same address");
}

#[test]
fn an_incoming_peers_listener_joins_the_book_and_is_not_dialled_while_it_is_here() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let incoming = PeerCaps {
        address: "10.0.0.1:50000".parse().unwrap(),
        listen_address: Some(address(1)),
        outgoing: false,
        ..caps(1)
    };
    let peer = rig.join_silently(incoming);
    assert_eq!((rig.swarm.stats(rig.now).peers_known, dials(&mut rig)), (1, vec![]));
    rig.leave(peer);
    rig.pass(Duration::from_secs(120));
    assert_eq!(dials(&mut rig), [address(1)]);
}

/// A magnet link's metadata came over this connection, before there was a transfer.
#[test]
fn a_peer_that_was_dialled_for_its_metadata_is_not_dialled_again_while_it_is_here() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join_silently(caps(1));
    rig.input(Input::Known { addresses: &[address(1)], found: Found::GIVEN });
    assert_eq!(dials(&mut rig), []);
    rig.leave(peer);
    rig.pass(Duration::from_secs(5));
    assert_eq!(dials(&mut rig), [address(1)], "the user named it");
}

#[test]
fn a_paused_transfer_holds_no_connection_and_dials_again_when_it_goes_on() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join(caps(1), 0..4);
    rig.input(Input::Flow { fetching: false, serving: false });
    assert!(rig.outputs.contains(&Output::Dismiss { peer, why: Dismissal::Paused }));
    let incoming = PeerCaps { outgoing: false, ..caps(2) };
    let peer = rig.join_silently(incoming);
    assert!(rig.outputs.contains(&Output::Dismiss { peer, why: Dismissal::Paused }));
    assert_eq!(dials(&mut rig), []);
    rig.input(Input::Flow { fetching: true, serving: true });
    assert_eq!(dials(&mut rig), [address(1)]);
}

#[test]
fn two_seeds_have_nothing_to_gain() {
    let mut rig = Rig::seed(Config::default(), 4, 4);
    let seed = rig.join_silently(caps(1));
    rig.has(seed, (0..4).collect());
    let partial = rig.join_silently(caps(2));
    rig.has(partial, (0..2).collect());
    assert!(rig.peers.contains_key(&partial));
    rig.input(Input::UploadOnly { peer: partial, upload_only: true });
    for peer in [seed, partial] {
        assert!(rig.outputs.contains(&Output::Dismiss { peer, why: Dismissal::NothingToGain }));
    }
    let growing = rig.join_silently(caps(3));
    (0..4).for_each(|piece| rig.input(Input::Have { peer: growing, piece }));
    assert!(!rig.peers.contains_key(&growing), "it has become a seed");
}

/// A seed hangs up on those who have what they want, and may be the first of the two to do so.
#[test]
fn who_left_while_nothing_was_wanted_is_dialled_as_soon_as_something_is() {
    let mut rig = Rig::seed(Config::default(), 4, 4);
    let peer = rig.join_silently(caps(1));
    rig.leave(peer);
    assert_eq!(dials(&mut rig), []);
    rig.input(Input::Lost { piece: 2 });
    assert_eq!(dials(&mut rig), [address(1)]);
}

#[test]
fn an_idle_peer_makes_room_for_a_newcomer_and_a_busy_one_does_not() {
    let mut rig = Rig::new(Config { connections_max: 2, ..Config::default() }, 90, 4);
    let busy = rig.join(caps(1), 0..90);
    let idle = rig.join_silently(caps(2));
    let early = rig.join_silently(caps(3));
    assert!(
        rig.outputs.contains(&Output::Dismiss { peer: early, why: Dismissal::TooMany }),
        "nobody has settled yet"
    );
    for _ in 0..70 {
        rig.pass(Duration::from_secs(1));
        rig.answer(busy);
        rig.complete().into_iter().for_each(|piece| rig.verify(piece));
    }
    let late = rig.join_silently(caps(4));
    assert!(rig.peers.contains_key(&late) && rig.peers.contains_key(&busy) && !rig.peers.contains_key(&idle));
    rig.check();
}

#[test]
fn a_host_that_took_all_places_gives_one_to_another_host() {
    let mut rig = Rig::new(Config { connections_max: 3, ..Config::default() }, 4, 4);
    let from = |port: u16, host: u8| PeerCaps { address: ([10, 9, 9, host], port).into(), ..caps(1) };
    let crowd: Vec<_> = (1..=3).map(|port| rig.join_silently(from(port, 1))).collect();
    let one_more = rig.join_silently(from(4, 1));
    assert!(!rig.peers.contains_key(&one_more), "its own kind makes no room");
    let other = rig.join_silently(from(1, 2));
    assert!(rig.peers.contains_key(&other));
    assert_eq!(crowd.iter().filter(|peer| rig.peers.contains_key(peer)).count(), 2);
    let third = rig.join_silently(from(1, 3));
    assert!(rig.peers.contains_key(&third));
    rig.check();
}

#[test]
fn inputs_about_a_peer_that_left_are_ignored() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let peer = rig.join(caps(1), 0..4);
    let block = rig.requests_of(peer)[0];
    rig.leave(peer);
    rig.take_outputs();
    rig.input(Input::Have { peer, piece: 1 });
    rig.input(Input::Choked { peer, choked: false });
    rig.input(Input::Rejected { peer, blocks: &[block] });
    rig.input(Input::Sent { peer, bytes: 5, padding: 0 });
    rig.input(Input::Left { peer });
    assert_eq!(rig.send(peer, block), Received::Unrequested);
    assert_eq!(rig.take_outputs(), []);
    rig.check();
}

#[test]
fn an_idle_seed_needs_no_timer_and_little_memory() {
    let mut rig = Rig::seed(Config::default(), 10_000, 16);
    assert_eq!(rig.swarm.poll_timeout(), None);
    let peer = rig.join_silently(caps(1));
    rig.has(peer, (0..10).collect());
    assert!(rig.swarm.picker.index.buckets.is_none(), "nothing is to be fetched");
    rig.leave(peer);
    assert!(rig.swarm.poll_timeout().is_none_or(|at| at > rig.now + Duration::from_secs(10)));
    assert!(std::mem::size_of::<Swarm>() < 2_048, "{} bytes", std::mem::size_of::<Swarm>());
}

#[test]
fn availability_counts_whole_copies_and_the_fraction_of_the_next() {
    let mut rig = Rig::new(Config::default(), 10, 1);
    let choking = rig.join_silently(caps(1));
    rig.has(choking, (0..10).collect());
    let other = rig.join_silently(caps(2));
    rig.has(other, (0..4).collect());
    assert!((rig.swarm.stats(rig.now).availability - 1.4).abs() < 1e-6);
}

#[test]
fn what_a_peer_says_of_itself_later_counts() {
    let mut rig = Rig::new(Config::default(), 400, 16);
    let incoming = |port: u16| PeerCaps {
        address: ([10, 0, 0, 1], port).into(),
        requests_max: 2,
        outgoing: false,
        ..caps(1)
    };
    let peer = rig.join(incoming(50_000), 0..400);
    assert_eq!((rig.requests_of(peer).len(), rig.swarm.stats(rig.now).peers_known), (2, 0));
    rig.peers.get_mut(&peer).unwrap().caps.requests_max = 500;
    rig.input(Input::Caps { peer, requests_max: Some(500), listen_address: Some(address(1)) });
    assert_eq!((rig.requests_of(peer).len(), rig.swarm.stats(rig.now).peers_known), (8, 1));
    assert_eq!(dials(&mut rig), [], "it is here");
    let again = rig.join_silently(incoming(50_001));
    rig.input(Input::Caps { peer: again, requests_max: None, listen_address: Some(address(1)) });
    assert!(rig.outputs.contains(&Output::Dismiss { peer: again, why: Dismissal::Duplicate }));
    rig.leave(peer);
    rig.take_outputs();
    rig.pass(Duration::from_secs(120));
    assert_eq!(dials(&mut rig), [address(1)]);
    rig.check();
}

#[test]
fn a_process_without_room_dials_again_later_and_blames_nobody() {
    let mut rig = Rig::new(Config { dials_max: 2, ..Config::default() }, 4, 4);
    rig.input(Input::Known { addresses: &[address(1), address(2)], found: Found::TRACKER });
    for _ in 0..20 {
        let dialled = dials(&mut rig);
        assert_eq!(dialled.len(), 2, "neither is forgotten");
        for address in dialled {
            rig.input(Input::NoRoom { address });
        }
        assert_eq!(dials(&mut rig), [], "not at once");
        rig.pass(Duration::from_secs(6));
    }
}

#[test]
fn one_that_says_again_and_again_what_it_has_is_sent_away() {
    let mut rig = Rig::new(Config::default(), 40, 4);
    let restless = rig.join_silently(caps(1));
    let server = rig.join_silently(PeerCaps { serves_only: true, ..caps(2) });
    let mut told = 0;
    for at in 0..200 {
        for peer in [restless, server] {
            if rig.peers.contains_key(&peer) {
                rig.has(peer, (at % 20..40).collect());
                told += u32::from(peer == restless);
            }
        }
    }
    assert!(told > 72, "aria2 tells that often");
    assert!(rig.outputs.contains(&Output::Dismiss { peer: restless, why: Dismissal::Restless }));
    assert!(rig.peers.contains_key(&server), "files went missing there, one by one");
    rig.check();
}

#[test]
fn two_web_seeds_of_one_server_are_two() {
    let mut rig = Rig::new(Config::default(), 4, 4);
    let seeds: Vec<_> =
        (0..2).map(|_| rig.join_silently(PeerCaps { serves_only: true, ..caps(1) })).collect();
    assert!(seeds.iter().all(|seed| rig.peers.contains_key(seed)));
}
