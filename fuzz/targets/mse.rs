//! Two sides of an encrypted handshake between which any bytes are changed and cut anywhere: they agree, or they refuse.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::mse::{Encryption, Initiator, Methods, Progress, Responder, greeting, lookup_key};
use rand::SeedableRng;
use rand::rngs::StdRng;

const SWARM: SwarmHash = SwarmHash([7; 20]);

fuzz_target!(|input: (u8, u32, Vec<u8>, Vec<(u16, u8)>, &[u8])| {
    let (seed, offers, cuts, changes, noise) = input;
    let _ = greeting(noise);
    let mut rng = StdRng::seed_from_u64(seed.into());
    let mut to_responder = Vec::new();
    let mut to_initiator = Vec::new();
    let mut initiator = Some(Initiator::start(SWARM, Methods(offers), [9; 68], &mut rng, &mut to_responder));
    let mut responder = Some(Responder::new(Encryption::Prefer, &mut rng));
    let find = |key: &[u8; 20]| (*key == lookup_key(SWARM)).then_some(SWARM);
    let mut changes = changes.into_iter();
    let mut change = |stream: &mut Vec<u8>| {
        if let Some((at, mask)) = changes.next()
            && let Some(byte) = stream.get_mut(usize::from(at))
        {
            *byte ^= mask;
        }
    };
    to_initiator.extend_from_slice(&noise[..noise.len().min(4)]);
    for cut in cuts {
        change(&mut to_responder);
        let part: Vec<u8> = to_responder.drain(..to_responder.len().min(1 + usize::from(cut) * 4)).collect();
        if let Some(role) = responder.take() {
            match role.feed(&part, find, &mut to_initiator) {
                Ok(Progress::More(more)) => responder = Some(more),
                Ok(Progress::Done(done)) => assert_eq!(done.swarm, SWARM),
                Err(_) => {}
            }
        }
        change(&mut to_initiator);
        let part: Vec<u8> = to_initiator.drain(..to_initiator.len().min(1 + usize::from(cut) * 4)).collect();
        if let Some(role) = initiator.take() {
            match role.feed(&part, &mut to_responder) {
                Ok(Progress::More(more)) => initiator = Some(more),
                Ok(Progress::Done(done)) => assert_eq!(done.ciphers.is_some(), offers & 2 != 0),
                Err(_) => {}
            }
        }
    }
});
