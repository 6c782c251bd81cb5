use cid::multihash::Multihash;

use super::*;
use crate::bitswap::message::Want as Kind;

const ANNA: PeerKey = PeerKey(1);
const BERT: PeerKey = PeerKey(2);
const ONE: SessionKey = SessionKey(1);
const TWO: SessionKey = SessionKey(2);
const SIZE: usize = 1000;

struct Rig {
    fetch: Fetch,
    now: Instant,
    /// What was sent, in order.
    sent: Vec<(PeerKey, Kind, u32)>,
    sought: Vec<u32>,
    dismissed: Vec<PeerKey>,
}

fn cid(number: u32) -> Cid {
    Cid::new_v1(number.into(), Multihash::wrap(0x12, &[0; 32]).unwrap())
}

fn number(cid: &Cid) -> u32 {
    u32::try_from(cid.codec()).unwrap()
}

impl Rig {
    /// Two sessions and nobody.
    fn new() -> Self {
        let now = Instant::now();
        let mut rig =
            Self { fetch: Fetch::new(now), now, sent: Vec::new(), sought: Vec::new(), dismissed: Vec::new() };
        rig.input(Input::Opened { session: ONE });
        rig.input(Input::Opened { session: TWO });
        rig
    }

    fn with(peers: impl IntoIterator<Item = PeerKey>) -> Self {
        let mut rig = Self::new();
        peers.into_iter().for_each(|peer| rig.input(Input::Joined { peer, protocol: Protocol::V1_2 }));
        rig
    }

    fn input(&mut self, input: Input) {
        self.fetch.handle(self.now, input);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(output) = self.fetch.poll_output() {
            match output {
                Output::Send { peer, entries } => {
                    self.sent.extend(entries.iter().map(|entry| (peer, entry.want, number(&entry.cid))));
                    self.fetch.handle(self.now, Input::Sent { peer });
                }
                Output::Seek { cid, .. } => self.sought.push(number(&cid)),
                Output::Dismiss { peer } => self.dismissed.push(peer),
            }
        }
    }

    fn want(&mut self, session: SessionKey, numbers: impl IntoIterator<Item = u32>) {
        let cids = numbers.into_iter().map(cid).collect();
        self.input(Input::Want { session, cids, priority: 1 });
    }

    fn says(&mut self, peer: PeerKey, presence: Presence, numbers: impl IntoIterator<Item = u32>) {
        let presences = numbers.into_iter().map(|number| (cid(number), presence)).collect();
        self.input(Input::Presences { peer, presences });
    }

    fn sends(&mut self, peer: PeerKey, number: u32) -> Received {
        let received = self.fetch.receive(self.now, peer, &cid(number), SIZE);
        self.poll();
        received
    }

    /// What was sent since the last call, sorted.
    fn sent(&mut self) -> Vec<(PeerKey, Kind, u32)> {
        let mut sent = std::mem::take(&mut self.sent);
        sent.sort_by_key(|&(peer, want, number)| (peer, number, want != Kind::Cancel, want == Kind::Block));
        sent
    }

    /// What blocks were asked for since the last call, sorted.
    fn blocks(&mut self) -> Vec<u32> {
        self.sent().iter().filter(|sent| sent.1 == Kind::Block).map(|sent| sent.2).collect()
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.fetch.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = end;
    }
}

#[test]
fn everybody_is_asked_who_has_it_and_one_is_asked_for_it() {
    let mut rig = Rig::with([ANNA, BERT]);
    rig.want(ONE, [7]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Have, 7), (BERT, Kind::Have, 7)]);
    rig.says(ANNA, Presence::Have, [7]);
    rig.says(BERT, Presence::Have, [7]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Block, 7)]);
    assert_eq!(rig.sends(ANNA, 7), Received::Wanted(vec![ONE]));
    assert_eq!(rig.sent(), []);
    rig.passes(Duration::from_secs(1));
    assert_eq!((rig.fetch.wants(), rig.fetch.poll_timeout()), (0, None));
}

#[test]
fn who_had_one_is_asked_for_the_others_without_a_question() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, [1]);
    rig.says(ANNA, Presence::Have, [1]);
    rig.sent();
    rig.want(ONE, [2, 3]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Block, 2), (ANNA, Kind::Block, 3)]);
}

#[test]
fn of_many_wants_a_few_are_hunted_until_somebody_is_found() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, 0..1000);
    assert_eq!(rig.sent().len(), 8);
    rig.says(ANNA, Presence::DontHave, 0..8);
    assert_eq!(rig.sent(), []);
    assert_eq!(rig.sought.len(), 8);
}

#[test]
fn who_comes_later_is_asked_for_what_is_hunted() {
    let mut rig = Rig::new();
    rig.want(ONE, [7]);
    assert_eq!(rig.sought, [7]);
    rig.input(Input::Joined { peer: ANNA, protocol: Protocol::V1_2 });
    assert_eq!(rig.sent(), [(ANNA, Kind::Have, 7)]);
}

#[test]
fn providers_are_sought_when_nobody_answers_and_again_later() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, [7]);
    assert!(rig.sought.is_empty());
    rig.passes(Duration::from_millis(600));
    assert_eq!(rig.sought, [7]);
    rig.sent();
    rig.passes(Duration::from_secs(31));
    assert_eq!(rig.sought, [7, 7]);
    // What peers have may have changed.
    assert_eq!(rig.sent(), [(ANNA, Kind::Have, 7)]);
}

#[test]
fn a_provider_is_asked_for_blocks_at_once() {
    let mut rig = Rig::new();
    rig.want(ONE, [1, 2]);
    rig.input(Input::Joined { peer: ANNA, protocol: Protocol::V1_2 });
    rig.sent();
    rig.says(ANNA, Presence::Have, [1]);
    rig.input(Input::Provider { session: ONE, peer: ANNA });
    assert_eq!(rig.sent(), [(ANNA, Kind::Block, 1)]);
    rig.want(ONE, [3]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Block, 3)]);
}

#[test]
fn who_lacks_a_block_is_to_say_so_when_it_gets_it() {
    let mut rig = Rig::with([ANNA, BERT]);
    rig.want(ONE, [1]);
    rig.says(ANNA, Presence::Have, [1]);
    rig.says(BERT, Presence::Have, [1]);
    rig.sends(ANNA, 1);
    rig.want(ONE, [2]);
    rig.sent();
    rig.says(ANNA, Presence::DontHave, [2]);
    // Not to send it: that would come beside what another sends.
    let asked = rig.sent();
    assert_eq!(asked, [(ANNA, Kind::Cancel, 2), (ANNA, Kind::Have, 2), (BERT, Kind::Block, 2)]);
    rig.sends(BERT, 2);
    assert_eq!(rig.sent(), [(ANNA, Kind::Cancel, 2)]);
}

#[test]
fn a_block_from_elsewhere_ends_the_request() {
    let mut rig = Rig::with([ANNA, BERT]);
    rig.want(ONE, [1]);
    rig.says(ANNA, Presence::Have, [1]);
    rig.sent();
    assert_eq!(rig.sends(BERT, 1), Received::Wanted(vec![ONE]));
    assert_eq!(rig.sent(), [(ANNA, Kind::Cancel, 1)]);
    assert_eq!(rig.sends(ANNA, 1), Received::Late);
    assert_eq!(rig.dismissed, []);
}

#[test]
fn three_blocks_that_nobody_asked_for_are_two_too_many() {
    let mut rig = Rig::with([ANNA]);
    for number in 1..=3 {
        assert_eq!(rig.dismissed, []);
        assert_eq!(rig.sends(ANNA, number), Received::Unrequested);
    }
    assert_eq!(rig.dismissed, [ANNA]);
    let mut rig = Rig::with([ANNA]);
    (0..3).for_each(|_| rig.input(Input::Nameless { peer: ANNA }));
    assert_eq!(rig.dismissed, [ANNA]);
}

#[test]
fn a_block_may_come_as_often_as_it_was_asked_for() {
    let mut rig = Rig::with([ANNA]);
    for _ in 0..5 {
        rig.want(ONE, [1]);
        rig.says(ANNA, Presence::Have, [1]);
        rig.input(Input::Unwant { session: ONE, cids: vec![cid(1)] });
    }
    (0..5).for_each(|_| assert_eq!(rig.sends(ANNA, 1), Received::Late));
    assert_eq!(rig.sends(ANNA, 1), Received::Unrequested);
}

#[test]
fn what_was_on_its_way_when_a_peer_left_is_not_held_against_it() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, 1..=5);
    rig.says(ANNA, Presence::Have, 1..=5);
    rig.input(Input::Left { peer: ANNA });
    rig.input(Input::Joined { peer: BERT, protocol: Protocol::V1_2 });
    (1..=5).for_each(|number| assert_eq!(rig.sends(BERT, number), Received::Wanted(vec![ONE])));
    (1..=5).for_each(|number| assert_eq!(rig.sends(BERT, number), Received::Late));
    assert_eq!(rig.sends(BERT, 1), Received::Unrequested);
}

#[test]
fn two_sessions_that_want_one_block_fetch_it_once() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, [1]);
    rig.want(TWO, [1]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Have, 1)]);
    rig.says(ANNA, Presence::Have, [1]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Block, 1)]);
    assert_eq!(rig.sends(ANNA, 1), Received::Wanted(vec![ONE, TWO]));
}

#[test]
fn a_want_goes_on_for_the_session_that_is_left() {
    for state in 0..3 {
        let mut rig = Rig::with([ANNA]);
        rig.want(ONE, [1]);
        rig.want(TWO, [1]);
        if state > 0 {
            rig.says(ANNA, Presence::Have, [1]);
        }
        if state > 1 {
            rig.input(Input::Left { peer: ANNA });
            rig.input(Input::Joined { peer: BERT, protocol: Protocol::V1_2 });
        }
        rig.input(Input::Closed { session: ONE });
        assert_eq!(rig.fetch.wants(), 1);
        let from = if state > 1 { BERT } else { ANNA };
        rig.says(from, Presence::Have, [1]);
        assert!(rig.sent().contains(&(from, Kind::Block, 1)), "{state}");
        assert_eq!(rig.sends(from, 1), Received::Wanted(vec![TWO]));
    }
}

#[test]
fn wants_that_end_are_taken_back_from_everybody() {
    let mut rig = Rig::with([ANNA, BERT]);
    rig.want(ONE, [1, 2]);
    rig.says(ANNA, Presence::Have, [1, 2]);
    rig.says(BERT, Presence::DontHave, [1]);
    rig.sent();
    rig.input(Input::Unwant { session: ONE, cids: vec![cid(1)] });
    assert_eq!(rig.sent(), [(ANNA, Kind::Cancel, 1), (BERT, Kind::Cancel, 1)]);
    rig.input(Input::Closed { session: ONE });
    assert_eq!(rig.sent(), [(ANNA, Kind::Cancel, 2), (BERT, Kind::Cancel, 2)]);
    rig.passes(Duration::from_secs(1));
    assert_eq!((rig.fetch.wants(), rig.fetch.poll_timeout()), (0, None));
}

#[test]
fn who_is_silent_loses_its_requests_and_gets_another_chance() {
    let mut rig = Rig::with([ANNA, BERT]);
    rig.want(ONE, [1]);
    rig.says(ANNA, Presence::Have, [1]);
    rig.says(BERT, Presence::Have, [1]);
    rig.sent();
    rig.passes(Duration::from_secs(6));
    assert_eq!(rig.sent(), [(ANNA, Kind::Cancel, 1), (BERT, Kind::Block, 1)]);
    // What is arriving is as good as an answer.
    for _ in 0..20 {
        rig.passes(Duration::from_secs(1));
        rig.input(Input::Heard { peer: BERT });
    }
    assert_eq!(rig.fetch.wants(), 1);
    rig.sends(BERT, 1);
    rig.input(Input::Left { peer: BERT });
    rig.want(ONE, [2]);
    assert!(rig.sent().contains(&(ANNA, Kind::Block, 2)));
}

#[test]
fn who_has_only_a_part_is_asked_before_it_is_asked_for_blocks() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, [0]);
    rig.says(ANNA, Presence::Have, [0]);
    rig.passes(Duration::from_secs(1));
    rig.sends(ANNA, 0);
    rig.want(ONE, 1..200);
    // Some guesses are wrong.
    for _ in 0..4 {
        let asked: Vec<u32> = rig.blocks();
        rig.says(ANNA, Presence::DontHave, asked);
    }
    assert!(rig.blocks().is_empty());
    assert!(rig.fetch.peers[&ANNA].unsaid.len() > 8);
    rig.says(ANNA, Presence::Have, [20, 30]);
    let blocks: Vec<u32> =
        rig.sent().iter().filter(|sent| sent.1 == Kind::Block).map(|sent| sent.2).collect();
    assert_eq!(blocks, [20, 30]);
}

#[test]
fn who_does_not_give_what_it_said_it_has_is_trusted_no_more() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, 1..=3);
    rig.says(ANNA, Presence::Have, 1..=3);
    rig.says(ANNA, Presence::DontHave, 1..=3);
    assert!(rig.fetch.sessions[&ONE].partners.is_empty());
    assert_eq!(rig.fetch.wants(), 3);
}

#[test]
fn an_old_peer_is_asked_for_blocks_only() {
    let mut rig = Rig::new();
    rig.input(Input::Joined { peer: ANNA, protocol: Protocol::V1_1 });
    rig.want(ONE, [1]);
    assert_eq!(rig.sent(), [(ANNA, Kind::Block, 1)]);
    assert_eq!(rig.sends(ANNA, 1), Received::Wanted(vec![ONE]));
}

#[test]
fn what_is_urgent_overtakes() {
    let mut rig = Rig::with([ANNA]);
    rig.want(ONE, [0]);
    rig.says(ANNA, Presence::Have, [0]);
    rig.want(ONE, 1..100);
    rig.sent();
    rig.input(Input::Want { session: ONE, cids: vec![cid(500)], priority: 9 });
    rig.sends(ANNA, 0);
    assert!(rig.blocks().contains(&500));
}
