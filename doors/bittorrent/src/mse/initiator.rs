//! The side that dialled.

use rand::{CryptoRng, RngExt};

use super::dh::{KEY_LENGTH, KeyPair};
use super::keys::{Secret, VERIFICATION, lookup_key};
use super::{
    Ciphers, Established, Method, Methods, MseError, PAD_MAX, Progress, synchronise, take, take_array,
};
use crate::hash::SwarmHash;
use crate::wire::HANDSHAKE_LENGTH;

/// An encrypted handshake that we began.
#[derive(Debug)]
pub struct Initiator {
    swarm: SwarmHash,
    offers: Methods,
    /// Received and not understood yet.
    input: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waiting for the peer's public key.
    Key { keys: KeyPair, initial: [u8; HANDSHAKE_LENGTH] },
    /// Waiting for the verification constant behind the peer's padding; `mark` is how it looks encrypted.
    Mark { mark: [u8; VERIFICATION.len()], ciphers: Ciphers },
    /// Waiting for the selected method and the length of PadD.
    Selection { ciphers: Ciphers },
    /// Waiting for the end of PadD.
    Padding { ciphers: Ciphers, method: Method, length: u16 },
}

impl Initiator {
    /// Begins: appends what is to be sent first. `initial` is the BitTorrent handshake, which travels with the encrypted
    /// one; the peer's answer to it comes in [`Established::received`] and behind. (Other clients refuse a longer one.)
    pub fn start(
        swarm: SwarmHash,
        offers: Methods,
        initial: [u8; HANDSHAKE_LENGTH],
        rng: &mut impl CryptoRng,
        out: &mut Vec<u8>,
    ) -> Self {
        let keys = KeyPair::new(rng);
        put_key(&keys, rng, out);
        Self { swarm, offers, input: Vec::new(), state: State::Key { keys, initial } }
    }

    /// Takes what was received, all of it, and appends what is to be sent.
    ///
    /// Nothing else may be sent before [`Progress::Done`]: whether it would have to be encrypted is not known.
    ///
    /// # Errors
    /// [`MseError`]: close the connection.
    pub fn feed(mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Progress<Self>, MseError> {
        self.input.extend_from_slice(bytes);
        loop {
            self.state = match self.state {
                State::Key { keys, initial } => match take_array::<KEY_LENGTH>(&mut self.input) {
                    None => return Ok(Progress::More(Self { state: State::Key { keys, initial }, ..self })),
                    Some(theirs) => {
                        let secret = Secret(keys.agree(&theirs).ok_or(MseError::PublicKey)?);
                        let mut ciphers = secret.initiator_ciphers(self.swarm);
                        put_request(&secret, self.swarm, self.offers, &initial, &mut ciphers, out);
                        let mut mark = VERIFICATION;
                        ciphers.incoming.apply(&mut mark);
                        State::Mark { mark, ciphers }
                    }
                },
                State::Mark { mark, ciphers } => {
                    if !synchronise(&mut self.input, &mark)? {
                        return Ok(Progress::More(Self { state: State::Mark { mark, ciphers }, ..self }));
                    }
                    State::Selection { ciphers }
                }
                State::Selection { mut ciphers } => match take_array::<6>(&mut self.input) {
                    None => return Ok(Progress::More(Self { state: State::Selection { ciphers }, ..self })),
                    Some(mut answer) => {
                        ciphers.incoming.apply(&mut answer);
                        let [s0, s1, s2, s3, l0, l1] = answer;
                        let selected = Methods(u32::from_be_bytes([s0, s1, s2, s3]));
                        let length = u16::from_be_bytes([l0, l1]);
                        let method = selected
                            .single()
                            .filter(|&method| self.offers.contains(method.into()))
                            .ok_or(MseError::Selection(selected))?;
                        if usize::from(length) > PAD_MAX {
                            return Err(MseError::Padding(length));
                        }
                        State::Padding { ciphers, method, length }
                    }
                },
                State::Padding { mut ciphers, method, length } => {
                    let Some(mut padding) = take(&mut self.input, length.into()) else {
                        return Ok(Progress::More(Self {
                            state: State::Padding { ciphers, method, length },
                            ..self
                        }));
                    };
                    ciphers.incoming.apply(&mut padding);
                    return Ok(Progress::Done(established(self.swarm, ciphers, method, self.input)));
                }
            };
        }
    }
}

/// Decrypts what follows a handshake, if it is encrypted.
fn established(swarm: SwarmHash, mut ciphers: Ciphers, method: Method, mut received: Vec<u8>) -> Established {
    let ciphers = match method {
        Method::Plain => None,
        Method::Rc4 => {
            ciphers.incoming.apply(&mut received);
            Some(ciphers)
        }
    };
    Established { swarm, ciphers, received }
}

/// Appends the public key and a padding of random length.
pub(super) fn put_key(keys: &KeyPair, rng: &mut impl CryptoRng, out: &mut Vec<u8>) {
    out.extend_from_slice(&keys.public);
    let mut padding = [0; PAD_MAX];
    let padding = &mut padding[..rng.random_range(0..=PAD_MAX)];
    rng.fill_bytes(padding);
    out.extend_from_slice(padding);
}

/// Appends which swarm is meant, what is offered, and the initial payload.
fn put_request(
    secret: &Secret,
    swarm: SwarmHash,
    offers: Methods,
    initial: &[u8; HANDSHAKE_LENGTH],
    ciphers: &mut Ciphers,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&secret.mark());
    out.extend_from_slice(&secret.cover(lookup_key(swarm)));
    let encrypted_from = out.len();
    out.extend_from_slice(&VERIFICATION);
    out.extend_from_slice(&offers.0.to_be_bytes());
    // PadC.
    out.extend_from_slice(&0_u16.to_be_bytes());
    out.extend_from_slice(&(HANDSHAKE_LENGTH as u16).to_be_bytes());
    out.extend_from_slice(initial);
    ciphers.outgoing.apply(&mut out[encrypted_from..]);
}
