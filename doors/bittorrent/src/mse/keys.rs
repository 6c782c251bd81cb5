//! What both sides derive from the secret and the swarm.

use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::{Digest, Sha1};

use super::Ciphers;
use super::dh::KEY_LENGTH;
use crate::hash::SwarmHash;

/// Bytes of key stream thrown away, because the first ones tell about the key.
const DROPPED: usize = 1024;

/// Eight zero bytes, encrypted: who decrypts them has the same keys.
pub(super) const VERIFICATION: [u8; 8] = [0; 8];

/// One direction of an encrypted stream.
pub struct Rc4Stream(Rc4);

impl Rc4Stream {
    fn new(key: [u8; 20]) -> Self {
        let mut rc4 = match Rc4::new_from_slice(&key) {
            Ok(rc4) => rc4,
            Err(_) => unreachable!("RC4 takes keys of 1 to 256 bytes"),
        };
        rc4.apply_keystream(&mut [0; DROPPED]);
        Self(rc4)
    }

    /// Encrypts or decrypts the next bytes of the stream in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

impl std::fmt::Debug for Rc4Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rc4Stream").finish_non_exhaustive()
    }
}

/// The name of a swarm in encrypted handshakes. A listener keeps a map from these to its swarms, so that
/// [`super::Responder::feed`] finds one among thousands at once.
pub fn lookup_key(swarm: SwarmHash) -> [u8; 20] {
    hash(&[b"req2", &swarm.0])
}

/// The agreed secret.
pub(super) struct Secret(pub(super) [u8; KEY_LENGTH]);

impl Secret {
    /// The mark behind the initiator's padding.
    pub(super) fn mark(&self) -> [u8; 20] {
        hash(&[b"req1", &self.0])
    }

    /// Turns the [`lookup_key`] into what is sent, and back.
    pub(super) fn cover(&self, key: [u8; 20]) -> [u8; 20] {
        let mask = hash(&[b"req3", &self.0]);
        std::array::from_fn(|at| key[at] ^ mask[at])
    }

    /// The ciphers of the side that dialled.
    pub(super) fn initiator_ciphers(&self, swarm: SwarmHash) -> Ciphers {
        Ciphers { incoming: self.cipher(b"keyB", swarm), outgoing: self.cipher(b"keyA", swarm) }
    }

    /// The ciphers of the side that was dialled.
    pub(super) fn responder_ciphers(&self, swarm: SwarmHash) -> Ciphers {
        Ciphers { incoming: self.cipher(b"keyA", swarm), outgoing: self.cipher(b"keyB", swarm) }
    }

    fn cipher(&self, name: &[u8; 4], swarm: SwarmHash) -> Rc4Stream {
        Rc4Stream::new(hash(&[name, &self.0, &swarm.0]))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(part);
    }
    sha1.finalize().into()
}
