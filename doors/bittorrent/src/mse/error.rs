//! Why an encrypted handshake failed.

use super::Methods;

/// A handshake that cannot succeed: close the connection. Whoever dialled may try again in plain text if the user lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MseError {
    /// The public key is one that makes the secret known to everybody, or is no number of the group.
    #[error("encrypted handshake has a worthless public key")]
    PublicKey,
    /// The mark that must follow the padding did not come: this is another protocol, or the dialled peer does not know the
    /// swarm.
    #[error("encrypted handshake has no synchronisation mark where one must be")]
    NoSync,
    /// No swarm of ours has the hash that the peer means.
    #[error("encrypted handshake is for a swarm that is not here")]
    UnknownSwarm,
    /// The constant that proves equal keys is wrong.
    #[error("encrypted handshake does not decrypt with the agreed keys")]
    Verification,
    /// PadC or PadD is longer than allowed.
    #[error("encrypted handshake has a padding of {0} bytes")]
    Padding(u16),
    /// The peer offers only methods that are not allowed here.
    #[error("encrypted handshake offers no method that is allowed here ({0})")]
    NoMethod(Methods),
    /// The peer selected something that is not one of the methods offered to it.
    #[error("encrypted handshake selects something that was not offered ({0})")]
    Selection(Methods),
}
