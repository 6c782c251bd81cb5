//! Laws under random inputs. The referee of the rig checks every output; here the running numbers are recounted, and in the end
//! everything that somebody has must arrive.

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_content::{Block, Layout, PieceIndex, PieceSet};
use proptest::prelude::*;

use super::super::*;
use super::rig::{Rig, address, caps};

const PIECES: u32 = 12;
const BLOCKS: u32 = 3;
const PEERS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Join {
        host: u32,
        has: BTreeSet<PieceIndex>,
        fast: bool,
        requests_max: usize,
        choking: bool,
    },
    Leave(usize),
    Has(usize, BTreeSet<PieceIndex>),
    Have(usize, PieceIndex),
    DontHave(usize, PieceIndex),
    Choke(usize, bool),
    Interest(usize, bool),
    UploadOnly(usize, bool),
    AllowedFast(usize, PieceIndex),
    Reject(usize, usize),
    Answer(usize, usize),
    Stray(usize, PieceIndex, u32, u32),
    Verdict(bool, bool),
    /// A piece fails whose other blocks are kept; whether the bad one is known.
    Kept(bool),
    Proves(usize),
    Unproven(usize, PieceIndex),
    /// The bad block of a piece becomes known.
    Proof(PieceIndex),
    Verified(PieceIndex),
    Lost(PieceIndex),
    Known(PieceIndex, PieceIndex, bool),
    Prioritise(PieceIndex, PieceIndex, u8),
    Deadline(u64, PieceIndex, u64),
    ClearDeadlines(u64),
    Caps(usize, usize, u32),
    NoRoom(u32),
    Throttled(bool, bool),
    Flow(bool, bool),
    Sequential(bool),
    Addresses(u32),
    DialFails(u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let piece = || 0..PIECES + 1;
    let peer = || 0..PEERS;
    let set = || prop::collection::btree_set(0..PIECES, 0..=PIECES as usize);
    prop_oneof![
        6 => (0..9_u32, set(), any::<bool>(), 1..9_usize, any::<bool>()).prop_map(
            |(host, has, fast, requests_max, choking)| Step::Join { host, has, fast, requests_max, choking }
        ),
        2 => peer().prop_map(Step::Leave),
        1 => (peer(), set()).prop_map(|(peer, has)| Step::Has(peer, has)),
        4 => (peer(), piece()).prop_map(|(peer, piece)| Step::Have(peer, piece)),
        2 => (peer(), piece()).prop_map(|(peer, piece)| Step::DontHave(peer, piece)),
        5 => (peer(), any::<bool>()).prop_map(|(peer, choked)| Step::Choke(peer, choked)),
        3 => (peer(), any::<bool>()).prop_map(|(peer, interested)| Step::Interest(peer, interested)),
        1 => (peer(), any::<bool>()).prop_map(|(peer, only)| Step::UploadOnly(peer, only)),
        2 => (peer(), piece()).prop_map(|(peer, piece)| Step::AllowedFast(peer, piece)),
        3 => (peer(), 1..4_usize).prop_map(|(peer, count)| Step::Reject(peer, count)),
        20 => (peer(), 0..4_usize).prop_map(|(peer, at)| Step::Answer(peer, at)),
        1 => (peer(), piece(), 0..70_000_u32, 0..20_000_u32).prop_map(|(a, b, c, d)| Step::Stray(a, b, c, d)),
        6 => (prop::bool::weighted(0.7), any::<bool>()).prop_map(|(good, proof)| Step::Verdict(good, proof)),
        5 => prop::bool::weighted(0.2).prop_map(Step::Kept),
        4 => peer().prop_map(Step::Proves),
        2 => (peer(), piece()).prop_map(|(peer, piece)| Step::Unproven(peer, piece)),
        2 => piece().prop_map(Step::Proof),
        1 => piece().prop_map(Step::Verified),
        1 => piece().prop_map(Step::Lost),
        1 => (piece(), piece(), any::<bool>()).prop_map(|(from, to, known)| Step::Known(from, to, known)),
        2 => (piece(), piece(), 0..4_u8).prop_map(|(from, to, priority)| Step::Prioritise(from, to, priority)),
        2 => (0..3_u64, piece(), 0..20_u64).prop_map(|(reader, piece, at)| Step::Deadline(reader, piece, at)),
        1 => (0..3_u64).prop_map(Step::ClearDeadlines),
        1 => (peer(), 1..9_usize, 0..9_u32).prop_map(|(peer, max, host)| Step::Caps(peer, max, host)),
        1 => (0..40_u32).prop_map(Step::NoRoom),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(up, down)| Step::Throttled(up, down)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(fetching, serving)| Step::Flow(fetching, serving)),
        1 => any::<bool>().prop_map(Step::Sequential),
        2 => (0..40_u32).prop_map(Step::Addresses),
        2 => (0..40_u32).prop_map(Step::DialFails),
        6 => (0..40_000_u64).prop_map(Step::Pass),
    ]
}

fn apply(rig: &mut Rig, step: Step) {
    let chosen = |rig: &Rig, at: usize| {
        let keys: Vec<PeerKey> = rig.peers.keys().copied().collect();
        keys.get(at % keys.len().max(1)).copied()
    };
    match step {
        Step::Join { host, has, fast, requests_max, choking } => {
            if rig.peers.len() < PEERS {
                let peer = rig.join_silently(PeerCaps { fast, requests_max, ..caps(host) });
                rig.has(peer, has);
                rig.choke_us(peer, choking);
            }
        }
        Step::Leave(at) => {
            if let Some(peer) = chosen(rig, at) {
                rig.leave(peer);
            }
        }
        Step::Has(at, has) => {
            if let Some(peer) = chosen(rig, at) {
                rig.has(peer, has);
            }
        }
        Step::Have(at, piece) => {
            let Some(peer) = chosen(rig, at) else { return };
            if piece < PIECES {
                rig.peers.get_mut(&peer).unwrap().has.insert(piece);
            }
            rig.input(Input::Have { peer, piece });
        }
        Step::DontHave(at, piece) => {
            let Some(peer) = chosen(rig, at) else { return };
            rig.peers.get_mut(&peer).unwrap().has.remove(&piece);
            rig.input(Input::DontHave { peer, piece });
        }
        Step::Choke(at, choked) => {
            if let Some(peer) = chosen(rig, at) {
                rig.choke_us(peer, choked);
            }
        }
        Step::Interest(at, interested) => {
            if let Some(peer) = chosen(rig, at) {
                rig.input(Input::Interest { peer, interested });
            }
        }
        Step::UploadOnly(at, upload_only) => {
            if let Some(peer) = chosen(rig, at) {
                rig.input(Input::UploadOnly { peer, upload_only });
            }
        }
        Step::AllowedFast(at, piece) => {
            let Some(peer) = chosen(rig, at).filter(|peer| rig.peers[peer].caps.fast) else { return };
            rig.peers.get_mut(&peer).unwrap().allowed.insert(piece);
            rig.input(Input::AllowedFast { peer, piece });
        }
        Step::Reject(at, count) => {
            let Some(peer) = chosen(rig, at) else { return };
            let scripted = rig.peers.get_mut(&peer).unwrap();
            let count = count.min(scripted.requests.len());
            let blocks: Vec<Block> = scripted.requests.drain(..count).map(|(block, _)| block).collect();
            rig.input(Input::Rejected { peer, blocks: &blocks });
        }
        Step::Answer(at, place) => {
            let Some(peer) = chosen(rig, at) else { return };
            let scripted = rig.peers.get_mut(&peer).unwrap();
            if !scripted.requests.is_empty() {
                let place = place % scripted.requests.len();
                let (block, _) = scripted.requests.remove(place);
                rig.send(peer, block);
            }
        }
        Step::Stray(at, piece, begin, length) => {
            let Some(peer) = chosen(rig, at) else { return };
            let block = Block { piece, begin, length };
            if !rig.requests_of(peer).contains(&block) {
                rig.send(peer, block);
            }
        }
        Step::Verdict(good, proof) => {
            let Some(&piece) = rig.complete().first() else { return };
            if good {
                rig.verify(piece);
            } else {
                let bad = [rig.layout.block(piece, 0)];
                rig.corrupt(piece, if proof { &bad } else { &[] });
            }
        }
        Step::Kept(known) => {
            let Some(&piece) = rig.complete().first() else { return };
            let bad = [rig.layout.block(piece, 1)];
            rig.corrupt_kept(piece, if known { &bad } else { &[] });
        }
        Step::Proves(at) => {
            if let Some(peer) = chosen(rig, at) {
                rig.input(Input::Proves { peer });
            }
        }
        Step::Unproven(at, piece) => {
            if let Some(peer) = chosen(rig, at) {
                rig.input(Input::Unproven { peer, piece });
            }
        }
        Step::Proof(piece) => {
            let block = rig.layout.block(piece.min(PIECES - 1), 0);
            if rig.gathered.get(&block.piece).is_some_and(|begins| begins.contains(&block.begin)) {
                rig.corrupt_kept(block.piece, &[block]);
            }
        }
        Step::Verified(piece) => {
            // By a recheck: only what nobody is gathering, as the store would do it.
            if piece < PIECES && !rig.gathered.contains_key(&piece) {
                rig.input(Input::Verified { piece });
            }
        }
        Step::Lost(piece) => {
            if !rig.complete().contains(&piece) {
                rig.input(Input::Lost { piece });
            }
        }
        Step::Known(from, to, known) => rig.input(Input::Knowable { pieces: from..to, known }),
        Step::Prioritise(from, to, priority) => {
            let priority =
                [Priority::Skip, Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
            rig.input(Input::Prioritise { ranges: &[(from..to, priority)] });
        }
        Step::Deadline(reader, piece, seconds) => {
            let at = rig.now + Duration::from_secs(seconds);
            rig.input(Input::Deadline { reader: ReaderId(reader), piece, at });
        }
        Step::ClearDeadlines(reader) => rig.input(Input::ClearDeadlines { reader: ReaderId(reader) }),
        Step::Caps(at, requests_max, host) => {
            let Some(peer) = chosen(rig, at) else { return };
            let scripted = rig.peers.get_mut(&peer).unwrap();
            // It may have been asked for more already.
            let requests_max = requests_max.max(scripted.caps.requests_max);
            scripted.caps.requests_max = requests_max;
            let listen_address = Some(address(host));
            rig.input(Input::Caps { peer, requests_max: Some(requests_max), listen_address });
        }
        Step::NoRoom(host) => rig.input(Input::NoRoom { address: address(host) }),
        Step::Throttled(up, down) => rig.input(Input::Throttled(Throttled { up, down })),
        Step::Flow(fetching, serving) => rig.input(Input::Flow { fetching, serving }),
        Step::Sequential(sequential) => {
            rig.input(Input::Configure(Config { sequential, ..Config::default() }));
        }
        Step::Addresses(host) => {
            rig.input(Input::Known {
                addresses: &[address(host), address(host + 1)],
                found: Found::EXCHANGE,
            });
        }
        Step::DialFails(host) => rig.input(Input::DialFailed { address: address(host) }),
        Step::Pass(milliseconds) => rig.pass(Duration::from_millis(milliseconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_inputs_break_no_law_and_everything_obtainable_arrives(
        steps in prop::collection::vec(step(), 0..150),
        seed: u64,
        buffered in 1..20_u64,
    ) {
        let block = u64::from(peerage_content::BLOCK_LENGTH);
        // The last piece and its last block are short.
        let layout = Layout::of_length(u64::from(PIECES * BLOCKS) * block - block - 5_000, BLOCKS * block as u32);
        let config = Config { buffered_max: buffered * block, ..Config::default() };
        let mut rig = Rig::over(config.clone(), layout, PieceSet::empty(PIECES), seed);
        for step in steps {
            apply(&mut rig, step);
            rig.check();
        }
        // In the end all is wanted and known, and a seed comes that nobody has banned.
        for piece in rig.complete() {
            rig.verify(piece);
        }
        rig.input(Input::Configure(config));
        rig.input(Input::Knowable { pieces: 0..PIECES, known: true });
        rig.input(Input::Prioritise { ranges: &[(0..PIECES, Priority::Normal)] });
        rig.input(Input::Flow { fetching: true, serving: true });
        rig.join(PeerCaps { address: address(1_000), ..caps(0) }, 0..PIECES);
        for _ in 0..200 {
            rig.run(10_000);
            if rig.swarm.is_finished() {
                break;
            }
            rig.pass(Duration::from_secs(1));
            rig.check();
        }
        prop_assert!(rig.swarm.is_finished());
        rig.check();
        // When everyone has left, nothing is asked of anybody.
        let keys: Vec<PeerKey> = rig.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| rig.leave(key));
        prop_assert!((0..PIECES).all(|piece| !rig.swarm.is_requested(piece)));
        rig.check();
    }
}
