//! Pieces under inquiry: whom the swarm asks which block is bad, and what it makes of the answer.

use std::time::Duration;

use peerage_content::{BLOCK_LENGTH, Block, PieceIndex};

use super::super::*;
use super::rig::{Rig, caps};

const BLOCKS: u32 = 8;

/// A piece of which two peers sent four blocks each, the first of them a bad one, and bystanders that have it as well. Another piece
/// nobody has.
struct Scene {
    rig: Rig,
    liar: PeerKey,
    honest: PeerKey,
    bad: Block,
}

impl Scene {
    fn new() -> Self {
        let mut rig = Rig::new(Config::default(), 2, BLOCKS);
        let limited = |host| PeerCaps { requests_max: 4, ..caps(host) };
        let (liar, honest) = (rig.join(limited(1), 0..1), rig.join(limited(2), 0..1));
        let bad = rig.requests_of(liar)[1];
        Self { rig, liar, honest, bad }
    }

    fn bystander(&mut self, host: u32) -> PeerKey {
        self.rig.join_proving(caps(host), 0..1)
    }

    /// The piece comes, and does not match.
    fn fail(&mut self) {
        while self.rig.complete().is_empty() {
            self.rig.answer(self.liar);
            self.rig.answer(self.honest);
        }
        self.rig.take_outputs();
        self.rig.corrupt_kept(0, &[]);
        self.rig.check();
    }

    /// Who was asked for proof since the last call.
    fn asked(&mut self) -> Vec<PeerKey> {
        let outputs = self.rig.take_outputs();
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Prove { peer, piece: 0 } => Some(*peer),
                Output::Discard { .. } | Output::Ban { .. } => panic!("too early: {output:?}"),
                _ => None,
            })
            .collect()
    }

    fn refuse(&mut self, peer: PeerKey) {
        self.rig.input(Input::Unproven { peer, piece: 0 });
        self.rig.check();
    }

    /// The piece was dropped and is fetched anew.
    fn assert_fetched_anew(&self) {
        assert!(self.rig.outputs.contains(&Output::Discard { piece: 0 }), "{:?}", self.rig.outputs);
        assert!(!self.rig.outputs.iter().any(|output| matches!(output, Output::Ban { .. })));
        let requested: usize = self.rig.peers.keys().map(|peer| self.rig.requests_of(*peer).len()).sum();
        assert!(requested > 0);
    }
}

fn banned(outputs: &[Output]) -> Vec<Output> {
    outputs.iter().filter(|output| matches!(output, Output::Ban { .. })).cloned().collect()
}

#[test]
fn proof_bans_the_liar_and_only_the_bad_block_is_fetched_again() {
    let mut scene = Scene::new();
    let witness = scene.bystander(3);
    scene.fail();
    assert_eq!(scene.asked(), [witness]);
    assert!(scene.rig.peers.keys().all(|peer| scene.rig.requests_of(*peer).is_empty()), "it waits for proof");

    let before = scene.rig.swarm.stats(scene.rig.now);
    scene.rig.corrupt_kept(0, &[scene.bad]);
    scene.rig.check();
    assert_eq!(banned(&scene.rig.outputs), [Output::Ban { address: caps(1).address }]);
    assert!(!scene.rig.outputs.contains(&Output::Discard { piece: 0 }));
    let requested: Vec<Block> =
        scene.rig.peers.keys().flat_map(|peer| scene.rig.requests_of(*peer)).collect();
    assert_eq!(requested, [scene.bad]);
    let after = scene.rig.swarm.stats(scene.rig.now);
    assert_eq!(after.wasted - before.wasted, BLOCK_LENGTH.into());
    assert_eq!(before.downloaded - after.downloaded, BLOCK_LENGTH.into());
    scene.rig.run(10);
    assert!(scene.rig.swarm.have().contains(0));
    assert!(!scene.rig.swarm.peers[&scene.honest].on_parole);
    scene.rig.check();
}

#[test]
fn one_after_the_other_is_asked_once_and_senders_last() {
    let mut scene = Scene::new();
    let (first, second) = (scene.bystander(3), scene.bystander(4));
    let honest = scene.honest;
    scene.rig.input(Input::Proves { peer: honest });
    scene.fail();
    assert_eq!(scene.asked(), [first]);
    scene.refuse(first);
    assert_eq!(scene.asked(), [second]);
    // Of one that was not asked, or refuses twice, it means nothing.
    scene.refuse(first);
    scene.refuse(honest);
    assert_eq!(scene.asked(), []);
    scene.rig.leave(second);
    assert_eq!(scene.asked(), [honest]);
    scene.refuse(honest);
    scene.assert_fetched_anew();
    scene.rig.check();
}

#[test]
fn one_that_keeps_silent_is_not_waited_for_longer_than_its_time() {
    let mut scene = Scene::new();
    let (silent, slow) = (scene.bystander(3), scene.bystander(4));
    scene.fail();
    assert_eq!(scene.asked(), [silent]);
    scene.rig.pass(Duration::from_millis(900));
    assert_eq!(scene.asked(), []);
    scene.rig.pass(Duration::from_millis(100));
    assert_eq!(scene.asked(), [slow]);
    // Somebody is awaited though nobody is left to ask.
    scene.rig.pass(Duration::from_millis(2_900));
    assert_eq!(scene.asked(), []);
    scene.rig.pass(Duration::from_millis(100));
    scene.assert_fetched_anew();
    assert!(scene.rig.swarm.poll_timeout().is_some_and(|at| at > scene.rig.now));
    scene.rig.check();
}

#[test]
fn late_proof_bans_whoever_sent_the_bad_block_of_what_is_there_now() {
    let mut scene = Scene::new();
    let witness = scene.bystander(3);
    scene.fail();
    scene.refuse(witness);
    scene.assert_fetched_anew();
    let (anew, block) = scene
        .rig
        .peers
        .keys()
        .find_map(|peer| Some((*peer, *scene.rig.requests_of(*peer).first()?)))
        .unwrap();
    scene.rig.take_outputs();
    let address = scene.rig.peers[&anew].caps.address;
    scene.rig.answer(anew);
    scene.rig.corrupt_kept(0, &[block]);
    assert_eq!(banned(&scene.rig.outputs), [Output::Ban { address }]);
    scene.rig.check();
    scene.rig.run(100);
    assert!(scene.rig.swarm.have().contains(0));
}

#[test]
fn nobody_to_ask_or_a_lone_sender_is_no_reason_to_wait() {
    let mut scene = Scene::new();
    // It proves, and has nothing.
    let poor = scene.rig.join_silently(caps(3));
    scene.rig.input(Input::Proves { peer: poor });
    scene.fail();
    scene.assert_fetched_anew();
    scene.rig.check();

    let mut rig = Rig::new(Config::default(), 1, BLOCKS);
    let lone = rig.join(caps(1), 0..1);
    (0..BLOCKS).for_each(|_| {
        rig.answer(lone);
    });
    let witness = rig.join_proving(caps(2), 0..1);
    rig.take_outputs();
    rig.corrupt_kept(0, &[]);
    assert_eq!(banned(&rig.outputs), [Output::Ban { address: caps(1).address }]);
    assert_eq!(rig.requests_of(witness).len(), BLOCKS as usize);
    rig.check();
}

#[test]
fn a_reader_waits_for_one_answer_only() {
    let mut scene = Scene::new();
    let (first, _second) = (scene.bystander(3), scene.bystander(4));
    let at = scene.rig.now + Duration::from_secs(9);
    scene.rig.input(Input::Deadline { reader: ReaderId(0), piece: 0, at });
    scene.fail();
    assert_eq!(scene.asked(), [first]);
    scene.rig.pass(Duration::from_secs(1));
    scene.assert_fetched_anew();
}

#[test]
fn a_piece_that_is_lost_or_not_wanted_any_more_is_asked_about_no_longer() {
    let mut scene = Scene::new();
    let witness = scene.bystander(3);
    scene.fail();
    scene.rig.input(Input::Lost { piece: 0 });
    scene.rig.check();
    scene.rig.take_outputs();
    scene.refuse(witness);
    assert!(!scene.rig.outputs.contains(&Output::Discard { piece: 0 }));

    let mut scene = Scene::new();
    scene.bystander(3);
    scene.fail();
    scene.rig.input(Input::Prioritise { ranges: &[(0..1, Priority::Skip)] });
    scene.rig.corrupt_kept(0, &[scene.bad]);
    scene.rig.check();
    assert_eq!(banned(&scene.rig.outputs).len(), 1, "the liar is a liar all the same");
    assert!(scene.rig.outputs.contains(&Output::Discard { piece: 0 }));
}

/// Two pieces fail at a time, and one peer knows the hashes.
#[test]
fn a_peer_has_one_question_at_a_time() {
    let mut rig = Rig::new(Config::default(), 2, 2);
    let limited = |host| PeerCaps { requests_max: 1, ..caps(host) };
    let senders: Vec<PeerKey> = (1..3).map(|host| rig.join(limited(host), 0..2)).collect();
    while rig.complete().len() < 2 {
        senders.iter().for_each(|peer| {
            rig.answer(*peer);
        });
    }
    let witness = rig.join_proving(caps(3), 0..2);
    rig.take_outputs();
    let asked = |rig: &mut Rig| -> Vec<PieceIndex> {
        let proofs = rig.take_outputs().into_iter().filter_map(|output| match output {
            Output::Prove { peer, piece } => Some((peer, piece)),
            _ => None,
        });
        proofs.map(|(peer, piece)| (assert_eq!(peer, witness), piece).1).collect()
    };
    rig.corrupt_kept(0, &[]);
    rig.corrupt_kept(1, &[]);
    rig.check();
    assert_eq!(asked(&mut rig), [0]);
    let bad = rig.layout.block(0, 1);
    rig.corrupt_kept(0, &[bad]);
    assert_eq!(asked(&mut rig), [1]);
    rig.check();
    rig.pass(Duration::from_secs(5));
    assert!(rig.outputs.contains(&Output::Discard { piece: 1 }), "nobody else is there to ask");
    rig.check();
}
