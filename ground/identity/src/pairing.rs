//! Pairing: one person reads a short code to another, and their nodes become contacts of each other.
//!
//! This is the conversation between the two, without a socket or a clock: bytes go in ([`Pairing::feed`]), bytes and in the end a
//! [`ContactCard`] come out. Whoever drives it finds the other node by [`PairingCode::rendezvous`], opens an authenticated stream to it, sends
//! what it is told to, and hangs up on an error or when it takes too long.
//!
//! SPAKE2 makes a strong key of the code only if both have the same code. It is bound to both peer ids: who sits in the middle of two
//! streams has two ids and gets two keys that do not agree. Then each proves that it has the key, the guest first:
//!
//! ```text
//! guest                         host
//!   hello            <->        hello             SPAKE2: nothing is learned of the code
//!   confirmation      ->                          one guess of the code; wrong: the host burns it and hangs up
//!                    <-         confirmation, card
//!   card              ->
//! ```
//!
//! Whoever does not know the code has one guess in 262,144 for each code, and a wrong one burns it. A host that nobody has given a guess
//! to keeps its code when a stream breaks; a guest's is spent once its confirmation is out, since whom it met may have taken it as a guess.

mod code;
mod frame;
mod words;

pub use code::{CodeError, PairingCode};

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::card::{CardError, ContactCard};
use crate::contacts::ContactName;
use crate::key::NodeKey;
use crate::peer_id::PeerId;
use frame::{FrameError, Inbox, Kind};

/// What both must speak.
const VERSION: u8 = 1;

/// Who is who in a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It made the code and waits.
    Host,
    /// It was told the code and comes.
    Guest,
}

/// What a node tells of itself once the code is proven.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// Its key.
    pub key: &'a NodeKey,
    /// What it likes to be called.
    pub name: Option<&'a ContactName>,
    /// Where it may be reached.
    pub addresses: &'a [Address],
}

/// One side of a pairing.
pub struct Pairing {
    role: Role,
    them: PeerId,
    /// Until it is spent.
    code: Option<PairingCode>,
    /// Ours, in its envelope.
    card: Vec<u8>,
    inbox: Inbox,
    state: State,
}

/// What the other one must send next.
enum State {
    Hello(Spake2<Ed25519Group>),
    Confirmation(SharedKey),
    Card,
    /// Nothing: it is over.
    Nothing,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// To be sent; nothing when it is empty.
    pub send: Vec<u8>,
    /// Who the other one is. Then the pairing is done, once `send` is sent.
    pub card: Option<ContactCard>,
}

/// Why two nodes are not paired. It is over then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// The codes are not the same. Whoever is there may be a stranger who guessed.
    #[error("the other side has another code")]
    WrongCode,
    /// The other side hung up.
    #[error("the other side hung up{}", if *.refused { ": it has another code, or the connection broke" } else { "" })]
    HungUp {
        /// At the moment when it does so because our code is wrong.
        refused: bool,
    },
    /// It speaks another version.
    #[error("the other side pairs by version {0}, this one by {VERSION}")]
    Version(u8),
    /// It does not keep to the protocol.
    #[error("the other side does not speak as it should: {0}")]
    Protocol(&'static str),
    /// Its card is bad.
    #[error("the card of the other side is bad")]
    Card(#[source] CardError),
    /// Its card is of another node.
    #[error("the other side brought the card of {0}")]
    Impostor(PeerId),
    /// It was over before.
    #[error("the pairing is over")]
    Over,
}

impl From<FrameError> for PairingError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Unexpected => Self::Protocol("a message out of turn"),
            FrameError::Length => Self::Protocol("a message of a wrong length"),
        }
    }
}

impl Pairing {
    /// Begins a pairing over a stream that leads to `them`, and says what to send first. The random bytes of SPAKE2 are the system's: they must
    /// never be the same twice.
    pub fn begin(role: Role, code: PairingCode, us: Introduction<'_>, them: PeerId) -> (Self, Vec<u8>) {
        let (host, guest) = match role {
            Role::Host => (us.key.peer_id(), them),
            Role::Guest => (them, us.key.peer_id()),
        };
        let password = Password::new(code.secret());
        let (host, guest) = (Identity::new(&host.to_bytes()), Identity::new(&guest.to_bytes()));
        let (exchange, message) = match role {
            Role::Host => Spake2::start_a(&password, &host, &guest),
            Role::Guest => Spake2::start_b(&password, &host, &guest),
        };
        let pairing = Self {
            role,
            them,
            code: Some(code),
            card: ContactCard::sign(us.key, us.name, us.addresses),
            inbox: Inbox::default(),
            state: State::Hello(exchange),
        };
        (pairing, frame::write(Kind::Hello, &[&[VERSION], &message]))
    }

    /// Takes bytes of the other side, as they come.
    ///
    /// # Errors
    /// [`PairingError`]: hang up.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Step, PairingError> {
        let mut step = Step::default();
        while step.card.is_none() {
            let expected = self.expected()?;
            match self.inbox.next(&mut bytes, expected) {
                Ok(Some(body)) => {
                    self.receive(&body, &mut step).inspect_err(|_| self.state = State::Nothing)?
                }
                Ok(None) => break,
                Err(error) => {
                    self.state = State::Nothing;
                    return Err(error.into());
                }
            }
        }
        Ok(step)
    }

    /// What it means that the other side has hung up.
    pub fn hung_up(&self) -> PairingError {
        let confirmed = matches!(self.state, State::Confirmation(_)) && self.role == Role::Guest;
        PairingError::HungUp { refused: confirmed }
    }

    /// The code, if it can be used once more: nobody has had a guess at it.
    pub fn into_code(self) -> Option<PairingCode> {
        self.code
    }

    fn expected(&self) -> Result<Kind, PairingError> {
        match self.state {
            State::Hello(_) => Ok(Kind::Hello),
            State::Confirmation(_) => Ok(Kind::Confirmation),
            State::Card => Ok(Kind::Card),
            State::Nothing => Err(PairingError::Over),
        }
    }

    /// Takes what was expected.
    fn receive(&mut self, body: &[u8], step: &mut Step) -> Result<(), PairingError> {
        match std::mem::replace(&mut self.state, State::Nothing) {
            State::Hello(exchange) => {
                let key = greeted(exchange, body)?;
                if self.role == Role::Guest {
                    self.code = None;
                    step.send.extend(key.confirmation(self.role));
                }
                self.state = State::Confirmation(key);
            }
            State::Confirmation(key) => {
                // It was a guess, right or wrong.
                self.code = None;
                if !key.is_confirmed(self.role.other(), body) {
                    return Err(PairingError::WrongCode);
                }
                if self.role == Role::Host {
                    step.send.extend(key.confirmation(self.role));
                }
                step.send.extend(frame::write(Kind::Card, &[&self.card]));
                self.state = State::Card;
            }
            State::Card => {
                let card = ContactCard::open(body).map_err(PairingError::Card)?;
                if card.peer != self.them {
                    return Err(PairingError::Impostor(card.peer));
                }
                step.card = Some(card);
            }
            State::Nothing => return Err(PairingError::Over),
        }
        Ok(())
    }
}

impl fmt::Debug for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pairing as {:?} with {}", self.role, self.them)
    }
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Host => Self::Guest,
            Self::Guest => Self::Host,
        }
    }

    /// What is signed with the shared key to prove that one has it: never the same for both, or one could give the other's back.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Host => b"peerage pairing 1: the host has the key",
            Self::Guest => b"peerage pairing 1: the guest has the key",
        }
    }
}

/// The key of the exchange, when the other side has said hello.
fn greeted(exchange: Spake2<Ed25519Group>, hello: &[u8]) -> Result<SharedKey, PairingError> {
    let Some((&version, message)) = hello.split_first() else {
        return Err(PairingError::Protocol("a hello without a version"));
    };
    if version != VERSION {
        return Err(PairingError::Version(version));
    }
    let key = exchange.finish(message).map_err(|_| PairingError::Protocol("a hello that is no SPAKE2"))?;
    Ok(SharedKey(Zeroizing::new(key)))
}

/// What SPAKE2 gives: the same on both sides if they have the same code and see the same peer ids.
struct SharedKey(Zeroizing<Vec<u8>>);

impl SharedKey {
    /// The message that proves that one has it.
    fn confirmation(&self, role: Role) -> Vec<u8> {
        frame::write(Kind::Confirmation, &[&self.mac(role).finalize().into_bytes()])
    }

    fn is_confirmed(&self, role: Role, confirmation: &[u8]) -> bool {
        // Takes the same time whatever is wrong.
        self.mac(role).verify_slice(confirmation).is_ok()
    }

    fn mac(&self, role: Role) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("a key of any length").chain_update(role.label())
    }
}

#[cfg(test)]
mod tests;
