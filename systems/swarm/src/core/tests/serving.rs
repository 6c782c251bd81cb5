//! Scenarios of the uploading half.

use std::time::Duration;

use super::super::*;
use super::rig::{Rig, caps};

fn interested(rig: &mut Rig, host: u32) -> PeerKey {
    let peer = rig.join_silently(caps(host));
    rig.input(Input::Interest { peer, interested: true });
    peer
}

#[test]
fn free_slots_are_given_at_once_and_no_more_than_there_are() {
    let mut rig = Rig::seed(Config { upload_slots: 3, ..Config::default() }, 4, 4);
    let peers: Vec<PeerKey> = (0..6).map(|host| interested(&mut rig, host)).collect();
    let served: Vec<bool> = peers.iter().map(|peer| rig.peers[peer].unchoked).collect();
    assert_eq!(served, [true, true, true, true, false, false], "three and the optimistic one");
    rig.leave(peers[0]);
    assert_eq!(rig.peers.values().filter(|peer| peer.unchoked).count(), 4, "the slot is passed on");
    rig.input(Input::Interest { peer: peers[1], interested: false });
    assert_eq!(peers[2..].iter().filter(|peer| rig.peers[peer].unchoked).count(), 4);
}

#[test]
fn who_gives_most_is_served_while_fetching() {
    let mut rig = Rig::new(Config { upload_slots: 2, ..Config::default() }, 400, 16);
    let peers: Vec<PeerKey> = (0..8)
        .map(|host| {
            let peer = rig.join(caps(host), 0..399);
            rig.input(Input::Interest { peer, interested: true });
            peer
        })
        .collect();
    for _ in 0..250 {
        for (generosity, peer) in peers.iter().enumerate() {
            (0..generosity / 2).for_each(|_| {
                rig.answer(*peer);
            });
        }
        rig.complete().into_iter().for_each(|piece| rig.verify(piece));
        rig.pass(Duration::from_millis(100));
    }
    assert!(rig.peers[&peers[7]].unchoked && rig.peers[&peers[6]].unchoked);
    assert_eq!(rig.peers.values().filter(|peer| peer.unchoked).count(), 3);
}

#[test]
fn pausing_the_upload_chokes_everyone_and_going_on_serves_again() {
    let mut rig = Rig::seed(Config::default(), 4, 4);
    let peer = interested(&mut rig, 1);
    rig.input(Input::Flow { fetching: true, serving: false });
    assert!(!rig.peers[&peer].unchoked);
    rig.input(Input::Flow { fetching: true, serving: true });
    assert!(rig.peers[&peer].unchoked);
}

#[test]
fn introductions_say_what_is_there() {
    let shown = |rig: &Rig| {
        rig.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Introduce { availability, .. } => Some(availability.clone()),
                _ => None,
            })
            .next_back()
    };
    let mut rig = Rig::new(Config::default(), 2, 1);
    rig.join(caps(1), 0..2);
    assert_eq!(shown(&rig), Some(Shown::Nothing));
    rig.input(Input::Verified { piece: 0 });
    rig.join_silently(caps(2));
    assert_eq!(shown(&rig), Some(Shown::Verified(rig.swarm.have().clone())));
    rig.input(Input::Verified { piece: 1 });
    rig.join_silently(caps(3));
    assert_eq!(shown(&rig), Some(Shown::All));
}

#[test]
fn a_super_seed_shows_each_peer_another_piece_and_the_next_for_proof() {
    let mut rig = Rig::seed(Config { super_seeding: true, ..Config::default() }, 10, 1);
    let peers: Vec<PeerKey> = (0..3).map(|host| rig.join_silently(caps(host))).collect();
    let shown = |rig: &mut Rig| -> Vec<(PeerKey, u32)> {
        rig.take_outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Announce { peer: Some(peer), piece } => Some((peer, piece)),
                _ => None,
            })
            .collect()
    };
    let first = shown(&mut rig);
    assert_eq!(first.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), peers);
    assert!(first[0].1 != first[1].1 && first[1].1 != first[2].1 && first[0].1 != first[2].1);
    let (taker, piece) = first[0];
    rig.input(Input::Have { peer: taker, piece });
    assert_eq!(shown(&mut rig), [], "nobody else has it yet");
    rig.input(Input::Have { peer: peers[1], piece });
    let next = shown(&mut rig);
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].0, taker);
    rig.input(Input::Configure(Config::default()));
    assert_eq!(shown(&mut rig).len(), 8 + 8 + 9, "then everything is told to all");
}

#[test]
fn the_end_of_super_seeding_does_not_drown_a_wire_in_orders() {
    let pieces = 5_000;
    let mut rig = Rig::seed(Config { super_seeding: true, ..Config::default() }, pieces, 1);
    let peer = rig.join_silently(caps(1));
    let shown = rig.take_outputs().iter().filter(|output| matches!(output, Output::Announce { .. })).count();
    rig.input(Input::Configure(Config::default()));
    let mut told = shown;
    for _ in 0..20 {
        let announced = rig.take_outputs();
        let announced = announced.iter().filter(|output| matches!(output, Output::Announce { .. })).count();
        assert!(announced <= 1_000, "{announced} at once");
        told += announced;
        rig.pass(Duration::from_secs(1));
    }
    assert!(rig.peers.contains_key(&peer));
    assert_eq!(told, pieces as usize);
}

#[test]
fn a_limit_of_our_own_makes_nobody_look_idle() {
    let served = |throttled: bool| {
        let mut rig = Rig::seed(Config { upload_slots: 2, ..Config::default() }, 4, 4);
        rig.input(Input::Throttled(Throttled { up: throttled, down: false }));
        (0..12).for_each(|host| {
            interested(&mut rig, host);
        });
        rig.pass(Duration::from_secs(8));
        rig.peers.values().filter(|peer| peer.unchoked).count()
    };
    assert_eq!((served(false), served(true)), (9, 3));
}
