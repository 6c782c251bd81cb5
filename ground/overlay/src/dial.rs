//! Dialling a peer: what is asked, how it can fail, and when it is not tried again yet.

mod backoff;

use libp2p::Multiaddr;
use libp2p::core::transport::TransportError;
use peerage_identity::PeerId;

pub(crate) use self::backoff::Behaviour as BackOff;
use crate::address::Address;
use crate::convert;

/// Failed addresses that an error names; of the rest it tells the number.
const ADDRESSES_TOLD: usize = 4;

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A peer, at the addresses that are known of it.
    Peer(PeerId),
    /// A place, and whoever is there unless the address names a peer.
    Address(Address),
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

/// No connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No address of the peer is known.
    #[error("no address of the peer is known")]
    NoAddress,
    /// Nobody answered as a peer does.
    #[error("{reason}")]
    Unreachable {
        /// What was tried, and how each ended.
        reason: String,
    },
    /// Somebody else is there.
    #[error("{found} is at {address}, who was not asked for")]
    WrongPeer {
        /// Who is there.
        found: PeerId,
        /// Where.
        address: Address,
    },
    /// This very node.
    #[error("{address} is this node itself")]
    Itself {
        /// Where.
        address: Address,
    },
    /// This node keeps from it: the peer is on the deny list, failed just now, or there are too many connections.
    #[error("not dialled: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The overlay has ended.
    #[error("the overlay has ended")]
    Ended,
}

impl DialError {
    pub(crate) fn of(error: &libp2p::swarm::DialError) -> Self {
        use libp2p::swarm::DialError as Theirs;
        match error {
            Theirs::NoAddresses => Self::NoAddress,
            Theirs::LocalPeerId { address } => Self::Itself { address: address.clone().into() },
            Theirs::WrongPeerId { obtained, address } => match convert::from_libp2p(obtained) {
                Some(found) => Self::WrongPeer { found, address: address.clone().into() },
                None => Self::Unreachable { reason: error.to_string() },
            },
            Theirs::Denied { .. } => Self::Refused { reason: reason(error) },
            Theirs::Transport(_) | Theirs::Aborted | Theirs::DialPeerConditionFalse(_) => {
                Self::Unreachable { reason: reason(error) }
            }
        }
    }
}

/// In words for people: the cause behind each address, not the layers it came through.
pub(crate) fn reason(error: &libp2p::swarm::DialError) -> String {
    use libp2p::swarm::DialError as Theirs;
    match error {
        Theirs::Transport(failures) => addresses(failures),
        Theirs::Denied { cause } => root(cause),
        Theirs::Aborted => "given up".to_owned(),
        Theirs::NoAddresses => "no address of the peer is known".to_owned(),
        other => other.to_string(),
    }
}

fn addresses(failures: &[(Multiaddr, TransportError<std::io::Error>)]) -> String {
    let told = failures.iter().take(ADDRESSES_TOLD).map(|(address, error)| match error {
        TransportError::MultiaddrNotSupported(_) => format!("{address}: not an address that is spoken here"),
        TransportError::Other(error) => format!("{address}: {}", root(error)),
    });
    let mut told: Vec<String> = told.collect();
    if let Some(more @ 1..) = failures.len().checked_sub(ADDRESSES_TOLD) {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}

/// The innermost cause.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // What libp2p wraps for `io::Error` has no source of its own, but shows it.
    cause.to_string()
}
