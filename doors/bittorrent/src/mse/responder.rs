//! The side that was dialled.

use rand::CryptoRng;

use super::dh::{KEY_LENGTH, KeyPair};
use super::initiator::put_key;
use super::keys::{Secret, VERIFICATION};
use super::{Ciphers, Encryption, Established, Method, Methods, MseError, PAD_MAX, Progress};
use super::{synchronise, take, take_array};
use crate::hash::SwarmHash;

/// An encrypted handshake that a peer began.
#[derive(Debug)]
pub struct Responder {
    encryption: Encryption,
    /// Received and not understood yet.
    input: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waiting for the peer's public key. `answer` is ours, with its padding.
    Key { keys: KeyPair, answer: Vec<u8> },
    /// Waiting for the mark behind the peer's padding.
    Mark { secret: Secret },
    /// Waiting for the covered name of the swarm.
    Swarm { secret: Secret },
    /// Waiting for verification constant, offered methods, and the length of PadC.
    Offer { swarm: SwarmHash, ciphers: Ciphers },
    /// Waiting for PadC and the length of the initial payload.
    Padding { swarm: SwarmHash, ciphers: Ciphers, method: Method, length: u16 },
    /// Waiting for the initial payload.
    Initial { swarm: SwarmHash, ciphers: Ciphers, method: Method, length: u16 },
}

impl Responder {
    /// Begins; nothing is sent before the peer's key is there.
    pub fn new(encryption: Encryption, rng: &mut impl CryptoRng) -> Self {
        let keys = KeyPair::new(rng);
        let mut answer = Vec::with_capacity(KEY_LENGTH + PAD_MAX);
        put_key(&keys, rng, &mut answer);
        Self { encryption, input: Vec::new(), state: State::Key { keys, answer } }
    }

    /// Takes what was received, all of it, and appends what is to be sent. `find` is given a [`super::lookup_key`] and says
    /// which of our swarms has it; it is asked at most once in a handshake.
    ///
    /// # Errors
    /// [`MseError`]: close the connection.
    pub fn feed(
        mut self,
        bytes: &[u8],
        mut find: impl FnMut(&[u8; 20]) -> Option<SwarmHash>,
        out: &mut Vec<u8>,
    ) -> Result<Progress<Self>, MseError> {
        self.input.extend_from_slice(bytes);
        loop {
            self.state = match self.state {
                State::Key { keys, answer } => match take_array::<KEY_LENGTH>(&mut self.input) {
                    None => return Ok(Progress::More(Self { state: State::Key { keys, answer }, ..self })),
                    Some(theirs) => {
                        let secret = Secret(keys.agree(&theirs).ok_or(MseError::PublicKey)?);
                        out.extend_from_slice(&answer);
                        State::Mark { secret }
                    }
                },
                State::Mark { secret } => {
                    if !synchronise(&mut self.input, &secret.mark())? {
                        return Ok(Progress::More(Self { state: State::Mark { secret }, ..self }));
                    }
                    State::Swarm { secret }
                }
                State::Swarm { secret } => match take_array::<20>(&mut self.input) {
                    None => return Ok(Progress::More(Self { state: State::Swarm { secret }, ..self })),
                    Some(covered) => {
                        let swarm = find(&secret.cover(covered)).ok_or(MseError::UnknownSwarm)?;
                        State::Offer { swarm, ciphers: secret.responder_ciphers(swarm) }
                    }
                },
                State::Offer { swarm, mut ciphers } => match take_array::<14>(&mut self.input) {
                    None => {
                        return Ok(Progress::More(Self { state: State::Offer { swarm, ciphers }, ..self }));
                    }
                    Some(mut offer) => {
                        ciphers.incoming.apply(&mut offer);
                        let (method, length) = read_offer(offer, self.encryption)?;
                        put_selection(method, &mut ciphers, out);
                        State::Padding { swarm, ciphers, method, length }
                    }
                },
                State::Padding { swarm, mut ciphers, method, length } => {
                    let Some(mut padding) = take(&mut self.input, usize::from(length) + 2) else {
                        let state = State::Padding { swarm, ciphers, method, length };
                        return Ok(Progress::More(Self { state, ..self }));
                    };
                    ciphers.incoming.apply(&mut padding);
                    let length = padding.last_chunk().map_or(0, |length| u16::from_be_bytes(*length));
                    State::Initial { swarm, ciphers, method, length }
                }
                State::Initial { swarm, mut ciphers, method, length } => {
                    // The initial payload is encrypted in any case, what follows only if that was agreed on.
                    let Some(initial) = self.input.get_mut(..length.into()) else {
                        let state = State::Initial { swarm, ciphers, method, length };
                        return Ok(Progress::More(Self { state, ..self }));
                    };
                    ciphers.incoming.apply(initial);
                    let ciphers = match method {
                        Method::Plain => None,
                        Method::Rc4 => {
                            ciphers.incoming.apply(self.input.get_mut(length.into()..).unwrap_or_default());
                            Some(ciphers)
                        }
                    };
                    return Ok(Progress::Done(Established { swarm, ciphers, received: self.input }));
                }
            };
        }
    }
}

/// The method for what is offered, and the length of PadC.
fn read_offer(offer: [u8; 14], encryption: Encryption) -> Result<(Method, u16), MseError> {
    let [verification @ .., m0, m1, m2, m3, l0, l1] = offer;
    if verification != VERIFICATION {
        return Err(MseError::Verification);
    }
    let offered = Methods(u32::from_be_bytes([m0, m1, m2, m3]));
    let length = u16::from_be_bytes([l0, l1]);
    let method = encryption.select(offered).ok_or(MseError::NoMethod(offered))?;
    if usize::from(length) > PAD_MAX {
        return Err(MseError::Padding(length));
    }
    Ok((method, length))
}

/// Appends the verification constant, the selected method, and an empty PadD.
fn put_selection(method: Method, ciphers: &mut Ciphers, out: &mut Vec<u8>) {
    let mut answer = [0; 14];
    answer[8..12].copy_from_slice(&Methods::from(method).0.to_be_bytes());
    ciphers.outgoing.apply(&mut answer);
    out.extend_from_slice(&answer);
}
