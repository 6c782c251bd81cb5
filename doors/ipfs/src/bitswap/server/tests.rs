use std::time::Duration;

use cid::multihash::Multihash;
use proptest::prelude::*;

use super::*;

const ANNA: PeerKey = PeerKey(1);
const BERT: PeerKey = PeerKey(2);
const KIB: usize = 1024;

/// The server, and the blocks it has: whoever has a number has the block of that number.
struct Rig {
    server: Server,
    now: Instant,
    /// Sizes of what is there.
    blocks: BTreeMap<u32, usize>,
    /// Reads that wait to be answered; they are at once unless `slow`.
    reads: VecDeque<Cid>,
    slow: bool,
    /// What was sent, and not yet told to be written.
    sent: VecDeque<(PeerKey, Message)>,
    dismissed: Vec<PeerKey>,
}

/// To whom, the sizes of blocks, and the presences of one message.
type Answer = (PeerKey, Vec<usize>, Vec<(u32, Presence)>);

fn cid(number: u32) -> Cid {
    Cid::new_v1(0x55, Multihash::wrap(0x12, &[&number.to_be_bytes()[..], &[0; 28]].concat()).unwrap())
}

fn number(cid: &Cid) -> u32 {
    u32::from_be_bytes(cid.hash().digest()[..4].try_into().unwrap())
}

impl Rig {
    fn new(config: Config, blocks: impl IntoIterator<Item = (u32, usize)>) -> Self {
        let mut rig = Self {
            server: Server::new(config),
            now: Instant::now(),
            blocks: blocks.into_iter().collect(),
            reads: VecDeque::new(),
            slow: false,
            sent: VecDeque::new(),
            dismissed: Vec::new(),
        };
        rig.input(Input::Joined { peer: ANNA });
        rig.input(Input::Joined { peer: BERT });
        rig
    }

    fn input(&mut self, input: Input) {
        self.server.handle(self.now, input);
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Look(cid) => {
                    let size = self.blocks.get(&number(&cid)).copied();
                    self.server.handle(self.now, Input::Looked { cid, size });
                }
                Output::Read(cid) if self.slow => self.reads.push_back(cid),
                Output::Read(cid) => self.read(cid),
                Output::Send { peer, message } => self.sent.push_back((peer, message)),
                Output::Dismiss { peer } => self.dismissed.push(peer),
            }
        }
    }

    fn read(&mut self, cid: Cid) {
        let data = self.blocks.get(&number(&cid)).map(|&size| vec![0; size].into());
        self.server.handle(self.now, Input::Read { cid, data });
    }

    fn wants(&mut self, peer: PeerKey, entries: impl IntoIterator<Item = Entry>) {
        let wantlist = Wantlist { entries: entries.into_iter().collect(), full: false };
        self.input(Input::Wants { peer, wantlist, left_out: 0 });
    }

    /// The next message, once it has been written.
    fn written(&mut self) -> Option<(PeerKey, Message)> {
        let (peer, message) = self.sent.pop_front()?;
        self.input(Input::Sent { peer });
        Some((peer, message))
    }

    /// All block sizes that are sent to a peer, message by message, when everything is written.
    fn drain(&mut self) -> Vec<Answer> {
        let mut all = Vec::new();
        while let Some((peer, message)) = self.written() {
            let sizes = message.blocks.iter().map(|block| block.data.len()).collect();
            let presences =
                message.presences.iter().map(|(cid, presence)| (number(cid), *presence)).collect();
            all.push((peer, sizes, presences));
        }
        all
    }
}

fn blocks(numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = Entry> {
    numbers.into_iter().map(|number| Entry::block(cid(number)))
}

#[test]
fn wants_are_answered_by_what_is_there() {
    let mut rig = Rig::new(Config::default(), [(1, 2000), (2, 3000)]);
    let silent = Entry { send_dont_have: false, ..Entry::block(cid(4)) };
    rig.wants(ANNA, [Entry::block(cid(1)), Entry::have(cid(2)), Entry::block(cid(3)), silent]);
    let answer = rig.drain();
    assert_eq!(answer, [(ANNA, vec![2000], vec![(2, Presence::Have), (3, Presence::DontHave)])]);
    // What is not here may still come.
    assert_eq!(rig.server.wants(), 2);
    assert_eq!(rig.server.in_flight(), 0);
}

#[test]
fn a_tiny_block_is_sent_to_who_only_asks_whether_it_is_here() {
    let mut rig = Rig::new(Config::default(), [(1, 1024), (2, 1025)]);
    rig.wants(ANNA, [Entry::have(cid(1)), Entry::have(cid(2))]);
    assert_eq!(rig.drain(), [(ANNA, vec![1024], vec![(2, Presence::Have)])]);
}

#[test]
fn a_block_that_arrives_later_answers_earlier_wants() {
    let mut rig = Rig::new(Config::default(), []);
    rig.wants(ANNA, blocks([7]));
    rig.wants(BERT, [Entry::have(cid(7))]);
    rig.drain();
    rig.blocks.insert(7, 5000);
    rig.input(Input::Arrived { cid: cid(7), size: 5000 });
    let mut answers = rig.drain();
    answers.sort_by_key(|answer| answer.0);
    assert_eq!(answers, [(ANNA, vec![5000], vec![]), (BERT, vec![], vec![(7, Presence::Have)])]);
    assert_eq!(rig.server.wants(), 0);
}

#[test]
fn a_block_that_arrives_while_it_is_looked_up_is_found() {
    let mut server = Server::new(Config::default());
    let now = Instant::now();
    server.handle(now, Input::Joined { peer: ANNA });
    let wantlist = Wantlist { entries: blocks([7]).collect(), full: false };
    server.handle(now, Input::Wants { peer: ANNA, wantlist, left_out: 0 });
    assert_eq!(server.poll_output(), Some(Output::Look(cid(7))));
    server.handle(now, Input::Arrived { cid: cid(7), size: 5000 });
    server.handle(now, Input::Looked { cid: cid(7), size: None });
    assert_eq!(server.poll_output(), Some(Output::Read(cid(7))));
    assert_eq!(server.poll_output(), None);
}

#[test]
fn a_cancelled_want_is_not_answered_wherever_it_is() {
    let mut rig = Rig::new(Config::default(), [(1, 2000), (2, 2000), (3, 2000)]);
    rig.slow = true;
    rig.wants(ANNA, blocks([1, 2, 9]));
    rig.drain();
    // One was read and waits, one is being read, one is not here.
    rig.slow = false;
    let first = rig.reads.pop_front().unwrap();
    rig.server.handle(rig.now, Input::Read { cid: first, data: Some(vec![0; 2000].into()) });
    rig.wants(ANNA, [1, 2, 9].map(|number| Entry::cancel(cid(number))));
    let second = rig.reads.pop_front().unwrap();
    rig.input(Input::Read { cid: second, data: Some(vec![0; 2000].into()) });
    rig.input(Input::Arrived { cid: cid(9), size: 10 });
    assert_eq!(rig.drain(), []);
    assert_eq!((rig.server.wants(), rig.server.in_flight()), (0, 0));
}

#[test]
fn a_full_wantlist_ends_what_it_does_not_name() {
    let mut rig = Rig::new(Config::default(), []);
    rig.wants(ANNA, blocks(1..=5));
    let wantlist = Wantlist { entries: blocks([2, 6]).collect(), full: true };
    rig.input(Input::Wants { peer: ANNA, wantlist, left_out: 0 });
    assert_eq!(rig.server.wants(), 2);
    rig.drain();
    for number in 1..=6 {
        rig.blocks.insert(number, 10);
        rig.input(Input::Arrived { cid: cid(number), size: 10 });
    }
    let sent: usize = rig.drain().iter().map(|(_, sizes, _)| sizes.len()).sum();
    assert_eq!(sent, 2);
}

#[test]
fn replies_are_split_and_no_block_is_too_large_for_any_peer() {
    let sizes = [(1, 700 * KIB), (2, 700 * KIB), (3, BLOCK_MAX), (4, BLOCK_MAX + 1), (5, 10 * KIB)];
    let mut rig = Rig::new(Config::default(), sizes);
    rig.wants(ANNA, blocks(1..=5));
    let answers = rig.drain();
    let refused: Vec<_> = answers.iter().flat_map(|(_, _, presences)| presences).collect();
    assert_eq!(refused, [&(4, Presence::DontHave)]);
    let sent: Vec<usize> = answers.iter().flat_map(|(_, sizes, _)| sizes).copied().collect();
    assert_eq!(sent, [700 * KIB, 700 * KIB, BLOCK_MAX, 10 * KIB]);
    for (_, sizes, _) in &answers {
        assert!(sizes.len() == 1 || sizes.iter().sum::<usize>() <= rig.server.config.message_max);
    }
}

#[test]
fn what_is_more_urgent_is_sent_first() {
    let mut rig = Rig::new(Config::default(), (1..=4).map(|number| (number, number as usize * KIB)));
    let priorities = [(1, 5), (2, 9), (3, 5), (4, -1)];
    // One fills the room, so that the others queue.
    rig.blocks.insert(0, BLOCK_MAX);
    rig.wants(ANNA, blocks([0]));
    rig.wants(ANNA, priorities.map(|(number, priority)| Entry { priority, ..Entry::block(cid(number)) }));
    let sent: Vec<usize> = rig.drain().into_iter().flat_map(|(_, sizes, _)| sizes).collect();
    assert_eq!(sent, [BLOCK_MAX, 2 * KIB, KIB, 3 * KIB, 4 * KIB]);
}

#[test]
fn no_more_is_in_flight_than_may_be() {
    let config = Config { in_flight_total_max: 1000 * KIB, in_flight_max: 600 * KIB, ..Config::default() };
    let mut rig = Rig::new(config, (0..20).map(|number| (number, 200 * KIB)));
    rig.slow = true;
    rig.wants(ANNA, blocks(0..20));
    assert_eq!((rig.reads.len(), rig.server.in_flight()), (3, 600 * KIB));
    rig.wants(BERT, blocks(0..20));
    assert_eq!(rig.server.in_flight(), 1000 * KIB);
    // A read frees nothing before its block is written.
    let read = rig.reads.pop_front().unwrap();
    rig.read(read);
    rig.input(Input::Sent { peer: PeerKey(9) });
    assert_eq!(rig.server.in_flight(), 1000 * KIB);
    rig.slow = false;
    while let Some(read) = rig.reads.pop_front() {
        rig.input(Input::Looked { cid: cid(99), size: None });
        rig.read(read);
    }
    rig.input(Input::Looked { cid: cid(99), size: None });
    let sent: usize = rig.drain().iter().map(|(_, sizes, _)| sizes.len()).sum();
    assert_eq!(sent, 40);
    assert_eq!((rig.server.wants(), rig.server.in_flight()), (0, 0));
}

#[test]
fn two_peers_that_want_one_block_have_it_read_once() {
    let mut rig = Rig::new(Config::default(), [(1, 2000)]);
    rig.slow = true;
    rig.wants(ANNA, blocks([1]));
    rig.wants(BERT, blocks([1]));
    assert_eq!(rig.reads.len(), 1);
    rig.slow = false;
    let read = rig.reads.pop_front().unwrap();
    rig.read(read);
    rig.input(Input::Sent { peer: PeerKey(9) });
    assert_eq!(rig.drain().len(), 2);
}

#[test]
fn who_asks_for_much_does_not_starve_who_asks_for_little() {
    // Room for one block at a time, so that only turns decide.
    let config = Config { in_flight_total_max: 256 * KIB, ..Config::default() };
    let mut rig = Rig::new(config, (0..200).map(|number| (number, 256 * KIB)));
    rig.wants(ANNA, blocks(0..100));
    rig.wants(BERT, blocks(100..110));
    let order: Vec<PeerKey> = rig.drain().into_iter().map(|(peer, _, _)| peer).collect();
    let last = order.iter().rposition(|&peer| peer == BERT).unwrap();
    assert!(last <= 22, "{order:?}");
}

#[test]
fn turns_are_by_bytes() {
    let config = Config { in_flight_total_max: 1024 * KIB, ..Config::default() };
    let mut rig = Rig::new(config, (0..10).map(|number| (number, 1024 * KIB)));
    rig.blocks.extend((100..1100).map(|number| (number, 8 * KIB)));
    rig.wants(ANNA, blocks(0..10));
    rig.wants(BERT, blocks(100..1100));
    let (mut anna, mut bert) = (0, 0);
    while anna < 5 * 1024 * KIB {
        let (peer, message) = rig.written().unwrap();
        let bytes: usize = message.blocks.iter().map(|block| block.data.len()).sum();
        *(if peer == ANNA { &mut anna } else { &mut bert }) += bytes;
    }
    assert!((3 * 1024 * KIB..=7 * 1024 * KIB).contains(&bert), "{bert}");
}

#[test]
fn who_gave_more_comes_first() {
    let config = Config { in_flight_total_max: 256 * KIB, ..Config::default() };
    let mut rig = Rig::new(config, (0..4).map(|number| (number, 256 * KIB)));
    rig.slow = true;
    rig.wants(ANNA, blocks([0, 1]));
    rig.wants(BERT, blocks([2, 3]));
    rig.input(Input::Received { peer: BERT, bytes: 100 * 1024 * KIB });
    rig.slow = false;
    let read = rig.reads.pop_front().unwrap();
    rig.read(read);
    rig.input(Input::Sent { peer: PeerKey(9) });
    let order: Vec<PeerKey> = rig.drain().into_iter().map(|(peer, _, _)| peer).collect();
    // The first was Anna's when Bert had not asked yet.
    assert_eq!(order, [ANNA, BERT, ANNA, BERT]);
}

#[test]
fn wants_beyond_the_bound_are_denied_and_who_goes_on_is_dismissed() {
    let mut rig = Rig::new(Config::default(), []);
    rig.wants(ANNA, blocks(0..4096));
    rig.drain();
    rig.wants(ANNA, blocks(4096..4100));
    assert_eq!(rig.server.wants(), 4096);
    let denied: Vec<_> = rig.drain().into_iter().flat_map(|(_, _, presences)| presences).collect();
    assert_eq!(denied.len(), 4);
    assert_eq!(rig.dismissed, []);
    // A million wants, as many as messages carry.
    for message in 0..5 {
        let wantlist = Wantlist {
            entries: blocks((0..16384).map(|at| 10_000 + message * 16384 + at)).collect(),
            full: false,
        };
        rig.input(Input::Wants { peer: ANNA, wantlist, left_out: 0 });
    }
    assert_eq!(rig.dismissed, [ANNA]);
    assert_eq!(rig.server.wants(), 4096);
    assert!(rig.server.peers[&ANNA].presences.len() <= 4096);
    rig.input(Input::Left { peer: ANNA });
    assert_eq!(rig.server.wants(), 0);
    assert!(rig.server.seekers.is_empty());
}

#[test]
fn what_did_not_fit_into_a_message_is_charged_and_forgotten_after_a_while() {
    let mut rig = Rig::new(Config::default(), []);
    let flood = || Input::Wants { peer: ANNA, wantlist: Wantlist::default(), left_out: 40_000 };
    rig.input(flood());
    rig.now += Duration::from_secs(60);
    rig.input(flood());
    assert_eq!(rig.dismissed, []);
    rig.input(flood());
    assert_eq!(rig.dismissed, [ANNA]);
}

#[test]
fn when_all_are_crowded_everybody_has_a_few_wants() {
    let config = Config { wants_total_max: 1000, wants_least: 10, ..Config::default() };
    let mut rig = Rig::new(config, []);
    rig.wants(ANNA, blocks(0..2000));
    rig.wants(BERT, blocks(0..2000));
    assert_eq!(rig.server.wants(), 1010);
}

#[test]
fn a_block_that_is_gone_when_it_is_read_is_denied() {
    let mut rig = Rig::new(Config::default(), [(1, 2000)]);
    rig.slow = true;
    rig.wants(ANNA, blocks([1]));
    rig.blocks.clear();
    let read = rig.reads.pop_front().unwrap();
    rig.read(read);
    rig.input(Input::Sent { peer: PeerKey(9) });
    assert_eq!(rig.drain(), [(ANNA, vec![], vec![(1, Presence::DontHave)])]);
    assert_eq!((rig.server.wants(), rig.server.in_flight()), (1, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u64),
    Leave(u64),
    Want(u64, Vec<(u32, u8)>, bool),
    Arrive(u32),
    Lose(u32),
    Look(bool),
    Read,
    Sent(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0..4_u64;
    prop_oneof![
        1 => peer().prop_map(Step::Join),
        1 => peer().prop_map(Step::Leave),
        6 => (peer(), prop::collection::vec((0..24_u32, 0..4_u8), 0..12), prop::bool::weighted(0.1))
            .prop_map(|(peer, wants, full)| Step::Want(peer, wants, full)),
        2 => (0..24_u32).prop_map(Step::Arrive),
        1 => (0..24_u32).prop_map(Step::Lose),
        4 => any::<bool>().prop_map(Step::Look),
        4 => Just(Step::Read),
        4 => peer().prop_map(Step::Sent),
    ]
}

/// Sizes from nothing to too much.
fn size(number: u32) -> usize {
    [0, 500, 3 * KIB, 250 * KIB, BLOCK_MAX, BLOCK_MAX + 1][number as usize % 6]
}

proptest! {
    /// Whatever happens in whatever order: the numbers add up, the bounds hold, and nothing is kept for who is gone.
    #[test]
    fn books_are_right(steps in prop::collection::vec(step(), 0..120)) {
        let config = Config { wants_max: 10, wants_total_max: 25, wants_least: 3, in_flight_max: 600 * KIB,
            in_flight_total_max: 3 * BLOCK_MAX, ..Config::default() };
        let mut server = Server::new(config);
        let now = Instant::now();
        let mut there: BTreeSet<u32> = (0..12).collect();
        let (mut looks, mut reads) = (VecDeque::new(), VecDeque::new());
        let mut writing: BTreeMap<PeerKey, VecDeque<usize>> = BTreeMap::new();
        for step in steps {
            let key = |peer| PeerKey(peer);
            match step {
                Step::Join(peer) => server.handle(now, Input::Joined { peer: key(peer) }),
                Step::Leave(peer) => {
                    writing.remove(&key(peer));
                    server.handle(now, Input::Left { peer: key(peer) });
                }
                Step::Want(peer, wants, full) => {
                    let entries = wants.into_iter().map(|(number, kind)| match kind {
                        0 => Entry::cancel(cid(number)),
                        1 => Entry::have(cid(number)),
                        2 => Entry { send_dont_have: false, ..Entry::block(cid(number)) },
                        _ => Entry::block(cid(number)),
                    });
                    let wantlist = Wantlist { entries: entries.collect(), full };
                    server.handle(now, Input::Wants { peer: key(peer), wantlist, left_out: 0 });
                }
                Step::Arrive(number) => {
                    there.insert(number);
                    server.handle(now, Input::Arrived { cid: cid(number), size: size(number) });
                }
                Step::Lose(number) => { there.remove(&number); }
                Step::Look(first) => if let Some(cid) = if first { looks.pop_front() } else { looks.pop_back() } {
                    let size = there.contains(&number(&cid)).then(|| size(number(&cid)));
                    server.handle(now, Input::Looked { cid, size });
                },
                Step::Read => if let Some(cid) = reads.pop_front() {
                    let data = there.contains(&number(&cid)).then(|| vec![0; size(number(&cid))].into());
                    server.handle(now, Input::Read { cid, data });
                },
                Step::Sent(peer) => {
                    if writing.get_mut(&key(peer)).and_then(VecDeque::pop_front).is_some() {
                        server.handle(now, Input::Sent { peer: key(peer) });
                    }
                }
            }
            while let Some(output) = server.poll_output() {
                match output {
                    Output::Look(cid) => looks.push_back(cid),
                    Output::Read(cid) => reads.push_back(cid),
                    Output::Send { peer, message } => {
                        let bytes = message.blocks.iter().map(|block| block.data.len()).sum();
                        prop_assert!(!message.is_empty());
                        prop_assert!(message.blocks.len() < 2 || bytes <= config.message_max);
                        let queue = writing.entry(peer).or_default();
                        queue.push_back(bytes);
                        prop_assert!(queue.len() <= MESSAGES_MAX);
                    }
                    Output::Dismiss { .. } => {}
                }
            }
            let wants: usize = server.peers.values().map(|ledger| ledger.wants.len()).sum();
            let in_flight: usize = server.peers.values().map(|ledger| ledger.in_flight).sum();
            prop_assert_eq!((server.wants, server.in_flight), (wants, in_flight));
            for ledger in server.peers.values() {
                prop_assert!(ledger.wants.len() <= config.wants_max);
                let queued = ledger.wants.values().filter_map(|wanted| match wanted.state {
                    State::Queued { size, .. } => Some(size),
                    _ => None,
                });
                prop_assert_eq!(ledger.queued_bytes, queued.sum::<usize>());
            }
            for (cid, seekers) in &server.seekers {
                for peer in &seekers.peers {
                    let state = server.peers[peer].wants[cid].state;
                    prop_assert!(matches!(state, State::Looking | State::Absent));
                }
            }
        }
        // When everything is answered, all that is here was sent.
        for _ in 0..2000 {
            if let Some(cid) = looks.pop_front() {
                let size = there.contains(&number(&cid)).then(|| size(number(&cid)));
                server.handle(now, Input::Looked { cid, size });
            } else if let Some(cid) = reads.pop_front() {
                let data = there.contains(&number(&cid)).then(|| vec![0; size(number(&cid))].into());
                server.handle(now, Input::Read { cid, data });
            } else if let Some((&peer, queue)) = writing.iter_mut().find(|(_, queue)| !queue.is_empty()) {
                queue.pop_front();
                server.handle(now, Input::Sent { peer });
            } else {
                break;
            }
            while let Some(output) = server.poll_output() {
                match output {
                    Output::Look(cid) => looks.push_back(cid),
                    Output::Read(cid) => reads.push_back(cid),
                    Output::Send { peer, .. } => writing.entry(peer).or_default().push_back(0),
                    Output::Dismiss { .. } => {}
                }
            }
        }
        prop_assert_eq!(server.in_flight, 0);
        prop_assert!(server.readers.is_empty());
        for ledger in server.peers.values() {
            prop_assert!(ledger.wants.values().all(|wanted| wanted.state == State::Absent));
            prop_assert!(ledger.presences.is_empty());
        }
    }
}
